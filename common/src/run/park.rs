//! Runs that wait because Claude cannot be asked now, and ceilings that people raise.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Folded, Run};
use crate::{
    definition::{Inference, StepKind, Workflow},
    entry::{Answered, Batched, ParkedBy, Signalled},
    ids::{Name, StepKey},
    money::Usd,
};

/// The signal that stops a run.
pub const SIGNAL_CANCEL: &str = "cancel";
/// The signal that makes a parked run look again now.
pub const SIGNAL_RESUME: &str = "resume";
/// The signal that sets a ceiling of a run or of one of its steps.
pub const SIGNAL_RAISE: &str = "raise";
/// The timer of a run's time limit.
pub const TIMER_DEADLINE: &str = "deadline";
/// The timer of a parked run.
pub const TIMER_WAKE: &str = "wake";

/// A run that waits at a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parked {
    /// The sequence of the decision to wait.
    pub decided: u64,
    /// Where it goes on.
    pub step: StepKey,
    /// What keeps it.
    pub by: ParkedBy,
    /// For people.
    pub why: String,
    /// Since when.
    pub at: Timestamp,
    /// When it looks again by itself.
    pub until: Option<Timestamp>,
    /// How often in a row it was parked at this step, this time included.
    pub times: u32,
    /// What Claude answered for this step already.
    pub replies: Vec<Answered>,
    /// How far its item came, where batches answer the step.
    #[serde(default)]
    pub batch: Option<Box<Batched>>,
    /// It was told to look again, and has not yet.
    pub awake: bool,
}

/// Ceilings that people set for this run, in place of its definition's.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raised {
    /// The run's.
    pub run: Option<Usd>,
    /// Of single steps.
    pub steps: BTreeMap<Name, Usd>,
}

/// Whose money a ceiling bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// One step of one run, all its turns.
    Step,
    /// One run.
    Run,
    /// All runs of a workflow, for one day (UTC).
    WorkflowDay,
    /// All runs of a tenant, for one day (UTC).
    TenantDay,
}

/// A ceiling of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceiling {
    /// Whose.
    pub scope: Scope,
    /// How much.
    pub limit: Usd,
    /// What the journal says is spent of it already; zero where only the fleet knows.
    pub spent: Usd,
}

impl Run {
    /// When a parked run looks again by itself; `None` when it is not parked, or only a person can tell it to.
    #[must_use]
    pub fn wakes_at(&self) -> Option<Timestamp> {
        let parked = self.parked.as_ref().filter(|_| self.is_parked())?;
        parked.until
    }

    /// Whether nothing happens before somebody, or a timer, tells it to go on.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.end.is_none() && self.parked.as_ref().is_some_and(|parked| !parked.awake)
    }

    /// How often in a row it was parked at this step.
    pub(super) fn parked_times(&self, step: &StepKey) -> u32 {
        let here = self.parked.as_ref().filter(|parked| parked.step == *step);
        here.map_or(0, |parked| parked.times)
    }

    /// Ceilings of the step and the run, and what is spent of them as far as the journal knows.
    pub(super) fn ceilings(
        &self,
        workflow: &Workflow,
        step: &Name,
        inference: &Inference,
    ) -> Vec<Ceiling> {
        let saved = self.saved_cost(step);
        let of_step = self.raised.steps.get(step).copied().or(inference.usd);
        let of_step = of_step.map(|limit| Ceiling {
            scope: Scope::Step,
            limit,
            spent: self.spent_by_step.get(step).copied().unwrap_or_default() + saved,
        });
        let of_run = self.raised.run.or(workflow.limits.usd);
        let of_run = of_run.map(|limit| Ceiling {
            scope: Scope::Run,
            limit,
            spent: self.spent.usd + self.spent.wasted_usd + saved,
        });
        let per_day = workflow.limits.usd_per_day.map(|limit| Ceiling {
            scope: Scope::WorkflowDay,
            limit,
            spent: Usd::default(),
        });
        of_step.into_iter().chain(of_run).chain(per_day).collect()
    }

    /// What the replies cost that a parked step keeps.
    fn saved_cost(&self, step: &Name) -> Usd {
        let here = self
            .parked
            .iter()
            .filter(|parked| parked.step.step == *step);
        here.flat_map(|parked| &parked.replies)
            .map(|answered| answered.usd_nano + answered.wasted_usd_nano)
            .sum()
    }

    pub(super) fn park(&mut self, parked: Parked) {
        let times = self.parked_times(&parked.step).saturating_add(1);
        self.parked = Some(Parked { times, ..parked });
    }

    /// Its timer fires. One that comes again after the run was woken and parked anew is not of this wait.
    pub(super) fn wake_by_timer(&mut self, seq: u64) -> Folded {
        match &self.parked {
            Some(parked) if parked.decided < seq => self.wake(),
            Some(_) | None => Folded::Old,
        }
    }

    /// Wakes a parked run; says whether it was one.
    pub(super) fn wake(&mut self) -> Folded {
        match &mut self.parked {
            Some(parked) if !parked.awake => {
                parked.awake = true;
                Folded::New
            }
            Some(_) | None => Folded::Old,
        }
    }

    /// A ceiling is set; what waits for it looks again.
    pub(super) fn raise(&mut self, signalled: &Signalled) -> Folded {
        let Some(usd) = signalled.usd_nano else {
            return Folded::Old;
        };
        match &signalled.step {
            Some(step) => drop(self.raised.steps.insert(step.clone(), usd)),
            None => self.raised.run = Some(usd),
        }
        self.wake();
        Folded::New
    }
}

/// Whether a workflow has a step of this id that asks Claude: what a ceiling can be set for.
#[must_use]
pub fn asks_claude(workflow: &Workflow, step: &Name) -> bool {
    workflow.step(step).is_some_and(|step| match step.kind {
        StepKind::Claude(_) | StepKind::Agent(_) => true,
        StepKind::Tool(_) => false,
    })
}
