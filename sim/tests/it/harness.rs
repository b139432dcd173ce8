//! A simulated Claude on a real socket, and a client that knows nothing of its types.

use flotilla_sim::{Config, bind};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Nothing in these tests takes longer, unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running server; it stops when this is dropped.
pub(crate) struct Claude {
    pub(crate) url: String,
    pub(crate) client: Client,
    _stop: DropGuard,
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

pub(crate) fn client() -> reqwest::ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        rustls::crypto::ring::default_provider()
            .install_default()
            .unwrap();
    });
    Client::builder().no_proxy().timeout(PATIENCE)
}

/// A server with the fixture's policies.
pub(crate) async fn claude() -> Claude {
    with(Config {
        policies: vec![fixture("disk-triage.yaml")],
        ..Config::default()
    })
    .await
}

pub(crate) async fn with(config: Config) -> Claude {
    let server = bind(Config {
        quiet: true,
        ..config
    })
    .await
    .unwrap();
    let url = format!("http://{}", server.addr());
    let stop = CancellationToken::new();
    tokio::spawn(server.serve(stop.clone()));
    Claude {
        url,
        client: client().build().unwrap(),
        _stop: stop.drop_guard(),
    }
}

/// A small valid request.
pub(crate) fn ask(text: &str) -> Value {
    json!({"model": "claude-sonnet-5", "max_tokens": 500, "messages": [{"role": "user", "content": text}]})
}

/// The request with some fields set anew.
pub(crate) fn but(mut request: Value, changes: Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        request[key] = value.clone();
    }
    request
}

impl Claude {
    pub(crate) fn request(&self, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        self.client
            .post(format!("{}/v1/messages", self.url))
            .header("x-api-key", "test")
            .header("anthropic-version", "2023-06-01")
            .header("content-type", "application/json")
            .body(body)
    }

    pub(crate) async fn post(&self, body: &Value) -> Response {
        self.request(body.to_string()).send().await.unwrap()
    }

    /// Status and JSON body of the answer.
    pub(crate) async fn send(&self, body: &Value) -> (u16, Value) {
        let response = self.post(body).await;
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// The error's message for a request that must be refused with 400.
    pub(crate) async fn refused(&self, body: &Value) -> String {
        let (status, answer) = self.send(body).await;
        assert_eq!(status, 400, "{answer}");
        assert_eq!(answer["error"]["type"], "invalid_request_error");
        answer["error"]["message"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let request = self
            .client
            .get(format!("{}{path}", self.url))
            .header("x-api-key", "test");
        request.send().await.unwrap().json().await.unwrap()
    }

    pub(crate) async fn control(&self, change: Value) -> (u16, Value) {
        let request = self
            .client
            .request(Method::PUT, format!("{}/control", self.url));
        let response = request.body(change.to_string()).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// Waits until the ledger's summary says so.
    pub(crate) async fn until(&self, path: &str, expected: u64) {
        let reached = async {
            while self.get("/ledger/summary").await[path] != expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap();
    }
}
