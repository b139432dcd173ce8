//! `switch`: tools and steps that are switched off, and on again.

use std::process::ExitCode;

use flotilla_common::{definition::Switched, ids::Name};
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::said;
use crate::{
    client::{Client, print},
    output::Output,
    signals::{By, Why},
    style::{bold, dim},
};

const SWITCHES: &str = "/v1/switches";

/// What to switch.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Switch {
    /// Switch something off
    #[command(subcommand)]
    Off(Off),
    /// Switch something on again
    #[command(subcommand)]
    On(On),
    /// List what is switched off
    List {
        #[command(flatten)]
        output: Output,
    },
}

/// What to switch off.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Off {
    /// Executors refuse a tool: Claude is told so and takes another, a step goes by its `on_error`
    Tool {
        /// NAME, or NAME@VERSION
        #[arg(value_parser = Switched::tool)]
        tool: Switched,
        /// Do not refuse it: what is decided for it waits until it is on again
        #[arg(long)]
        hold: bool,
        #[command(flatten)]
        why: Because,
    },
    /// Runs skip a step that they have not begun
    Step {
        /// The workflow
        workflow: Name,
        /// The step
        step: Name,
        #[command(flatten)]
        why: Because,
    },
}

/// What to switch on again.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum On {
    /// A tool
    Tool {
        /// NAME, or NAME@VERSION, as it was switched off
        #[arg(value_parser = Switched::tool)]
        tool: Switched,
        #[command(flatten)]
        why: Why,
    },
    /// A step
    Step {
        /// The workflow
        workflow: Name,
        /// The step
        step: Name,
        #[command(flatten)]
        why: Why,
    },
}

/// Who switches something off, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct Because {
    /// Why: runs and Claude are told
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Deserialize)]
struct All {
    switches: Vec<Line>,
}

#[derive(Debug, Deserialize)]
struct Line {
    #[serde(flatten)]
    what: Switched,
    off: bool,
    at: Timestamp,
    by: Option<String>,
    reason: Option<String>,
    hold: bool,
}

pub(crate) async fn run(client: &Client, command: Switch) -> anyhow::Result<ExitCode> {
    match command {
        Switch::List { output } => {
            let all = client.get(SWITCHES).await?;
            print(output.json(), all, |all: All| table(&all))?;
        }
        Switch::Off(Off::Tool { tool, hold, why }) => {
            let body = json!({"hold": hold, "reason": why.reason, "by": why.by.name()});
            send(client, Method::PUT, &tool, &body, why.output.json()).await?;
        }
        Switch::Off(Off::Step {
            workflow,
            step,
            why,
        }) => {
            let body = json!({"reason": why.reason, "by": why.by.name()});
            let what = Switched::Step { workflow, step };
            send(client, Method::PUT, &what, &body, why.output.json()).await?;
        }
        Switch::On(On::Tool { tool, why }) => {
            send(
                client,
                Method::DELETE,
                &tool,
                &why.body(),
                why.output.json(),
            )
            .await?;
        }
        Switch::On(On::Step {
            workflow,
            step,
            why,
        }) => {
            let what = Switched::Step { workflow, step };
            send(
                client,
                Method::DELETE,
                &what,
                &why.body(),
                why.output.json(),
            )
            .await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn send(
    client: &Client,
    method: Method,
    what: &Switched,
    body: &Value,
    json: bool,
) -> anyhow::Result<()> {
    let path = format!("{SWITCHES}/{}", words(what, "/"));
    let line = client.send_json(method, &path, body).await?;
    print(json, line, |line: Line| told(&line))
}

/// What is switched, as commands and paths name it.
fn words(what: &Switched, between: &str) -> String {
    match what {
        Switched::Tool {
            name,
            version: None,
        } => format!("tool{between}{name}"),
        Switched::Tool {
            name,
            version: Some(version),
        } => format!("tool{between}{name}@{version}"),
        Switched::Step { workflow, step } => format!("step{between}{workflow}{between}{step}"),
    }
}

fn told(line: &Line) -> Vec<String> {
    let what = &line.what;
    if !line.off {
        return vec![format!("{what} is on again")];
    }
    let then = match what {
        Switched::Tool { .. } if line.hold => "what is decided for it waits",
        Switched::Tool { .. } => "what is decided for it is refused",
        Switched::Step { .. } => "runs that have not begun it skip it",
    };
    let on = format!("on again: flotilla switch on {}", words(what, " "));
    vec![format!("{what} is switched off: {then}"), dim(on)]
}

fn table(all: &All) -> Vec<String> {
    if all.switches.is_empty() {
        return vec!["nothing is switched off".to_owned()];
    }
    let lines = all.switches.iter().map(|line| {
        let hold = if line.hold { ", held" } else { "" };
        let said = said(line.at, line.by.as_deref(), line.reason.as_deref());
        format!(
            "{}{hold} {}",
            bold(&line.what),
            dim(format!("since {said}"))
        )
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_switched_is_named_as_it_is_typed() {
        for typed in ["book", "book@2"] {
            let what = Switched::tool(typed).unwrap();
            assert_eq!(words(&what, "/"), format!("tool/{typed}"));
        }
    }

    #[test]
    fn a_switch_says_what_follows_and_how_it_is_undone() {
        let line = |what: Value, off: bool, hold: bool| {
            let mut line = json!({"off": off, "at": "2026-11-21T10:00:00Z", "by": "ann", "reason": "it\u{1b} books twice", "hold": hold});
            for (field, value) in what.as_object().unwrap() {
                line[field] = value.clone();
            }
            line
        };
        let tool = json!({"kind": "tool", "name": "book", "version": 2});
        let step = json!({"kind": "step", "workflow": "w", "step": "look"});
        let of = |line: Value| told(&serde_json::from_value(line).unwrap()).join("\n");
        assert_eq!(
            of(line(tool.clone(), true, false)),
            "tool `book@2` is switched off: what is decided for it is refused\non again: flotilla switch on tool book@2"
        );
        assert!(of(line(tool.clone(), true, true)).contains("waits"));
        assert_eq!(
            of(line(step.clone(), true, false)),
            "step `look` of workflow `w` is switched off: runs that have not begun it skip it\non again: flotilla switch on step w look"
        );
        assert_eq!(
            of(line(tool.clone(), false, false)),
            "tool `book@2` is on again"
        );
        let all = json!({"switches": [line(tool, true, true), line(step, true, false)]});
        let expected = "\
tool `book@2`, held since 2026-11-21T10:00:00Z by ann: it books twice
step `look` of workflow `w` since 2026-11-21T10:00:00Z by ann: it books twice";
        assert_eq!(
            table(&serde_json::from_value(all).unwrap()).join("\n"),
            expected
        );
    }
}
