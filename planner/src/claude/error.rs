//! What one try can end with but a reply: what kind of failure it is, and what it may have cost.

use std::time::Duration;

use flotilla_common::claude::{RateLimits, Usage};

/// Why one try gave no reply.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{why}")]
pub struct CallError {
    /// What to do about it.
    pub kind: ErrorKind,
    /// What happened, for people; never holds a key.
    pub why: String,
    /// The provider's id of the request, if it answered at all.
    pub request_id: Option<String>,
    /// How long the server said to wait; at most ten minutes.
    pub after: Option<Duration>,
    /// The rate limits that the answer told.
    pub limits: Option<RateLimits>,
    /// The HTTP status, if it answered at all.
    pub status: Option<u16>,
    /// What it may have cost.
    pub billed: Billed,
}

/// Kinds of failure, by what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// 429: this key asks too much; wait as told.
    RateLimited,
    /// 529: everybody asks too much; the fleet should back off as one.
    Overloaded,
    /// 408, 5xx, and what the server says will pass.
    Server,
    /// 409.
    Conflict,
    /// No byte in time, or not the whole answer.
    Timeout,
    /// No connection, or it broke before an answer began.
    Connection,
    /// A 2xx whose body broke off or is no message.
    Unreadable,
    /// 401, 402, 403, 404, a redirect, a spend limit: a person must mend something, and then the same request will do.
    Blocked,
    /// 400, 413, other 4xx, `x-should-retry: false`: this request will never do.
    Invalid,
}

impl ErrorKind {
    /// The `outcome` label of calls that end so.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Server | Self::Conflict => "error",
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Unreadable => "malformed",
            Self::Blocked => "parked",
            Self::Invalid => "refused",
        }
    }
}

/// What a failed try may have cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Billed {
    /// Nothing: it was refused before any work, or never sent.
    Nothing,
    /// At least this: what a stream said before it was cut. More output may have been produced than it told.
    AtLeast(Usage),
    /// It was sent and nothing came back that says: perhaps nothing, perhaps all of it.
    Unknown,
}
