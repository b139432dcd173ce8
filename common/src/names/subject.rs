//! Subjects.

use crate::{
    entry::Kind,
    ids::{EventType, Name, RunId},
};

/// First parts of subjects that no tool may ask: the fleet's own and the clients' inboxes.
const RESERVED: [&str; 8] = [
    "runs", "events", "dead", "cron", "fleet", "audit", "nudge", "_INBOX",
];

/// Whether what begins so is the fleet's or the server's (`$…`) own.
#[must_use]
pub fn is_reserved(first: &str) -> bool {
    first.starts_with('$') || RESERVED.contains(&first)
}

/// How a run began.
#[must_use]
pub fn started(run: &RunId) -> String {
    format!("runs.{run}.{}.*", Kind::Started)
}

/// How a run ended.
#[must_use]
pub fn end(run: &RunId) -> String {
    format!("runs.{run}.{}.end", Kind::Decided)
}

/// All of stream RUNS.
pub const ALL_RUNS: &str = "runs.>";
/// All of stream EVENTS.
pub const ALL_EVENTS: &str = "events.>";
/// All of stream DEAD.
pub const ALL_DEAD: &str = "dead.>";
/// All of stream AUDIT.
pub const ALL_AUDIT: &str = "audit.>";
/// All of stream CRON.
pub const ALL_CRON: &str = "cron.>";
/// All of [`nudge`].
pub const ALL_NUDGES: &str = "nudge.*";
/// All of stream ADVISORIES: what was handed out too often, or ended without having been handled, of the streams that Flotilla
/// works from. What is handed back for a while is no news.
pub const ALL_ADVISORIES: [&str; 6] = [
    "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.RUNS.*",
    "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.EVENTS.*",
    "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.CRON.*",
    "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.RUNS.*",
    "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.EVENTS.*",
    "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.CRON.*",
];
/// Of stream CRON, what is still to come.
pub const ALL_CRON_TIMERS: &str = "cron.timer.*";
/// Of stream CRON, what has fallen due.
pub const ALL_CRON_DUE: &str = "cron.due.*";

/// An entry: `runs.<run>.<kind>.<name>`.
#[must_use]
pub fn entry(run: &RunId, kind: Kind, name: &Name) -> String {
    format!("runs.{run}.{kind}.{name}")
}

/// Everything of one run.
#[must_use]
pub fn run(run: &RunId) -> String {
    format!("runs.{run}.>")
}

/// What planners wrote of one run: its chain.
#[must_use]
pub fn chain(run: &RunId) -> String {
    format!("runs.{run}.decided.>")
}

/// Entries of one kind, of every run.
#[must_use]
pub fn every(kind: Kind) -> String {
    format!("runs.*.{kind}.>")
}

/// Decisions for one tool, of every run.
#[must_use]
pub fn decided(tool: &Name) -> String {
    format!("runs.*.decided.{tool}")
}

/// The message schedule that fires `name`: it does not become an entry itself.
#[must_use]
pub fn timer(run: &RunId, name: &Name) -> String {
    format!("runs.{run}.timer.{name}")
}

/// Where events of a type are published.
#[must_use]
pub fn event(kind: &EventType) -> String {
    format!("events.{kind}")
}

/// The type of what was published on an `events.…` subject.
#[must_use]
pub fn event_type(subject: &str) -> Option<EventType> {
    subject.strip_prefix("events.")?.parse().ok()
}

/// The one message schedule of a workflow with a cron expression; it fires to [`cron_due`].
#[must_use]
pub fn cron_timer(workflow: &Name) -> String {
    format!("cron.timer.{workflow}")
}

/// The workflow of a [`cron_timer`] subject.
#[must_use]
pub fn cron_timer_workflow(subject: &str) -> Option<Name> {
    subject.strip_prefix("cron.timer.")?.parse().ok()
}

/// That a workflow has fallen due.
#[must_use]
pub fn cron_due(workflow: &Name) -> String {
    format!("cron.due.{workflow}")
}

/// A dead letter: the role that gave up, and the subject of what it gave up on.
#[must_use]
pub fn dead(role: &str, subject: &str) -> String {
    format!("dead.{role}.{subject}")
}

/// The role that gave up on a dead letter.
#[must_use]
pub fn dead_role(subject: &str) -> Option<&str> {
    subject.strip_prefix("dead.")?.split('.').next()
}

/// The dead letters of one run, whoever gave up.
#[must_use]
pub fn dead_of(run: &RunId) -> String {
    format!("dead.*.runs.{run}.>")
}

/// What was done in an area: `audit.runs.cancel`. Written by gateways.
#[must_use]
pub fn audit(area: &str, verb: &str) -> String {
    let token = |word: &str| word.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    format!("audit.{}.{}", token(area), token(verb))
}

/// What is known of a message that JetStream gave up on and that is not there any more.
#[must_use]
pub fn lost(stream: &str, seq: u64) -> String {
    format!("lost.{stream}.{seq}")
}

/// That a signal for a run was written, for whoever waits for Claude on its behalf. Kept nowhere, and not on the signal's own
/// subject: where somebody listens, a push consumer can make the server say anything, and what is said there must be of no weight.
#[must_use]
pub fn nudge(run: &RunId) -> String {
    format!("nudge.{run}")
}

/// The run of a [`nudge`].
#[must_use]
pub fn nudged(subject: &str) -> Option<RunId> {
    subject.strip_prefix("nudge.")?.parse().ok()
}

/// Signals of one name, of every run.
#[must_use]
pub fn signals(name: &str) -> String {
    format!("runs.*.signalled.{name}")
}
