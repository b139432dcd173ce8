//! An event that a person sends from the console: taken in as any other.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};
use flotilla_common::{access::Scope, ids::RunId, io::http::Problem};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    form::Form,
    runs::{self, Start},
};
use crate::{body::JSON, events, problem::bad_request, routes::App};

/// How long whoever sends an event waits to see the run that it starts.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Who says so, in events from here.
const SOURCE: &str = "console";

/// Takes in an event, and shows what it starts.
pub(crate) async fn post(State(app): State<Arc<App>>, form: Form) -> Result<Response, Problem> {
    form.door.must(Scope::Ingest)?;
    match send(&app, &form).await {
        Ok(started) => Ok(Redirect::to(&started).into_response()),
        Err(problem) if (400..500).contains(&problem.status) => {
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
            let start = Start {
                kind: form.get("type").unwrap_or_default().to_owned(),
                data: form.get("data").unwrap_or_default().to_owned(),
                fault: Some(problem.detail),
                ..Start::default()
            };
            runs::refused(&app, form.door, start, status).await
        }
        Err(problem) => Err(problem),
    }
}

async fn send(app: &App, form: &Form) -> Result<String, Problem> {
    let data: Value = serde_json::from_str(form.get("data").unwrap_or("{}"))
        .map_err(|problem| bad_request(format!("the data is not JSON: {problem}")))?;
    let event = json!({"type": form.must("type")?.trim(), "source": SOURCE, "data": data});
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(JSON))]);
    let taken = events::take(
        app,
        form.door.caller(),
        &headers,
        Body::from(event.to_string()),
    )
    .await?;
    match &taken.runs[..] {
        [run] => {
            wait_begun(app, run).await;
            Ok(format!("/runs/{run}"))
        }
        [] | [_, ..] => Ok("/runs?done=sent".to_owned()),
    }
}

/// Waits a moment for a run to begin: it is shown when it is there.
async fn wait_begun(app: &App, run: &RunId) {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end && !matches!(app.journal.is_there(run).await, Ok(true)) {
        sleep(LOOK_EVERY).await;
    }
}
