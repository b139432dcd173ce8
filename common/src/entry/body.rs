//! What entries say: the payloads, as JSON.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Call, Decision, Reconciled};
use crate::{
    event::Event,
    ids::{Name, RunId, Slot, StepKey},
    money::Usd,
};

/// What an entry says.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// The run begins.
    Started(Started),
    /// A planner's decision.
    Decided(Box<Decided>),
    /// An executor's result.
    Resulted(Resulted),
    /// A signal.
    Signalled(Signalled),
    /// A timer fired.
    Fired(Fired),
}

/// Which definition a run is pinned to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The workflow.
    pub name: Name,
    /// Its version.
    pub version: u32,
    /// SHA-256 (hex) of all that makes this version: the file, its prompts, schemas and tools.
    pub digest: String,
}

/// The run begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// What runs.
    pub workflow: Pin,
    /// Why it runs.
    pub event: Event,
    /// The run that this one is a step of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// What earlier runs of this version taught, oldest first: what its prompts tell Claude of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lessons: Vec<String>,
    /// The run whose state this one goes on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked: Option<Box<Forked>>,
    /// When its event was on disk; `None`: it was started by no event of the stream EVENTS, or by an older gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<Timestamp>,
}

/// The run that another one goes on from, and what it brings along.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forked {
    /// Which run.
    pub run: RunId,
    /// The last of its entries that is in this state.
    pub seq: u64,
    /// The step of the workflow's own list at which this run begins.
    pub step: Name,
    /// What each step before that one gave, as later ones see it; null where it was jumped over.
    pub given: BTreeMap<Name, Value>,
    /// Why an agent before that step handed over to a person: a run that ends of itself has escalated then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalated: Option<String>,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The run that another one is a step of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Which run.
    pub run: RunId,
    /// Which of its steps.
    pub step: StepKey,
    /// The sequence of its decision to start this run.
    pub decided: u64,
    /// How many runs are above this one, from 1.
    pub depth: u32,
    /// What this run may cost, of what its parent may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd_nano: Option<Usd>,
}

/// A planner's decision: the next link of the run's chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// Which step or turn it decides.
    pub step: StepKey,
    /// Which branch of a fan-out, from 0.
    #[serde(default)]
    pub branch: u32,
    /// What.
    pub decision: Decision,
    /// Why, in the model's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// How sure the model says it is, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// The Claude call behind it, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Call>,
    /// The state's digest before this entry: the hash chain.
    pub prev: String,
    /// Sequences of the others' entries folded since the chain entry before, in the order they were folded.
    #[serde(default)]
    pub rests: Vec<u64>,
}

/// An executor's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resulted {
    /// Of which step or turn.
    pub step: StepKey,
    /// Of which branch.
    #[serde(default)]
    pub branch: u32,
    /// The sequence of the decision: a planner that does not know it has a stale state.
    pub decided: u64,
    /// The tool that ran.
    pub tool: Name,
    /// What came out.
    pub outcome: ToolOutcome,
    /// Wall time of the tool, in milliseconds.
    pub took_ms: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// Who ran it.
    pub worker: String,
    /// What it cost: all tries of a tool that costs something, or a run of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd_nano: Option<Usd>,
    /// What was found out where nobody knew whether it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconciled: Option<Box<Reconciled>>,
}

impl Resulted {
    /// The action this is the result of.
    #[must_use]
    pub fn slot(&self) -> Slot {
        Slot {
            step: self.step.clone(),
            branch: self.branch,
        }
    }
}

/// What came out of a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ToolOutcome {
    /// It worked.
    Ok {
        /// What it returned.
        output: Value,
    },
    /// It did not.
    Failed {
        /// The class: `timeout`, `exit`, `status`, `refused`, `input`, `connect`, …
        error: Name,
        /// For people and for Claude.
        message: String,
        /// What it returned nevertheless.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Value>,
    },
    /// Nobody knows whether the effect happened: the executor died in the window, and the tool may not be repeated.
    Unknown {
        /// What is known.
        message: String,
    },
}

/// The class of a failure that says that a tool was run and gave something else than its `output` allows.
pub const MISFIT: &str = "output";
/// The classes of failures that say that a tool was begun and nobody heard how it ended.
pub const IN_DOUBT: [&str; 4] = ["signal", "lost", "timeout", "network"];

impl ToolOutcome {
    /// Whether what the tool does happened, or may have. One that is not `once` has failed where it was begun and not heard of.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Ok { .. } | Self::Unknown { .. } => true,
            Self::Failed { error, .. } => {
                error.as_str() == MISFIT || IN_DOUBT.contains(&error.as_str())
            }
        }
    }

    /// What it returned, whether it worked or not.
    #[must_use]
    pub fn output(&self) -> Option<&Value> {
        match self {
            Self::Ok { output } => Some(output),
            Self::Failed { output, .. } => output.as_ref(),
            Self::Unknown { .. } => None,
        }
    }
}

/// A signal.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signalled {
    /// Which signal it is, so that a second delivery changes nothing.
    pub id: String,
    /// Who sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of `raise`: the new ceiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd_nano: Option<Usd>,
    /// Of `raise`: whose ceiling, `None` is the run's. Of `retry`: from which step. Of `message`: for which agent, `None` is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Name>,
    /// From where: an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Of `message` and `feedback`: what is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Of `feedback`: whether it was good or bad, where they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<bool>,
    /// Of `cancel`: whether what was done is undone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compensate: bool,
    /// Of `approve` and `reject`: what for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Judged>,
    /// Of `dead`, `redrive` and `drop`: which letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letter: Option<Letter>,
}

/// A dead letter of a run, and the entry that it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Its sequence on DEAD.
    pub letter: u64,
    /// The entry's subject.
    pub subject: String,
    /// The entry's sequence.
    pub seq: u64,
}

/// What a person's verdict is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// The step or turn.
    pub step: StepKey,
    /// The branch.
    #[serde(default)]
    pub branch: u32,
    /// As [`Approve::hash`].
    pub hash: String,
    /// Of an approval: parameters in place of those that were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<Value>,
}

/// A timer fired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fired {}
