//! What decisions look like in the metrics.

use flotilla_common::{
    entry::{Body, Decision, Entry},
    io::telemetry::metric,
    run::Run,
};
use metrics::{counter, histogram};
use tracing::info;

/// Counts a decision.
pub(crate) fn observe(run: &Run, entry: &Entry) {
    let (Body::Decided(decided), Some(begun)) = (&entry.body, &run.begun) else {
        return;
    };
    let workflow = begun.pin.name.to_string();
    let kind = match &decided.decision {
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
    };
    counter!(metric::DECISIONS, "workflow" => workflow.clone(), "kind" => kind).increment(1);
    if let Some(call) = &decided.call {
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
        counter!(metric::CLAUDE_COST, "workflow" => workflow.clone(), "model" => call.model.clone())
            .increment(call.usd_nano.nano());
        let rejected = call
            .attempts
            .iter()
            .filter(|attempt| attempt.complaint.is_some())
            .count();
        counter!(metric::DECISIONS_REJECTED, "reason" => "reply").increment(rejected as u64);
    }
    if let Some(end) = &run.end {
        let outcome = end.outcome.to_string();
        info!(outcome, reason = end.reason, "run ended");
        let took = end.at.duration_since(begun.at).as_secs_f64();
        counter!(metric::RUNS_FINISHED, "workflow" => workflow.clone(), "outcome" => outcome.clone()).increment(1);
        histogram!(metric::RUN_DURATION, "workflow" => workflow, "outcome" => outcome).record(took);
    }
}
