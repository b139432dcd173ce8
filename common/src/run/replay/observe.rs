//! The decisions that Claude took in a run, each in the state in which it was asked.

use jiff::Timestamp;

use super::{
    super::{FoldError, Run},
    Replay, Side, decided,
};
use crate::{
    entry::{Call, Decided, Decision, Entry},
    ids::{Aside, RunId, StepKey},
};

/// A decision that Claude took.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Its sequence.
    pub seq: u64,
    /// When, by its writer's clock.
    pub at: Timestamp,
    /// What was asked: a step, a turn of an agent, a review.
    pub step: StepKey,
    /// What it was decided as: another key where no reply could be taken.
    pub decided: StepKey,
    /// What came of it.
    pub recorded: Side,
    /// The calls behind it.
    pub call: Call,
}

/// Finds the decisions of Claude's in a whole journal, in order. Each is given to `each` with the state that it was taken in.
///
/// # Errors
/// [`FoldError`]: the journal is broken.
pub fn observations(
    id: &RunId,
    entries: impl IntoIterator<Item = Entry>,
    mut each: impl FnMut(&Run, Observation),
) -> Result<(), FoldError> {
    let mut replay = Replay::new(id, entries);
    loop {
        let found = replay.next_link().and_then(|link| observed(link, &replay));
        if let Some(observation) = found {
            each(replay.run(), observation);
        }
        if replay.fold_next()?.is_none() {
            return Ok(());
        }
    }
}

fn observed(link: &Entry, replay: &Replay) -> Option<Observation> {
    let first = decided(link)?;
    let call = first.call.as_ref()?;
    let refused = refusal(&first.decision, call);
    if refused.is_none() && !is_reply(first) {
        return None;
    }
    let mut all = vec![first];
    let later = replay.later_links().map_while(decided);
    // Other branches of the same reply come right after it; somebody may be told of each that a person must allow.
    for other in later {
        let last = all.last().map_or(0, |last| last.branch);
        if other.step.aside == Some(Aside::Notify) && other.branch == last {
            continue;
        }
        let follows = other.step == first.step && other.branch == last.saturating_add(1);
        if refused.is_some() || !follows {
            break;
        }
        all.push(other);
    }
    let step = refused
        .as_ref()
        .map_or_else(|| first.step.clone(), |(step, _)| step.clone());
    Some(Observation {
        seq: link.seq,
        at: link.at,
        step,
        decided: first.step.clone(),
        recorded: Side::recorded(&all, call),
        call: call.clone(),
    })
}

/// Whether a decision is a reply of Claude's that was taken. Others can have calls too: they tell of those that nobody wanted.
fn is_reply(decided: &Decided) -> bool {
    match &decided.decision {
        Decision::Answer { .. } => true,
        // Whatever has a menu has a reasoning; what the planner decides by itself has none.
        Decision::Act { .. }
        | Decision::Approve(_)
        | Decision::Finish { .. }
        | Decision::Review { .. } => decided.reasoning.is_some(),
        Decision::Park { .. }
        | Decision::Abandon {}
        | Decision::Branch { .. }
        | Decision::Skip {}
        | Decision::Begin { .. }
        | Decision::Each { .. }
        | Decision::Sleep { .. }
        | Decision::Run { .. }
        | Decision::Fail { .. }
        | Decision::Again { .. }
        | Decision::Undo { .. }
        | Decision::End { .. } => false,
    }
}

/// Where a decision is that no reply could be taken: of which question, and what the checks said of the last one.
pub(super) fn refusal(decision: &Decision, call: &Call) -> Option<(StepKey, String)> {
    let told = match decision {
        Decision::Finish { summary, .. } => summary,
        Decision::Fail { reason, .. } => reason,
        Decision::End { reason, .. } => reason.as_ref()?,
        Decision::Act { .. }
        | Decision::Approve(_)
        | Decision::Answer { .. }
        | Decision::Review { .. }
        | Decision::Park { .. }
        | Decision::Abandon {}
        | Decision::Branch { .. }
        | Decision::Skip {}
        | Decision::Begin { .. }
        | Decision::Each { .. }
        | Decision::Sleep { .. }
        | Decision::Run { .. }
        | Decision::Again { .. }
        | Decision::Undo { .. } => return None,
    };
    let (step, why) = told.strip_prefix("step `")?.split_once("`: ")?;
    let mut complaints = call
        .attempts
        .iter()
        .filter_map(|one| one.complaint.as_deref());
    if !complaints.any(|complaint| complaint == why) {
        return None;
    }
    Some((step.parse().ok()?, why.to_owned()))
}
