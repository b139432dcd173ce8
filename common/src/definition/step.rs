//! Steps, compiled.

use std::{sync::Arc, time::Duration};

use super::{
    schema::Schema,
    switch::Switch,
    template::{Formula, Shape, Template},
    tool::Tool,
};
use crate::{claude::Model, entry::Outcome, ids::Name, money::Usd};

/// A step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its id, unique in the workflow.
    pub id: Name,
    /// What it is.
    pub kind: StepKind,
    /// Where it goes on after it; `None`: at the next step of its list.
    pub then: Option<Target>,
    /// How long it may take from its beginning, every repetition counted anew.
    pub timeout: Option<Duration>,
    /// How often the whole step is begun anew when it fails.
    pub retry: Option<Retry>,
    /// What its failure means.
    pub on_error: OnError,
    /// Somebody has switched it off: a run that has not begun it skips it. Never set by the definition itself.
    pub off: Option<Arc<Switch>>,
}

/// Where a list of steps goes on: always forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// At this later step of the same list.
    Step(Name),
    /// After the list's last step.
    End,
}

/// A whole step is begun anew when it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Times, at most; from 1.
    pub times: u32,
    /// The pause before the first one; it doubles each time.
    pub pause: Duration,
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
    /// Goes on where the first condition that holds says; where none does, as any other step.
    Switch(Vec<Case>),
    /// Steps side by side; it is done when all of them are. Never empty.
    Parallel(Vec<Step>),
    /// Steps once for each item of a list, some of them side by side.
    Each(EachStep),
    /// Steps, one after the other; never empty.
    Steps(Vec<Step>),
    /// A person decides.
    Approval(ApprovalStep),
    /// Time passes.
    Sleep(Sleep),
    /// Another workflow, to its end.
    Run(RunStep),
    /// The run ends here.
    End(EndStep),
}

impl Step {
    /// The lists of steps within this one.
    #[must_use]
    pub fn within(&self) -> &[Step] {
        match &self.kind {
            StepKind::Parallel(steps) | StepKind::Steps(steps) => steps,
            StepKind::Each(each) => &each.steps,
            StepKind::Claude(_)
            | StepKind::Tool(_)
            | StepKind::Agent(_)
            | StepKind::Switch(_)
            | StepKind::Approval(_)
            | StepKind::Sleep(_)
            | StepKind::Run(_)
            | StepKind::End(_) => &[],
        }
    }

    /// The same, to change them.
    pub(super) fn within_mut(&mut self) -> &mut [Step] {
        match &mut self.kind {
            StepKind::Parallel(steps) | StepKind::Steps(steps) => steps,
            StepKind::Each(each) => &mut each.steps,
            StepKind::Claude(_)
            | StepKind::Tool(_)
            | StepKind::Agent(_)
            | StepKind::Switch(_)
            | StepKind::Approval(_)
            | StepKind::Sleep(_)
            | StepKind::Run(_)
            | StepKind::End(_) => &mut [],
        }
    }

    /// This step, and all within it.
    #[must_use]
    pub fn tree(&self) -> Vec<&Step> {
        let within = self.within().iter().flat_map(Step::tree);
        std::iter::once(self).chain(within).collect()
    }

    /// How it asks Claude, if it does.
    #[must_use]
    pub fn inference(&self) -> Option<&Inference> {
        match &self.kind {
            StepKind::Claude(claude) => Some(&claude.inference),
            StepKind::Agent(agent) => Some(&agent.inference),
            StepKind::Tool(_)
            | StepKind::Switch(_)
            | StepKind::Parallel(_)
            | StepKind::Each(_)
            | StepKind::Steps(_)
            | StepKind::Approval(_)
            | StepKind::Sleep(_)
            | StepKind::Run(_)
            | StepKind::End(_) => None,
        }
    }

    /// The tools that it can use itself and whose use can be undone, each with what undoes it.
    #[must_use]
    pub fn ways_back(&self) -> Vec<(&Tool, &Compensate)> {
        match &self.kind {
            StepKind::Tool(step) => {
                let back = step.compensate.as_ref().or(step.tool.compensate.as_ref());
                back.map(|back| (&*step.tool, back)).into_iter().collect()
            }
            StepKind::Agent(agent) => {
                let tools = agent.tools.iter();
                let back = tools.filter_map(|tool| Some((&**tool, tool.compensate.as_ref()?)));
                back.collect()
            }
            StepKind::Claude(_)
            | StepKind::Switch(_)
            | StepKind::Parallel(_)
            | StepKind::Each(_)
            | StepKind::Steps(_)
            | StepKind::Approval(_)
            | StepKind::Sleep(_)
            | StepKind::Run(_)
            | StepKind::End(_) => Vec::new(),
        }
    }

    /// The tools that it can use itself.
    pub(super) fn tools(&self) -> Vec<&Arc<Tool>> {
        match &self.kind {
            StepKind::Tool(step) => {
                let undo = step.compensate.iter().map(|undo| &undo.tool);
                std::iter::once(&step.tool).chain(undo).collect()
            }
            StepKind::Agent(agent) => agent.tools.iter().collect(),
            StepKind::Approval(approval) => approval
                .terms
                .notify
                .iter()
                .map(|told| &told.tool)
                .collect(),
            StepKind::Claude(_)
            | StepKind::Switch(_)
            | StepKind::Parallel(_)
            | StepKind::Each(_)
            | StepKind::Steps(_)
            | StepKind::Sleep(_)
            | StepKind::Run(_)
            | StepKind::End(_) => Vec::new(),
        }
    }
}

/// One way of a switch.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// When it is taken; `None`: always (`else`).
    pub when: Option<Formula>,
    /// Where it leads.
    pub to: Target,
}

/// Steps once for each item of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct EachStep {
    /// The list.
    pub list: Formula,
    /// What an item is called in holes within; its number, from 0, is `index`.
    pub item: Name,
    /// Items in work at once, at most; from 1.
    pub width: u32,
    /// Items, at most: more of them fail the step.
    pub most: u32,
    /// What is done for each; never empty.
    pub steps: Vec<Step>,
}

/// A person decides.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovalStep {
    /// What is shown to them.
    pub show: Shape,
    /// How long, and what then.
    pub terms: ApprovalTerms,
}

/// How people are asked.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct ApprovalTerms {
    /// How long it waits, and what is done then; `None`: for ever.
    pub timeout: Option<(Duration, OnTimeout)>,
    /// A tool that tells somebody.
    pub notify: Option<Notify>,
}

/// Tells somebody that an approval waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Notify {
    /// By this tool.
    pub tool: Arc<Tool>,
    /// With this; holes see also `approval` with `step`, `hash`, `show` and `until`.
    pub with: Shape,
}

/// What an approval does that nobody gave in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// It is as if it was approved.
    Approve,
    /// It is as if it was rejected.
    Reject,
    /// The step escalates to a person.
    Escalate,
    /// The step fails.
    Fail,
}

/// Time passes.
#[derive(Debug, Clone, PartialEq)]
pub enum Sleep {
    /// So long.
    For(Duration),
    /// As long as this says: seconds, or a text as in `sleep: 10m`.
    ForValue(Formula),
    /// Until this time: RFC 3339.
    Until(Formula),
}

/// Another workflow, to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct RunStep {
    /// Which; the version that is active at the time.
    pub workflow: Name,
    /// The data of the event that starts it.
    pub with: Shape,
    /// What Claude may cost it, out of what its parent may spend; `None`: as its own definition says, and all that is left
    /// where that says nothing.
    pub usd: Option<Usd>,
}

/// The run ends here.
#[derive(Debug, Clone, PartialEq)]
pub struct EndStep {
    /// How.
    pub outcome: Outcome,
    /// Why, for people.
    pub reason: Option<Template>,
}

/// Undoes what a tool did.
#[derive(Debug, Clone, PartialEq)]
pub struct Compensate {
    /// By this tool.
    pub tool: Arc<Tool>,
    /// With this; holes see `input` and `output`: what the undone one was given, and what it gave. Where a step says it itself,
    /// they see also what its `with` sees.
    pub with: Shape,
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
    /// What undoes it, in place of what the tool says itself.
    pub compensate: Option<Compensate>,
    /// Whether a person is asked first, in place of what the tool's risk says.
    pub approve: Option<bool>,
}

/// What a failed step does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The run fails.
    #[default]
    Fail,
    /// Later steps see the failure in `steps.<id>`. Of several branches, the others go on.
    Continue,
    /// What was done within the step is undone, in reverse order; then as [`OnError::Continue`]. Branches that have not begun
    /// do not.
    Compensate,
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
    /// Who reviews its work while it goes on.
    pub review: Option<Review>,
}

/// A second model looks at an agent's work: plan, act, review.
#[derive(Debug, Clone, PartialEq)]
pub struct Review {
    /// Who, and on which terms.
    pub inference: Inference,
    /// After so many turns each; from 1.
    pub every: u32,
    /// What it should look at, besides the agent's goal.
    pub prompt: Option<Template>,
}

/// The confidence floor.
#[derive(Debug, Clone, PartialEq)]
pub struct Floor {
    /// From 0 to 1.
    pub min: f64,
    /// The end that is taken instead when the model is less sure.
    pub below: Name,
}
