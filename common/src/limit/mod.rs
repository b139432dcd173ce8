//! Fleet-wide limits: how many calls and tokens a minute may go to one place, shared by every process and fair to every tenant.
//!
//! [`Bucket`] is the whole algorithm as a pure structure. Redis runs the same algorithm as a script, for the whole fleet (a test
//! drives both through the same sequences and wants equal answers); a process runs this one alone while Redis is away.
//!
//! In short: token buckets with bursts far below the provider's minute; a virtual time per tenant and per flow that says who is
//! within their fair share; those within it may draw the buckets down to nothing, the others leave headroom for them; a cap on
//! calls a second that halves on overload and doubles as it passes; and one time until which everybody waits after a 429.

mod bucket;
mod level;
mod ramp;
mod share;

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

pub use bucket::{Bucket, Report, Settled};

use crate::ids::Name;

/// How long a scope is blocked by a 429 that does not say for how long, in ms.
pub const BLOCK_DEFAULT_MS: u64 = 1_000;
/// Longest time a scope is blocked by one 429, in ms: then one call looks again.
pub const BLOCK_MAX_MS: u64 = 600_000;

/// What one set of limits holds for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Arc<str>);

const CLAUDE: &str = "claude:";

impl Scope {
    /// Claude's models of one family: they share their limits.
    #[must_use]
    pub fn claude(family: &str) -> Self {
        Self(format!("{CLAUDE}{family}").into())
    }

    /// A tool that declares a rate for the whole fleet.
    #[must_use]
    pub fn tool(tool: &Name) -> Self {
        Self(format!("tool:{tool}").into())
    }

    /// `claude:<family>`, `tool:<name>`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What metrics call it: the family, or `tool:<name>`.
    #[must_use]
    pub fn label(&self) -> &str {
        self.0.strip_prefix(CLAUDE).unwrap_or(&self.0)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whose calls they are: tenants share a scope fairly, and within a tenant its workflows do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// The tenant.
    pub tenant: Name,
    /// The workflow.
    pub workflow: Name,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.workflow)
    }
}

/// What a call may need, as its caller knows before it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Input tokens, estimated plainly; how many of them the provider counts is learned per flow.
    pub input_estimate: u64,
    /// Most output tokens (`max_tokens`); how many come out is learned per flow.
    pub output_max: u64,
}

/// One of something for each kind of limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Kinds<T> {
    /// Calls.
    pub requests: T,
    /// Input tokens that count: uncached and written to the cache.
    pub input: T,
    /// Output tokens.
    pub output: T,
}

impl<T> Kinds<T> {
    /// The same for each kind of something else.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> Kinds<U> {
        Kinds {
            requests: f(self.requests),
            input: f(self.input),
            output: f(self.output),
        }
    }

    /// Pairs, kind by kind.
    pub fn zip<U>(self, other: Kinds<U>) -> Kinds<(T, U)> {
        Kinds {
            requests: (self.requests, other.requests),
            input: (self.input, other.input),
            output: (self.output, other.output),
        }
    }
}

/// Most per minute; `None` where there is no limit, or it is not known.
pub type Limits = Kinds<Option<u64>>;

/// What a reply's headers say about one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// The limit, per minute.
    pub limit: Option<u64>,
    /// What is left of it now.
    pub remaining: Option<u64>,
}

/// What a reply's headers say; the default is a reply that says nothing about limits.
pub type Observed = Kinds<Seen>;

/// Why a call must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The limit is used up for the moment.
    Rate,
    /// What is left is for flows that had less than their share.
    Share,
    /// The scope is warming up, or recovering from an overload.
    Ramp,
    /// The provider said to wait.
    Blocked,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Rate, Self::Share, Self::Ramp, Self::Blocked];

    /// For metric labels.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Share => "share",
            Self::Ramp => "ramp",
            Self::Blocked => "blocked",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rate => "the limit is used up for the moment",
            Self::Share => "others are below their share",
            Self::Ramp => "calls are ramping up",
            Self::Blocked => "the provider said to wait",
        })
    }
}

/// What holds for a scope whatever is learned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Limits from the configuration: what is learned counts up to them.
    pub configured: Limits,
    /// How much of a minute may be used at once, in ms of it.
    pub burst_ms: u64,
    /// Whether to count a call's whole `max_tokens` against the minute while it is out, as the provider may.
    pub output_reserved: bool,
    /// The part of all limits (above 0, at most 1) that this bucket may use: less than 1 only for a process on its own.
    pub fraction: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            configured: Limits::default(),
            burst_ms: 5_000,
            output_reserved: true,
            fraction: 1.0,
        }
    }
}

/// The answer to a wish to call.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Go ahead.
    Granted(Grant),
    /// Ask again.
    Later {
        /// After so many ms (1 to 60,000) it may be granted, if nobody else takes it.
        after_ms: u64,
        /// Why.
        why: Reason,
    },
}

/// What was reserved for a call. It goes back in with what the call really took.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// What it was granted from.
    pub from: Source,
    /// Whether the flow was within its share; if not, the call uses what is spare.
    pub in_share: bool,
    /// Input tokens reserved.
    pub input: f64,
    /// Output tokens reserved.
    pub output: f64,
    /// How this moved the flow's place among the others.
    pub moved: Moved,
}

/// How a grant moved the virtual times of its tenant and flow.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moved {
    /// How long the scope would need for one request at its full rate, in ms.
    pub request: f64,
    /// How long it would need for the whole reservation, in ms: the largest over the kinds.
    pub cost: f64,
    /// Tenants that shared.
    pub tenants: f64,
    /// Flows that an equal share of this one would make: tenants, times this tenant's workflows.
    pub flows: f64,
    /// How far the tenant's time was moved, in ms.
    pub tenant: f64,
    /// How far the flow's time was moved, in ms.
    pub flow: f64,
}

/// What a call was granted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The levels of known limits.
    Levels,
    /// The few calls that may be out while the limits are not known.
    Unknown,
    /// There are no limits; the answer holds for other calls too, for about a second.
    Unlimited,
}

/// Where a scope stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// Limits in force, per minute: the smaller of learned and configured.
    pub limits: Limits,
    /// Limits as the provider's headers told them.
    pub learned: Limits,
    /// What may be used at once of each now; below 0 in debt.
    pub levels: Kinds<Option<f64>>,
    /// The cap on calls a second, while ramping up or recovering.
    pub cap_per_s: Option<f64>,
    /// Until when everybody waits, in ms since 1970 (or the test's zero).
    pub blocked_until_ms: Option<u64>,
    /// Whether a reply told that there are no limits, and none is configured.
    pub unlimited: bool,
    /// Tenants that asked in the last 10 s.
    pub tenants: u64,
    /// Flows that asked in the last 10 s.
    pub flows: u64,
    /// Processes that asked in the last 15 s.
    pub fleet: u64,
}

impl Standing {
    /// Whether anything is known of the scope: somebody calls under it, or a limit was told or configured.
    #[must_use]
    pub fn is_known(&self) -> bool {
        let told = |limits: &Limits| *limits != Limits::default();
        told(&self.limits)
            || told(&self.learned)
            || self.unlimited
            || self.flows > 0
            || self.cap_per_s.is_some()
            || self.blocked_until_ms.is_some()
    }
}
