//! What is known of a run as a whole.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    claude::Usage,
    entry::{Forked, Outcome, Parent, Pin},
    event::Event,
    ids::Name,
    money::Usd,
};

/// What began a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    /// The definition it is pinned to.
    pub pin: Pin,
    /// The event.
    pub event: Event,
    /// When.
    pub at: Timestamp,
    /// The run that this one is a step of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// What earlier runs taught.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lessons: Vec<String>,
    /// The run whose state it goes on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked: Option<Box<Forked>>,
    /// When its event was on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<Timestamp>,
}

/// How a run will end that has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// How.
    pub outcome: Outcome,
    /// Why.
    pub reason: String,
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
    /// What runs cost that were started by steps that have been begun anew since.
    #[serde(default)]
    pub children: Usd,
    /// What tools cost that say what they cost.
    #[serde(default)]
    pub tools: Usd,
}

/// What a person said to a run's agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// Who.
    pub by: Option<String>,
    /// What.
    pub text: String,
    /// To which agent; `None`: to any.
    pub step: Option<Name>,
}

/// A wish to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// By whom, and why.
    pub reason: String,
    /// Whether what was done is undone.
    pub compensate: bool,
}
