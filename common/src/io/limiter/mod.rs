//! Fleet-wide limits: callers wait here until their call fits, whichever process they are in.
//!
//! [`Shared`] is a scope's limits in Redis, [`Limiter`] the gate in this process. While Redis is away the gate goes by
//! [`crate::limit::Bucket`] on its own, with this process's part of what was last known.

mod alone;
mod gate;
mod scope;
mod shared;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

pub use gate::Limiter;
pub use shared::{Known, Shared};

use crate::{
    claude::Models,
    limit::{
        Answer, Flow, Grant, Limits, Observed, Reason, Scope, Settings, Settled, Source, Standing,
        Want,
    },
};

/// What is configured of limits.
#[derive(Debug, Clone, PartialEq)]
pub struct LimiterConfig {
    /// Limits per minute that hold whatever the provider tells; a scope that is not named here has those that are learned.
    pub configured: BTreeMap<Scope, Limits>,
    /// How much of a minute the fleet may use at once: 5 s of it stay far below what a provider takes for a burst.
    pub burst: Duration,
    /// Whether a call's whole `max_tokens` counts against the minute while it is out, as providers may count it.
    pub output_reserved: bool,
}

impl Default for LimiterConfig {
    fn default() -> Self {
        Self {
            configured: BTreeMap::new(),
            burst: Duration::from_secs(5),
            output_reserved: true,
        }
    }
}

impl LimiterConfig {
    /// What the table of models sets; all else as it is by default.
    #[must_use]
    pub fn of(models: &Models) -> Self {
        let configured = models.limits().iter();
        Self {
            configured: configured
                .map(|(family, limits)| (Scope::claude(family), *limits))
                .collect(),
            ..Self::default()
        }
    }

    fn settings(&self, scope: &Scope) -> Settings {
        Settings {
            configured: self.configured.get(scope).copied().unwrap_or_default(),
            burst_ms: u64::try_from(self.burst.as_millis()).unwrap_or(u64::MAX),
            output_reserved: self.output_reserved,
            fraction: 1.0,
        }
    }
}

/// The right to make one call. It is settled or given back; one that is only dropped stays charged, and the levels fill again.
#[derive(Debug)]
#[must_use = "settle it, or give it back"]
pub struct Ticket {
    scope: Scope,
    flow: Flow,
    want: Want,
    grant: Grant,
    /// Whether this process granted it on its own.
    alone: bool,
}

impl Ticket {
    /// What it is for.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    fn is_unlimited(&self) -> bool {
        self.grant.from == Source::Unlimited
    }

    fn settled(self, used: Option<(u64, u64)>) -> Settled {
        Settled {
            flow: self.flow,
            want: self.want,
            grant: self.grant,
            used,
        }
    }
}

/// What a call took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Input tokens that count: uncached and written to the cache, not those read from it.
    pub input: u64,
    /// Output tokens.
    pub output: u64,
    /// What the reply's headers said of limits; `None` if no reply came (then the tokens are a guess, and teach nothing).
    pub headers: Option<Observed>,
}

/// Why a call was not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// This process stops.
    #[error("stopping")]
    Stopping,
    /// It did not fit in time.
    #[error("the limits left no room in time{}", why.map(|why| format!(": {why}")).unwrap_or_default())]
    Deadline {
        /// What the last answer was; `None`: it did not even come to the front of its flow.
        why: Option<Reason>,
    },
}

impl Refused {
    /// For metric labels.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Stopping => "stopping",
            Self::Deadline { .. } => "deadline",
        }
    }
}

/// What a status page shows of a scope.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot {
    /// `claude:<family>`, `tool:<name>`.
    pub scope: String,
    /// Whether this process goes by its part of the limits alone; then the rest is what it knows itself.
    pub degraded: bool,
    /// Where the scope stands.
    #[serde(flatten)]
    pub standing: Standing,
}

/// An answer, and whether this process gave it on its own.
#[derive(Debug)]
struct Answered {
    answer: Answer,
    alone: bool,
}
