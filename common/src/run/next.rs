//! What must happen now: a function of the state.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Ask, Run, StepState, Turn, prompt};
use crate::{
    definition::{AgentStep, ClaudeStep, Context, OnError, Step, StepKind, ToolStep, Workflow},
    entry::{
        Account, Address, Batched, Body, Call, Decided, Decision, Item, Kind, Outcome,
        RESERVED_END, ToolOutcome, chained,
    },
    ids::{Name, StepKey},
};

/// The end by which an agent hands over to a person; also where the planner sends an agent that cannot go on.
pub(super) const ESCALATE: &str = "escalate";

/// What must happen now.
#[derive(Debug)]
pub enum Next {
    /// Ask Claude.
    Ask(Box<Ask>),
    /// Append these to the chain, all or none.
    Decide(Vec<Draft>),
    /// Others must act first.
    Wait,
    /// Nothing, ever again.
    Ended(Outcome),
}

/// A decision that is not on the journal yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Which step or turn it decides.
    pub step: StepKey,
    /// Which branch.
    pub branch: u32,
    /// What.
    pub decision: Decision,
    /// Why.
    pub reasoning: Option<String>,
    /// How sure.
    pub confidence: Option<f64>,
    /// The Claude call behind it.
    pub call: Option<Call>,
    /// What the end of the run leaves in a batch.
    pub left: Option<Box<Left>>,
}

/// An item of a batch whose run ends without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The step that it was to decide.
    pub step: Name,
    /// Who is charged.
    pub account: Account,
    /// The item, and what is held for it.
    pub item: Item,
}

impl Draft {
    /// The same, of a step that batches answer: where it is to wait, it knows how far its item came.
    #[must_use]
    pub fn with_batch(mut self, batched: Option<Box<Batched>>) -> Self {
        if let Decision::Park { batch, .. } = &mut self.decision {
            *batch = batched;
        }
        self
    }

    pub(super) fn new(step: StepKey, decision: Decision) -> Self {
        Self {
            step,
            branch: 0,
            decision,
            reasoning: None,
            confidence: None,
            call: None,
            left: None,
        }
    }
}

/// A decision ready to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Where it stands.
    pub address: Address,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// Why a decision cannot be written: a fault of this code, not of the world.
#[derive(Debug, thiserror::Error)]
#[error("the decision for `{step}` cannot be written: {problem}")]
pub struct LinkError {
    step: StepKey,
    problem: String,
}

impl Run {
    /// What must happen now.
    #[must_use]
    pub fn next(&self, workflow: &Workflow, now: Timestamp) -> Next {
        let drafts = match self.due(workflow, now) {
            Next::Decide(drafts) => drafts,
            other @ (Next::Ask(_) | Next::Wait | Next::Ended(_)) => return other,
        };
        let told = drafts.into_iter().map(|draft| match draft {
            Draft {
                decision: Decision::End { outcome, reason },
                step,
                ..
            } => self.ending(step, outcome, reason),
            other => other,
        });
        Next::Decide(told.collect())
    }

    fn due(&self, workflow: &Workflow, now: Timestamp) -> Next {
        if let Some(end) = &self.end {
            return Next::Ended(end.outcome);
        }
        let Some(begun) = &self.begun else {
            return Next::Wait;
        };
        let late = self
            .deadline(workflow)
            .is_some_and(|deadline| now >= deadline);
        let overdue = self.overdue || late;
        if let Some(reason) = &self.cancel {
            // An effect in flight is waited for, so that the journal says what became of it; but not beyond the run's time.
            return if self.outstanding().next().is_some() && !overdue {
                Next::Wait
            } else {
                end(Outcome::Cancelled, Some(reason.clone()))
            };
        }
        if overdue {
            let since = begun.at;
            let reason = format!("limits.duration: it ran longer than allowed, since {since}");
            return end(Outcome::Failed, Some(reason));
        }
        if self.is_parked() {
            return Next::Wait;
        }
        let next = workflow
            .steps
            .iter()
            .find_map(|step| self.next_of(workflow, step));
        match next {
            None => self.natural_end(),
            Some(Next::Ask(_) | Next::Decide(_))
                if self.decisions >= workflow.limits.steps && !is_end(&next) =>
            {
                let most = workflow.limits.steps;
                let reason = format!("limits.steps: {most} decisions were not enough");
                end(Outcome::Failed, Some(reason))
            }
            Some(next) => next,
        }
    }

    /// What a step needs; `None` when it is done.
    fn next_of(&self, workflow: &Workflow, step: &Step) -> Option<Next> {
        match (&step.kind, self.step(&step.id)) {
            (StepKind::Claude(_), Some(StepState::Answer { .. })) => None,
            (StepKind::Claude(claude), None) => Some(self.ask_claude(workflow, step, claude)),
            (StepKind::Tool(tool), None) => Some(self.act(step, tool)),
            (StepKind::Tool(tool), Some(StepState::Tool(act))) => act
                .outcome
                .as_ref()
                .map_or(Some(Next::Wait), |outcome| after_tool(step, tool, outcome)),
            (StepKind::Agent(_), Some(StepState::Agent { end: Some(_), .. })) => None,
            (StepKind::Agent(agent), None) => Some(self.ask_agent(workflow, step, agent, &[])),
            (StepKind::Agent(agent), Some(StepState::Agent { turns, end: None })) => {
                Some(self.ask_agent(workflow, step, agent, turns))
            }
            (_, Some(_)) => {
                let reason = format!(
                    "the journal's step `{}` is of another kind than the definition's",
                    step.id
                );
                Some(end(Outcome::Failed, Some(reason)))
            }
        }
    }

    /// When the run's time is up.
    #[must_use]
    pub fn deadline(&self, workflow: &Workflow) -> Option<Timestamp> {
        let span = SignedDuration::try_from(workflow.limits.duration?).ok()?;
        self.begun.as_ref()?.at.checked_add(span).ok()
    }

    /// Drafts as links of the chain: each carries the digest of all before it, the first also what they rest on.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn link(&self, drafts: Vec<Draft>, at: Timestamp) -> Result<Vec<Link>, LinkError> {
        use sha2::{Digest as _, Sha256};
        let mut prev = self.digest.clone();
        let mut links = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let wrong = |problem: String| LinkError {
                step: draft.step.clone(),
                problem,
            };
            let name = draft.decision.name().map_err(|e| wrong(e.to_string()))?;
            let rests = if links.is_empty() {
                self.pending.clone()
            } else {
                Vec::new()
            };
            let step = draft.step.clone();
            let body = Body::Decided(Box::new(Decided {
                step,
                branch: draft.branch,
                decision: draft.decision.clone(),
                reasoning: draft.reasoning.clone(),
                confidence: draft.confidence,
                call: draft.call.clone(),
                prev: prev.clone(),
                rests,
            }));
            let payload = body.encode(at).map_err(|e| wrong(e.to_string()))?;
            let address = Address {
                run: self.id.clone(),
                kind: Kind::Decided,
                name,
            };
            prev = chained(&prev, &address, Sha256::digest(&payload).into());
            links.push(Link { address, payload });
        }
        Ok(links)
    }

    fn ask_claude(&self, workflow: &Workflow, step: &Step, claude: &ClaudeStep) -> Next {
        match prompt::claude_step(self, workflow, step, claude) {
            Ok(request) => Next::Ask(Box::new(Ask::answer(self, workflow, step, claude, request))),
            Err(error) => broken_definition(step, "its prompt", &error),
        }
    }

    fn act(&self, step: &Step, tool: &ToolStep) -> Next {
        let with = match tool
            .with
            .render(&Context::new(&self.facts_before(Some(&step.id))))
        {
            Ok(with) => with,
            Err(error) => return broken_definition(step, "its `with`", &error),
        };
        if let Err(fault) = tool.tool.input.check(&with) {
            return broken_definition(step, "its `with`", &fault);
        }
        let decision = Decision::Act {
            tool: tool.tool.name.clone(),
            version: tool.tool.version,
            with,
        };
        Next::Decide(vec![Draft::new(StepKey::step(&step.id), decision)])
    }

    fn ask_agent(
        &self,
        workflow: &Workflow,
        step: &Step,
        agent: &AgentStep,
        turns: &[Turn],
    ) -> Next {
        if turns
            .iter()
            .flat_map(|turn| &turn.acts)
            .any(|act| act.outcome.is_none())
        {
            return Next::Wait;
        }
        let taken = u32::try_from(turns.len()).unwrap_or(u32::MAX);
        let key = StepKey::turn(&step.id, taken.saturating_add(1));
        if taken >= agent.max_loops {
            let used: usize = turns.iter().map(|turn| turn.acts.len()).sum();
            let why = format!("max_loops: {used} tools were used, and it picked no end");
            return Next::Decide(vec![escalation(agent, key, &why)]);
        }
        match prompt::agent_turn(self, workflow, step, agent, turns) {
            Ok(request) => Next::Ask(Box::new(Ask::pick(self, workflow, key, agent, request))),
            Err(error) => broken_definition(step, "its goal", &error),
        }
    }

    fn natural_end(&self) -> Next {
        let mut ends = self.steps.iter().filter_map(|(_, state)| match state {
            StepState::Agent { end, .. } => end.as_ref(),
            StepState::Answer { .. } | StepState::Tool(_) => None,
        });
        let escalated = ends.find(|(end, _)| end.as_str() == ESCALATE);
        let escalated = escalated.map(|(_, summary)| summary.clone());
        match escalated {
            Some(summary) => end(Outcome::Escalated, Some(summary)),
            None => end(Outcome::Completed, None),
        }
    }
}

/// An agent that cannot go on takes its `escalate` end, so that the flow goes on; without one, the run ends so.
pub(super) fn escalation(agent: &AgentStep, key: StepKey, why: &str) -> Draft {
    match agent.ends.iter().find(|end| end.as_str() == ESCALATE) {
        Some(end) => Draft::new(
            key,
            Decision::Finish {
                end: end.clone(),
                summary: why.to_owned(),
            },
        ),
        None => run_end(key, Outcome::Escalated, Some(why.to_owned())),
    }
}

pub(super) fn run_end(key: StepKey, outcome: Outcome, reason: Option<String>) -> Draft {
    Draft::new(key, Decision::End { outcome, reason })
}

fn end(outcome: Outcome, reason: Option<String>) -> Next {
    // The word is a name; the type cannot know.
    match RESERVED_END.parse::<Name>() {
        Ok(name) => Next::Decide(vec![run_end(StepKey::step(&name), outcome, reason)]),
        Err(_) => Next::Wait,
    }
}

fn is_end(next: &Option<Next>) -> bool {
    matches!(next, Some(Next::Decide(drafts)) if drafts.iter().any(|d| matches!(d.decision, Decision::End { .. })))
}

fn after_tool(step: &Step, tool: &ToolStep, outcome: &ToolOutcome) -> Option<Next> {
    let (kind, problem) = match outcome {
        ToolOutcome::Ok { .. } => return None,
        ToolOutcome::Failed { error, message, .. } => {
            (Outcome::Failed, format!("{error}: {message}"))
        }
        ToolOutcome::Unknown { message } => {
            (Outcome::Escalated, format!("outcome unknown: {message}"))
        }
    };
    match tool.on_error {
        OnError::Continue => None,
        OnError::Fail => Some(end(
            kind,
            Some(format!("step `{}`: {} {problem}", step.id, tool.tool.name)),
        )),
    }
}

fn broken_definition(step: &Step, what: &str, problem: &dyn std::fmt::Display) -> Next {
    end(
        Outcome::Failed,
        Some(format!(
            "step `{}`: {what} does not work for this event: {problem}",
            step.id
        )),
    )
}

/// A JSON object from pairs, in order.
pub(super) fn object<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Object(
        pairs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}
