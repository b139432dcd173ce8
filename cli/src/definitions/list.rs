//! `workflows`: what the fleet has, and which of it new runs get.

use std::process::ExitCode;

use flotilla_common::{ids::Name, unseen::is_unseen};
use jiff::Timestamp;
use serde::Deserialize;

use super::{DEFINITIONS, REASON_MAX, Standing, said};
use crate::{
    client::{Client, print},
    output::Output,
    style::{bold, dim, good, one_line, warn},
};

/// Digits of a digest that are shown.
const DIGITS: usize = 12;

/// Which workflows to list.
#[derive(Debug, clap::Args)]
pub(crate) struct Workflows {
    /// Only this one, with its versions and what new runs got when
    name: Option<Name>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Deserialize)]
struct All {
    definitions: Vec<Line>,
}

#[derive(Debug, Deserialize)]
struct Line {
    workflow: Name,
    #[serde(flatten)]
    standing: Option<Standing>,
    versions: Vec<u32>,
    switched_off: Vec<Off>,
    deprecated: Vec<Deprecated>,
}

#[derive(Debug, Deserialize)]
struct Off {
    step: Name,
    off_since: Timestamp,
    by: Option<String>,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Deprecated {
    tool: Name,
    version: u32,
    instead: String,
}

#[derive(Debug, Deserialize)]
struct One {
    workflow: Name,
    #[serde(flatten)]
    standing: Option<Standing>,
    versions: Vec<Version>,
    history: Vec<Standing>,
}

#[derive(Debug, Deserialize)]
struct Version {
    version: u32,
    digest: String,
    at: Timestamp,
    by: Option<String>,
    active: bool,
    candidate: bool,
}

pub(crate) async fn run(client: &Client, args: Workflows) -> anyhow::Result<ExitCode> {
    match &args.name {
        None => {
            let all = client.get(DEFINITIONS).await?;
            print(args.output.json(), all, |all: All| table(&all))?;
        }
        Some(name) => {
            let one = client.get(&format!("{DEFINITIONS}/{name}")).await?;
            print(args.output.json(), one, |one: One| in_full(&one))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(all: &All) -> Vec<String> {
    if all.definitions.is_empty() {
        return vec!["no workflows; bring some: flotilla apply FOLDER".to_owned()];
    }
    let head = format!(
        "{:<28} {:<22} {:<10} since",
        "workflow", "new runs get", "versions"
    );
    let mut lines = vec![bold(head)];
    for line in &all.definitions {
        let standing = line.standing.as_ref();
        lines.push(format!(
            "{:<28} {:<22} {:<10} {}",
            line.workflow,
            standing.map_or_else(|| "not known".to_owned(), Standing::versions),
            ranges(&line.versions),
            dim(standing.map(Standing::said).unwrap_or_default())
        ));
        let off = line.switched_off.iter().map(|off| {
            let said = said(off.off_since, off.by.as_deref(), off.reason.as_deref());
            format!("    step {} is switched off since {said}", off.step)
        });
        lines.extend(off.map(warn));
        let deprecated = line.deprecated.iter().map(|tool| {
            let instead = one_line(&tool.instead, REASON_MAX);
            format!(
                "    tool {}@{} is deprecated: {instead}",
                tool.tool, tool.version
            )
        });
        lines.extend(deprecated.map(warn));
    }
    lines
}

/// Numbers in order, those that follow each other together: `1-3, 7`.
fn ranges(numbers: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*number) => *last = *number,
            Some(_) | None => ranges.push((*number, *number)),
        }
    }
    let texts = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    texts.collect::<Vec<_>>().join(", ")
}

fn in_full(one: &One) -> Vec<String> {
    let versions = one.standing.as_ref().map(Standing::versions);
    let versions = versions.unwrap_or_else(|| "what is not known".to_owned());
    let mut lines = vec![
        format!("{}: new runs get {versions}", bold(&one.workflow)),
        String::new(),
    ];
    let head = format!("{:<8} {:<12}  applied", "version", "digest");
    lines.push(bold(head));
    for version in &one.versions {
        let mark = match (version.active, version.candidate) {
            (true, _) => format!("  {}", good("active")),
            (false, true) => format!("  {}", good("on trial")),
            (false, false) => String::new(),
        };
        let number = format!("v{}", version.version);
        let digest: String = version
            .digest
            .chars()
            .filter(|c| !c.is_control() && !is_unseen(*c))
            .take(DIGITS)
            .collect();
        let applied = said(version.at, version.by.as_deref(), None);
        lines.push(format!("{number:<8} {digest:<12}  {}{mark}", dim(applied)));
    }
    lines.push(String::new());
    lines.push(bold("what new runs got, newest first"));
    let history = one.history.iter();
    lines.extend(history.map(|then| format!("{:<22} {}", then.versions(), dim(then.said()))));
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn v(version: u32) -> Value {
        json!({"version": version, "digest": format!("{version:064x}")})
    }

    #[test]
    fn workflows_are_listed_with_what_new_runs_get_and_what_should_be_looked_at() {
        let triage = json!({"workflow": "triage", "active": v(2), "candidate": {"version": 3, "digest": "d", "percent": 10},
            "by": "ann\u{1b}", "reason": "sale", "at": "2026-11-21T10:00:00.4Z", "versions": [1, 2, 3, 7],
            "switched_off": [{"step": "look", "off_since": "2026-11-21T11:00:00Z", "by": "bob"}],
            "deprecated": [{"tool": "book", "version": 1, "instead": "use `book@2`"}]});
        let idle = json!({"workflow": "idle", "active": null, "at": "2026-11-21T09:00:00Z", "versions": [1],
            "switched_off": [], "deprecated": []});
        let odd = json!({"workflow": "odd", "versions": [], "switched_off": [], "deprecated": []});
        let all = json!({"definitions": [triage, idle, odd]});
        let lines = table(&serde_json::from_value(all).unwrap());
        let expected = "\
workflow                     new runs get           versions   since
triage                       v2, 10 % of them v3    1-3, 7     2026-11-21T10:00:00Z by ann: sale
    step look is switched off since 2026-11-21T11:00:00Z by bob
    tool book@1 is deprecated: use `book@2`
idle                         none                   1          2026-11-21T09:00:00Z
odd                          not known                         ";
        assert_eq!(lines.join("\n"), expected);
        let none = json!({"definitions": []});
        let lines = table(&serde_json::from_value(none).unwrap());
        assert_eq!(lines, ["no workflows; bring some: flotilla apply FOLDER"]);
    }

    #[test]
    fn a_workflow_is_shown_with_its_versions_and_its_history() {
        let one = json!({
            "workflow": "triage", "active": v(1), "by": "bob", "reason": "v2 is wrong", "at": "2026-11-21T12:00:00Z",
            "versions": [
                {"version": 1, "digest": "0123456789abcdef", "at": "2026-11-20T10:00:00Z", "by": "ann", "active": true, "candidate": false},
                {"version": 2, "digest": "fedcba9876543210", "at": "2026-11-21T10:00:00Z", "active": false, "candidate": true},
            ],
            "history": [
                {"active": v(1), "by": "bob", "reason": "v2 is wrong", "at": "2026-11-21T12:00:00Z"},
                {"active": v(2), "by": "ann", "at": "2026-11-21T10:00:00Z"},
            ],
        });
        let lines = in_full(&serde_json::from_value(one).unwrap());
        let expected = "\
triage: new runs get v1

version  digest        applied
v1       0123456789ab  2026-11-20T10:00:00Z by ann  active
v2       fedcba987654  2026-11-21T10:00:00Z  on trial

what new runs got, newest first
v1                     2026-11-21T12:00:00Z by bob: v2 is wrong
v2                     2026-11-21T10:00:00Z by ann";
        assert_eq!(lines.join("\n"), expected);
    }
}
