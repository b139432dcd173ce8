//! The claim of an effect: who may run it, and what is known of those who held it before.

use std::{future::Future, time::Duration};

use flotilla_common::{
    definition::Effect,
    entry::{Resulted, ToolOutcome},
    io::{
        store::{Claimed, Lease},
        telemetry::metric,
        worker::{DELIVERIES_MAX, HAND_BACK_PAUSE, Incoming},
    },
    names::key,
};
use metrics::counter;
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::{
    action::Action,
    adapter::failure::{Class, Failure},
    handle::{Executor, ROLE, Stop, retry},
};

/// Shortest pause before a claim that another holds is looked at again.
const HELD_PAUSE: Duration = Duration::from_millis(100);
/// From this delivery on we wait for the holder here: each hand-back costs a delivery, and they are counted.
const WAIT_FROM: i64 = DELIVERIES_MAX / 2;

/// What a claim gave.
#[derive(Debug)]
pub(crate) enum Claim {
    /// The effect is ours to run.
    Ours(Held),
    /// It was run; this came out.
    Done(Box<Resulted>),
}

/// A claim that is ours, and what is known of its past.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) lease: Lease,
    /// Whether somebody may have begun it of whom nothing is known any more.
    pub(crate) forgotten: bool,
}

impl Held {
    /// Whether the effect may have happened before.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.forgotten || self.lease.lost > 0
    }
}

impl Executor {
    /// Claims the action's effect. When another holds it, the message is handed back until the holder is done or dead.
    pub(crate) async fn claim(&self, action: &Action, incoming: &Incoming) -> Result<Claim, Stop> {
        let key = key::effect(&action.run, &action.slot);
        loop {
            let claim =
                self.patient(|| self.store.claim_effect::<Resulted>(key.clone(), self.lease));
            let left = match claim.await? {
                Claimed::Free(mut lease) => {
                    let forgotten = self.is_forgotten(action, incoming, &mut lease).await?;
                    if lease.lost > 0 {
                        recovered("claim", 1);
                    }
                    return Ok(Claim::Ours(Held { lease, forgotten }));
                }
                Claimed::Done { value, .. } => {
                    recovered("saved", 1);
                    return Ok(Claim::Done(Box::new(value)));
                }
                Claimed::Held(left) => left.max(HELD_PAUSE),
            };
            counter!(metric::CLAIMS_HELD, "role" => ROLE).increment(1);
            if incoming.delivered < WAIT_FROM {
                return Err(retry(left, "another executor holds this effect"));
            }
            tokio::select! {
                () = self.stop.cancelled() => {
                    return Err(retry(HAND_BACK_PAUSE, "stopping while another executor holds this effect"));
                }
                () = sleep(left) => {}
            }
        }
    }

    /// Does `work` and keeps the claim alive all the while. Losing it does not stop the work: half an effect helps nobody, and
    /// its result does no harm.
    pub(crate) async fn holding<T>(&self, lease: &mut Lease, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        tokio::select! {
            biased;
            value = &mut work => value,
            _ = self.store.hold::<Resulted>(lease) => {
                warn!("this executor was too slow: another one has taken over its action");
                work.await
            }
        }
    }

    /// Gives a claim back: nothing happened under it, or what happened may happen again.
    pub(crate) async fn release(&self, lease: &Lease) {
        if let Err(problem) = self.store.give_back(lease, 0).await {
            debug!(%problem, "a claim was not given back; its lease will end");
        }
    }

    /// Gives a claim back with what may have happened before it: whoever comes next must reckon with that.
    pub(crate) async fn abandon(&self, lease: &Lease) {
        if let Err(problem) = self.store.give_back(lease, 1).await {
            debug!(%problem, "a claim was not given back; its lease will end");
        }
    }
}

/// Keeps counters there from the start on.
pub(crate) fn begin_counting() {
    for kind in ["message", "claim", "saved"] {
        recovered(kind, 0);
    }
    counter!(metric::CLAIMS_HELD, "role" => ROLE).increment(0);
}

/// Counts work that is taken up again: a message that somebody had been given before, a claim of who was lost, or a result that was
/// `saved` already.
pub(crate) fn recovered(kind: &'static str, by: u64) {
    counter!(metric::RECOVERIES, "role" => ROLE, "kind" => kind).increment(by);
}

/// Why the tool must not run now that the claim is ours, as its outcome; `None` when it may.
pub(crate) fn verdict(
    action: &Action,
    effect: Effect,
    held: &Held,
    incoming: &Incoming,
) -> Option<ToolOutcome> {
    let tool = &action.tool;
    let unknown = |message: String| Some(ToolOutcome::Unknown { message });
    if effect == Effect::Once && held.lease.lost > 0 {
        return unknown(format!(
            "an executor was lost while it ran `{tool}`, so nobody knows whether it was done; it is not repeated"
        ));
    }
    if effect == Effect::Once && held.forgotten {
        return unknown(format!(
            "`{tool}` may have been given to an executor before, and neither Redis nor NATS knows any more, so nobody knows whether it was done; it is not repeated"
        ));
    }
    if incoming.delivered >= DELIVERIES_MAX {
        let message = format!(
            "`{tool}` was given to executors {} times, and none lived to say what came out",
            incoming.delivered - 1
        );
        return Some(Failure::new(Class::GivenUp, message).into_outcome(tool));
    }
    None
}
