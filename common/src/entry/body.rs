//! What entries say: the payloads, as JSON.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Account, Answered, Batched, Call};
use crate::{
    event::Event,
    ids::{IdError, Name, Slot, StepKey},
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

/// What was decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Decision {
    /// Run a tool.
    Act {
        /// The tool.
        tool: Name,
        /// Its version.
        version: u32,
        /// Its parameters, valid by its schema.
        with: Value,
    },
    /// A Claude step's answer.
    Answer {
        /// Valid by the step's schema, or a text.
        output: Value,
    },
    /// An agent ends.
    Finish {
        /// Which of its ends.
        end: Name,
        /// In the model's words, or why the planner ended it.
        summary: String,
    },
    /// The run waits for a timer, or for a person: Claude cannot be asked now.
    Park {
        /// What keeps it.
        by: ParkedBy,
        /// For people: what happened, and what to do.
        why: String,
        /// When it looks again by itself; `None`: only when told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        /// What Claude answered for this step already: paid, and not asked for again.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        replies: Vec<Answered>,
        /// Who is charged for them.
        #[serde(default)]
        account: Account,
        /// How far its item came, where batches answer the step.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        batch: Option<Box<Batched>>,
    },
    /// The run ends.
    End {
        /// How.
        outcome: Outcome,
        /// Why, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

impl Decision {
    /// The last token of the subject this decision is published on.
    ///
    /// # Errors
    /// None: the reserved words are names; the type says so to keep `expect` out.
    pub fn name(&self) -> Result<Name, IdError> {
        match self {
            Self::Act { tool, .. } => Ok(tool.clone()),
            Self::Answer { .. } | Self::Finish { .. } => RESERVED_CLAUDE.parse(),
            Self::Park { .. } => RESERVED_PARK.parse(),
            Self::End { .. } => RESERVED_END.parse(),
        }
    }
}

/// The subject name of what Claude settled itself.
pub const RESERVED_CLAUDE: &str = "claude";
/// The subject name of a run's end.
pub const RESERVED_END: &str = "end";
/// The subject name of a run that begins to wait.
pub const RESERVED_PARK: &str = "park";
/// Names that no tool may have: the subjects of what planners settle themselves.
pub const RESERVED: &[&str] = &[
    RESERVED_CLAUDE,
    RESERVED_END,
    "branch",
    "wait",
    "answer",
    RESERVED_PARK,
    "approval",
    "sleep",
    "run",
    "each",
];

/// What keeps a parked run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParkedBy {
    /// The next call could cost more than a ceiling leaves.
    Ceiling,
    /// Claude did not answer for as long as a step waits, or its breaker is open.
    Unavailable,
    /// Only a person can help: the key, the account, the model's name.
    Blocked,
    /// Its question is in a batch, which takes its time.
    Batch,
}

impl fmt::Display for ParkedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ceiling => "ceiling",
            Self::Unavailable => "unavailable",
            Self::Blocked => "blocked",
            Self::Batch => "batch",
        })
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it was for.
    Completed,
    /// It handed over to a person.
    Escalated,
    /// It could not go on.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Completed => "completed",
            Self::Escalated => "escalated",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
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
    /// Of `raise`: whose ceiling; `None`: the run's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Name>,
}

/// A timer fired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fired {}
