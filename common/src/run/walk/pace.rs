//! How much of one run may stand before other runs' actions. Executors take a tool's actions in the order in which they were
//! decided, so what a run has decided and has no result for is what the next run's action waits behind.

use std::collections::BTreeMap;

use super::Walk;
use crate::{
    definition::Step,
    entry::Decision,
    ids::{Name, Place},
    run::Act,
};

/// Actions of one run and tool that are decided and have no result: as many as the widest loop has items in work. What loops within
/// loops would do beyond that is decided as results come in.
pub(super) const IN_HAND_MAX: usize = 100;

/// Actions that have no result, by tool, in the state that is walked over.
#[derive(Debug, Default)]
pub(super) struct Pace(Option<BTreeMap<Name, usize>>);

impl Walk<'_> {
    /// Whether an effect of this step, or of one within it, is in flight.
    pub(in crate::run) fn is_outstanding(&self, step: &Step, place: &Place) -> bool {
        let steps = self.run.steps.iter();
        let mut within = steps.filter(|(other, _)| is_within(step, place, other));
        within.any(|(_, state)| {
            let runs = state.child().is_some_and(|child| child.outcome.is_none());
            runs || state.acts().into_iter().any(Act::is_outstanding)
        })
    }

    /// Whether so much of a tool is in hand that no more of it is decided now; a result comes, and then it is.
    pub(super) fn is_full(&mut self, tool: &Name) -> bool {
        let run = self.run;
        let in_hand = self.pace.0.get_or_insert_with(|| {
            let mut counted = BTreeMap::new();
            for act in run.outstanding() {
                *counted.entry(act.action.tool.clone()).or_insert(0) += 1;
            }
            counted
        });
        let in_hand = in_hand.get(tool).copied().unwrap_or_default();
        let due = self.due.drafts.iter().filter(
            |draft| matches!(&draft.decision, Decision::Act { tool: other, .. } if other == tool),
        );
        in_hand + due.count() >= IN_HAND_MAX
    }
}

/// Whether a place is a step's, or that of one within it.
pub(super) fn is_within(step: &Step, place: &Place, other: &Place) -> bool {
    other.items.starts_with(&place.items) && step.tree().iter().any(|step| step.id == other.step)
}
