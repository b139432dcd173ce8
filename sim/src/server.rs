//! The HTTP server: its routes, its connections, its start and its end.

use crate::access;
use crate::answer::id;
use crate::batches::{self, Batches};
use crate::cache::PromptCache;
use crate::control::{Change, Control};
use crate::error::ApiError;
use crate::ledger::{Entry, Ledger};
use crate::messages::{self, MAX_BODY};
use crate::models;
use crate::policy::{self, Policies};
use crate::{Config, SimError};
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::routing::{delete, get, post};
use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections that wait to be accepted: a load test opens thousands at once.
const BACKLOG: u32 = 8192;

/// How long open connections may take to end after the stop.
const DRAIN: Duration = Duration::from_secs(5);

/// Pause after a failed accept: out of file handles is the usual reason, and passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection without a request for so long is dead. Longer than clients keep idle ones in their pools, so that none
/// sends on a connection that is just being closed.
const HEADERS_WITHIN: Duration = Duration::from_secs(300);

/// Everything the handlers share.
#[derive(Debug)]
pub(crate) struct Sim {
    pub(crate) policies: Policies,
    pub(crate) cache: PromptCache,
    pub(crate) ledger: Ledger,
    pub(crate) control: Control,
    pub(crate) batches: Batches,
    /// What works on after its request was answered.
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    quiet: bool,
}

impl Sim {
    pub(crate) fn log(&self, entry: &Entry) {
        if !self.quiet {
            tracing::info!(
                request_id = entry.request_id,
                status = entry.status,
                policy = entry.policy.as_deref(),
                rule = entry.rule,
                duration_ms = entry.finished_ms - entry.started_ms,
                delivered = entry.delivered,
                "answered"
            );
        }
    }
}

/// A server that listens, and does not answer yet.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    listener: TcpListener,
    max_streams: u32,
    sim: Sim,
}

/// Reads the policies, opens the ledger and begins to listen.
///
/// # Errors
/// [`SimError::Policies`] with every mistake found, [`SimError::Control`], [`SimError::Ledger`] or [`SimError::Bind`].
pub async fn bind(config: Config) -> Result<Server, SimError> {
    let policies =
        policy::load(&config.policies).map_err(|problems| SimError::Policies { problems })?;
    let control = Control::new(config.latency);
    if let Some(path) = &config.control {
        let wrong = |error: ApiError| SimError::Control {
            path: path.clone(),
            message: error.message,
        };
        control.change(Change::read(path)?).map_err(wrong)?;
    }
    let ledger = Ledger::open(config.ledger.as_deref(), config.keep_bodies).map_err(|source| {
        SimError::Ledger {
            path: config.ledger.clone().unwrap_or_default(),
            source,
        }
    })?;
    let bind = || {
        let socket = if config.http.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        socket.bind(config.http)?;
        let listener = socket.listen(BACKLOG)?;
        Ok((listener.local_addr()?, listener))
    };
    let (addr, listener) = bind().map_err(|source| SimError::Bind {
        addr: config.http,
        source,
    })?;
    let sim = Sim {
        policies,
        cache: PromptCache::new(),
        ledger,
        control,
        batches: Batches::default(),
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
        quiet: config.quiet,
    };
    Ok(Server {
        addr,
        listener,
        max_streams: config.max_streams,
        sim,
    })
}

impl Server {
    /// Where it listens; with port 0 in the configuration, the port that was free.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers until `shutdown` is cancelled. Then calls in flight get a 500 at once, and open connections have five
    /// seconds to end.
    pub async fn serve(self, shutdown: CancellationToken) {
        let Self {
            listener,
            max_streams,
            mut sim,
            ..
        } = self;
        sim.stop = shutdown.clone();
        let connections = sim.tasks.clone();
        let routes = routes(Arc::new(sim));
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(
                        stream,
                        routes.clone(),
                        max_streams,
                        shutdown.clone(),
                    ));
                }
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        connections.close();
        if timeout(DRAIN, connections.wait()).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "connections still open at the end"
            );
        }
    }
}

/// Serves HTTP/1.1 or HTTP/2 with prior knowledge, whichever the client begins with.
async fn connection(
    stream: TcpStream,
    routes: Router,
    max_streams: u32,
    shutdown: CancellationToken,
) {
    // A reply is one small write; without this it may wait for the client's delayed ack.
    let _ = stream.set_nodelay(true);
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(max_streams)
        // Clients that cancel thousands of calls at once are what some tests are about, not an attack.
        .max_pending_accept_reset_streams(Some(usize::try_from(max_streams).unwrap_or(usize::MAX)));
    let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            match timeout(DRAIN, serving).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

fn routes(sim: Arc<Sim>) -> Router {
    Router::new()
        .route("/v1/messages", post(messages::create))
        .route("/v1/messages/count_tokens", post(messages::count_tokens))
        .merge(batches::routes())
        .route("/v1/models", get(list_models))
        .route("/v1/models/{id}", get(show_model))
        .route("/ledger", get(read_ledger).delete(clear_ledger))
        .route("/cache", delete(clear_cache))
        .route("/ledger/summary", get(summary))
        .route("/ledger/rate", get(rate))
        .route("/control", get(read_control).put(change_control))
        .route("/healthz", get(|| async { "ok\n" }))
        .fallback(|| async { failure(&ApiError::new(404, "Not Found")) })
        .method_not_allowed_fallback(|| async {
            failure(&ApiError {
                status: 405,
                ..ApiError::invalid("Method Not Allowed")
            })
        })
        // Read on past what is allowed, so that a client still sending gets to see the 413.
        .layer(DefaultBodyLimit::max(2 * MAX_BODY))
        .with_state(sim)
}

async fn list_models(headers: HeaderMap) -> Response<Body> {
    match access::api_key(&headers) {
        Ok(_) => json(StatusCode::OK, &id("req_01"), models::page().to_string()),
        Err(error) => failure(&error),
    }
}

async fn show_model(headers: HeaderMap, Path(name): Path<String>) -> Response<Body> {
    let found = access::api_key(&headers).and_then(|_| {
        models::find(&name).ok_or_else(|| ApiError::new(404, format!("model: {name}")))
    });
    match found {
        Ok(model) => json(StatusCode::OK, &id("req_01"), model.json().to_string()),
        Err(error) => failure(&error),
    }
}

#[derive(Deserialize)]
struct LedgerQuery {
    #[serde(default)]
    since: u64,
    #[serde(default)]
    bodies: u8,
}

async fn read_ledger(
    State(sim): State<Arc<Sim>>,
    Query(query): Query<LedgerQuery>,
) -> Response<Body> {
    // A full ledger is some hundred megabytes: not work for a thread that answers calls.
    let read =
        tokio::task::spawn_blocking(move || sim.ledger.read(query.since, query.bodies > 0)).await;
    match read {
        Ok(entries) => json(StatusCode::OK, &id("req_01"), entries),
        Err(error) => failure(&ApiError::new(500, error.to_string())),
    }
}

async fn clear_cache(State(sim): State<Arc<Sim>>) -> StatusCode {
    sim.cache.clear();
    StatusCode::NO_CONTENT
}

async fn clear_ledger(State(sim): State<Arc<Sim>>) -> StatusCode {
    sim.ledger.clear();
    sim.control.limiter.forget_use(Instant::now());
    StatusCode::NO_CONTENT
}

async fn summary(State(sim): State<Arc<Sim>>) -> Response<Body> {
    let mut summary = sim.ledger.summary();
    summary["limits"] = sim.control.limiter.used(Instant::now());
    json(StatusCode::OK, &id("req_01"), summary.to_string())
}

#[derive(Deserialize)]
struct RateQuery {
    #[serde(default = "a_second")]
    bucket_ms: u64,
}

fn a_second() -> u64 {
    1000
}

async fn rate(State(sim): State<Arc<Sim>>, Query(query): Query<RateQuery>) -> Response<Body> {
    match tokio::task::spawn_blocking(move || sim.ledger.rate(query.bucket_ms)).await {
        Ok(rate) => json(StatusCode::OK, &id("req_01"), rate.to_string()),
        Err(error) => failure(&ApiError::new(500, error.to_string())),
    }
}

async fn read_control(State(sim): State<Arc<Sim>>) -> Response<Body> {
    settings(&sim)
}

async fn change_control(State(sim): State<Arc<Sim>>, body: Bytes) -> Response<Body> {
    let change = serde_json::from_slice::<Change>(&body)
        .map_err(|error| ApiError::invalid(error.to_string()));
    match change.and_then(|change| sim.control.change(change)) {
        Ok(()) => settings(&sim),
        Err(error) => failure(&error),
    }
}

fn settings(sim: &Sim) -> Response<Body> {
    let body = serde_json::to_vec(&sim.control.settings()).unwrap_or_default();
    json(StatusCode::OK, &id("req_01"), body)
}

pub(crate) fn failure(error: &ApiError) -> Response<Body> {
    let request_id = id("req_01");
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(status, &request_id, error.body(&request_id))
}

pub(crate) fn json(status: StatusCode, request_id: &str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    if let Ok(request_id) = header::HeaderValue::from_str(request_id) {
        response.headers_mut().insert("request-id", request_id);
    }
    response
}
