//! The HTTP routes, and what holds for all of them: a bound on requests at once, a time limit, and every error as a problem.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
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
    telemetry::metric,
    tools::ToolStates,
    usage::Ledger,
};
use metrics::{counter, histogram};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tracing::debug;

use crate::{
    access::{self, Access},
    approvals,
    backlog::Backlog,
    blobs::{self, Outlet},
    ceilings,
    console::{self, Pulse},
    current::Current,
    dead::{self, Post},
    definitions::{self, Desk},
    effects,
    ended::Wait,
    events, explain,
    fleet::{self, Sampler},
    fork, history, hooks,
    index::Index,
    large::Large,
    list,
    live::{self, Hub},
    openapi, raw,
    resume::Resumer,
    signal::{self, Signal},
    spans, stats,
    turns::{Turn, Turns},
    usage,
    verdict::{self, Said},
};

/// How long a request may take from its turn on, its body included; longer than all that it waits for, but the end of a run.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What requests are answered from.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) access: Access,
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
    pub(crate) hub: Hub,
    pub(crate) post: Post,
    pub(crate) outlet: Outlet,
    pub(crate) large: Large,
    pub(crate) backlog: Backlog,
    /// Whether this gateway speaks TLS itself.
    pub(crate) by_tls: bool,
    pub(crate) turns: Turns,
    /// Requests that wait for runs to end.
    pub(crate) waiting: Semaphore,
    pub(crate) histories: Semaphore,
    pub(crate) ledger: Ledger,
    pub(crate) fleet: Sampler,
    pub(crate) pulse: Pulse,
}

/// All routes.
pub(crate) fn routes(app: Arc<App>, health: Health) -> Router {
    api()
        .merge(console::routes())
        .merge(openapi::routes())
        .route_layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            access::known,
        ))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&app), bounded))
        .with_state(app)
        .merge(health_routes(health))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(console::as_pages))
}

/// The API: each route is described in [`openapi`].
pub(crate) fn api() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/events", post(events::post))
        .route("/v1/runs", get(list::get))
        .route("/v1/runs/counts", get(list::counts))
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
        .merge(hooks::routes())
        .merge(definitions::routes())
        .merge(dead::routes())
        .merge(access::tokens::routes())
        .merge(access::audit::routes())
        .merge(live::routes())
        .merge(fleet::routes())
        .merge(stats::routes())
        .merge(usage::routes())
}

async fn bounded(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let traced = spans::request(&request, route.as_ref());
    let response = match app.turns.take().await {
        Ok(turn) => traced.within(in_turn(turn, request, next)).await,
        Err(problem) => problem.into_response(),
    };
    count(&method, route.as_ref(), &response, began);
    spans::answered(traced, &response);
    debug!(%method, path, status = response.status().as_u16(), took = ?began.elapsed(), "answered");
    response
}

/// Answers a request that has its turn; [`access::known`] says so where its body was given up.
async fn in_turn(turn: Turn, request: Request, next: Next) -> Response {
    let mut request = request.map(|body| turn.watch(body));
    request.extensions_mut().insert(turn.clone());
    let limit = REQUEST_TIMEOUT + Wait::of_query(request.uri().query());
    let answered = timeout(limit, next.run(request)).await;
    answered.unwrap_or_else(|_| {
        let detail = "the request was not there in full, or not answered, in time";
        Problem::new(StatusCode::REQUEST_TIMEOUT, detail).into_response()
    })
}

fn count(method: &Method, route: Option<&MatchedPath>, response: &Response, began: Instant) {
    let route = route.map_or_else(String::new, |route| route.as_str().to_owned());
    // A client may invent methods; metrics have no room for that.
    let method = match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let status = response.status().as_str().to_owned();
    counter!(metric::REQUESTS, "route" => route.clone(), "method" => method, "status" => status)
        .increment(1);
    histogram!(metric::REQUEST_DURATION, "route" => route).record(began.elapsed());
}

async fn not_found(uri: Uri) -> Problem {
    let detail = format!("there is nothing at {}", uri.path());
    Problem::new(StatusCode::NOT_FOUND, detail)
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{method} is not for {}; see the header `Allow`", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}
