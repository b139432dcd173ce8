//! Results: what the journal knows of an action, and how its result gets there.

use std::time::Duration;

use flotilla_common::{
    entry::{Body, Decision, Resulted, ToolOutcome},
    io::{
        clock,
        journal::{JournalError, decode},
        store::Lease,
        telemetry::metric,
        worker::HAND_BACK_PAUSE,
    },
    names::subject,
};
use metrics::counter;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::{
    action::Action,
    adapter::failure::{Class, Failure},
    handle::{Executor, Stop, retry},
    spans,
};

/// Pause between tries while NATS does not answer; the journal's own tries come before it.
const OUTAGE_PAUSE: Duration = Duration::from_secs(1);
/// How long a result is tried to be kept in its claim.
const KEEP_PATIENCE: Duration = Duration::from_secs(5);

/// What the journal says of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Its result is there.
    Resulted,
    /// Its run has ended without it.
    Ended,
    /// Nothing yet.
    Nothing,
}

impl Executor {
    /// Looks for the action's result among what its run wrote since the decision.
    pub(crate) async fn look(&self, action: &Action) -> Result<Seen, Stop> {
        let all = subject::run(&action.run);
        let mut messages = self.patient(|| self.journal.raw(&all)).await?;
        messages.retain(|raw| raw.seq > action.seq);
        let mut seen = Seen::Nothing;
        for raw in messages {
            // What cannot be read is no result; whoever needs it says so.
            let Ok(Some(entry)) = decode(&raw) else {
                continue;
            };
            match entry.body {
                Body::Resulted(resulted) if resulted.slot() == action.slot => {
                    return Ok(Seen::Resulted);
                }
                Body::Decided(decided) if matches!(decided.decision, Decision::End { .. }) => {
                    seen = Seen::Ended;
                }
                Body::Resulted(_)
                | Body::Decided(_)
                | Body::Started(_)
                | Body::Signalled(_)
                | Body::Fired(_) => {}
            }
        }
        Ok(seen)
    }

    /// The entry for an outcome.
    pub(crate) fn resulted(
        &self,
        action: &Action,
        outcome: ToolOutcome,
        took: Duration,
        attempts: u32,
    ) -> Resulted {
        Resulted {
            step: action.slot.step.clone(),
            branch: action.slot.branch,
            decided: action.seq,
            tool: action.tool.clone(),
            outcome,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            attempts,
            usd_nano: None,
            reconciled: None,
            worker: self.worker.clone(),
        }
    }

    /// Appends a result, however long NATS is away; what NATS will never take is replaced by a failure that says so. A second copy
    /// does no harm: within NATS' window it is dropped, and the fold takes the first.
    pub(crate) async fn append(
        &self,
        action: &Action,
        resulted: &mut Resulted,
    ) -> Result<(), Stop> {
        let id = action.slot.idempotency_key(&action.run);
        let mut replaced = false;
        loop {
            let payload = Body::Resulted(resulted.clone())
                .encode(clock::now())
                .map_err(|error| Stop::Dead(format!("the result cannot be written: {error}")))?;
            let (run, tool) = (&action.run, &action.tool);
            match self.journal.result(run, tool, &id, payload).await {
                Ok(_) => {
                    count(resulted);
                    spans::resulted(resulted);
                    return Ok(());
                }
                Err(JournalError::Refused { problem, .. }) if !replaced => {
                    replaced = true;
                    warn!(problem, "the result is not taken");
                    let message = format!("what the tool returned was not taken: {problem}");
                    resulted.outcome =
                        Failure::new(Class::TooLarge, message).into_outcome(&action.tool);
                }
                Err(error @ (JournalError::Unavailable(_) | JournalError::Conflict(_))) => {
                    debug!(%error, "the result is not on the journal yet");
                    sleep(OUTAGE_PAUSE).await;
                }
                Err(
                    error @ (JournalError::Refused { .. }
                    | JournalError::Entry(_)
                    | JournalError::TooLong { .. }),
                ) => return Err(Stop::Dead(error.to_string())),
            }
        }
    }

    /// Marks the claim done with the result, so that whoever comes after appends it again instead of running the tool.
    pub(crate) async fn keep(&self, lease: &Lease, resulted: &Resulted) {
        let keeping = async {
            loop {
                match self.store.finish(lease, resulted).await {
                    Ok(true) => return,
                    Ok(false) => {
                        warn!("this executor was too slow: another one has taken over its action");
                        return;
                    }
                    Err(problem) => debug!(%problem, "a result is not kept in its claim yet"),
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        if timeout(KEEP_PATIENCE, keeping).await.is_err() {
            // It is on the journal, and that is looked at first.
            warn!("Redis does not take a result; only the journal has it");
        }
    }

    /// Appends a result that needs no claim, for nothing was done.
    pub(crate) async fn refuse(&self, action: &Action, failure: Failure) -> Result<(), Stop> {
        let outcome = failure.into_outcome(&action.tool);
        let mut resulted = self.resulted(action, outcome, Duration::ZERO, 0);
        self.unless_abandoned(self.append(action, &mut resulted))
            .await
            .unwrap_or_else(|| Err(retry(HAND_BACK_PAUSE, "stopping, and NATS does not answer")))
    }
}

fn count(resulted: &Resulted) {
    let label = match &resulted.outcome {
        ToolOutcome::Ok { .. } => "ok",
        ToolOutcome::Failed { error, message, .. } => {
            debug!(%error, message, "the tool failed");
            "failed"
        }
        ToolOutcome::Unknown { message } => {
            warn!(message, "the outcome is unknown");
            "unknown"
        }
    };
    counter!(metric::ACTIONS, "tool" => resulted.tool.to_string(), "outcome" => label).increment(1);
}
