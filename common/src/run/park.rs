//! Runs that wait because Claude cannot be asked now, and ceilings that people raise.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Folded, Run, StepState};
use crate::{
    definition::{Inference, Step, Workflow},
    entry::{Answered, Batched, Entry, ParkedBy, Signalled},
    ids::{Name, StepKey},
    money::Usd,
};

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

impl Parked {
    /// What the replies cost that are kept.
    fn cost(&self) -> Usd {
        let each = self.replies.iter();
        each.map(|answered| answered.usd_nano + answered.wasted_usd_nano)
            .sum()
    }
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
    /// Whether it waits at some step until somebody, or a timer, tells it to go on.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.waits().is_some()
    }

    /// The step at which it waits, the first where it does at several.
    #[must_use]
    pub fn waits(&self) -> Option<&Parked> {
        let mut waiting = self.parked.iter().filter(|parked| !parked.awake);
        waiting.next().filter(|_| self.end.is_none())
    }

    /// That it waits, or has waited, for what a step asks.
    #[must_use]
    pub fn parked_at(&self, step: &StepKey) -> Option<&Parked> {
        self.parked.iter().find(|parked| parked.step == *step)
    }

    /// Ceilings of the step and the run, and what is spent of them as far as the journal knows.
    pub(super) fn ceilings(
        &self,
        workflow: &Workflow,
        step: &Name,
        inference: &Inference,
    ) -> Vec<Ceiling> {
        let here = self
            .parked
            .iter()
            .filter(|parked| parked.step.step == *step);
        let saved: Usd = here.map(Parked::cost).sum();
        // A review is bound by its step's, too.
        let of_step = workflow.step(step).and_then(Step::inference);
        let of_step = of_step.and_then(|of_step| of_step.usd);
        let least = of_step.into_iter().chain(inference.usd).min();
        let of_step = self.raised.steps.get(step).copied().or(least);
        let of_step = of_step.map(|limit| Ceiling {
            scope: Scope::Step,
            limit,
            spent: self.spent_by_step.get(step).copied().unwrap_or_default() + saved,
        });
        // The run's own counter knows nothing of the runs within it, and of tools: what they cost is not there to be spent.
        let of_run = self.may_cost(workflow).map(|limit| Ceiling {
            scope: Scope::Run,
            limit: limit.less(self.children_cost() + self.spent.tools),
            spent: self.own_cost(),
        });
        let per_day = workflow.limits.usd_per_day.map(|limit| Ceiling {
            scope: Scope::WorkflowDay,
            limit,
            spent: Usd::default(),
        });
        of_step.into_iter().chain(of_run).chain(per_day).collect()
    }

    /// What Claude cost it, with what is lost, what its tools cost, and what the runs within it cost or, while they are under way,
    /// may cost.
    #[must_use]
    pub fn cost(&self) -> Usd {
        self.own_cost() + self.spent.tools + self.children_cost()
    }

    /// What the runs within it cost that have ended, and with them those within those.
    #[must_use]
    pub fn children_spent(&self) -> Usd {
        let children = self.steps.values().filter_map(StepState::child);
        let ended = children.filter(|child| child.outcome.is_some());
        ended
            .map(|child| child.usd)
            .fold(self.spent.children, std::ops::Add::add)
    }

    fn own_cost(&self) -> Usd {
        let kept = self.parked.iter().map(Parked::cost);
        let own = self.spent.usd + self.spent.wasted_usd;
        kept.fold(own, std::ops::Add::add)
    }

    fn children_cost(&self) -> Usd {
        let children = self.steps.values().filter_map(StepState::child);
        children
            .map(|child| child.usd)
            .fold(self.spent.children, std::ops::Add::add)
    }

    /// What items of batches may cost.
    pub(super) fn held_by_items(&self) -> Usd {
        let items = self.parked.iter().filter_map(|parked| {
            let held = parked.batch.as_deref()?.item.as_ref()?.held.as_ref()?;
            Some(held.usd_nano)
        });
        items.sum()
    }

    /// What the run may cost: what people said, or else the least of what its definition and its parent say.
    #[must_use]
    pub fn may_cost(&self, workflow: &Workflow) -> Option<Usd> {
        let parent = self.begun.as_ref().and_then(|begun| begun.parent.as_ref());
        let allotted = parent.and_then(|parent| parent.usd_nano);
        let least = workflow.limits.usd.into_iter().chain(allotted).min();
        self.raised.run.or(least)
    }

    pub(super) fn park(&mut self, parked: Parked) {
        let before = self
            .parked_at(&parked.step)
            .map_or(0, |before| before.times);
        self.parked.retain(|other| other.step != parked.step);
        self.parked.push(Parked {
            times: before.saturating_add(1),
            ..parked
        });
    }

    /// A timer fires. One that comes again after a step was woken and parked anew is not of this wait. Says whether any step was
    /// woken.
    pub(super) fn wake_by_timer(&mut self, entry: &Entry) -> bool {
        let mut woke = false;
        for parked in &mut self.parked {
            let due = parked.until.is_some_and(|until| until <= entry.at);
            if due && parked.decided < entry.seq && !parked.awake {
                parked.awake = true;
                woke = true;
            }
        }
        woke
    }

    /// Wakes every step that is parked.
    pub(super) fn wake(&mut self) {
        for parked in &mut self.parked {
            parked.awake = true;
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
    let found = workflow.step(step);
    found.is_some_and(|step| step.inference().is_some())
}
