//! Workflows, compiled: self-contained, so that what a run does depends on nothing else.

use std::{sync::Arc, time::Duration};

use super::{
    cron::Cron,
    step::{ApprovalTerms, Step},
    template::{Formula, Shape},
    tool::Tool,
};
use crate::{
    entry::Pin,
    ids::{EventType, Name},
    money::Usd,
};

/// A workflow of one version.
#[derive(Debug, Clone, PartialEq)]
pub struct Workflow {
    /// What runs are pinned to.
    pub pin: Pin,
    /// For people.
    pub description: String,
    /// What starts it.
    pub on: Trigger,
    /// Where it stops.
    pub limits: Limits,
    /// What it does, in order; never empty.
    pub steps: Vec<Step>,
    /// What is done when it fails, before it ends.
    pub on_failure: OnFailure,
    /// What it gives to the run that started it; without it, what its last step gave.
    pub output: Option<Shape>,
    /// How people are asked before a tool of high risk is used, and by approvals that say nothing themselves.
    pub approvals: ApprovalTerms,
    /// What later runs are told of earlier ones; 0: nothing.
    pub lessons: u32,
}

/// What is done when a run fails, or is cancelled with the wish that its effects are undone.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct OnFailure {
    /// Whether what was done is undone, in reverse order, by what the tools and steps say in `compensate`.
    pub compensate: bool,
    /// What is done then; its own failures change nothing.
    pub steps: Vec<Step>,
}

impl Workflow {
    /// A step by its id, wherever it stands.
    #[must_use]
    pub fn step(&self, id: &Name) -> Option<&Step> {
        self.all_steps().into_iter().find(|step| step.id == *id)
    }

    /// All steps, each before those within it, those of `on_failure` last.
    #[must_use]
    pub fn all_steps(&self) -> Vec<&Step> {
        let lists = [&self.steps, &self.on_failure.steps];
        lists.into_iter().flatten().flat_map(Step::tree).collect()
    }

    /// Every tool that some step can use, each once.
    #[must_use]
    pub fn tools(&self) -> Vec<&Arc<Tool>> {
        let mut found: Vec<&Arc<Tool>> = Vec::new();
        let of_steps = self.all_steps().into_iter().flat_map(Step::tools);
        let told = self.approvals.notify.iter().map(|notify| &notify.tool);
        for tool in of_steps.chain(told) {
            let undo = tool.compensate.iter().map(|undo| &undo.tool);
            for tool in std::iter::once(tool).chain(undo) {
                let same = |t: &&Arc<Tool>| t.name == tool.name && t.version == tool.version;
                if !found.iter().any(same) {
                    found.push(tool);
                }
            }
        }
        found
    }
}

/// What starts a workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    /// Events of this type; `flotilla.cron` where it is a clock that starts the workflow…
    pub event: EventType,
    /// …for which this holds.
    pub when: Option<Formula>,
    /// When those events come, where Flotilla makes them itself.
    pub cron: Option<Cron>,
}

/// Where a run stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Decisions, at most.
    pub steps: u32,
    /// Time from `started`, at most.
    pub duration: Option<Duration>,
    /// What Claude may cost one run, at most.
    pub usd: Option<Usd>,
    /// What Claude may cost all runs of the workflow in one day (UTC), at most.
    pub usd_per_day: Option<Usd>,
}

/// Decisions a run may take when its workflow does not say.
pub(super) const STEPS_DEFAULT: u32 = 50;
/// Decisions a workflow may allow.
pub(super) const STEPS_MAX: u32 = 10_000;
