//! What planners decide.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Account, Answered, Batched};
use crate::{
    definition::{OnTimeout, Tool},
    ids::{IdError, Name, RunId},
    money::Usd,
};

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
    /// What was asked is not wanted any more, and what it cost is told here.
    Abandon {},
    /// A switch goes on at a step.
    Branch {
        /// At this one; `None`: at the next.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Name>,
        /// After the last one of its list.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        end: bool,
    },
    /// A step is passed over, because somebody has switched it off.
    Skip {},
    /// A step that has a time limit begins.
    Begin {
        /// When its time is up.
        until: Timestamp,
    },
    /// A loop begins.
    Each {
        /// Its list has so many items.
        items: u32,
    },
    /// Time must pass.
    Sleep {
        /// Until then.
        until: Timestamp,
    },
    /// A person is asked.
    Approve(Box<Approve>),
    /// Another workflow is started.
    Run {
        /// Which.
        workflow: Name,
        /// The data of its event.
        with: Value,
        /// The run it becomes.
        child: RunId,
        /// What it may cost, of what this run may.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usd_nano: Option<Usd>,
    },
    /// A second model has looked at an agent's work.
    Review {
        /// What follows.
        verdict: Reviewed,
        /// What the agent is told, or why it must stop.
        advice: String,
    },
    /// A step has failed.
    Fail {
        /// What it is to the run: `failed` or `escalated`.
        outcome: Outcome,
        /// The class of the error.
        error: Name,
        /// For people.
        reason: String,
    },
    /// A step, with all within it, is begun anew.
    Again {
        /// The steps that are.
        resets: Vec<Name>,
        /// Not before; `None`: at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        /// For people.
        why: String,
    },
    /// The run has failed: what it did is undone where the definition says so, then it ends.
    Undo {
        /// How it will end.
        outcome: Outcome,
        /// Why, for people.
        reason: String,
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
            Self::Answer { .. } | Self::Finish { .. } | Self::Abandon {} => RESERVED_CLAUDE.parse(),
            Self::Park { .. } => RESERVED_PARK.parse(),
            Self::Branch { .. } => RESERVED_BRANCH.parse(),
            Self::Skip {} => RESERVED_SKIP.parse(),
            Self::Begin { .. } => RESERVED_BEGIN.parse(),
            Self::Each { .. } => RESERVED_EACH.parse(),
            Self::Sleep { .. } => RESERVED_SLEEP.parse(),
            Self::Approve(_) => RESERVED_APPROVAL.parse(),
            Self::Run { .. } => RESERVED_RUN.parse(),
            Self::Review { .. } => RESERVED_REVIEW.parse(),
            Self::Fail { .. } => RESERVED_FAIL.parse(),
            Self::Again { .. } => RESERVED_AGAIN.parse(),
            Self::Undo { .. } => RESERVED_UNDO.parse(),
            Self::End { .. } => RESERVED_END.parse(),
        }
    }

    /// Whether it counts among a run's steps, which `limits.steps` bounds.
    #[must_use]
    pub fn is_step(&self) -> bool {
        match self {
            Self::End { .. } | Self::Park { .. } | Self::Abandon {} => false,
            Self::Act { .. }
            | Self::Answer { .. }
            | Self::Finish { .. }
            | Self::Branch { .. }
            | Self::Skip {}
            | Self::Begin { .. }
            | Self::Each { .. }
            | Self::Sleep { .. }
            | Self::Approve(_)
            | Self::Run { .. }
            | Self::Review { .. }
            | Self::Fail { .. }
            | Self::Again { .. }
            | Self::Undo { .. } => true,
        }
    }
}

/// The subject name of what Claude settled itself.
pub const RESERVED_CLAUDE: &str = "claude";
/// The subject name of a run's end.
pub const RESERVED_END: &str = "end";
/// The subject name of a run that begins to wait.
pub const RESERVED_PARK: &str = "park";
/// The subject name of a switch's way.
pub const RESERVED_BRANCH: &str = "branch";
/// The subject name of a step that is passed over.
pub const RESERVED_SKIP: &str = "skip";
/// The subject name of a step's beginning, where it has a time limit.
pub const RESERVED_BEGIN: &str = "begin";
/// The subject name of a loop's beginning.
pub const RESERVED_EACH: &str = "each";
/// The subject name of a sleep.
pub const RESERVED_SLEEP: &str = "sleep";
/// The subject name of a question to a person.
pub const RESERVED_APPROVAL: &str = "approval";
/// The subject name of a run within a run, and of its result.
pub const RESERVED_RUN: &str = "run";
/// The subject name of a review.
pub const RESERVED_REVIEW: &str = "review";
/// The subject name of a step's failure.
pub const RESERVED_FAIL: &str = "fail";
/// The subject name of a step that is begun anew.
pub const RESERVED_AGAIN: &str = "again";
/// The subject name of a run that begins to fail.
pub const RESERVED_UNDO: &str = "undo";
/// Names that no tool may have: the subjects of what planners settle themselves.
pub const RESERVED: &[&str] = &[
    RESERVED_CLAUDE,
    RESERVED_END,
    RESERVED_PARK,
    RESERVED_BRANCH,
    RESERVED_SKIP,
    RESERVED_BEGIN,
    RESERVED_EACH,
    RESERVED_SLEEP,
    RESERVED_APPROVAL,
    RESERVED_RUN,
    RESERVED_REVIEW,
    RESERVED_FAIL,
    RESERVED_AGAIN,
    RESERVED_UNDO,
    "wait",
    "answer",
];

/// A person is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approve {
    /// What is asked for: SHA-256 (hex) over the run, the step key, the branch, and the action or what is shown. A verdict counts
    /// for exactly this.
    pub hash: String,
    /// What a person sees, where it is not an action.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub show: Value,
    /// The action that waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// When it is too late; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// What is done then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<OnTimeout>,
}

/// A use of a tool that was decided and waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// The tool.
    pub tool: Name,
    /// Its version.
    pub version: u32,
    /// Its parameters, valid by its schema.
    pub with: Value,
}

impl Action {
    /// A use of a tool with these parameters.
    #[must_use]
    pub fn new(tool: &Tool, with: Value) -> Self {
        Self {
            tool: tool.name.clone(),
            version: tool.version,
            with,
        }
    }
}

impl From<Action> for Decision {
    fn from(action: Action) -> Self {
        let Action {
            tool,
            version,
            with,
        } = action;
        Self::Act {
            tool,
            version,
            with,
        }
    }
}

/// What follows from a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reviewed {
    /// The agent goes on.
    GoOn,
    /// The agent is told what to do otherwise, and goes on.
    Change,
    /// The agent stops, and a person is needed.
    Stop,
}

impl fmt::Display for Reviewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::GoOn => "go_on",
            Self::Change => "change",
            Self::Stop => "stop",
        })
    }
}

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
    /// An entry of it became a dead letter. No decision says so, but a signal.
    Dead,
}

impl fmt::Display for ParkedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ceiling => "ceiling",
            Self::Unavailable => "unavailable",
            Self::Blocked => "blocked",
            Self::Batch => "batch",
            Self::Dead => "dead",
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
