//! `GET /v1/runs/{id}/effects`: what a run was to do outside, and what is known of it. What looks like a secret is taken out, and
//! what is too long for an answer is cut.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
};
use flotilla_common::{ids::Name, io::http::Problem, redact, run::effects};
use serde_json::{Value, json};

use crate::{
    explain::{TEXT_BYTES_MAX, bounded},
    history,
    problem::unavailable,
    routes::App,
};

/// The ledger of a run's effects.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let run = history::run_id(id)?;
    let slot = app.histories.acquire().await;
    let _slot = slot.map_err(|_| unavailable("the gateway shuts down"))?;
    let broken = |problem: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, problem);
    let messages = history::messages(&app, &run).await?;
    let entries = history::entries(&messages).map_err(broken)?;
    let catalogue = app.current.catalogue();
    let effect = |tool: &Name, version| Some(catalogue.tools.get(tool, version)?.effect);
    let lines = effects(&run, &entries, effect);
    let unknown = lines.iter().filter(|line| line.is_unknown()).count();
    let lines = serde_json::to_value(lines).map_err(|error| broken(error.to_string()))?;
    let mut left = TEXT_BYTES_MAX;
    let lines = bounded(redact::value(&lines), &mut left);
    Ok(Json(
        json!({"run": run, "unknown": unknown, "effects": lines}),
    ))
}
