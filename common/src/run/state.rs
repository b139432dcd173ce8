//! What is known of a run's steps.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    definition::OnTimeout,
    entry::{Action, Attempt, Outcome, Reviewed, ToolOutcome},
    ids::{Name, RunId, Slot, StepKey},
    money::Usd,
};

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
    Tool(Box<Act>),
    /// An agent.
    Agent(Agent),
    /// A switch that went its way.
    Branch {
        /// To this step; `None`: to the next.
        to: Option<Name>,
        /// After the last step of its list.
        end: bool,
    },
    /// It was switched off when it was its turn.
    Skipped,
    /// A loop that has begun.
    Each {
        /// Items of its list.
        items: u32,
    },
    /// A sleep.
    Sleep {
        /// Until then.
        until: Timestamp,
    },
    /// A person is asked.
    Approval(Box<Approval>),
    /// Another run.
    Run(Box<Child>),
}

/// An agent.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// Its turns so far.
    pub turns: Vec<Turn>,
    /// What its reviewer said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviews: Vec<ReviewedTurn>,
    /// Which end it took, and its summary.
    pub end: Option<(Name, String)>,
}

/// One turn of an agent: what it said, and what it had done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// The model's replies, the last one is the decision.
    pub attempts: Vec<Attempt>,
    /// The actions, by branch.
    pub acts: Vec<Act>,
    /// How many messages of people it had heard when it decided.
    #[serde(default)]
    pub heard: u32,
}

/// A review of an agent's turns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewedTurn {
    /// After so many turns.
    pub after: u32,
    /// What follows.
    pub verdict: Reviewed,
    /// What was said.
    pub advice: String,
}

/// An action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Act {
    /// The sequence of its decision.
    pub decided: u64,
    /// What it is.
    #[serde(flatten)]
    pub action: Action,
    /// Its result, once known.
    pub outcome: Option<ToolOutcome>,
    /// The sequence of the entry that its result came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resulted: Option<u64>,
    /// A person is asked first: it is not done before they say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Approval>,
}

impl Act {
    pub(super) fn new(decided: u64, action: Action) -> Self {
        Self {
            decided,
            action,
            outcome: None,
            resulted: None,
            hold: None,
        }
    }

    /// Whether an executor has it, or will.
    #[must_use]
    pub fn is_outstanding(&self) -> bool {
        self.outcome.is_none() && self.hold.is_none()
    }

    /// Whether it waits for a person.
    pub(super) fn is_held(&self) -> bool {
        let hold = self.hold.as_ref().filter(|_| self.outcome.is_none());
        hold.is_some_and(Approval::is_open)
    }
}

/// A question to a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    /// The sequence of the decision to ask.
    pub decided: u64,
    /// What a verdict must name.
    pub hash: String,
    /// Since when.
    pub at: Timestamp,
    /// What is shown, where it is not an action.
    pub show: Value,
    /// When it is too late.
    pub until: Option<Timestamp>,
    /// What is done then.
    pub on_timeout: Option<OnTimeout>,
    /// What was said.
    pub verdict: Option<Ruling>,
}

impl Approval {
    /// Whether it waits.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.verdict.is_none()
    }
}

/// What became of a question to a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ruling {
    /// What.
    pub said: Said,
    /// By whom.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Parameters in place of those that were asked for.
    pub with: Option<Value>,
}

/// What a person said, or did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// Yes.
    Approved,
    /// No.
    Rejected,
    /// Nothing, in time.
    TimedOut(OnTimeout),
}

/// A run within a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Child {
    /// The sequence of the decision to start it.
    pub decided: u64,
    /// What runs.
    pub workflow: Name,
    /// The data of its event.
    pub with: Value,
    /// Which run it is.
    pub run: RunId,
    /// What it may cost, and once it has ended, what it did cost.
    pub usd: Usd,
    /// What it may cost, of what its parent may.
    pub allotted: Option<Usd>,
    /// How it ended.
    pub outcome: Option<ToolOutcome>,
}

/// Why a step has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What it is to the run: failed or escalated.
    pub outcome: Outcome,
    /// The class of the error.
    pub error: Name,
    /// For people.
    pub reason: String,
}

impl StepState {
    /// The run within this one that the step is, if it is one.
    #[must_use]
    pub fn child(&self) -> Option<&Child> {
        if let Self::Run(child) = self {
            Some(child)
        } else {
            None
        }
    }

    /// The agent that the step is, if it is one.
    pub(super) fn agent(&self) -> Option<&Agent> {
        if let Self::Agent(agent) = self {
            Some(agent)
        } else {
            None
        }
    }

    /// All actions of this step.
    pub(super) fn acts(&self) -> Vec<&Act> {
        match self {
            Self::Tool(act) => vec![act],
            Self::Agent(agent) => agent.turns.iter().flat_map(|turn| &turn.acts).collect(),
            Self::Answer { .. }
            | Self::Branch { .. }
            | Self::Skipped
            | Self::Each { .. }
            | Self::Sleep { .. }
            | Self::Approval(_)
            | Self::Run(_) => Vec::new(),
        }
    }

    /// All actions of this step, with where each stands.
    pub(super) fn acts_under(&self, key: &StepKey) -> Vec<(Slot, &Act)> {
        match self {
            Self::Tool(act) => {
                let step = key.clone();
                vec![(Slot { step, branch: 0 }, act)]
            }
            Self::Agent(agent) => {
                let turns = (1..).zip(&agent.turns);
                let acts = turns.flat_map(|(number, turn)| {
                    let key = key.clone().at_turn(number);
                    (0..).zip(&turn.acts).map(move |(branch, act)| {
                        let step = key.clone();
                        (Slot { step, branch }, act)
                    })
                });
                acts.collect()
            }
            Self::Answer { .. }
            | Self::Branch { .. }
            | Self::Skipped
            | Self::Each { .. }
            | Self::Sleep { .. }
            | Self::Approval(_)
            | Self::Run(_) => Vec::new(),
        }
    }

    /// All actions of this step, to change them.
    pub(super) fn acts_mut(&mut self) -> Vec<&mut Act> {
        match self {
            Self::Tool(act) => vec![act],
            Self::Agent(agent) => {
                let turns = agent.turns.iter_mut();
                turns.flat_map(|turn| &mut turn.acts).collect()
            }
            Self::Answer { .. }
            | Self::Branch { .. }
            | Self::Skipped
            | Self::Each { .. }
            | Self::Sleep { .. }
            | Self::Approval(_)
            | Self::Run(_) => Vec::new(),
        }
    }

    /// What later steps see of this one, where it has not failed.
    pub(super) fn seen(&self) -> Value {
        match self {
            Self::Answer { output } => output.clone(),
            Self::Tool(act) => outcome_seen(act.outcome.as_ref()),
            Self::Agent(Agent { end: None, .. }) => Value::Null,
            Self::Agent(Agent {
                end: Some((end, summary)),
                ..
            }) => json!({"end": end, "summary": summary}),
            Self::Approval(approval) => approval.seen(),
            Self::Run(child) => {
                let mut seen = outcome_seen(child.outcome.as_ref());
                if seen.is_object() {
                    seen["run"] = json!(child.run);
                }
                seen
            }
            Self::Branch { .. } | Self::Skipped | Self::Each { .. } | Self::Sleep { .. } => {
                Value::Null
            }
        }
    }

    /// Why it has failed, as later steps see it.
    pub(super) fn error(&self) -> Option<Value> {
        match self {
            Self::Tool(_) | Self::Approval(_) | Self::Run(_) => {
                let seen = self.seen();
                seen.get("error").filter(|error| !error.is_null()).cloned()
            }
            // Whatever Claude answered, it answered.
            Self::Answer { .. }
            | Self::Agent(_)
            | Self::Branch { .. }
            | Self::Skipped
            | Self::Each { .. }
            | Self::Sleep { .. } => None,
        }
    }
}

impl Approval {
    fn seen(&self) -> Value {
        let Some(verdict) = &self.verdict else {
            return Value::Null;
        };
        let approved = match verdict.said {
            Said::Approved | Said::TimedOut(OnTimeout::Approve) => true,
            Said::Rejected | Said::TimedOut(_) => false,
        };
        let error = if approved {
            Value::Null
        } else {
            json!({"kind": "rejected", "message": verdict.reason})
        };
        json!({
            "approved": approved,
            "by": verdict.by,
            "reason": verdict.reason,
            "with": verdict.with,
            "ok": approved,
            "error": error,
        })
    }
}

/// Always the same three fields, so that a condition may ask for any of them.
fn outcome_seen(outcome: Option<&ToolOutcome>) -> Value {
    match outcome {
        None => Value::Null,
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
    }
}

impl Failure {
    /// What later steps see of a step that failed.
    pub(super) fn seen(&self) -> Value {
        json!({"ok": false, "output": null, "error": {"kind": self.error, "message": self.reason}})
    }
}
