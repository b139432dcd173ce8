//! What decisions look like in the metrics.

use std::sync::Arc;

use flotilla_common::{
    claude::Usage,
    definition::Catalogue,
    entry::{Answered, Attempt, Body, Call, Decision, Entry, Outcome},
    io::{definitions::Live, telemetry::metric},
    run::{Begun, Run},
};
use jiff::Timestamp;
use metrics::{counter, histogram};
use tracing::info;

/// Outcomes of [`metric::ADHERENCE`].
const AS_GIVEN: &str = "as_given";
const REPAIRED: &str = "repaired";
const GIVEN_UP: &str = "given_up";
/// Reasons of [`metric::CLAUDE_COST_WASTED`].
const REJECTED: &str = "rejected";
const LOST: &str = "lost";

/// Work that is taken up again: a kind of [`metric::RECOVERIES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recovered {
    /// A message that somebody had been given before.
    Message,
    /// A claim of who was lost.
    Claim,
    /// A reply that was saved already.
    Saved,
}

impl Recovered {
    const ALL: [Self; 3] = [Self::Message, Self::Claim, Self::Saved];

    /// Counts it, so often.
    pub(crate) fn count(self, by: u64) {
        let kind = match self {
            Self::Message => "message",
            Self::Claim => "claim",
            Self::Saved => "saved",
        };
        counter!(metric::RECOVERIES, "role" => "planner", "kind" => kind).increment(by);
    }
}

/// Keeps counters there for all workflows, from before their first run on: for ever.
pub(crate) async fn keep_counters(mut definitions: Live) {
    for reason in ["missing", "stale", "redelivered", "conflict"] {
        counter!(metric::REBUILDS, "reason" => reason).increment(0);
    }
    counter!(metric::DECISIONS_REJECTED, "reason" => "reply").increment(0);
    counter!(metric::CLAIMS_HELD, "role" => "planner").increment(0);
    for kind in Recovered::ALL {
        kind.count(0);
    }
    let mut catalogue: Arc<Catalogue> = definitions.current();
    loop {
        for name in catalogue.names() {
            begin_counting(name.as_str());
        }
        catalogue = definitions.changed().await;
    }
}

fn begin_counting(workflow: &str) {
    let workflow = || workflow.to_owned();
    counter!(metric::RUNS_STARTED, "workflow" => workflow()).increment(0);
    let outcomes = [
        Outcome::Completed,
        Outcome::Escalated,
        Outcome::Failed,
        Outcome::Cancelled,
    ];
    for outcome in outcomes {
        let outcome = outcome.to_string();
        counter!(metric::RUNS_FINISHED, "workflow" => workflow(), "outcome" => outcome)
            .increment(0);
    }
    for outcome in [AS_GIVEN, REPAIRED, GIVEN_UP] {
        counter!(metric::ADHERENCE, "workflow" => workflow(), "outcome" => outcome).increment(0);
    }
    for reason in [REJECTED, LOST] {
        counter!(metric::CLAUDE_COST_WASTED, "workflow" => workflow(), "reason" => reason)
            .increment(0);
    }
}

/// Counts a reply that was paid and is not taken.
pub(crate) fn rejected(workflow: &str, answered: &Answered) {
    let Usage {
        input_tokens,
        cache_creation_input_tokens,
        cache_read_input_tokens,
        output_tokens,
        ..
    } = answered.reply.usage;
    let parts = [
        input_tokens,
        cache_creation_input_tokens,
        cache_read_input_tokens,
        output_tokens,
    ];
    let tokens = parts.into_iter().fold(0, u64::saturating_add);
    let model = answered.reply.model.clone();
    counter!(metric::CLAUDE_TOKENS_WASTED, "model" => model).increment(tokens);
    let workflow = workflow.to_owned();
    counter!(metric::CLAUDE_COST_WASTED, "workflow" => workflow, "reason" => REJECTED)
        .increment(answered.usd_nano.nano());
}

/// Counts a decision.
pub(crate) fn observe(run: &Run, entry: &Entry) {
    let (Body::Decided(decided), Some(begun)) = (&entry.body, &run.begun) else {
        return;
    };
    let workflow = begun.pin.name.to_string();
    let kind = label(&decided.decision);
    counter!(metric::DECISIONS, "workflow" => workflow.clone(), "kind" => kind).increment(1);
    if let Some(call) = &decided.call {
        of_call(&workflow, call);
        if let Some(outcome) = adherence(&decided.decision, &call.attempts) {
            counter!(metric::ADHERENCE, "workflow" => workflow.clone(), "outcome" => outcome)
                .increment(1);
        }
    }
    // The end is not among the decisions that a run counts, nor are those that only wait.
    let first = u32::from(run.end.is_none());
    let counts = decided.decision.is_step() || run.end.is_some();
    if counts
        && run.decisions == first
        && let Some(waited) = since_received(begun, entry.at)
    {
        histogram!(metric::FIRST_DECISION, "workflow" => workflow).record(waited);
    }
    if run.end.is_some() {
        ended(run, begun);
    }
}

fn of_call(workflow: &str, call: &Call) {
    counter!(metric::CLAUDE_WASTED).increment(call.wasted);
    let tokens = [
        ("input", call.usage.input_tokens),
        ("cache_write", call.usage.cache_creation_input_tokens),
        ("cache_read", call.usage.cache_read_input_tokens),
        ("output", call.usage.output_tokens),
    ];
    for (kind, count) in tokens {
        counter!(metric::CLAUDE_TOKENS, "model" => call.model.clone(), "kind" => kind)
            .increment(count);
    }
    let workflow = workflow.to_owned();
    counter!(metric::CLAUDE_COST, "workflow" => workflow.clone(), "model" => call.model.clone())
        .increment(call.usd_nano.nano());
    counter!(metric::CLAUDE_COST_WASTED, "workflow" => workflow, "reason" => LOST)
        .increment(call.wasted_usd_nano.nano());
    let rejected = call.attempts.iter().filter(|it| it.complaint.is_some());
    let rejected = rejected.filter(|it| !it.told).map(|_| 1).sum();
    counter!(metric::DECISIONS_REJECTED, "reason" => "reply").increment(rejected);
}

/// How a decision of Claude's came about; `None`: it only tells what was paid for others.
fn adherence(decision: &Decision, attempts: &[Attempt]) -> Option<&'static str> {
    if matches!(
        decision,
        Decision::Abandon {} | Decision::End { .. } | Decision::Park { .. }
    ) {
        return None;
    }
    let last = attempts.last()?;
    let is_taken = last.complaint.is_none();
    let is_first = attempts.iter().all(|it| it.complaint.is_none());
    Some(match (is_taken, is_first) {
        (true, true) => AS_GIVEN,
        (true, false) => REPAIRED,
        (false, _) => GIVEN_UP,
    })
}

/// Seconds since the run's event was on disk. The clock there may be ahead of this one.
fn since_received(begun: &Begun, until: Timestamp) -> Option<f64> {
    let waited = until.duration_since(begun.received?);
    Some(waited.as_secs_f64().max(0.0))
}

fn ended(run: &Run, begun: &Begun) {
    let Some(end) = &run.end else {
        return;
    };
    let (workflow, outcome) = (begun.pin.name.to_string(), end.outcome.to_string());
    info!(outcome, reason = end.reason, "run ended");
    let took = end.at.duration_since(begun.at).as_secs_f64();
    counter!(metric::RUNS_FINISHED, "workflow" => workflow.clone(), "outcome" => outcome.clone())
        .increment(1);
    histogram!(metric::RUN_DURATION, "workflow" => workflow.clone(), "outcome" => outcome.clone())
        .record(took);
    if let Some(waited) = since_received(begun, end.at) {
        histogram!(metric::RUN_END_TO_END, "workflow" => workflow, "outcome" => outcome)
            .record(waited);
    }
}

/// The label of a decision's kind, in metrics and spans.
pub(crate) fn label(decision: &Decision) -> &'static str {
    match decision {
        Decision::Act { .. } => "act",
        Decision::Answer { .. } => "answer",
        Decision::Finish { .. } => "finish",
        Decision::Park { .. } => "park",
        Decision::Abandon {} => "abandon",
        Decision::Branch { .. } => "branch",
        Decision::Skip {} => "skip",
        Decision::Begin { .. } => "begin",
        Decision::Each { .. } => "each",
        Decision::Sleep { .. } => "sleep",
        Decision::Approve(_) => "approval",
        Decision::Run { .. } => "run",
        Decision::Review { .. } => "review",
        Decision::Fail { .. } => "fail",
        Decision::Again { .. } => "again",
        Decision::Undo { .. } => "undo",
        Decision::End { .. } => "end",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(complaints: &[Option<&str>]) -> Vec<Attempt> {
        let attempt = |complaint: &Option<&str>| Attempt {
            content: Vec::new(),
            complaint: complaint.map(str::to_owned),
            faults: Vec::new(),
            dropped: false,
            request_id: None,
            took_ms: 1,
            told: false,
        };
        complaints.iter().map(attempt).collect()
    }

    #[test]
    fn a_plan_is_kept_to_when_the_first_reply_was_taken() {
        let decision = Decision::Skip {};
        for (complaints, expected) in [
            (&[None][..], Some(AS_GIVEN)),
            (&[Some("no such tool"), None], Some(REPAIRED)),
            (&[Some("no such tool"), Some("again")], Some(GIVEN_UP)),
            (&[], None),
        ] {
            let outcome = adherence(&decision, &attempts(complaints));
            assert_eq!(outcome, expected, "{complaints:?}");
        }
    }

    #[test]
    fn what_only_tells_what_was_paid_says_nothing_of_plans() {
        let told = attempts(&[Some("not taken: the run ended")]);
        assert_eq!(adherence(&Decision::Abandon {}, &told), None);
    }
}
