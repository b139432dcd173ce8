//! What goes wrong, as the client is told.

use std::time::Duration;

use axum::http::StatusCode;
use flotilla_common::{
    definition::Misfit,
    event::{DATA_SCHEMA, EventError},
    io::{http::Problem, journal::JournalError, store::StoreError},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::triggers::NotTaken;

/// How long a request waits for NATS or Redis: long enough for a restart, short enough for a client that waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request that is wrong.
pub(crate) fn bad_request(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

/// A parameter of a query or a path, or a header, that is wrong: named for people and for programs.
pub(crate) fn wrong_parameter(name: &str, detail: impl Into<String>) -> Problem {
    let detail = detail.into();
    let errors = json!([{"parameter": name, "detail": detail}]);
    bad_request(format!("`{name}`: {detail}"))
        .with("code", "invalid_parameter".into())
        .with("errors", errors)
}

/// A field of a body that is wrong: `pointer` is the JSON pointer to it, without its first `/`.
pub(crate) fn wrong_field(pointer: &str, detail: &str) -> Problem {
    let errors = json!([{"pointer": format!("/{pointer}"), "detail": detail}]);
    bad_request(format!("`/{pointer}` {detail}"))
        .with("code", "invalid_field".into())
        .with("errors", errors)
}

/// A request that does not fit what there is.
pub(crate) fn conflict(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::CONFLICT, detail)
}

/// A request that whoever sent it may not send.
pub(crate) fn forbidden(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, detail)
}

/// A request that is right, and about what cannot be.
pub(crate) fn unprocessable(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
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

/// An event that is none, or too large.
pub(crate) fn of_event(error: &EventError) -> Problem {
    let status = match error {
        EventError::TooLarge(..) => StatusCode::PAYLOAD_TOO_LARGE,
        EventError::Json(_) | EventError::Attribute { .. } => StatusCode::BAD_REQUEST,
    };
    let problem = Problem::new(status, error.to_string());
    match faults_of_event("", error).as_slice() {
        [] => problem,
        faults => problem.with("errors", json!(faults)),
    }
}

/// What is wrong with an event, each with its place; empty where all of it is.
pub(crate) fn faults_of_event(under: &str, error: &EventError) -> Vec<Value> {
    match error {
        EventError::Attribute { pointer, told } if !pointer.is_empty() || !under.is_empty() => {
            vec![fault(&format!("{under}{pointer}"), told)]
        }
        EventError::Json(_) | EventError::TooLarge(..) if !under.is_empty() => {
            vec![fault(under, &error.to_string())]
        }
        EventError::Attribute { .. } | EventError::Json(_) | EventError::TooLarge(..) => Vec::new(),
    }
}

/// An event that is one, and that nobody takes.
pub(crate) fn of_not_taken(why: &NotTaken) -> Problem {
    let faults = faults_of_not_taken("", why);
    unprocessable(why.to_string()).with("errors", json!(faults))
}

/// Why nobody takes it, each reason with its place.
pub(crate) fn faults_of_not_taken(under: &str, why: &NotTaken) -> Vec<Value> {
    match why {
        NotTaken::Type(_) => vec![fault(&format!("{under}/type"), &why.to_string())],
        NotTaken::Misfit(Misfit::Version { .. }) => {
            vec![fault(&format!("{under}/{DATA_SCHEMA}"), &why.to_string())]
        }
        NotTaken::Misfit(Misfit::Adapter { .. }) => {
            vec![fault(&format!("{under}/data"), &why.to_string())]
        }
        NotTaken::Misfit(Misfit::Data { faults, .. }) => faults
            .iter()
            .map(|(place, told)| fault(&format!("{under}/data{place}"), told))
            .collect(),
    }
}

/// One of the `errors` of a problem.
pub(crate) fn fault(pointer: &str, detail: &str) -> Value {
    json!({"pointer": pointer, "detail": detail})
}
