//! A run in one line: what lists show.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Called, Run};
use crate::{
    entry::{Forked, Outcome, ParkedBy},
    event::TENANT_DEFAULT,
    ids::{Name, RunId},
    money::Usd,
};

impl Run {
    /// One line about the run, for lists.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        let begun = self.begun.as_ref()?;
        Some(Summary {
            id: self.id.clone(),
            workflow: begun.pin.name.clone(),
            version: begun.pin.version,
            tenant: begun.event.tenant().to_owned(),
            chain: self.chain,
            status: self.status(),
            reason: self.reason(),
            parked_by: self.parked_by(),
            started_at: begun.at,
            ended_at: self.end.as_ref().map(|end| end.at),
            steps: self.decisions,
            model_calls: self.spent.calls,
            wasted_calls: self.spent.wasted,
            input_tokens: self
                .spent
                .usage
                .input_tokens
                .saturating_add(self.spent.usage.cache_creation_input_tokens),
            cache_read_tokens: self.spent.usage.cache_read_input_tokens,
            output_tokens: self.spent.usage.output_tokens,
            usd_nano: self.spent.usd,
            tools: self.called.clone(),
            forked: begun.forked.as_deref().map(ForkedFrom::from),
        })
    }

    pub(super) fn status(&self) -> Status {
        match &self.end {
            Some(end) => end.outcome.into(),
            None if self.paused.is_some() => Status::Paused,
            None if self.is_parked() || !self.dead.is_empty() => Status::Parked,
            None if self.approvals().next().is_some() => Status::Waiting,
            None => Status::Running,
        }
    }

    /// What keeps it, when it is parked.
    fn parked_by(&self) -> Option<ParkedBy> {
        if self.end.is_none() && !self.dead.is_empty() {
            return Some(ParkedBy::Dead);
        }
        self.waits().map(|parked| parked.by)
    }

    /// Why it ended as it did, or what it waits for.
    fn reason(&self) -> Option<String> {
        if let Some(end) = &self.end {
            return end.reason.clone();
        }
        let parked = self.waits().map(|parked| parked.why.clone());
        let asked = self
            .approvals()
            .next()
            .map(|(slot, _, action)| match action {
                Some(action) => format!("step `{slot}`: a person must allow {}", action.tool),
                None => format!("step `{slot}`: a person must decide"),
            });
        let failing = self.failing.as_ref();
        let failing = failing.map(|failing| failing.reason.clone());
        let held = self.paused.clone().or_else(|| self.dead.why());
        held.or(parked).or(asked).or(failing)
    }
}

/// A run in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Which run.
    pub id: RunId,
    /// What runs.
    pub workflow: Name,
    /// Its version.
    pub version: u32,
    /// Who pays.
    #[serde(default = "tenant_default")]
    pub tenant: String,
    /// Sequence of the last decision, 0 before the first: a line with a higher one is newer.
    #[serde(default)]
    pub chain: u64,
    /// How it stands.
    pub status: Status,
    /// Why it ended so, or what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What keeps it, when it is parked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked_by: Option<ParkedBy>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Decisions so far.
    pub steps: u32,
    /// Claude calls that counted.
    pub model_calls: u64,
    /// Claude calls that were lost with their planner.
    pub wasted_calls: u64,
    /// Input tokens, cache writes included, cache reads not.
    pub input_tokens: u64,
    /// Input tokens read from the prompt cache.
    pub cache_read_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Their price, in nano-dollars.
    pub usd_nano: Usd,
    /// Tools that it called; of a run within it, and of the run that it goes on from, theirs say.
    #[serde(default, skip_serializing_if = "Called::is_empty")]
    pub tools: Called,
    /// The run whose state it goes on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked: Option<ForkedFrom>,
}

/// Where a run began that goes on from another one's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkedFrom {
    /// That run.
    pub run: RunId,
    /// The step.
    pub step: Name,
}

impl From<&Forked> for ForkedFrom {
    fn from(forked: &Forked) -> Self {
        Self {
            run: forked.run.clone(),
            step: forked.step.clone(),
        }
    }
}

/// Of lines that were written before they had it.
fn tenant_default() -> String {
    TENANT_DEFAULT.to_owned()
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not ended.
    Running,
    /// Not ended: it waits for a timer or a person before Claude is asked again.
    Parked,
    /// Not ended: a person must allow or decide something.
    Waiting,
    /// Not ended: a person wants it to do nothing for now.
    Paused,
    /// See [`Outcome::Completed`].
    Completed,
    /// See [`Outcome::Escalated`].
    Escalated,
    /// See [`Outcome::Failed`].
    Failed,
    /// See [`Outcome::Cancelled`].
    Cancelled,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Running,
        Self::Parked,
        Self::Waiting,
        Self::Paused,
        Self::Completed,
        Self::Escalated,
        Self::Failed,
        Self::Cancelled,
    ];
}

impl From<Outcome> for Status {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Completed => Self::Completed,
            Outcome::Escalated => Self::Escalated,
            Outcome::Failed => Self::Failed,
            Outcome::Cancelled => Self::Cancelled,
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Parked => "parked",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Escalated => "escalated",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}

impl std::str::FromStr for Status {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|status| status.to_string() == text)
        .ok_or_else(|| {
            format!(
                "`{text}` is none of running, parked, waiting, paused, completed, escalated, failed, cancelled"
            )
        })
    }
}
