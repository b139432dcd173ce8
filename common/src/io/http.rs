//! HTTP that all roles share: binding, problem details (RFC 9457), health and metrics, a graceful end.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
    serve::Listener,
};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    bus::Bus,
    listener::{Bounded, SILENCE_MAX, connections_max},
    serve::{self, HEAD_WITHIN},
    store::Store,
    tls::{Secured, Tls},
};

/// How long open connections may go on after the stop.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// The member of a problem that is its `Retry-After` too, in seconds.
pub const RETRY_AFTER: &str = "retry_after";
/// When to come again to what does not answer, in seconds.
const AWAY_SECONDS: u64 = 2;

/// Why an address cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Taken, or not ours.
    #[error(
        "cannot listen on {address}: {source}. Is another flotilla running there? Set FLOTILLA_HTTP (--http) to another address"
    )]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// An error as RFC 9457 `application/problem+json`.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// `about:blank`: the status says it all.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this request, and what to do.
    pub detail: String,
    /// What else there is to say, by name: extension members.
    #[serde(flatten)]
    pub more: BTreeMap<&'static str, Value>,
}

impl Problem {
    /// A problem with this status.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            more: BTreeMap::new(),
        }
    }

    /// The same, with one more member.
    #[must_use]
    pub fn with(mut self, member: &'static str, value: Value) -> Self {
        self.more.insert(member, value);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&self)).into_response();
        let kind = header::HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        let said = self.more.get(RETRY_AFTER).and_then(Value::as_u64);
        let again = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(AWAY_SECONDS);
        if let Some(seconds) = said.or(again) {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// What health is asked of.
#[derive(Debug, Clone)]
pub struct Health {
    /// NATS.
    pub bus: Bus,
    /// Redis.
    pub store: Store,
    /// This process's metrics.
    pub metrics: PrometheusHandle,
    /// Set once the process stops taking work.
    pub stop: CancellationToken,
}

/// `/healthz` (the process lives), `/readyz` (it can do its work), `/metrics`.
pub fn health_routes(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(render))
        .with_state(health)
}

async fn ready(State(health): State<Health>) -> Response {
    let mut problems = Vec::new();
    if health.stop.is_cancelled() {
        problems.push("shutting down".to_owned());
    }
    if !health.bus.is_connected() {
        problems.push("NATS is not connected".to_owned());
    }
    if let Err(problem) = health.store.ping().await {
        problems.push(problem.to_string());
    }
    if problems.is_empty() {
        "ready\n".into_response()
    } else {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, problems.join("; ")).into_response()
    }
}

async fn render(State(health): State<Health>) -> Response {
    let kind = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (kind, health.metrics.render()).into_response()
}

/// Takes an address.
///
/// # Errors
/// [`HttpError::Bind`].
pub async fn bind(address: SocketAddr) -> Result<TcpListener, HttpError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| HttpError::Bind { address, source })
}

/// The other end of a request's connection: the client, or what stands between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Serves until `stop`, in the clear; open requests get a few seconds to end. Connections are bounded, see [`Bounded`], and so is
/// the time for what they ask, see [`HEAD_WITHIN`]; handlers can ask who is at the other end, by `ConnectInfo<Peer>`.
pub async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) {
    let listener = Bounded::new(listener, connections_max(), SILENCE_MAX);
    serve_on(listener, routes, stop).await;
}

/// The same by TLS, whose certificate is kept current.
pub async fn serve_tls(listener: TcpListener, tls: Tls, routes: Router, stop: CancellationToken) {
    let listener = Bounded::new(listener, connections_max(), SILENCE_MAX);
    let secured = Secured::new(listener, tls.clone());
    tokio::select! {
        () = serve_on(secured, routes, stop.clone()) => {}
        () = async { tls.keep_current(stop).await; std::future::pending().await } => {}
    }
}

async fn serve_on<L>(listener: L, routes: Router, stop: CancellationToken)
where
    L: Listener<Addr = SocketAddr>,
{
    let patience = async {
        stop.cancelled().await;
        tokio::time::sleep(CLOSE_GRACE).await;
    };
    tokio::select! {
        () = serve::serve(listener, routes, HEAD_WITHIN, stop.clone()) => {}
        () = patience => {}
    }
}
