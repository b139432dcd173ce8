//! What is wrong with a definition, and where: file, line, column, the line itself, and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_saphyr::Location;

use super::words;

/// One problem of a definition file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file, as the user named it.
    pub file: String,
    /// Line from 1; 0 when the whole file is meant.
    pub line: u64,
    /// Column from 1, in characters.
    pub column: u64,
    /// What is wrong, and what was expected.
    pub message: String,
    /// What to do, when that is not plain from the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The line, as far as it is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.file, self.message)?;
        } else {
            write!(
                f,
                "{}:{}:{}: {}",
                self.file, self.line, self.column, self.message
            )?;
        }
        if let Some(source) = &self.source {
            let number = self.line.to_string();
            let margin = " ".repeat(number.len());
            let indent = " ".repeat(usize::try_from(self.column.saturating_sub(1)).unwrap_or(0));
            write!(
                f,
                "\n {margin} |\n {number} | {source}\n {margin} | {indent}^"
            )?;
        }
        match &self.help {
            Some(help) => write!(f, "\n help: {help}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong, all at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// A definition file and what was found wrong in it so far.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
    pub(crate) problems: Vec<Problem>,
    /// What is no problem yet.
    pub(crate) warnings: Vec<Problem>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Notes a problem at a place; `None` lets callers use `?` on the way out.
    pub(crate) fn at(
        &mut self,
        location: Location,
        message: impl Into<String>,
        help: Option<&str>,
    ) {
        let problem = self.problem(location, message.into(), help);
        self.problems.push(problem);
    }

    /// Notes what works, and should be changed all the same.
    pub(crate) fn warn(&mut self, location: Location, message: String, help: Option<&str>) {
        let warning = self.problem(location, message, help);
        self.warnings.push(warning);
    }

    fn problem(&self, location: Location, message: String, help: Option<&str>) -> Problem {
        let (line, column) = (location.line(), location.column());
        let index = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
        // A caret beyond what is shown of the line would point at nothing.
        let visible =
            line > 0 && usize::try_from(column).is_ok_and(|column| column <= LINE_SHOWN_MAX);
        let source = visible
            .then(|| self.text.lines().nth(index).map(shorten))
            .flatten();
        Problem {
            file: self.file.into(),
            line,
            column,
            message,
            help: help.map(Into::into),
            source,
        }
    }

    /// Notes what the YAML parser says.
    pub(crate) fn yaml(&mut self, error: &serde_saphyr::Error) {
        let (message, help) = words::plain(error);
        self.at(
            error.location().unwrap_or(Location::UNKNOWN),
            message,
            help.as_deref(),
        );
    }
}

/// Longest source line that is shown, in characters.
const LINE_SHOWN_MAX: usize = 160;

fn shorten(line: &str) -> String {
    line.chars().take(LINE_SHOWN_MAX).collect()
}
