//! `fleet`: who is there, what waits, and what a person should look at.

use std::{collections::BTreeMap, process::ExitCode};

use flotilla_common::beat::{Role, Standing};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    client::{Client, print},
    output::Output,
    style::{bad, bold, dim, good, one_line, warn},
};

/// Longest text of somebody else's in a line, in characters.
const WORDS_MAX: usize = 200;

/// How to show it.
#[derive(Debug, clap::Args)]
pub(crate) struct Fleet {
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Deserialize)]
struct Shown {
    workers: Vec<Worker>,
    queues: Vec<Queue>,
    attention: Vec<Attention>,
    health: Health,
    #[serde(default)]
    missing: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Worker {
    role: Role,
    worker: String,
    host: String,
    version: String,
    state: Standing,
    silent_seconds: u64,
    slots: Option<u64>,
    in_work: u64,
    rss_bytes: u64,
    cpu_ms: u64,
}

#[derive(Debug, Deserialize)]
struct Queue {
    consumer: String,
    pending: u64,
    in_flight: u64,
    redelivered: u64,
    oldest_seconds: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Attention {
    severity: String,
    text: String,
}

#[derive(Debug, Deserialize)]
struct Health {
    nats: String,
    redis: String,
    claude: String,
}

pub(crate) async fn run(client: &Client, args: Fleet) -> anyhow::Result<ExitCode> {
    let fleet: Value = client.get("/v1/fleet").await?;
    print(args.output.json(), fleet, |shown: Shown| lines(&shown))?;
    Ok(ExitCode::SUCCESS)
}

fn lines(shown: &Shown) -> Vec<String> {
    let Health {
        nats,
        redis,
        claude,
    } = &shown.health;
    let mut lines = vec![format!(
        "NATS {}, Redis {}, Claude {}",
        dot(nats),
        dot(redis),
        dot(claude)
    )];
    lines.push(String::new());
    lines.push(bold(format!(
        "{:<9} {:<20} {:<16} {:<8} {:<9} {:>11} {:>9} {:>9}",
        "role", "worker", "host", "version", "state", "in work", "memory", "CPU"
    )));
    lines.extend(shown.workers.iter().map(worker));
    if shown.workers.is_empty() {
        lines.push(dim("nobody was heard of yet"));
    }
    let busy = |queue: &&Queue| queue.pending + queue.in_flight > 0;
    let idle = shown.queues.iter().filter(|queue| !busy(queue)).count();
    lines.push(String::new());
    lines.push(bold(format!(
        "{:<30} {:>9} {:>10} {:>12} {:>8}",
        "queue", "waiting", "in work", "again", "oldest"
    )));
    lines.extend(shown.queues.iter().filter(busy).map(queue));
    lines.push(dim(format!("{idle} more have nothing")));
    if !shown.attention.is_empty() {
        lines.push(String::new());
        lines.push(bold("needs attention"));
        lines.extend(shown.attention.iter().map(note));
    }
    for (what, why) in &shown.missing {
        let (what, why) = (one_line(what, 40), one_line(why, WORDS_MAX));
        lines.push(warn(format!("not known: {what} ({why})")));
    }
    lines
}

fn dot(state: &str) -> String {
    let state = one_line(state, 20);
    match state.as_str() {
        "ok" => good(state),
        "down" => bad(state),
        _ => warn(state),
    }
}

fn worker(one: &Worker) -> String {
    let state = format!("{:<9}", one.state);
    let state = match one.state {
        Standing::Active => good(state),
        Standing::Draining => warn(state),
        Standing::Lost => bad(state),
        Standing::Gone => dim(state),
    };
    let slots = one.slots.map_or_else(
        || one.in_work.to_string(),
        |slots| format!("{}/{slots}", one.in_work),
    );
    let silent = if one.state.is_there() {
        String::new()
    } else {
        dim(format!(" {} s ago", one.silent_seconds))
    };
    format!(
        "{:<9} {:<20} {:<16} {:<8} {state} {slots:>11} {:>5} MiB {:>7} s{silent}",
        one.role,
        one_line(&one.worker, 20),
        one_line(&one.host, 16),
        one_line(&one.version, 8),
        one.rss_bytes >> 20,
        one.cpu_ms / 1_000,
    )
}

fn queue(one: &Queue) -> String {
    let oldest = one
        .oldest_seconds
        .map_or_else(|| "-".to_owned(), |age| format!("{age} s"));
    format!(
        "{:<30} {:>9} {:>10} {:>12} {oldest:>8}",
        one_line(&one.consumer, 30),
        one.pending,
        one.in_flight,
        one.redelivered
    )
}

fn note(one: &Attention) -> String {
    let text = one_line(&one.text, WORDS_MAX);
    match one.severity.as_str() {
        "critical" => format!("  {} {text}", bad("!")),
        "warning" => format!("  {} {text}", warn("!")),
        _ => format!("  - {text}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fleet_is_shown_with_who_is_lost_what_waits_and_what_to_look_at() {
        let worker = |name: &str, state: &str| {
            json!({"role": "planner", "worker": name, "host": "a\u{1b}", "pid": 1, "version": "0.1.0", "state": state,
                "started_at": "2026-11-21T10:00:00Z", "silent_seconds": 9, "slots": 16, "in_work": 3, "rss_bytes": 10 << 20, "cpu_ms": 5_500})
        };
        let queue = |name: &str, pending: u64| {
            json!({"consumer": name, "stream": "RUNS", "pending": pending, "in_flight": 0, "redelivered": 0, "waiting_pulls": 1,
                "oldest_seconds": 70})
        };
        let shown = json!({"workers": [worker("planner-1", "active"), worker("planner-2", "lost")],
            "queues": [queue("planner", 0), queue("tool-df", 12)],
            "attention": [{"severity": "critical", "kind": "no_executor", "text": "no executor has tool df", "link": "/v1/tools/df"}],
            "health": {"nats": "ok", "redis": "ok", "claude": "unknown", "why": {}}, "missing": {"cron": "no answer in time"}});
        let text = lines(&serde_json::from_value(shown).unwrap()).join("\n");
        for words in [
            "Claude unknown",
            "planner-2",
            "lost",
            "9 s ago",
            "3/16",
            "10 MiB",
            "tool-df",
            "70 s",
            "1 more have nothing",
            "! no executor has tool df",
            "not known: cron",
        ] {
            assert!(text.contains(words), "`{words}` in {text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
