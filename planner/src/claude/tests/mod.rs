//! Against real servers: an HTTP one that answers as told, and a raw one that breaks off, waits or hangs up.

mod broken;
mod caching;
mod keys;
mod models;
mod statuses;
mod streams;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::post,
};
use flotilla_common::claude::{Message, Request, Role, text_block};
use serde_json::Value;
use tokio::net::TcpListener;

use super::*;

/// Status, headers, body.
type Said = (u16, Vec<(&'static str, String)>, String);

const GOOD: &str = r#"{"id":"m","type":"message","role":"assistant","model":"x","content":[],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;

/// A server that gives these answers, the last one for ever, and remembers what it was asked.
#[derive(Clone)]
struct Server {
    answers: Arc<Vec<Said>>,
    calls: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
}

async fn answer(
    State(server): State<Server>,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let body = serde_json::from_slice(&body).unwrap();
    server.asked.lock().unwrap().push((headers, body));
    let call = server.calls.fetch_add(1, Ordering::SeqCst);
    let (status, headers, body) = server.answers[call.min(server.answers.len() - 1)].clone();
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect();
    (StatusCode::from_u16(status).unwrap(), headers, body)
}

impl Server {
    /// Starts it; gives its address too.
    async fn start(answers: Vec<Said>) -> (Self, String) {
        let server = Self {
            answers: Arc::new(answers),
            calls: Arc::default(),
            asked: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/", listener.local_addr().unwrap());
        let routes = Router::new()
            .route("/v1/messages", post(answer))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        (server, base_url)
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn last(&self) -> (HeaderMap, Value) {
        self.asked.lock().unwrap().last().cloned().unwrap()
    }
}

/// A key, and timeouts that no test waits for.
fn config(base_url: &str) -> ClaudeConfig {
    ClaudeConfig {
        key: Some(Key::new("sk-secret".into())),
        ..ClaudeConfig::new(base_url)
    }
}

fn claude(config: ClaudeConfig) -> Claude {
    drop(rustls::crypto::ring::default_provider().install_default());
    Claude::new(config, 1).unwrap()
}

fn request() -> Request {
    Request {
        model: "claude-haiku-5-5".into(),
        max_tokens: 10,
        messages: vec![Message {
            role: Role::User,
            content: vec![text_block("hi")],
        }],
        ..Request::default()
    }
}

fn said(status: u16, headers: &[(&'static str, &str)], body: &str) -> Said {
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    (status, headers.collect(), body.to_owned())
}

/// One call to a server that says this.
async fn call(said: Said) -> Result<Answer, Box<CallError>> {
    let (_, base_url) = Server::start(vec![said]).await;
    once(&claude(config(&base_url)), &request()).await
}

async fn once(claude: &Claude, request: &Request) -> Result<Answer, Box<CallError>> {
    let body = claude.body(request, &request.model).unwrap();
    claude.call(&request.model, body).await
}
