//! The run state machine. No IO, no clock, no randomness: what must happen is a function of the state, so a redelivery and a
//! recovery after a crash take the same path as the first time.

mod ask;
mod check;
mod explain;
mod fold;
mod next;
mod park;
mod prompt;
mod rebuild;
mod record;
mod seen;
mod summary;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use ask::{Ask, Settled, Wasted};
pub use explain::{Chosen, ExplainError, Explained, Prompt, Verdict, Waited, explain};
pub use fold::{FoldError, Folded};
pub use next::{Draft, Left, Link, LinkError, Next};
pub use park::{
    Ceiling, Parked, Raised, SIGNAL_CANCEL, SIGNAL_RAISE, SIGNAL_RESUME, Scope, TIMER_DEADLINE,
    TIMER_WAKE, asks_claude,
};
pub use summary::{Status, Summary};

use crate::{
    claude::Usage,
    entry::{Attempt, Outcome, Pin, ToolOutcome},
    event::Event,
    ids::{Name, RunId},
    money::Usd,
};

/// A run, folded from its journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Which run.
    pub id: RunId,
    /// Entries folded; what Redis compares and sets by.
    pub version: u64,
    /// The hash chain's head: a digest over every entry folded, in order. Equal digests are equal states.
    pub digest: String,
    /// Sequence of the last decision: what the next one expects under `runs.<run>.decided.>`; 0 before the first.
    pub chain: u64,
    /// Sequences of the others' entries folded since then, in the order they were folded.
    pub pending: Vec<u64>,
    /// What began it; `None` before `started`.
    pub begun: Option<Begun>,
    /// Steps that something was decided for, in that order.
    pub steps: Vec<(Name, StepState)>,
    /// Decisions so far, the end not counted.
    pub decisions: u32,
    /// What Claude cost so far.
    pub spent: Spent,
    /// What Claude cost by step, calls that were lost at their most.
    pub spent_by_step: BTreeMap<Name, Usd>,
    /// Ceilings that people set.
    pub raised: Raised,
    /// It waits at a step, or was just told to look again.
    pub parked: Option<Parked>,
    /// Signals seen, by id.
    signals: BTreeSet<String>,
    /// Asked to stop, and why.
    pub cancel: Option<String>,
    /// Its deadline's timer fired.
    pub overdue: bool,
    /// How it ended.
    pub end: Option<Ended>,
}

/// What began a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    /// The definition it is pinned to.
    pub pin: Pin,
    /// The event.
    pub event: Event,
    /// When.
    pub at: Timestamp,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// What Claude cost.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Calls whose reply counted.
    pub calls: u64,
    /// Calls lost with their planner before the reply was saved.
    pub wasted: u64,
    /// Tokens of the calls that counted.
    pub usage: Usage,
    /// Their price.
    pub usd: Usd,
    /// What the lost ones may have cost, at most.
    pub wasted_usd: Usd,
}

/// What is known of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StepState {
    /// A Claude step, answered.
    Answer {
        /// The answer.
        output: Value,
    },
    /// A tool step, decided and perhaps done.
    Tool(Act),
    /// An agent.
    Agent {
        /// Its turns so far.
        turns: Vec<Turn>,
        /// Which end it took, and its summary.
        end: Option<(Name, String)>,
    },
}

/// One turn of an agent: what it said, and what it had done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// The model's replies, the last one is the decision.
    pub attempts: Vec<Attempt>,
    /// The actions, by branch.
    pub acts: Vec<Act>,
}

/// An action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Act {
    /// The sequence of its decision.
    pub decided: u64,
    /// The tool.
    pub tool: Name,
    /// Its result, once known.
    pub outcome: Option<ToolOutcome>,
}

impl Run {
    /// A run of which nothing is known yet.
    #[must_use]
    pub fn new(id: RunId) -> Self {
        Self {
            digest: id.to_string(),
            id,
            version: 0,
            chain: 0,
            pending: Vec::new(),
            begun: None,
            steps: Vec::new(),
            decisions: 0,
            spent: Spent::default(),
            spent_by_step: BTreeMap::new(),
            raised: Raised::default(),
            parked: None,
            signals: BTreeSet::new(),
            cancel: None,
            overdue: false,
            end: None,
        }
    }

    fn step(&self, id: &Name) -> Option<&StepState> {
        self.steps
            .iter()
            .find(|(step, _)| step == id)
            .map(|(_, state)| state)
    }

    /// Actions whose result is not known yet.
    pub fn outstanding(&self) -> impl Iterator<Item = &Act> {
        self.steps
            .iter()
            .flat_map(|(_, state)| match state {
                StepState::Answer { .. } => Vec::new(),
                StepState::Tool(act) => vec![act],
                StepState::Agent { turns, .. } => {
                    turns.iter().flat_map(|turn| &turn.acts).collect()
                }
            })
            .filter(|act| act.outcome.is_none())
    }

    /// Whether it waits for some of several actions of one turn. Whoever handles the last of their results must see that it is
    /// the last: a state that lacks an earlier one, because Redis fell back to an old copy, would wait for ever.
    #[must_use]
    pub fn awaits_fan_in(&self) -> bool {
        let last = self.steps.last().map(|(_, state)| state);
        let acts = match last {
            Some(StepState::Agent { turns, .. }) => turns.last().map_or(&[][..], |turn| &turn.acts),
            Some(StepState::Answer { .. } | StepState::Tool(_)) | None => &[],
        };
        acts.len() > 1 && acts.iter().any(|act| act.outcome.is_none())
    }

    /// What holes of this run's definition see: `event`, `steps` and `run`.
    #[must_use]
    pub fn facts(&self) -> Value {
        self.facts_before(None)
    }

    /// The same for holes of a step: only what was there when it began, so that they hold the same in every turn of an agent.
    fn facts_before(&self, step: Option<&Name>) -> Value {
        let before = self.steps.iter().take_while(|(id, _)| Some(id) != step);
        let steps: serde_json::Map<String, Value> = before
            .map(|(id, state)| (id.to_string(), state.seen()))
            .collect();
        let event = self.begun.as_ref().map(|begun| event_facts(&begun.event));
        json!({"event": event, "steps": steps, "run": {"id": self.id}})
    }
}

impl StepState {
    /// What later steps see of this one.
    fn seen(&self) -> Value {
        match self {
            Self::Answer { output } => output.clone(),
            Self::Tool(act) => match &act.outcome {
                None => Value::Null,
                // Always the same three fields, so that a condition may ask for any of them.
                Some(ToolOutcome::Ok { output }) => {
                    json!({"ok": true, "output": output, "error": null})
                }
                Some(ToolOutcome::Failed {
                    error,
                    message,
                    output,
                }) => {
                    json!({"ok": false, "output": output, "error": {"kind": error, "message": message}})
                }
                Some(ToolOutcome::Unknown { message }) => {
                    json!({"ok": false, "output": null, "error": {"kind": "unknown", "message": message}})
                }
            },
            Self::Agent { end: None, .. } => Value::Null,
            Self::Agent {
                end: Some((end, summary)),
                ..
            } => json!({"end": end, "summary": summary}),
        }
    }
}

/// What definitions and prompts see of an event; its extensions are the transport's business.
#[must_use]
pub fn event_facts(event: &Event) -> Value {
    let mut facts = json!({"type": event.kind, "source": event.source, "id": event.id});
    if let Some(subject) = &event.subject {
        facts["subject"] = json!(subject);
    }
    if let Some(time) = &event.time {
        facts["time"] = json!(time);
    }
    facts["data"] = event.data.clone();
    facts
}

#[cfg(test)]
mod tests;
