//! The shape of a policy file, and its compilation into policies.

use super::language::{Expr, Text};
use super::{Action, Policy, Rule, Tree, UsageOverride, UseOf};
use crate::Problem;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};
use std::fmt;
use std::path::Path;
use std::time::Duration;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    policies: Vec<PolicyEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyEntry {
    policy: Spanned<String>,
    when: Option<Spanned<String>>,
    rules: Vec<Spanned<RuleEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    when: Option<Spanned<String>>,
    #[serde(rename = "use")]
    tool: Option<Spanned<String>>,
    with: Option<Spanned<TreeEntry>>,
    uses: Option<Vec<UseEntry>>,
    say: Option<Spanned<String>>,
    refuse: Option<Spanned<String>>,
    stop: Option<String>,
    error: Option<ErrorEntry>,
    hang: Option<Spanned<String>>,
    latency: Option<Spanned<String>>,
    usage: Option<UsageOverride>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UseEntry {
    #[serde(rename = "use")]
    tool: Spanned<String>,
    with: Option<Spanned<TreeEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorEntry {
    status: Spanned<u16>,
    #[serde(rename = "type")]
    kind: Option<String>,
    message: Option<Spanned<String>>,
    details: Option<Box<serde_json::Value>>,
    retry_after: Option<f64>,
}

/// Any YAML value, its strings with their places.
enum TreeEntry {
    Text(String),
    Scalar(serde_json::Value),
    List(Vec<Spanned<TreeEntry>>),
    Map(Vec<(String, Spanned<TreeEntry>)>),
}

/// Reads and compiles one file.
///
/// # Errors
/// Every mistake in it, with its place.
pub(super) fn read(path: &Path, text: &str) -> Result<Vec<Policy>, Vec<Problem>> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let file: File = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| vec![shape_problem(path, &error)])?;
    let mut compiler = Compiler {
        path,
        problems: Vec::new(),
    };
    let policies: Vec<Policy> = file
        .policies
        .into_iter()
        .map(|entry| compiler.policy(entry))
        .collect();
    if compiler.problems.is_empty() {
        Ok(policies)
    } else {
        Err(compiler.problems)
    }
}

fn shape_problem(path: &Path, error: &serde_saphyr::Error) -> Problem {
    let (line, column) = error
        .location()
        .map_or((1, 1), |at| (at.line(), at.column()));
    // The place is told once, in front; the parser repeats it behind.
    let text = error.to_string();
    let message = text.split(" at line ").next().unwrap_or(&text);
    Problem {
        file: path.to_owned(),
        line,
        column,
        message: message.to_owned(),
    }
}

struct Compiler<'a> {
    path: &'a Path,
    problems: Vec<Problem>,
}

impl Compiler<'_> {
    fn problem(&mut self, at: Location, message: impl Into<String>) {
        self.problems.push(Problem {
            file: self.path.to_owned(),
            line: at.line(),
            column: at.column(),
            message: message.into(),
        });
    }

    fn policy(&mut self, entry: PolicyEntry) -> Policy {
        Policy {
            name: entry.policy.value.into(),
            when: entry.when.and_then(|when| self.expr(&when)),
            rules: entry
                .rules
                .into_iter()
                .map(|rule| self.rule(rule))
                .collect(),
        }
    }

    fn expr(&mut self, source: &Spanned<String>) -> Option<Expr> {
        Expr::compile(&source.value)
            .map_err(|words| self.problem(source.referenced, words))
            .ok()
    }

    /// A text that does not compile is reported and stands in as empty.
    fn text(&mut self, source: &Spanned<String>) -> Text {
        self.text_at(&source.value, source.referenced)
    }

    fn text_at(&mut self, source: &str, at: Location) -> Text {
        Text::compile(source).unwrap_or_else(|words| {
            self.problem(at, words);
            Text::Plain(String::new())
        })
    }

    fn duration(&mut self, source: &Spanned<String>) -> Option<Duration> {
        let found = duration(&source.value);
        if found.is_none() {
            let words = format!("`{}` is no duration; write 200ms, 5s or 2m", source.value);
            self.problem(source.referenced, words);
        }
        found
    }

    fn rule(&mut self, entry: Spanned<RuleEntry>) -> Rule {
        let (at, entry) = (entry.referenced, entry.value);
        let actions = [
            entry.tool.is_some() || entry.uses.is_some() || entry.say.is_some(),
            entry.refuse.is_some(),
            entry.error.is_some(),
        ];
        let others = entry.stop.is_some()
            || entry.hang.is_some()
            || entry.latency.is_some()
            || entry.usage.is_some();
        match actions.iter().filter(|action| **action).count() {
            0 if !others => self.problem(
                at,
                "a rule needs an action: use, uses, say, refuse, error, stop, hang or latency",
            ),
            0 | 1 => {}
            _ => self.problem(at, "a rule has one action: use with say, refuse, or error"),
        }
        if entry.with.is_some() && entry.tool.is_none() {
            self.problem(at, "`with` needs `use` beside it");
        }
        let place = format!("{}:{}", self.path.display(), at.line());
        let latency = entry
            .latency
            .as_ref()
            .and_then(|latency| self.duration(latency));
        let hang = entry.hang.as_ref().and_then(|hang| self.duration(hang));
        Rule {
            when: entry.when.as_ref().and_then(|when| self.expr(when)),
            stop: entry.stop.clone(),
            usage: entry.usage.clone(),
            action: self.action(entry),
            latency,
            hang,
            place,
        }
    }

    fn action(&mut self, entry: RuleEntry) -> Action {
        if let Some(error) = entry.error {
            if !(400..=599).contains(&error.status.value) {
                self.problem(
                    error.status.referenced,
                    "an error's status is between 400 and 599",
                );
            }
            let message = error.message.as_ref().map(|message| self.text(message));
            return Action::Error {
                status: error.status.value,
                kind: error.kind,
                message,
                details: error.details,
                retry_after: error.retry_after,
            };
        }
        if let Some(refuse) = entry.refuse {
            return Action::Refuse(self.text(&refuse));
        }
        let first = entry.tool.map(|tool| UseEntry {
            tool,
            with: entry.with,
        });
        let uses: Vec<UseOf> = first
            .into_iter()
            .chain(entry.uses.into_iter().flatten())
            .map(|each| UseOf {
                tool: self.text(&each.tool),
                with: each.with.map(|with| self.tree(with)),
            })
            .collect();
        let say = entry.say.as_ref().map(|say| self.text(say));
        if say.is_some() || !uses.is_empty() {
            return Action::Answer { say, uses };
        }
        if entry.hang.is_some() && entry.stop.is_none() {
            // Silence and nothing else: in the end the real API gives up with this.
            let message = Some(Text::Plain("Request timed out".to_owned()));
            return Action::Error {
                status: 504,
                kind: None,
                message,
                details: None,
                retry_after: None,
            };
        }
        Action::Anything
    }

    fn tree(&mut self, entry: Spanned<TreeEntry>) -> Tree {
        match entry.value {
            TreeEntry::Text(source) => {
                let place = format!("line {}", entry.referenced.line());
                Tree::Text(self.text_at(&source, entry.referenced), place)
            }
            TreeEntry::Scalar(value) => Tree::Scalar(value),
            TreeEntry::List(items) => {
                Tree::List(items.into_iter().map(|item| self.tree(item)).collect())
            }
            TreeEntry::Map(entries) => Tree::Map(
                entries
                    .into_iter()
                    .map(|(key, item)| (key, self.tree(item)))
                    .collect(),
            ),
        }
    }
}

/// `200ms`, `5s`, `1.5s`, `2m`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (figure, unit) = text.split_at(digits);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(figure.parse::<f64>().ok()? * seconds).ok()
}

impl<'de> Deserialize<'de> for TreeEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = TreeEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_str<E>(self, text: &str) -> Result<TreeEntry, E> {
        Ok(TreeEntry::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<TreeEntry, E> {
        Ok(TreeEntry::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<TreeEntry, E> {
        Ok(TreeEntry::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<TreeEntry, E> {
        Ok(TreeEntry::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<TreeEntry, E> {
        Ok(TreeEntry::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<TreeEntry, E> {
        Ok(TreeEntry::Scalar(serde_json::Value::Null))
    }

    fn visit_none<E>(self) -> Result<TreeEntry, E> {
        Ok(TreeEntry::Scalar(serde_json::Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<TreeEntry, D::Error> {
        TreeEntry::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<TreeEntry, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(TreeEntry::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TreeEntry, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(TreeEntry::Map(entries))
    }
}
