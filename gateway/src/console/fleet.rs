//! `/fleet`: who is there, what waits for whom, what stands in the way, what falls due.

use std::{collections::BTreeSet, sync::Arc};

use askama::Template;
use axum::{
    Router,
    extract::{Query, State},
    response::Response,
    routing::get,
};
use flotilla_common::{
    beat::Standing,
    breaker::State as Breaker,
    io::{clock, http::Problem, limiter::Snapshot, queues::Queue},
    names::consumer,
};
use jiff::Timestamp;

use super::{
    attention::Line as AttentionLine,
    chart::{Markup, Unit, budget, used},
    did,
    door::Door,
    frame::{Frame, Section, page as framed},
    ink,
    tools::badge_of,
    words::{Sign, between, span},
};
use crate::{
    fleet::view::{Dot, Fleet, Tool, Worker, fleet},
    routes::App,
};

/// The page.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/fleet", get(page))
}

#[derive(Debug, Template)]
#[template(path = "fleet.html")]
struct Page {
    frame: Frame,
    fleet: Fleet,
    workers: Vec<WorkerLine>,
    limits: Vec<LimitLine>,
    /// Queues that something is in, or that are not a tool's.
    queues: Vec<Queue>,
    /// Queues of tools that nothing is in.
    idle: Vec<Queue>,
    lines: Vec<AttentionLine>,
    health: Vec<HealthLine>,
    may: bool,
    now: Timestamp,
}

#[derive(Debug)]
struct WorkerLine {
    worker: Worker,
    /// How many of its slots are used.
    bar: Option<Markup>,
}

/// What is left of a rate limit now.
#[derive(Debug)]
struct LimitLine {
    scope: String,
    kind: &'static str,
    words: String,
    /// `None`: there is no limit.
    bar: Option<Markup>,
    /// What holds all calls back besides.
    held: Option<String>,
}

#[derive(Debug)]
struct HealthLine {
    name: &'static str,
    tone: &'static str,
    word: &'static str,
    why: Option<String>,
}

async fn page(
    State(app): State<Arc<App>>,
    door: Door,
    Query(query): Query<did::Query>,
) -> Result<Response, Problem> {
    let mut seen = fleet(&app, door.caller()).await;
    let now = clock::now();
    let may = door.may_for_all();
    let frame = Frame::load(&app, door, Section::Fleet, "Fleet").await;
    let lines = std::mem::take(&mut seen.attention).into_iter();
    let queues = std::mem::take(&mut seen.queues).into_iter();
    let of_tools: BTreeSet<String> = seen
        .tools
        .iter()
        .map(|tool| consumer::tool(&tool.name))
        .collect();
    let is_idle = |queue: &Queue| {
        of_tools.contains(&queue.consumer) && queue.pending == 0 && queue.in_flight == 0
    };
    let (idle, queues) = queues.partition(is_idle);
    seen.tools.sort_by_key(|tool| !needs_look(tool));
    framed(&Page {
        frame: frame.notice(query.notice()),
        workers: std::mem::take(&mut seen.workers)
            .into_iter()
            .map(worker)
            .collect(),
        limits: seen
            .limits
            .iter()
            .flat_map(|one| limits(one, now))
            .collect(),
        lines: lines.map(AttentionLine::from).collect(),
        health: health(&seen),
        queues,
        idle,
        fleet: seen,
        may,
        now,
    })
}

impl WorkerLine {
    fn tone(&self) -> &'static str {
        match self.worker.state {
            Standing::Active => "good",
            Standing::Draining => "warn",
            Standing::Lost => "bad",
            Standing::Gone => "calm",
        }
    }

    fn sign(&self) -> Sign {
        match self.worker.state {
            Standing::Active => Sign::Check,
            Standing::Draining => Sign::Clock,
            Standing::Lost => Sign::Cross,
            Standing::Gone => Sign::Stop,
        }
    }

    fn word(&self) -> &'static str {
        match self.worker.state {
            Standing::Active => "active",
            Standing::Draining => "draining",
            Standing::Lost => "lost",
            Standing::Gone => "gone",
        }
    }

    fn is_there(&self) -> bool {
        self.worker.state.is_there()
    }

    fn memory(&self) -> String {
        format!("{:.0} MB", real(self.worker.rss_bytes) / 1e6)
    }

    /// The part of one CPU that it has used since it began.
    fn cpu(&self, now: &Timestamp) -> String {
        let seconds = between(self.worker.started_at, *now).as_secs_f64().max(1.0);
        format!("{:.0} %", real(self.worker.cpu_ms) / 10.0 / seconds)
    }

    fn up(&self, now: &Timestamp) -> String {
        span(between(self.worker.started_at, *now))
    }
}

fn worker(worker: Worker) -> WorkerLine {
    let bar = worker.slots.map(|slots| {
        let words = format!("{} of {slots} slots", worker.in_work);
        used(worker.in_work, slots, &words)
    });
    WorkerLine { worker, bar }
}

/// Whether somebody should look at a tool before the others.
fn needs_look(tool: &Tool) -> bool {
    tool.breaker != Breaker::Closed
        || tool.forced.is_some()
        || tool.switched_off
        || tool.executors.is_empty()
        || tool.waiting.is_some_and(|waiting| waiting > 0)
}

fn limits(snapshot: &Snapshot, now: Timestamp) -> Vec<LimitLine> {
    let standing = &snapshot.standing;
    let held = held(snapshot, now);
    let kinds = [
        (
            "requests",
            standing.limits.requests,
            standing.levels.requests,
        ),
        ("input tokens", standing.limits.input, standing.levels.input),
        (
            "output tokens",
            standing.limits.output,
            standing.levels.output,
        ),
    ];
    let known = kinds.into_iter().filter_map(|(kind, limit, level)| {
        let limit = limit.filter(|limit| *limit > 0)?;
        let spent = level.map_or(0.0, |level| (real(limit) - level).max(0.0));
        let words = format!(
            "{} of {} {kind} a minute",
            super::words::short(whole(spent)),
            super::words::short(limit)
        );
        Some(LimitLine {
            scope: snapshot.scope.clone(),
            kind,
            bar: Some(budget(spent, real(limit), &words)),
            words,
            held: held.clone(),
        })
    });
    let lines: Vec<_> = known.collect();
    if !lines.is_empty() {
        return lines;
    }
    let words = match standing.unlimited {
        true => "no limit",
        false => "no limit was told yet",
    };
    vec![LimitLine {
        scope: snapshot.scope.clone(),
        kind: "all",
        bar: None,
        words: words.to_owned(),
        held,
    }]
}

fn held(snapshot: &Snapshot, now: Timestamp) -> Option<String> {
    let standing = &snapshot.standing;
    let until = standing.blocked_until_ms;
    let until =
        until.and_then(|until| Timestamp::from_millisecond(i64::try_from(until).ok()?).ok());
    let until = until.filter(|until| *until > now);
    if let Some(until) = until {
        return Some(format!("all calls wait {} more", span(between(now, until))));
    }
    if snapshot.degraded {
        return Some("not shared: Redis does not answer".to_owned());
    }
    let cap = standing.cap_per_s;
    cap.map(|cap| format!("ramping up: at most {cap:.1} calls/s"))
}

fn health(fleet: &Fleet) -> Vec<HealthLine> {
    let health = &fleet.health;
    let line = |name, key, dot| {
        let (tone, word) = match dot {
            Dot::Ok => ("good", "well"),
            Dot::Degraded => ("warn", "degraded"),
            Dot::Down => ("bad", "down"),
            Dot::Unknown => ("calm", "not known"),
        };
        HealthLine {
            name,
            tone,
            word,
            why: health.why.get(key).cloned(),
        }
    };
    vec![
        line("NATS", "nats", health.nats),
        line("Redis", "redis", health.redis),
        line("Claude", "claude", health.claude),
    ]
}

fn breaker_tone(state: &Breaker) -> &'static str {
    badge_of(*state).0
}

fn breaker_word(state: &Breaker) -> &'static str {
    badge_of(*state).1
}

/// How long ago a worker was heard.
fn heard(seconds: &u64) -> String {
    match seconds {
        0..3 => "just now".to_owned(),
        seconds => format!("{} ago", self::seconds(seconds)),
    }
}

fn seconds(seconds: &u64) -> String {
    Unit::Seconds.value(real(*seconds))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn real(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "never below nothing, and a cast ends at the largest number"
)]
fn whole(amount: f64) -> u64 {
    amount.max(0.0).round() as u64
}
