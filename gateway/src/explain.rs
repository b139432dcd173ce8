//! `GET /v1/runs/{id}/explain/{step}`: how a step, or a turn of an agent, was decided. What looks like a secret is taken out,
//! and what is too long for an answer is cut.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
};
use flotilla_common::{
    ids::StepKey,
    io::http::Problem,
    redact,
    run::{ExplainError, Explained, explain},
};
use serde_json::Value;

use crate::{
    history,
    problem::{bad_request, unavailable},
    routes::App,
};

/// Bytes of texts in one answer: more than any prompt that a planner builds of ordinary size.
pub(crate) const TEXT_BYTES_MAX: usize = 4 << 20;

/// How a step was decided.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let Path((run, step)) = path.map_err(|rejection| bad_request(rejection.body_text()))?;
    let run = history::run_id(Ok(Path(run)))?;
    let step: StepKey = step
        .parse()
        .map_err(|error: flotilla_common::ids::IdError| bad_request(error.to_string()))?;
    let slot = app.histories.acquire().await;
    let _slot = slot.map_err(|_| unavailable("the gateway shuts down"))?;
    let messages = history::messages(&app, &run).await?;
    let entries = history::entries(&messages).map_err(broken)?;
    // What is switched off now was not when it was decided.
    let catalogue = app.current.catalogue();
    let loaded = |pin: &_| catalogue.as_written(pin).map(Arc::clone);
    let explained = explain(&run, entries, &step, loaded).map_err(|error| problem(&error))?;
    shown(&explained).map(Json)
}

fn broken(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
}

fn problem(error: &ExplainError) -> Problem {
    match error {
        ExplainError::Fold(_) => broken(error.to_string()),
        ExplainError::Undecided { .. } | ExplainError::Waits { .. } => {
            Problem::new(StatusCode::NOT_FOUND, error.to_string())
        }
    }
}

/// What may be shown of it.
fn shown(explained: &Explained) -> Result<Value, Problem> {
    let whole = serde_json::to_value(explained).map_err(|error| broken(error.to_string()))?;
    let mut left = TEXT_BYTES_MAX;
    Ok(bounded(redact::value(&whole), &mut left))
}

/// Cuts texts when all before them have used up what is left.
pub(crate) fn bounded(value: Value, left: &mut usize) -> Value {
    match value {
        Value::String(text) if text.len() > *left => {
            let end = text.floor_char_boundary(*left);
            *left = 0;
            let missing = text.len() - end;
            Value::String(format!("{}[… {missing} bytes more]", &text[..end]))
        }
        Value::String(text) => {
            *left -= text.len();
            Value::String(text)
        }
        Value::Array(items) => items.into_iter().map(|item| bounded(item, left)).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key, bounded(value, left)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_cut_when_the_answer_is_full_and_their_places_stay() {
        let mut left = 6;
        let cut = bounded(json!({"a": "four", "b": ["üü", "more"], "n": 1}), &mut left);
        let expected = json!({"a": "four", "b": ["ü[… 2 bytes more]", "[… 4 bytes more]"], "n": 1});
        assert_eq!(cut, expected);
    }
}
