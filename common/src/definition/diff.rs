//! What changes from one version of a workflow to another, file by file.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;
use similar::TextDiff;

use super::TOOLS_FILE;

/// How long the shortest diffs of all files together are looked for; then any.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// Lines around a change.
const AROUND: usize = 3;

/// Texts by their paths.
pub type Files = BTreeMap<String, String>;

/// A file that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Which.
    pub path: String,
    /// How, as a unified diff.
    pub diff: String,
}

/// The files that differ between two versions, each with what it is called; tools are compared one by one.
#[must_use]
pub fn compare(old: (&Files, &str), new: (&Files, &str)) -> Vec<Changed> {
    let (before, after) = (readable(old.0), readable(new.0));
    let mut paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    paths.retain(|path| before.get(*path) != after.get(*path));
    let each = LOOK_MAX / u32::try_from(paths.len()).unwrap_or(u32::MAX).max(1);
    let mut changed = Vec::new();
    for path in paths {
        let (from, to) = (before.get(path), after.get(path));
        let name = |is_there: bool, side: &str| match is_there {
            true => format!("{side}/{path}"),
            false => "/dev/null".to_owned(),
        };
        let names = (name(from.is_some(), old.1), name(to.is_some(), new.1));
        let text = |file: Option<&String>| file.cloned().unwrap_or_default();
        let (from, to) = (text(from), text(to));
        let lines = TextDiff::configure().timeout(each).diff_lines(&from, &to);
        let diff = lines
            .unified_diff()
            .context_radius(AROUND)
            .header(&names.0, &names.1)
            .to_string();
        changed.push(Changed {
            path: path.clone(),
            diff,
        });
    }
    changed
}

/// The files for people: each tool, one line where it is kept, in lines of its own.
#[must_use]
pub fn readable(files: &Files) -> Files {
    let mut readable = files.clone();
    let tools = files.get(TOOLS_FILE).and_then(|text| tools(text));
    if let Some(tools) = tools {
        readable.remove(TOOLS_FILE);
        readable.extend(tools);
    }
    readable
}

/// `None` where they are not as this version of flotilla writes them.
fn tools(text: &str) -> Option<Vec<(String, String)>> {
    let mut lines = text.lines();
    if lines.next() != Some("tools:") {
        return None;
    }
    lines
        .map(|line| {
            let tool: Value = serde_json::from_str(line.strip_prefix("- ")?).ok()?;
            let (name, version) = (tool["tool"].as_str()?, tool["version"].as_u64()?);
            let text = serde_json::to_string_pretty(&tool).ok()?;
            Some((format!("{TOOLS_FILE}/{name}@{version}"), text + "\n"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_that_are_written_otherwise_are_compared_as_they_are() {
        let odd = "tools:\n  - tool: a\n".to_owned();
        let files = Files::from([(TOOLS_FILE.to_owned(), odd)]);
        assert_eq!(readable(&files), files);
    }

    #[test]
    fn an_empty_file_that_is_new_is_a_difference_and_the_same_one_is_none() {
        let none = Files::new();
        let one = Files::from([("a.md".to_owned(), String::new())]);
        assert_eq!(compare((&none, "v1"), (&one, "v2")).len(), 1);
        assert_eq!(compare((&one, "v1"), (&one, "v2")), []);
    }
}
