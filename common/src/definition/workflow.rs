//! Workflows, compiled: self-contained, so that what a run does depends on nothing else.

use std::{sync::Arc, time::Duration};

use super::{
    schema::Schema,
    template::{Formula, Shape, Template},
    tool::Tool,
};
use crate::{
    claude::Model,
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
}

impl Workflow {
    /// A step by its id.
    #[must_use]
    pub fn step(&self, id: &Name) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == *id)
    }

    /// Every tool that some step can use, each once.
    #[must_use]
    pub fn tools(&self) -> Vec<&Arc<Tool>> {
        let mut found: Vec<&Arc<Tool>> = Vec::new();
        for step in &self.steps {
            let tools: &[Arc<Tool>] = match &step.kind {
                StepKind::Claude(_) => &[],
                StepKind::Tool(step) => std::slice::from_ref(&step.tool),
                StepKind::Agent(agent) => &agent.tools,
            };
            for tool in tools {
                if !found
                    .iter()
                    .any(|t| t.name == tool.name && t.version == tool.version)
                {
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
    /// Events of this type…
    pub event: EventType,
    /// …for which this holds.
    pub when: Option<Formula>,
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

/// A step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its id, unique in the workflow.
    pub id: Name,
    /// What it is.
    pub kind: StepKind,
}

/// The kinds of steps.
#[derive(Debug, Clone, PartialEq)]
pub enum StepKind {
    /// One answer from Claude.
    Claude(ClaudeStep),
    /// One tool, with parameters from the definition.
    Tool(ToolStep),
    /// Claude picks from a menu until it picks an end.
    Agent(AgentStep),
}

/// One answer from Claude.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaudeStep {
    /// Who answers, and on which terms.
    pub inference: Inference,
    /// What is asked.
    pub prompt: Template,
    /// The answer's shape; without it, a text.
    pub output: Option<Schema>,
    /// Whether batches answer it: later, for less.
    pub batch: bool,
}

/// How Claude is asked for a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Inference {
    /// Who is asked: the first, then the others where it does not answer; never empty.
    pub models: Arc<[Model]>,
    /// Largest answer, in tokens.
    pub max_tokens: u32,
    /// How long all models together are tried; `None`: as long as the planner's settings say.
    pub patience: Option<Duration>,
    /// What happens when that is over.
    pub unavailable: Unavailable,
    /// What the step may cost, all turns and tries, at most.
    pub usd: Option<Usd>,
}

/// What a step does when no model answers in time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unavailable {
    /// The run waits, and tries again later.
    #[default]
    Park,
    /// The step escalates to a person.
    Escalate,
}

/// One tool.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolStep {
    /// Which.
    pub tool: Arc<Tool>,
    /// Its parameters.
    pub with: Shape,
    /// Whether the run goes on when the tool fails.
    pub on_error: OnError,
}

/// What a failed tool step does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The run fails.
    #[default]
    Fail,
    /// Later steps see the failure in `steps.<id>`.
    Continue,
}

/// Claude picks from a menu until it picks an end.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentStep {
    /// Who picks, and on which terms.
    pub inference: Inference,
    /// What for.
    pub goal: Template,
    /// The menu.
    pub tools: Vec<Arc<Tool>>,
    /// The ends it may pick; never empty.
    pub ends: Vec<Name>,
    /// Turns in which it may use tools, at most.
    pub max_loops: u32,
    /// Tools it may use in one turn, at most; from 1 to 16.
    pub parallel: u32,
    /// How sure it must be.
    pub floor: Option<Floor>,
}

/// The confidence floor.
#[derive(Debug, Clone, PartialEq)]
pub struct Floor {
    /// From 0 to 1.
    pub min: f64,
    /// The end that is taken instead when the model is less sure.
    pub below: Name,
}
