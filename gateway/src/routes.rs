//! The HTTP routes, and what holds for all of them: a bound on requests at once, a time limit, and every error as a problem.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode, Uri},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post, put},
};
use flotilla_common::io::{
    ceilings::Ceilings,
    http::{Health, Problem, health_routes},
    journal::Journal,
    lessons::Lessons,
    money::Money,
    store::Store,
    tools::ToolStates,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tracing::debug;

use crate::{
    alertmanager, approvals,
    blobs::{self, Outlet},
    ceilings,
    current::Current,
    dead::{self, Post},
    definitions::{self, Desk},
    effects, events, explain, fork, history,
    index::Index,
    large::Large,
    list,
    problem::unavailable,
    raw,
    resume::Resumer,
    signal::{self, Signal},
    verdict::{self, Said},
};

/// Requests in work at once: what bounds the memory that bodies take. More wait.
pub(crate) const REQUESTS_MAX: usize = 512;
/// How long a request waits for its turn.
const TURN_PATIENCE: Duration = Duration::from_secs(10);
/// How long a request may take from its turn on, its body included; longer than all that it waits for.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What requests are answered from.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) journal: Journal,
    pub(crate) store: Store,
    pub(crate) current: Current,
    pub(crate) definitions: Desk,
    pub(crate) ceilings: Ceilings,
    pub(crate) lessons: Lessons,
    pub(crate) tools: ToolStates,
    pub(crate) money: Money,
    pub(crate) resumer: Resumer,
    pub(crate) index: Index,
    pub(crate) post: Post,
    pub(crate) outlet: Outlet,
    pub(crate) large: Large,
    pub(crate) requests: Semaphore,
    pub(crate) histories: Semaphore,
}

/// All routes.
pub(crate) fn routes(app: Arc<App>, health: Health) -> Router {
    Router::new()
        .route("/v1/events", post(events::post))
        .route("/v1/hooks/alertmanager", post(alertmanager::post))
        .route("/v1/runs", get(list::get))
        .route("/v1/runs/{id}", get(history::get))
        .route("/v1/runs/{id}/journal", get(raw::get))
        .route("/v1/runs/{id}/explain/{*step}", get(explain::get))
        .route("/v1/runs/{id}/effects", get(effects::get))
        .route("/v1/runs/{id}/blobs/{blob}", get(blobs::get))
        .route("/v1/runs/{id}/fork", post(fork::post))
        .route("/v1/runs/{id}/cancel", signal::route(Signal::Cancel))
        .route("/v1/runs/{id}/pause", signal::route(Signal::Pause))
        .route("/v1/runs/{id}/resume", signal::route(Signal::Resume))
        .route("/v1/runs/{id}/raise", signal::route(Signal::Raise))
        .route("/v1/runs/{id}/retry", signal::route(Signal::Retry))
        .route("/v1/runs/{id}/message", signal::route(Signal::Message))
        .route("/v1/runs/{id}/feedback", signal::route(Signal::Feedback))
        .route("/v1/runs/{id}/approve", verdict::route(Said::Approved))
        .route("/v1/runs/{id}/reject", verdict::route(Said::Rejected))
        .route("/v1/approvals", get(approvals::get))
        .route("/v1/ceilings", get(ceilings::list))
        .route(
            "/v1/ceilings/{scope}/{name}",
            put(ceilings::put).delete(ceilings::delete),
        )
        .merge(definitions::routes())
        .merge(dead::routes())
        .route_layer(middleware::from_fn_with_state(Arc::clone(&app), bounded))
        .with_state(app)
        .merge(health_routes(health))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
}

async fn bounded(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let Ok(Ok(_turn)) = timeout(TURN_PATIENCE, app.requests.acquire()).await else {
        return unavailable("too many requests at once; try again").into_response();
    };
    let answered = timeout(REQUEST_TIMEOUT, next.run(request)).await;
    let response = answered.unwrap_or_else(|_| {
        let detail = "the request was not there in full, or not answered, in time";
        Problem::new(StatusCode::REQUEST_TIMEOUT, detail).into_response()
    });
    debug!(%method, path, status = response.status().as_u16(), took = ?began.elapsed(), "answered");
    response
}

async fn not_found(uri: Uri) -> Problem {
    let detail = format!("there is nothing at {}", uri.path());
    Problem::new(StatusCode::NOT_FOUND, detail)
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{method} is not for {}; see the header `Allow`", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}
