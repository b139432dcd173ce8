//! A real server on a free port, with good and bad manners.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};

use crate::trial::Result;

/// What reached the server.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query as they were sent.
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
}

type Log = Arc<Mutex<Vec<Seen>>>;

pub(crate) struct Server {
    pub(crate) port: u16,
    log: Log,
    task: AbortHandle,
}

impl Server {
    pub(crate) async fn start() -> Result<Self> {
        let log = Log::default();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let routes = Router::new()
            .route("/echo", any(echo))
            .route(
                "/echo-text",
                any(|headers, body| async { echo(headers, body).await.1.to_string() }),
            )
            .route("/status/{code}", any(status))
            .route(
                "/silent",
                any(|| async { tokio::time::sleep(Duration::from_secs(60)).await }),
            )
            .route(
                "/drip",
                any(|| async { endless(Duration::from_millis(20), 1) }),
            )
            .route(
                "/flood",
                any(|| async { endless(Duration::ZERO, 64 * 1024) }),
            )
            .route("/hops/{left}", get(hop))
            .route("/to", any(redirect))
            .route(
                "/bytes",
                any(|| async { Bytes::from_static(b"\xff\x00ok") }),
            )
            .route(
                "/not-json",
                any(|| async { ([(header::CONTENT_TYPE, "application/json")], "{oops") }),
            )
            .route(
                "/problem",
                any(|| async {
                    (
                        [(
                            header::CONTENT_TYPE,
                            "application/problem+json; charset=utf-8",
                        )],
                        r#"{"a": 1}"#,
                    )
                }),
            )
            .route(
                "/deep/{levels}",
                any(|Path(levels): Path<usize>| async move {
                    let text = format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
                    ([(header::CONTENT_TYPE, "application/json")], text)
                }),
            )
            .route("/later/{looks}", get(later))
            .route(
                "/gzip",
                any(|| async { gzip(&packed(br#"{"packed": true}"#)) }),
            )
            .route(
                "/gzip-bomb",
                any(|| async { gzip(&packed(&vec![0; 64 * 1024 * 1024])) }),
            )
            .route("/gzip-broken", any(|| async { gzip(b"no gzip at all") }))
            .route("/nothing", any(|| async { StatusCode::NO_CONTENT }))
            .fallback(any(|| async { "fallback" }))
            .with_state(Arc::clone(&log))
            .layer(from_fn_with_state(Arc::clone(&log), record));
        let task = tokio::spawn(async move { axum::serve(listener, routes).await }).abort_handle();
        Ok(Self { port, log, task })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn last(&self) -> Result<Seen> {
        Ok(self.seen().pop().ok_or("nothing reached the server")?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn record(State(log): State<Log>, request: Request, next: Next) -> Response {
    let text = |value: &axum::http::HeaderValue| value.to_str().unwrap_or("?").to_owned();
    let seen = Seen {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        headers: request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
    };
    log.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(seen);
    next.run(request).await
}

async fn echo(headers: HeaderMap, body: Bytes) -> (StatusCode, Json2) {
    let headers: BTreeMap<_, _> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("?").to_owned()))
        .collect();
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    (
        StatusCode::OK,
        Json2(json!({"headers": headers, "body": body})),
    )
}

/// JSON that can also be shown as text.
pub(crate) struct Json2(Value);

impl std::fmt::Display for Json2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl IntoResponse for Json2 {
    fn into_response(self) -> Response {
        Json(self.0).into_response()
    }
}

async fn status(Path(code): Path<u16>) -> Response {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::IM_A_TEAPOT);
    (code, Json(json!({"why": "because"}))).into_response()
}

fn endless(every: Duration, size: usize) -> Body {
    Body::from_stream(stream::unfold((), move |()| async move {
        tokio::time::sleep(every).await;
        Some((Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; size])), ()))
    }))
}

/// 503 for so many looks, then 200: each answer is the state of this server's log.
async fn later(Path(looks): Path<usize>, State(log): State<Log>) -> StatusCode {
    let seen = log.lock().unwrap_or_else(PoisonError::into_inner).len();
    if seen > looks {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let best = flate2::Compression::best();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), best);
    // Into memory, which takes all.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

fn gzip(body: &[u8]) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CONTENT_ENCODING, "gzip"),
    ];
    (headers, body.to_vec()).into_response()
}

async fn hop(Path(left): Path<u32>) -> Response {
    if left == 0 {
        return "arrived".into_response();
    }
    (
        StatusCode::FOUND,
        [(header::LOCATION, format!("/hops/{}", left - 1))],
    )
        .into_response()
}

async fn redirect(request: Request) -> Response {
    let to = request.uri().query().unwrap_or_default().to_owned();
    (
        StatusCode::TEMPORARY_REDIRECT,
        [(header::LOCATION, to)],
        "elsewhere",
    )
        .into_response()
}
