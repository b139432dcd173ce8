//! How a handling ends before its time, and which errors pass by themselves.

use std::time::Duration;

use flotilla_common::{
    ids::IdError,
    io::{journal::JournalError, store::StoreError},
    run::{FoldError, LinkError},
};

use crate::session::SessionError;

/// When a message is handed out again after a fault that passes by itself.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// How a handling ends before its time.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Hand the message back.
    Retry { after: Duration, why: String },
    /// Nobody can handle it.
    Dead(String),
}

impl Stop {
    /// The planner stops: somebody else goes on with it at once.
    pub(crate) fn handed_back(why: &str) -> Self {
        Self::Retry {
            after: Duration::ZERO,
            why: why.to_owned(),
        }
    }
}

impl From<SessionError> for Stop {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Journal(error) => error.into(),
            SessionError::Store(error) => error.into(),
            SessionError::Fold(FoldError::Stale { .. }) => {
                retry("the journal is behind this message")
            }
            SessionError::Fold(error @ (FoldError::Foreign { .. } | FoldError::Broken { .. })) => {
                Self::Dead(error.to_string())
            }
        }
    }
}

impl From<JournalError> for Stop {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Conflict(_) | JournalError::Unavailable(_) => retry(&error.to_string()),
            JournalError::Refused { .. }
            | JournalError::Entry(_)
            | JournalError::TooLong { .. } => Self::Dead(error.to_string()),
        }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        retry(&error.to_string())
    }
}

impl From<IdError> for Stop {
    fn from(error: IdError) -> Self {
        Self::Dead(error.to_string())
    }
}

impl From<LinkError> for Stop {
    fn from(error: LinkError) -> Self {
        Self::Dead(error.to_string())
    }
}

pub(crate) fn retry(why: &str) -> Stop {
    Stop::Retry {
        after: RETRY_PAUSE,
        why: why.to_owned(),
    }
}

/// Whether an error passes by itself once NATS and Redis are back.
pub(crate) trait IsOutage {
    fn is_outage(&self) -> bool;
}

impl IsOutage for StoreError {
    fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Connect { .. })
    }
}

impl IsOutage for JournalError {
    fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl IsOutage for SessionError {
    fn is_outage(&self) -> bool {
        match self {
            Self::Store(error) => error.is_outage(),
            Self::Journal(error) => error.is_outage(),
            Self::Fold(_) => false,
        }
    }
}
