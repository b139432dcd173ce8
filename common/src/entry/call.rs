//! What entries say of Claude calls.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    claude::{Reply, Usage},
    event::TENANT_DEFAULT,
    money::Usd,
};

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
    /// The provider's id of the last attempt; of one that a batch answered, its `custom_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The batch that the last attempt was answered in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
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
    /// Those of them that were left in batches, by their `custom_id`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<String>,
    /// How many messages of people it had heard.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub heard: u32,
    /// Who is charged.
    #[serde(default)]
    pub account: Account,
}

impl Call {
    /// Both in one, as the first one: for calls that nothing came of.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.attempts.extend(other.attempts);
        self.usage = self.usage + other.usage;
        self.usd_nano = self.usd_nano + other.usd_nano;
        self.took_ms = self.took_ms.saturating_add(other.took_ms);
        self.wasted = self.wasted.saturating_add(other.wasted);
        self.wasted_usd_nano = self.wasted_usd_nano + other.wasted_usd_nano;
        self.items.extend(other.items);
        self
    }

    /// How many replies it tells that no decision before it tells.
    #[must_use]
    pub fn replies(&self) -> u64 {
        let told = self.attempts.iter().filter(|attempt| !attempt.told);
        told.map(|_| 1).sum()
    }

    /// The same, which tells calls besides that nothing came of: before its own, whose last one counts.
    #[must_use]
    pub fn telling(mut self, others: Self) -> Self {
        let own = std::mem::take(&mut self.attempts);
        let mut all = self.and(others);
        all.attempts.extend(own);
        all
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
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
    /// The provider's id of the request; of one that a batch answered, its `custom_id`. `None` of the latter in entries that were
    /// written before it was kept.
    pub request_id: Option<String>,
    /// The batch that it was answered in, at the price of batches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// Wall time of the call, in milliseconds; of a batch, from its creation to its end.
    pub took_ms: u64,
    /// Calls for this attempt that were lost, with their planner or on the way.
    pub wasted: u64,
    /// What those may have cost, at most.
    #[serde(default)]
    pub wasted_usd_nano: Usd,
    /// How many messages of people it had heard.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub heard: u32,
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
    /// The provider's id of this attempt; of one that a batch answered, its `custom_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Wall time of its call, in milliseconds; 0 in entries that were written before it was kept.
    #[serde(default)]
    pub took_ms: u64,
    /// Whether a decision before this one tells what it cost: it was given up there, and found again in its claim.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told: bool,
}
