//! A question that was asked once, built again: in the state that it was asked in, by the run's own definition or by another one.

use std::collections::BTreeSet;

use super::{
    super::{
        Ask, Run,
        walk::{Stand, Walk},
    },
    Observation,
};
use crate::{
    claude::Model,
    definition::Workflow,
    entry::Outcome,
    ids::{Name, StepKey},
};

/// Why a definition does not ask in a state what was asked in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// It has no such step.
    #[error("it has no step `{step}`")]
    NoStep {
        /// The step.
        step: Name,
    },
    /// It would do something else there.
    #[error("it would not ask for `{step}` there: {why}")]
    NotAsked {
        /// What was asked.
        step: StepKey,
        /// For people: what it would do.
        why: String,
    },
}

/// The question behind an observation, in the state before it, as this definition asks it: anew, whatever was answered for it
/// already, and by itself, not by a batch. `model` is asked in place of the definition's.
///
/// # Errors
/// [`Unreachable`].
pub fn question(
    before: &Run,
    observation: &Observation,
    workflow: &Workflow,
    model: Option<&Model>,
) -> Result<Ask, Unreachable> {
    let step = &observation.step;
    if workflow.step(&step.step).is_none() {
        return Err(Unreachable::NoStep {
            step: step.step.clone(),
        });
    }
    let mut state = before.clone();
    // What people said while Claude was being asked, it had not heard.
    let heard = usize::try_from(observation.call.heard).unwrap_or(usize::MAX);
    state.heard.truncate(heard);
    // It was asked anew each time it waited here.
    state.parked.retain(|parked| parked.step != *step);
    let none = BTreeSet::new();
    let mut walk = Walk::new(&state, workflow, &none);
    let stand = if state.failing.is_some() {
        walk.steps_of_failure()
    } else {
        walk.steps()
    };
    let asks = std::mem::take(&mut walk.due.asks);
    let (mut wanted, others): (Vec<Ask>, Vec<Ask>) =
        asks.into_iter().partition(|ask| ask.step == *step);
    let Some(mut ask) = wanted.pop() else {
        return Err(Unreachable::NotAsked {
            step: step.clone(),
            why: told(&stand, &others, &walk),
        });
    };
    if ask.by_batch {
        // A batch has a day; somebody who waits for a live answer has not.
        (ask.by_batch, ask.patience) = (false, None);
    }
    if let Some(model) = model {
        ask.models = [model.clone()].into();
        ask.request.model.clone_from(&model.id);
    }
    Ok(ask)
}

/// What is done instead, for people.
fn told(stand: &Stand, others: &[Ask], walk: &Walk<'_>) -> String {
    let asks = others.iter().map(|ask| format!("ask for {}", ask.step));
    let drafts = walk.due.drafts.iter().map(|draft| {
        let name = draft.decision.name();
        let name = name.map_or_else(|_| String::new(), |name| name.to_string());
        format!("decide {}: {name}", draft.step)
    });
    let first: Vec<String> = drafts.chain(asks).take(3).collect();
    match stand {
        Stand::Failed(failure) => failure.reason.clone(),
        Stand::Done => "it would be done".to_owned(),
        Stand::End(Outcome::Completed, _) => "it would have ended".to_owned(),
        Stand::End(outcome, _) => format!("it would have ended as {outcome}"),
        Stand::Busy if first.is_empty() => "it would wait for something else".to_owned(),
        Stand::Busy => format!("it would first {}", first.join(", ")),
    }
}
