//! The gateway's HTTP API, as a client sees it. The shapes are written down here again on purpose: a test that took them
//! from the product could not see them change.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::wait::PATIENCE;

/// Runs per page
const PAGE: usize = 200;

/// A client of one gateway (or of another role's few routes).
#[derive(Debug, Clone)]
pub struct Api {
    base: String,
    http: Client,
}

/// Any answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status
    pub status: u16,
    /// `Content-Type`, or empty
    pub content_type: String,
    /// All headers, by their names in lower case
    pub headers: BTreeMap<String, String>,
    /// The body
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not.
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error} in the answer ({}) {}", self.status, self.text))
    }
}

/// What an accepted event became.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Submitted {
    /// The event's id
    pub id: String,
    /// The runs that it started, now or when it first came
    pub runs: Vec<String>,
    /// Whether it had come before
    pub duplicate: bool,
}

/// A run, in numbers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Summary {
    /// `run_…`
    pub id: String,
    /// Its workflow
    pub workflow: String,
    /// The version it is pinned to
    pub version: u32,
    /// Who pays
    pub tenant: String,
    /// `running`, `parked`, `completed`, `escalated`, `failed`, `cancelled`
    pub status: String,
    /// Why it ended so, or what it waits for
    #[serde(default)]
    pub reason: Option<String>,
    /// `ceiling`, `unavailable`, `blocked`, `batch`, `dead`, while it is parked
    #[serde(default)]
    pub parked_by: Option<String>,
    /// RFC 3339
    pub started_at: String,
    /// RFC 3339, once it has ended
    #[serde(default)]
    pub ended_at: Option<String>,
    /// How many it has taken
    pub steps: u64,
    /// Calls to Claude that count
    pub model_calls: u64,
    /// Tokens, uncached
    pub input_tokens: u64,
    /// Tokens
    pub output_tokens: u64,
    /// Tokens
    pub cache_read_tokens: u64,
    /// What it cost, in billionths of a dollar
    pub usd_nano: u64,
    /// Calls paid for and lost
    pub wasted_calls: u64,
}

/// A run with its journal.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RunView {
    /// In numbers
    pub run: Summary,
    /// In full
    pub journal: Vec<JournalLine>,
}

/// One entry as the API tells it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct JournalLine {
    /// Its sequence in the stream
    pub seq: u64,
    /// `runs.<run>.<kind>.<name>`
    pub subject: String,
    /// `started`, `decided`, …
    pub kind: String,
    /// The subject's last token
    pub name: String,
    /// The payload
    pub entry: Value,
}

#[derive(Deserialize)]
struct Page {
    runs: Vec<Summary>,
    next: Option<String>,
}

impl Api {
    pub(crate) fn new(base: &str) -> Self {
        // Plain HTTP only, but the client wants to know which TLS it would use; a second time is no news.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .timeout(PATIENCE)
            .build()
            .expect("an HTTP client");
        Self {
            base: base.to_owned(),
            http,
        }
    }

    /// Its address, `http://127.0.0.1:…`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// GET.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.expect("an answer")
    }

    /// GET as a client of Claude does it, with a key.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn get_keyed(&self, path: &str) -> Answer {
        let request = self.http.get(format!("{}{path}", self.base));
        let request = request
            .header("x-api-key", "test")
            .header("anthropic-version", "2023-06-01");
        send(request).await.expect("an answer")
    }

    /// GET.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn try_get(&self, path: &str) -> Result<Answer, reqwest::Error> {
        send(self.http.get(format!("{}{path}", self.base))).await
    }

    /// POST.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn post(&self, path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.try_post(path, content_type, body)
            .await
            .expect("an answer")
    }

    /// POST.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn try_post(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> Result<Answer, reqwest::Error> {
        let request = self.http.post(format!("{}{path}", self.base));
        send(
            request
                .header("content-type", content_type)
                .body(body.into()),
        )
        .await
    }

    /// POST with these headers and no others of its own.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn post_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let request = self.http.post(format!("{}{path}", self.base));
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        send(request.body(body.into())).await.expect("an answer")
    }

    /// POST with a JSON body.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.post(path, "application/json", body.to_string()).await
    }

    /// PUT with a JSON body.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        let request = self.http.put(format!("{}{path}", self.base)).json(body);
        send(request).await.expect("an answer")
    }

    /// DELETE.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn delete(&self, path: &str) -> Answer {
        let request = self.http.delete(format!("{}{path}", self.base));
        send(request).await.expect("an answer")
    }

    /// Sends an event as plain JSON.
    ///
    /// # Panics
    /// When it is not accepted.
    pub async fn submit(&self, event: &Value) -> Submitted {
        let answer = self
            .post("/v1/events", "application/json", event.to_string())
            .await;
        assert_eq!(answer.status, 202, "for {event}: {}", answer.text);
        answer.json()
    }

    /// Every run, newest first, whatever many pages that takes.
    ///
    /// # Panics
    /// When the gateway does not say.
    pub async fn runs(&self) -> Vec<Summary> {
        let mut runs = Vec::new();
        let mut path = format!("/v1/runs?limit={PAGE}");
        loop {
            let answer = self.get(&path).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            let page: Page = answer.json();
            runs.extend(page.runs);
            let Some(next) = page.next else {
                return runs;
            };
            path = format!("/v1/runs?limit={PAGE}&cursor={next}");
        }
    }

    /// One run; `None` when the gateway knows of none.
    ///
    /// # Panics
    /// When the gateway says neither.
    pub async fn run(&self, id: &str) -> Option<RunView> {
        let answer = self.get(&format!("/v1/runs/{id}")).await;
        match answer.status {
            200 => Some(answer.json()),
            404 => None,
            status => panic!("for {id}: {status} {}", answer.text),
        }
    }
}

async fn send(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let headers = response.headers().iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.to_string(), value)
    });
    let headers: BTreeMap<String, String> = headers.collect();
    Ok(Answer {
        status,
        content_type: headers.get("content-type").cloned().unwrap_or_default(),
        headers,
        text: response.text().await?,
    })
}
