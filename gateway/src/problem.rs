//! What goes wrong, as the client is told.

use std::time::Duration;

use axum::http::StatusCode;
use flotilla_common::{
    event::EventError,
    io::{http::Problem, journal::JournalError, store::StoreError},
};
use tokio::time::timeout;

/// How long a request waits for NATS or Redis: long enough for a restart, short enough for a client that waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request that is wrong.
pub(crate) fn bad_request(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

/// A request that does not fit what there is.
pub(crate) fn conflict(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::CONFLICT, detail)
}

/// Something that is needed does not answer.
pub(crate) fn unavailable(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}

/// Asks the journal, with patience.
pub(crate) async fn ask_journal<T>(
    question: impl Future<Output = Result<T, JournalError>>,
) -> Result<T, Problem> {
    match timeout(PATIENCE, question).await {
        Ok(answer) => answer.map_err(|error| of_journal(&error)),
        Err(_) => Err(unavailable("NATS does not answer in time; try again")),
    }
}

/// Asks Redis, with patience.
pub(crate) async fn ask_store<T>(
    question: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, Problem> {
    match timeout(PATIENCE, question).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(problem)) => Err(unavailable(problem.to_string())),
        Err(_) => Err(unavailable("Redis does not answer in time; try again")),
    }
}

fn of_journal(error: &JournalError) -> Problem {
    let status = match error {
        JournalError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        JournalError::Conflict(_) => StatusCode::CONFLICT,
        // All that NATS refuses for good is what is larger than its `max_payload`.
        JournalError::Refused { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        JournalError::Entry(_) | JournalError::TooLong { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Problem::new(status, error.to_string())
}

pub(crate) fn of_event(error: &EventError) -> Problem {
    let status = match error {
        EventError::TooLarge(..) => StatusCode::PAYLOAD_TOO_LARGE,
        EventError::Json(_) | EventError::Shape(_) | EventError::Attribute(_) => {
            StatusCode::BAD_REQUEST
        }
    };
    Problem::new(status, error.to_string())
}
