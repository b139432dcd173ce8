//! A run that goes on from another one's state: what the steps before some step gave is brought along, and the walk goes on there.
//! What the other run did to the world stays its own: this one neither repeats nor undoes it.

use std::{collections::BTreeSet, mem::discriminant};

use serde_json::Value;

use super::{
    Run, StepState,
    next::ESCALATE,
    walk::{Obstacle, Stand, Walk},
};
use crate::{
    definition::{Step, Workflow},
    entry::Forked,
    ids::{Name, Place},
};

/// Why a run cannot be forked at a step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForkError {
    /// The workflow has no such step.
    #[error("there is no step `{step}`; a run can be forked at {there}")]
    NoStep {
        /// What was asked for.
        step: Name,
        /// For people: the steps that can be named.
        there: String,
    },
    /// The step is part of another one, or of what is done after a failure.
    #[error(
        "step `{step}` is within {within}, and a run can be forked only between its own steps: at {there}"
    )]
    Within {
        /// What was asked for.
        step: Name,
        /// For people: what it is part of.
        within: String,
        /// For people: the steps that can be named.
        there: String,
    },
    /// The run is not that far.
    #[error("the run has not come to step `{step}`: {why}")]
    NotReached {
        /// What was asked for.
        step: Name,
        /// For people: what is before it.
        why: String,
    },
    /// The other version does something else before the step.
    #[error("version {version} has not the same steps before `{step}`: {why}")]
    OtherSteps {
        /// What was asked for.
        step: Name,
        /// The version that was to be taken.
        version: u32,
        /// For people: the first step that is another one.
        why: String,
    },
}

impl Run {
    /// Where this run began, if it goes on from another one's state.
    #[must_use]
    pub fn forked(&self) -> Option<&Forked> {
        self.begun.as_ref()?.forked.as_deref()
    }

    /// What another run's step gave, where this one has brought it along.
    pub(super) fn given(&self, place: &Place) -> Option<&Value> {
        let forked = self.forked().filter(|_| place.items.is_empty())?;
        forked.given.get(&place.step)
    }

    /// What a run brings along that goes on from this state at a step.
    ///
    /// # Errors
    /// [`ForkError`]: it is no step of the workflow's own list, or this run has not come to it.
    pub fn fork_at(&self, workflow: &Workflow, step: &Name) -> Result<Forked, ForkError> {
        let at = position(workflow, step)?;
        let none = BTreeSet::new();
        let mut walk = Walk::new(self, workflow, &none);
        walk.comes_to(at)
            .map_err(|obstacle| ForkError::NotReached {
                step: step.clone(),
                why: told(obstacle),
            })?;
        let before = workflow.steps.iter().take(at);
        let given = before
            .clone()
            .map(|step| (step.id.clone(), self.seen(step, &Place::top(&step.id))))
            .collect();
        let earlier = self.forked().and_then(|forked| forked.escalated.clone());
        let escalated = earlier.or_else(|| self.escalated_within(before.flat_map(Step::tree)));
        Ok(Forked {
            run: self.id.clone(),
            seq: self.pending.last().copied().unwrap_or(self.chain),
            step: step.clone(),
            given,
            escalated,
            by: None,
            reason: None,
        })
    }

    /// Why the first agent among these steps handed over to a person, if one did.
    fn escalated_within<'a>(&self, steps: impl Iterator<Item = &'a Step>) -> Option<String> {
        let ids: BTreeSet<&Name> = steps.map(|step| &step.id).collect();
        let within = self
            .steps
            .iter()
            .filter(|(place, _)| ids.contains(&place.step));
        let mut ends = within.filter_map(|(_, state)| match state {
            StepState::Agent(agent) => agent.end.as_ref(),
            StepState::Answer { .. }
            | StepState::Tool(_)
            | StepState::Branch { .. }
            | StepState::Skipped
            | StepState::Each { .. }
            | StepState::Sleep { .. }
            | StepState::Approval(_)
            | StepState::Run(_) => None,
        });
        let found = ends.find(|(end, _)| end.as_str() == ESCALATE);
        found.map(|(_, summary)| summary.clone())
    }
}

/// Whether another version has the same steps before one: by id and kind, those within them too. What they give is brought along,
/// so that it does not matter how they ask or which tools they use.
///
/// # Errors
/// [`ForkError`].
pub fn check_same_before(own: &Workflow, other: &Workflow, step: &Name) -> Result<(), ForkError> {
    let (at, there) = (position(own, step)?, position(other, step)?);
    let wrong = |why: String| ForkError::OtherSteps {
        step: step.clone(),
        version: other.pin.version,
        why,
    };
    let before = |workflow: &Workflow, at: usize| -> Vec<Step> {
        let steps = workflow.steps.iter().take(at).flat_map(Step::tree);
        steps.cloned().collect()
    };
    let (ours, theirs) = (before(own, at), before(other, there));
    for (one, two) in ours.iter().zip(&theirs) {
        if one.id != two.id {
            return Err(wrong(format!("`{}` is `{}` there", one.id, two.id)));
        }
        if discriminant(&one.kind) != discriminant(&two.kind) {
            return Err(wrong(format!("`{}` is of another kind there", one.id)));
        }
    }
    let more = theirs.get(ours.len()).or_else(|| ours.get(theirs.len()));
    match more {
        None => Ok(()),
        Some(step) => Err(wrong(format!("only one of them has `{}`", step.id))),
    }
}

/// Which of the workflow's own steps it is.
fn position(workflow: &Workflow, step: &Name) -> Result<usize, ForkError> {
    if let Some(at) = workflow.steps.iter().position(|one| one.id == *step) {
        return Ok(at);
    }
    let ids: Vec<&str> = workflow.steps.iter().map(|one| one.id.as_str()).collect();
    let (step, there) = (step.clone(), ids.join(", "));
    let has = |one: &&Step| one.tree().iter().any(|inner| inner.id == step);
    if let Some(around) = workflow.steps.iter().find(has) {
        let within = format!("`{}`", around.id);
        return Err(ForkError::Within {
            step,
            within,
            there,
        });
    }
    if workflow.step(&step).is_some() {
        let within = "`on_failure`".to_owned();
        return Err(ForkError::Within {
            step,
            within,
            there,
        });
    }
    Err(ForkError::NoStep { step, there })
}

fn told(obstacle: Obstacle) -> String {
    match obstacle {
        Obstacle::JumpedOver => "it went on behind it".to_owned(),
        Obstacle::Before(step, Stand::Failed(failure)) => {
            format!("step `{step}` has failed: {}", failure.reason)
        }
        Obstacle::Before(step, Stand::End(..)) => format!("it ends at step `{step}`"),
        Obstacle::Before(step, Stand::Busy | Stand::Done) => format!("step `{step}` is not done"),
    }
}
