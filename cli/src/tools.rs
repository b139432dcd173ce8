//! `tools`: how tools stand, and what people decide about their breakers.

use std::process::ExitCode;

use flotilla_common::{
    breaker::{Forced, State},
    ids::Name,
    io::tools::VersionState,
};
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use crate::{
    client::{Client, print},
    output::Output,
    settings::Settings,
    signals::{By, Why},
    style::{bad, bold, dim, good, one_line, warn},
    trial::{self, Trial},
};

const TOOLS: &str = "/v1/tools";
/// Longest text of somebody else's in a line, in characters.
const WORDS_MAX: usize = 160;

/// Which tools.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Tools {
    #[command(subcommand)]
    command: Option<ToolCommand>,
    /// One of them, with what every executor says
    name: Option<Name>,
    #[command(flatten)]
    output: Output,
}

/// What to do with tools.
#[derive(Debug, clap::Subcommand)]
enum ToolCommand {
    #[command(flatten)]
    Decide(Decide),
    #[command(flatten)]
    Trial(Trial),
}

/// What to decide about a tool's breakers.
#[derive(Debug, clap::Subcommand)]
enum Decide {
    /// Stop calling a tool: what is decided for it waits in the stream
    Open(Force),
    /// Call a tool whatever comes of it
    Close(Force),
    /// Let a tool's breakers decide again
    Auto {
        /// The tool
        name: Name,
        #[command(flatten)]
        why: Why,
    },
}

/// Which tool's breakers do not decide for themselves, and why.
#[derive(Debug, clap::Args)]
struct Force {
    /// The tool
    name: Name,
    /// Why: those who look are told
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Deserialize)]
struct All {
    tools: Vec<Line>,
}

#[derive(Debug, Deserialize)]
struct Line {
    name: Name,
    versions: Vec<Version>,
    breaker: State,
    forced: Option<ByPerson>,
    #[serde(default)]
    switched_off: Vec<serde_json::Value>,
    waiting: Option<u64>,
    in_hand: Option<u64>,
    executors: Vec<Executor>,
}

#[derive(Debug, Deserialize)]
struct Version {
    version: u32,
    adapter: String,
    effect: String,
    retries: u32,
    fleet_per_minute: Option<u64>,
    has_breaker: bool,
    deprecated: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ByPerson {
    state: Forced,
    by: Option<String>,
    reason: Option<String>,
    at: Timestamp,
}

#[derive(Debug, Deserialize)]
struct Executor {
    worker: String,
    in_work: u32,
    versions: Vec<VersionState>,
}

#[derive(Debug, Deserialize)]
struct Changed {
    name: Name,
    state: String,
}

pub(crate) async fn run(settings: Settings, args: Tools) -> anyhow::Result<ExitCode> {
    match args.command {
        Some(ToolCommand::Trial(trial)) => trial::run(settings, trial).await,
        Some(ToolCommand::Decide(decide)) => decided(&Client::of(&settings)?, decide).await,
        None => look(&Client::of(&settings)?, args.name, args.output.json()).await,
    }
}

async fn decided(client: &Client, decide: Decide) -> anyhow::Result<ExitCode> {
    let forced = |force: Force, state| {
        (
            force.name,
            state,
            Some(force.reason),
            force.by,
            force.output.json(),
        )
    };
    let (name, state, reason, by, json) = match decide {
        Decide::Open(force) => forced(force, "open"),
        Decide::Close(force) => forced(force, "closed"),
        Decide::Auto { name, why } => (name, "auto", why.reason, why.by, why.output.json()),
    };
    let body = json!({"state": state, "reason": reason, "by": by.name()});
    let path = format!("{TOOLS}/{name}/breaker");
    let changed = client.send_json(Method::PUT, &path, &body).await?;
    print(json, changed, |changed: Changed| told(&changed))?;
    Ok(ExitCode::SUCCESS)
}

async fn look(client: &Client, name: Option<Name>, json: bool) -> anyhow::Result<ExitCode> {
    match name {
        None => print(json, client.get(TOOLS).await?, |all: All| table(&all.tools))?,
        Some(name) => {
            let line = client.get(&format!("{TOOLS}/{name}")).await?;
            print(json, line, |line: Line| whole(&line))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn told(changed: &Changed) -> Vec<String> {
    let name = &changed.name;
    let auto = dim(format!("take it back: flotilla tools auto {name}"));
    match changed.state.as_str() {
        "open" => vec![
            format!("`{name}` is stopped: what is decided for it waits"),
            auto,
        ],
        "closed" => vec![format!("`{name}` is called, whatever comes of it"), auto],
        _ => vec![format!(
            "the breakers of `{name}` decide for themselves again"
        )],
    }
}

fn state(line: &Line) -> String {
    let forced = if line.forced.is_some() {
        " (forced)"
    } else {
        ""
    };
    let padded = |word: &str| format!("{:<18}", format!("{word}{forced}"));
    match line.breaker {
        State::Closed => good(padded("closed")),
        State::HalfOpen => warn(padded("half-open")),
        State::Open => bad(padded("open")),
    }
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "?".to_owned(), |number| number.to_string())
}

fn table(lines: &[Line]) -> Vec<String> {
    if lines.is_empty() {
        return vec!["the fleet has no tools; bring some: flotilla apply".to_owned()];
    }
    let head = format!(
        "{:<28} {:<10} {:<18} {:>8} {:>8}  executors",
        "tool", "versions", "breaker", "waiting", "in work"
    );
    let mut table = vec![bold(head)];
    for line in lines {
        let versions: Vec<_> = line
            .versions
            .iter()
            .map(|v| v.version.to_string())
            .collect();
        let in_work: u32 = line.executors.iter().map(|one| one.in_work).sum();
        let off = if line.switched_off.is_empty() {
            ""
        } else {
            ", switched off"
        };
        table.push(format!(
            "{:<28} {:<10} {} {:>8} {:>8}  {}{off}",
            line.name.as_str(),
            versions.join(", "),
            state(line),
            number(line.waiting),
            in_work,
            line.executors.len(),
        ));
    }
    table
}

fn whole(line: &Line) -> Vec<String> {
    let mut lines = table(std::slice::from_ref(line));
    if let Some(forced) = &line.forced {
        let what = match forced.state {
            Forced::Open => "stopped",
            Forced::Closed => "called whatever comes of it",
        };
        let by = forced.by.as_deref().unwrap_or("somebody");
        let reason = forced.reason.as_deref().unwrap_or("no reason is given");
        lines.push(format!(
            "{what} by {} since {:.0}: {}",
            one_line(by, WORDS_MAX),
            forced.at,
            one_line(reason, WORDS_MAX)
        ));
    }
    lines.push(format!("in hand or put off: {}", number(line.in_hand)));
    for version in &line.versions {
        let rate = version.fleet_per_minute;
        let rate = rate.map_or_else(String::new, |rate| format!(", {rate}/m in the fleet"));
        let breaker = if version.has_breaker {
            ""
        } else {
            ", no breaker"
        };
        let deprecated = version.deprecated.as_deref();
        let deprecated =
            deprecated.map(|why| format!(", deprecated: {}", one_line(why, WORDS_MAX)));
        lines.push(format!(
            "v{} {} {}, tried again {} times{rate}{breaker}{}",
            version.version,
            version.adapter,
            version.effect,
            version.retries,
            deprecated.unwrap_or_default()
        ));
    }
    for executor in &line.executors {
        for version in &executor.versions {
            lines.push(stands(&executor.worker, version));
            lines.extend(version.hosts.iter().map(|host| {
                let (name, why) = (
                    one_line(&host.host, WORDS_MAX),
                    one_line(&host.why, WORDS_MAX),
                );
                format!(
                    "    {name}: {} since {:.0}: {why}",
                    host.state.label(),
                    host.since
                )
            }));
        }
    }
    lines
}

fn stands(worker: &str, version: &VersionState) -> String {
    let until = version.until;
    let until = until.map_or_else(String::new, |until| format!(" until {until:.0}"));
    let why = version.why.as_deref().filter(|why| !why.is_empty());
    let why = why.map_or_else(String::new, |why| format!(": {}", one_line(why, WORDS_MAX)));
    format!(
        "  {} v{}: {} since {:.0}{until}, {} of {} calls failed{why}",
        one_line(worker, WORDS_MAX),
        version.version,
        version.state.label(),
        version.since,
        version.failures,
        version.calls
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        serde_json::from_value(json!({
            "name": "book", "breaker": "open", "waiting": 40, "in_hand": 3,
            "forced": {"state": "open", "by": "ann", "reason": "it\u{1b} hurts", "at": "2026-11-21T10:00:00Z"},
            "versions": [{"version": 1, "description": "d", "adapter": "http", "effect": "once", "risk": "low", "concurrency": 4,
                "retries": 2, "fleet_per_minute": 600, "has_breaker": true}],
            "executors": [{"worker": "executor-1", "at": "2026-11-21T10:00:00Z", "in_work": 2, "versions": [
                {"version": 1, "state": "open", "since": "2026-11-21T10:00:00Z", "until": "2026-11-21T10:00:05Z", "calls": 5,
                 "failures": 5, "why": "POST x answered 500", "hosts": [{"host": "a.example", "state": "half_open",
                 "since": "2026-11-21T10:00:01Z", "why": "it broke"}]}]}]
        }))
        .unwrap()
    }

    #[test]
    fn a_tool_is_shown_with_who_stopped_it_and_what_every_executor_saw() {
        let expected = "\
tool                         versions   breaker             waiting  in work  executors
book                         1          open (forced)            40        2  1
stopped by ann since 2026-11-21T10:00:00Z: it hurts
in hand or put off: 3
v1 http once, tried again 2 times, 600/m in the fleet
  executor-1 v1: open since 2026-11-21T10:00:00Z until 2026-11-21T10:00:05Z, 5 of 5 calls failed: POST x answered 500
    a.example: half_open since 2026-11-21T10:00:01Z: it broke";
        assert_eq!(whole(&line()).join("\n"), expected);
        assert!(table(&[]).concat().contains("flotilla apply"));
    }

    #[test]
    fn a_decision_says_what_follows_and_how_it_is_taken_back() {
        let of = |state: &str| {
            let changed = json!({"name": "book", "state": state});
            told(&serde_json::from_value(changed).unwrap()).join("\n")
        };
        assert_eq!(
            of("open"),
            "`book` is stopped: what is decided for it waits\ntake it back: flotilla tools auto book"
        );
        assert!(of("closed").contains("whatever comes of it"));
        assert_eq!(
            of("auto"),
            "the breakers of `book` decide for themselves again"
        );
    }
}
