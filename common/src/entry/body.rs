//! What entries say: the payloads, as JSON.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    claude::{Reply, Usage},
    event::{Event, TENANT_DEFAULT},
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
}

impl fmt::Display for ParkedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ceiling => "ceiling",
            Self::Unavailable => "unavailable",
            Self::Blocked => "blocked",
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

/// The record of a Claude call: enough to say what was asked, answered and paid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The model that spoke.
    pub model: String,
    /// The model that was asked first.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub asked: String,
    /// What it could pick: tools as `name@version`, then ends; `answer` where a step has a shape; empty where a text was asked
    /// for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub menu: Vec<String>,
    /// The provider's id of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// SHA-256 (hex) of the first attempt's request.
    pub prompt: String,
    /// What came back, first to last: the last one counts, the others carry what was wrong with them.
    pub attempts: Vec<Attempt>,
    /// Why models that come before it were not the ones that spoke, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<String>,
    /// Tokens, all attempts together.
    pub usage: Usage,
    /// What they cost.
    pub usd_nano: Usd,
    /// Wall time of the calls, in milliseconds.
    pub took_ms: u64,
    /// Calls that were made for this step but lost with their planner before the reply was saved.
    #[serde(default)]
    pub wasted: u64,
    /// What those may have cost, at most.
    #[serde(default)]
    pub wasted_usd_nano: Usd,
    /// Who is charged.
    #[serde(default)]
    pub account: Account,
}

/// Who is charged for a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Account {
    /// The tenant: the event's, or `default`.
    pub tenant: String,
    /// The workflow.
    pub workflow: String,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            tenant: TENANT_DEFAULT.into(),
            workflow: String::new(),
        }
    }
}

/// A reply as the planner saved it, before anything else was done with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The reply, as received.
    pub reply: Reply,
    /// What it cost, by the prices of the model that was asked.
    #[serde(default)]
    pub usd_nano: Usd,
    /// Why models that come before it were not asked, or did not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<String>,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    /// Wall time of the call, in milliseconds.
    pub took_ms: u64,
    /// Calls for this attempt that were lost, with their planner or on the way.
    pub wasted: u64,
    /// What those may have cost, at most.
    #[serde(default)]
    pub wasted_usd_nano: Usd,
}

/// One reply, as received, and what was wrong with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Content blocks, byte for byte in value and order: they go back to the model so.
    pub content: Vec<Value>,
    /// Why it was not taken; `None` for the one that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complaint: Option<String>,
    /// Where the fault was in some of several tool uses: what was wrong with each, in their order; `None` for those that were
    /// right. Empty where the complaint is about the reply as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Option<String>>,
    /// Whether it was left out of the conversation: a cut reply is asked for again, not argued with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
    /// The provider's id of this attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Wall time of its call, in milliseconds; 0 in entries that were written before it was kept.
    #[serde(default)]
    pub took_ms: u64,
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
