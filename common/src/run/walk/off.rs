//! Steps that somebody has switched off.

use super::{Stand, Walk, pace::is_within};
use crate::{
    definition::{Step, Switch},
    entry::Decision,
    ids::{Place, StepKey},
    run::Draft,
};

impl Walk<'_> {
    /// Whether something was done or asked for a step, or for one within it: then it goes on, also where it is switched off.
    pub(super) fn has_begun(&self, step: &Step, place: &Place) -> bool {
        let run = self.run;
        let states = run.steps.keys().chain(run.failed.keys());
        let known = states.chain(run.limits.keys()).cloned();
        let parked = run.parked.iter().map(|parked| parked.step.place());
        let asked = self.busy.iter().map(StepKey::place);
        let mut begun = known.chain(parked).chain(asked);
        begun.any(|other| is_within(step, place, &other))
    }

    /// Passes over a step that somebody has switched off; its list goes on as if it was jumped over.
    pub(super) fn skip(&mut self, place: &Place, off: &Switch) -> Stand {
        let key = self.run.key(place);
        self.due.drafts.push(Draft {
            reasoning: Some(off.to_string()),
            ..Draft::new(key, Decision::Skip {})
        });
        Stand::Busy
    }
}
