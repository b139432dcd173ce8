//! Where a walk begins in a run that goes on from another one's state, and how far another run's state leads.

use super::{Scope, Stand, Walk, failed};
use crate::{entry::Outcome, ids::Name};

/// What keeps a run from having come to a step.
#[derive(Debug)]
pub(in crate::run) enum Obstacle {
    /// It went on behind it.
    JumpedOver,
    /// This step before it is not done.
    Before(Name, Stand),
}

impl Walk<'_> {
    /// The first of the workflow's own steps that is this run's to do.
    pub(super) fn first(&self) -> Result<usize, Stand> {
        let Some(forked) = self.run.forked() else {
            return Ok(0);
        };
        let mut steps = self.workflow.steps.iter();
        steps
            .position(|step| step.id == forked.step)
            .ok_or_else(|| {
                let reason = format!(
                    "the run goes on at step `{}`, which its definition does not have",
                    forked.step
                );
                failed(Outcome::Failed, "definition", reason)
            })
    }

    /// Whether the run has done all that is before one of the workflow's own steps, `to` of them.
    pub(in crate::run) fn comes_to(&mut self, to: usize) -> Result<(), Obstacle> {
        let workflow = self.workflow;
        let steps = &workflow.steps;
        let mut scope = Scope::top();
        let mut at = self.first().unwrap_or_default();
        scope.pass(steps.iter().take(at));
        if at >= to {
            return Ok(());
        }
        while at < to {
            let Some(step) = steps.get(at) else {
                break;
            };
            match self.step(step, &mut scope) {
                Stand::Done => {}
                stand @ (Stand::Busy | Stand::Failed(_) | Stand::End(..)) => {
                    return Err(Obstacle::Before(step.id.clone(), stand));
                }
            }
            let next = self.way(steps, at, &scope.place(step));
            scope.pass(steps.get(at..next).unwrap_or_default());
            at = next;
        }
        if at == to {
            Ok(())
        } else {
            Err(Obstacle::JumpedOver)
        }
    }
}
