//! `apply`: the definitions of a folder, taken in by a running fleet.

use std::{path::PathBuf, process::ExitCode};

use flotilla_common::{
    definition::{InletKey, Problem},
    ids::Name,
};
use serde::Deserialize;
use serde_json::json;

use super::{Standing, in_words, send};
use crate::{
    check::warnings,
    client::{Client, Refused, print},
    settings::Settings,
    signals::Why,
    style::{bad, bold, dim, good},
};

/// What to apply.
#[derive(Debug, clap::Args)]
pub(crate) struct Apply {
    /// The folder [default: that of --workflows]
    folder: Option<PathBuf>,
    /// Only check, with what the fleet has, and say what would happen
    #[arg(long)]
    dry_run: bool,
    /// What new runs get: `newer` is what is new here and higher than what they get
    #[arg(long, value_enum, default_value_t = Activate::Newer)]
    activate: Activate,
    #[command(flatten)]
    why: Why,
}

/// What becomes active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Activate {
    Newer,
    Always,
    Never,
}

impl Activate {
    fn word(self) -> &'static str {
        match self {
            Self::Newer => "newer",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

#[derive(Debug, Deserialize)]
struct Answer {
    dry_run: bool,
    workflows: Vec<Line>,
    #[serde(default)]
    inlets: Vec<InletLine>,
    warnings: Vec<Problem>,
}

/// An event type or a hook.
#[derive(Debug, Deserialize)]
struct InletLine {
    #[serde(flatten)]
    key: InletKey,
    outcome: String,
    why: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Line {
    workflow: Name,
    version: u32,
    outcome: String,
    why: Option<String>,
    active: bool,
    standing: Option<Standing>,
}

pub(crate) async fn run(
    client: &Client,
    settings: &Settings,
    args: Apply,
) -> anyhow::Result<ExitCode> {
    let folder = args.folder.unwrap_or_else(|| settings.workflows());
    let body = json!({
        "activate": args.activate.word(),
        "dry_run": args.dry_run,
        "reason": args.why.reason,
        "by": args.why.by.name(),
    });
    let answer = match send(client, &folder, body).await {
        Ok(answer) => answer,
        Err(error) => match error.downcast_ref::<Refused>() {
            Some(refused) if args.why.output.json() => {
                println!("{}", refused.problem);
                return Ok(ExitCode::FAILURE);
            }
            Some(_) | None => return Err(in_words(error)),
        },
    };
    let is_refused = ["workflows", "inlets"].iter().any(|what| {
        let mut lines = answer[what].as_array().into_iter().flatten();
        lines.any(|line| line["outcome"] == json!("refused"))
    });
    print(args.why.output.json(), answer, |answer: Answer| {
        told(&answer)
    })?;
    Ok(match is_refused {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

fn told(answer: &Answer) -> Vec<String> {
    let mut lines: Vec<String> = answer.workflows.iter().map(line).collect();
    lines.extend(answer.inlets.iter().map(inlet));
    let why = answer.workflows.iter().filter_map(|line| line.why.as_ref());
    let why = why.chain(answer.inlets.iter().filter_map(|line| line.why.as_ref()));
    lines.extend(why.map(|why| format!("{}: {why}", bad("refused"))));
    lines.extend(warnings(&answer.warnings));
    if !answer.warnings.is_empty() {
        lines.push(String::new());
    }
    if answer.dry_run {
        lines.push(dim("nothing was applied: that was a dry run"));
    } else {
        lines.extend(answer.workflows.iter().filter_map(next));
    }
    lines
}

fn line(line: &Line) -> String {
    let name = format!("{} v{}", line.workflow, line.version);
    let gets = gets(line).map(|gets| format!("  {gets}"));
    became(name, &line.outcome, &gets.unwrap_or_default())
}

fn inlet(line: &InletLine) -> String {
    let name = match &line.key {
        InletKey::Event { event, version } => format!("event {event} v{version}"),
        InletKey::Hook { hook } => format!("hook {hook}"),
    };
    became(name, &line.outcome, "")
}

fn became(name: String, outcome: &str, more: &str) -> String {
    let pad = " ".repeat(32_usize.saturating_sub(name.chars().count()));
    let padded = format!("{outcome:<9}");
    let outcome = match outcome {
        "created" => good(padded),
        "refused" => bad(padded),
        _ => dim(padded),
    };
    format!("{}{pad} {outcome}{more}", bold(name))
        .trim_end()
        .to_owned()
}

/// How many of the new runs get this version; `None` where nothing was written.
fn gets(line: &Line) -> Option<String> {
    let standing = line.standing.as_ref()?;
    let candidate = standing.candidate.as_ref();
    let tried = candidate.filter(|tried| tried.version.version == line.version);
    Some(match (line.active, tried, &standing.active) {
        (true, _, _) if candidate.is_none() => "new runs get it".to_owned(),
        (true, _, _) => format!("new runs get {}", standing.versions()),
        (false, Some(tried), _) => format!("{} of the new runs get it", tried.percent),
        (false, None, Some(_)) => format!("new runs get {}", standing.versions()),
        (false, None, None) => "no new runs are started".to_owned(),
    })
}

/// What to type next.
fn next(line: &Line) -> Option<String> {
    let standing = line.standing.as_ref()?;
    let (name, version) = (&line.workflow, line.version);
    let is_tried = standing.candidate.as_ref();
    let is_tried = is_tried.is_some_and(|tried| tried.version.version == version);
    let is_newest = standing
        .active
        .as_ref()
        .is_none_or(|active| active.version < version);
    let next = match (line.active, line.outcome.as_str()) {
        (true, "created") if version > 1 => {
            format!("if {name} v{version} is no good: flotilla rollback {name}")
        }
        (false, _) if !is_tried && standing.active.is_none() => {
            format!("to start runs of {name}: flotilla activate {name} {version}")
        }
        (false, _) if !is_tried && is_newest => format!(
            "to try {name} v{version} on a part of the runs: flotilla rollout {name} {version} 10%; on all: flotilla activate {name} {version}"
        ),
        _ => return None,
    };
    Some(dim(next))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn told_of(answer: Value) -> String {
        told(&serde_json::from_value(answer).unwrap()).join("\n")
    }

    fn line(name: &str, version: u32, outcome: &str, active: Value) -> Value {
        let is_active = active["version"] == json!(version);
        let standing = json!({"active": active, "at": "2026-11-21T10:00:00Z"});
        json!({"workflow": name, "version": version, "digest": "d", "outcome": outcome, "active": is_active, "standing": standing})
    }

    #[test]
    fn each_workflow_is_told_with_what_new_runs_get_and_what_to_type_next() {
        let v = |version: u32| json!({"version": version, "digest": "d"});
        let mut tried = line("tried", 5, "unchanged", v(4));
        tried["standing"]["candidate"] = json!({"version": 5, "digest": "d", "percent": 12.5});
        let warning = json!({"file": "w.yaml", "line": 6, "column": 13, "message": "`x@1` is deprecated: use `x@2`",
            "source": "  - {id: a, tool: x@1}"});
        let workflows = [
            line("first", 1, "created", v(1)),
            line("better", 2, "created", v(2)),
            line("back", 3, "unchanged", v(2)),
            line("idle", 1, "created", Value::Null),
            tried,
        ];
        let told =
            told_of(json!({"dry_run": false, "workflows": workflows, "warnings": [warning]}));
        let expected = "\
first v1                         created    new runs get it
better v2                        created    new runs get it
back v3                          unchanged  new runs get v2
idle v1                          created    no new runs are started
tried v5                         unchanged  12.5 % of the new runs get it

warning: w.yaml:6:13: `x@1` is deprecated: use `x@2`
   |
 6 |   - {id: a, tool: x@1}
   |             ^

if better v2 is no good: flotilla rollback better
to try back v3 on a part of the runs: flotilla rollout back 3 10%; on all: flotilla activate back 3
to start runs of idle: flotilla activate idle 1";
        assert_eq!(told, expected);
    }

    #[test]
    fn a_dry_run_says_what_would_be_refused_and_why() {
        let refused = json!({"workflow": "w", "version": 2, "digest": "d", "outcome": "refused", "active": false,
            "standing": null, "why": "workflow `w` version 2 is there with other texts"});
        let withheld = json!({"workflow": "v", "version": 1, "digest": "d", "outcome": "withheld", "active": false, "standing": null});
        let told =
            told_of(json!({"dry_run": true, "workflows": [refused, withheld], "warnings": []}));
        let expected = "\
w v2                             refused
v v1                             withheld
refused: workflow `w` version 2 is there with other texts
nothing was applied: that was a dry run";
        assert_eq!(told, expected);
    }
}
