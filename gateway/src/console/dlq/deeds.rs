//! What the forms of `/dlq` do: letters handled again, as they are or edited, or dropped; one, or all of a cause.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use flotilla_common::{
    depth::{DEPTH_MAX, is_within},
    io::{
        http::Problem,
        redrives::{Action, Because},
    },
};
use serde_json::Value;

use super::refused;
use crate::{
    console::{
        did::{Did, because},
        form::Form,
    },
    dead::{Begun, PER_MINUTE_MAX, begin, per_minute},
    problem::bad_request,
    routes::App,
};

/// Handles a letter again; with a payload, that one.
pub(super) async fn redrive(
    State(app): State<Arc<App>>,
    Path(seq): Path<u64>,
    form: Form,
) -> Result<Response, Problem> {
    let why = allowed(&form)?;
    let Some(typed) = form.get("payload").map(ToOwned::to_owned) else {
        app.post.redrive(seq, None, why).await?;
        return Ok(Did::Redriven.at("/dlq"));
    };
    let done = match read(&typed) {
        Ok(payload) => app.post.redrive(seq, Some(payload), why).await.map(drop),
        Err(problem) => Err(problem),
    };
    match done {
        Ok(()) => Ok(Did::Edited.at("/dlq")),
        // What somebody typed is not lost with what is wrong with it.
        Err(problem) => Box::pin(refused(&app, form.door, seq, typed, problem)).await,
    }
}

/// Gives a letter up.
pub(super) async fn drop_one(
    State(app): State<Arc<App>>,
    Path(seq): Path<u64>,
    form: Form,
) -> Result<Response, Problem> {
    let why = with_reason(allowed(&form)?)?;
    app.post.drop_letter(seq, why).await?;
    Ok(Did::Dropped.at("/dlq"))
}

/// Begins to handle all letters of a cause again, at a rate.
pub(super) async fn redrive_all(
    State(app): State<Arc<App>>,
    Path(print): Path<String>,
    form: Form,
) -> Result<Response, Problem> {
    let why = allowed(&form)?;
    let rate = per_minute(form.must("rate")?.trim())?;
    let begun = begin(&app.post, print, Action::Redrive, rate, why).await?;
    Ok(told(&begun))
}

/// Begins to drop all letters of a cause.
pub(super) async fn drop_all(
    State(app): State<Arc<App>>,
    Path(print): Path<String>,
    form: Form,
) -> Result<Response, Problem> {
    let why = with_reason(allowed(&form)?)?;
    let begun = begin(&app.post, print, Action::Drop, PER_MINUTE_MAX, why).await?;
    Ok(told(&begun))
}

fn told(begun: &Begun) -> Response {
    match begun {
        Begun::Now(_) => Did::JobBegun.at("/dlq"),
        Begun::Before(_) => Did::JobBefore.at("/dlq"),
    }
}

fn allowed(form: &Form) -> Result<Because, Problem> {
    form.door.must_for_all()?;
    because(form)
}

/// What is dropped is gone: somebody will ask why.
fn with_reason(because: Because) -> Result<Because, Problem> {
    match because.reason {
        Some(_) => Ok(because),
        None => Err(bad_request("say why it is dropped: the reason is kept")),
    }
}

fn read(typed: &str) -> Result<Value, Problem> {
    let value = serde_json::from_str(typed);
    let value = value.map_err(|problem| bad_request(format!("this is not JSON: {problem}")))?;
    if is_within(&value, DEPTH_MAX) {
        return Ok(value);
    }
    Err(bad_request(format!(
        "it is nested more than {DEPTH_MAX} levels deep"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_must_be_json_that_the_journal_can_hold() {
        assert!(read(r#"{"a": 1}"#).is_ok());
        let problem = read("{a: 1}").unwrap_err();
        assert!(
            problem.detail.contains("line 1 column 2"),
            "{}",
            problem.detail
        );
        let deep = "[".repeat(DEPTH_MAX + 1) + &"]".repeat(DEPTH_MAX + 1);
        assert_eq!(read(&deep).unwrap_err().status, 400);
    }

    #[test]
    fn what_is_dropped_is_dropped_for_a_reason() {
        let because = |reason: Option<&str>| Because {
            by: None,
            reason: reason.map(ToOwned::to_owned),
        };
        assert_eq!(with_reason(because(None)).unwrap_err().status, 400);
        assert!(with_reason(because(Some("test data"))).is_ok());
    }
}
