//! Claude over HTTP. The one owner of retries: nobody above or below repeats a call.

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use flotilla_common::{
    claude::{Reply, Request},
    io::telemetry::metric,
    run::Answered,
};
use metrics::{counter, gauge, histogram};
use reqwest::{Client, Response, StatusCode, header::HeaderMap};
use serde::Deserialize;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// `anthropic-version`: the only one there is.
const API_VERSION: &str = "2023-06-01";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// First pause of the back-off; doubles up to [`PAUSE_MAX`], with full jitter.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Longest `retry-after` that is obeyed as told.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// Pause while only a person can help (key, billing, spend limit): runs wait, nothing is lost.
const PARKED_PAUSE: Duration = Duration::from_secs(30);
/// The outcome of a call whose reply came, and could not be read.
const UNREADABLE: &str = "malformed";
/// Such calls that one step may make: each is paid.
const UNREADABLE_MAX: u64 = 2;
/// Largest reply that is read.
const REPLY_BYTES_MAX: usize = 8 << 20;
/// Calls on one HTTP/2 connection: servers allow about a hundred streams on each, and a client opens only one per host.
const CALLS_PER_CLIENT: usize = 96;
const CLIENTS_MAX: usize = 128;

/// The API key; never shown.
#[derive(Clone)]
pub struct Key(String);

impl Key {
    /// From its text.
    #[must_use]
    pub fn new(key: String) -> Self {
        Self(key)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Where and how Claude is called.
#[derive(Debug, Clone)]
pub struct ClaudeConfig {
    /// `https://api.anthropic.com`, or any other server that speaks the Messages API.
    pub base_url: String,
    /// The key.
    pub key: Key,
    /// Longest single call.
    pub call_timeout: Duration,
    /// How long a step's call is tried, all tries together.
    pub patience: Duration,
}

/// Why Claude gave no reply.
#[derive(Debug, thiserror::Error)]
pub enum ClaudeError {
    /// The settings are wrong.
    #[error("ANTHROPIC_BASE_URL `{url}` is not an http(s) address: {problem}")]
    BaseUrl {
        /// What was given.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// The HTTP client cannot be built.
    #[error("the HTTP client for Claude cannot be built: {0}")]
    Client(#[source] reqwest::Error),
    /// This request will never be answered.
    #[error("Claude refuses the request: {0}")]
    Refused(String),
    /// It was tried for as long as a step allows.
    #[error("Claude gave no answer within {patience:?}: {last}")]
    Exhausted {
        /// How long it was tried.
        patience: Duration,
        /// What the last try ended with.
        last: String,
    },
    /// The planner stops.
    #[error("the planner is shutting down")]
    Stopping,
}

/// How one try failed.
#[derive(Debug)]
enum Failed {
    /// Again after a pause; the server may have said how long.
    Again {
        why: String,
        after: Option<Duration>,
        outcome: &'static str,
    },
    /// Only a person can help; then the same request will do.
    Parked(String),
    /// Never.
    Never(String),
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Deserialize)]
struct ErrorDetail {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    error_code: Option<String>,
}

/// A client of the Messages API, for thousands of calls in flight.
#[derive(Debug)]
pub struct Claude {
    clients: Vec<Client>,
    turn: AtomicUsize,
    url: String,
    key: Key,
    call_timeout: Duration,
    patience: Duration,
}

impl Claude {
    /// Builds the client for that many calls at once.
    ///
    /// # Errors
    /// [`ClaudeError::BaseUrl`], [`ClaudeError::Client`].
    pub fn new(config: ClaudeConfig, calls: usize) -> Result<Self, ClaudeError> {
        let base = config.base_url.trim_end_matches('/');
        let wrong = |problem: String| ClaudeError::BaseUrl {
            url: base.to_owned(),
            problem,
        };
        let parsed = reqwest::Url::parse(base).map_err(|e| wrong(e.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(wrong("its scheme must be http or https".into()));
        }
        let count = calls.div_ceil(CALLS_PER_CLIENT).clamp(1, CLIENTS_MAX);
        let client = || {
            Client::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(config.call_timeout)
                .pool_idle_timeout(Duration::from_secs(90))
                .http2_keep_alive_interval(Duration::from_secs(20))
                .http2_keep_alive_while_idle(true)
                .user_agent(concat!("flotilla/", env!("CARGO_PKG_VERSION")))
                .build()
                .map_err(ClaudeError::Client)
        };
        Ok(Self {
            clients: (0..count).map(|_| client()).collect::<Result<_, _>>()?,
            turn: AtomicUsize::new(0),
            url: format!("{base}/v1/messages"),
            key: config.key,
            call_timeout: config.call_timeout,
            patience: config.patience,
        })
    }

    /// Asks until there is a reply, the patience is over, or the planner stops.
    ///
    /// # Errors
    /// [`ClaudeError`].
    pub async fn ask(
        &self,
        request: &Request,
        stop: &CancellationToken,
    ) -> Result<Answered, ClaudeError> {
        let body = serde_json::to_vec(request).map_err(|e| ClaudeError::Refused(e.to_string()))?;
        let begun = Instant::now();
        let mut pause = PAUSE_MIN;
        // Replies that came and could not be read: paid, and of no use.
        let mut unreadable = 0;
        loop {
            let (why, wait) = match self.try_once(&request.model, body.clone()).await {
                Ok(answered) => {
                    return Ok(Answered {
                        wasted: unreadable,
                        ..answered
                    });
                }
                Err(Failed::Again {
                    why,
                    outcome: UNREADABLE,
                    ..
                }) if unreadable + 1 >= UNREADABLE_MAX => {
                    return Err(ClaudeError::Refused(format!(
                        "{UNREADABLE_MAX} replies in a row could not be read: {why}"
                    )));
                }
                Err(Failed::Never(why)) => return Err(ClaudeError::Refused(why)),
                Err(Failed::Parked(why)) => {
                    warn!(
                        why,
                        "Claude cannot be used until a person mends this; runs wait"
                    );
                    (why, PARKED_PAUSE)
                }
                Err(Failed::Again {
                    why,
                    after,
                    outcome,
                }) => {
                    debug!(why, outcome, "asking Claude again");
                    unreadable += u64::from(outcome == UNREADABLE);
                    let spent = begun.elapsed();
                    if spent >= self.patience {
                        return Err(ClaudeError::Exhausted {
                            patience: self.patience,
                            last: why,
                        });
                    }
                    let jittered = pause.mul_f64(fastrand::f64());
                    pause = (pause * 2).min(PAUSE_MAX);
                    (why, after.map_or(jittered, |told| told + jittered))
                }
            };
            tokio::select! {
                () = stop.cancelled() => {
                    debug!(why, "stopped while waiting to ask Claude again");
                    return Err(ClaudeError::Stopping);
                }
                () = sleep(wait) => {}
            }
        }
    }

    async fn try_once(&self, model: &str, body: Vec<u8>) -> Result<Answered, Failed> {
        let index = self.turn.fetch_add(1, Ordering::Relaxed) % self.clients.len();
        let client = self
            .clients
            .get(index)
            .ok_or_else(|| Failed::Never("no HTTP client".into()))?;
        let begun = Instant::now();
        let flight = InFlight::new(model);
        let sent = client
            .post(&self.url)
            .header("x-api-key", &self.key.0)
            .header("anthropic-version", API_VERSION)
            .header("content-type", "application/json")
            .body(body)
            .send();
        let tried = async {
            let response = sent.await.map_err(|error| lost(&error))?;
            read(response).await
        };
        // reqwest's own timeout covers this; ours holds even if the body trickles.
        let answered = timeout(self.call_timeout + CONNECT_TIMEOUT, tried)
            .await
            .unwrap_or_else(|_| {
                Err(Failed::Again {
                    why: "the call took too long".into(),
                    after: None,
                    outcome: "timeout",
                })
            });
        drop(flight);
        let outcome = match &answered {
            Ok(_) => "ok",
            Err(Failed::Again { outcome, .. }) => outcome,
            Err(Failed::Parked(_)) => "parked",
            Err(Failed::Never(_)) => "refused",
        };
        counter!(metric::CLAUDE_CALLS, "model" => model.to_owned(), "outcome" => outcome)
            .increment(1);
        let (reply, request_id) = answered?;
        let took = begun.elapsed();
        histogram!(metric::CLAUDE_DURATION, "model" => model.to_owned()).record(took.as_secs_f64());
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Ok(Answered {
            reply,
            request_id,
            took_ms,
            wasted: 0,
        })
    }
}

/// Counts a call as in flight while it lives.
struct InFlight(String);

impl InFlight {
    fn new(model: &str) -> Self {
        gauge!(metric::CLAUDE_IN_FLIGHT, "model" => model.to_owned()).increment(1.0);
        Self(model.to_owned())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        gauge!(metric::CLAUDE_IN_FLIGHT, "model" => std::mem::take(&mut self.0)).decrement(1.0);
    }
}

/// A connection that broke, before or in the middle of an answer: the call may have been paid, and there is no way to know.
fn lost(error: &reqwest::Error) -> Failed {
    let outcome = if error.is_timeout() {
        "timeout"
    } else {
        "connection"
    };
    // The address may carry credentials; the cause says what matters.
    let mut why = if error.is_connect() {
        "no connection".to_owned()
    } else {
        "the connection broke".to_owned()
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    Failed::Again {
        why,
        after: None,
        outcome,
    }
}

async fn read(mut response: Response) -> Result<(Reply, Option<String>), Failed> {
    let status = response.status();
    let headers = response.headers().clone();
    let request_id = headers
        .get("request-id")
        .and_then(|id| id.to_str().ok())
        .map(ToOwned::to_owned);
    let mut body = Vec::new();
    // A reply that breaks off in the middle is paid like one that is garbage.
    let broken = |error: reqwest::Error| match lost(&error) {
        Failed::Again { why, after, .. } if status.is_success() => Failed::Again {
            why,
            after,
            outcome: UNREADABLE,
        },
        other @ (Failed::Again { .. } | Failed::Parked(_) | Failed::Never(_)) => other,
    };
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > REPLY_BYTES_MAX {
            return Err(Failed::Never(format!(
                "the reply is larger than {REPLY_BYTES_MAX} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    if !status.is_success() {
        return Err(refusal(status, &headers, &body));
    }
    match serde_json::from_slice(&body) {
        Ok(reply) => Ok((reply, request_id)),
        Err(error) => {
            let why = format!("the reply is not a message: {error}");
            Err(Failed::Again {
                why,
                after: None,
                outcome: UNREADABLE,
            })
        }
    }
}

/// What an error status means, after the table in the provider's documentation and the retry rules of its SDK.
fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failed {
    let detail = serde_json::from_slice::<ErrorBody>(body)
        .ok()
        .map(|body| body.error);
    let (kind, message) = detail.as_ref().map_or(("", ""), |detail| {
        (detail.kind.as_str(), detail.message.as_str())
    });
    let why = format!(
        "{} {kind}: {}",
        status.as_u16(),
        message.chars().take(500).collect::<String>()
    );
    let code = detail
        .as_ref()
        .and_then(|detail| detail.details.as_ref()?.error_code.as_deref());
    let told = headers
        .get("x-should-retry")
        .and_then(|told| told.to_str().ok());
    let after = retry_after(headers);
    match (status.as_u16(), told) {
        (_, _) if code == Some("enforced_spend_limit_reached") => Failed::Parked(why),
        (401..=404, _) => Failed::Parked(why),
        (_, Some("false")) => Failed::Never(why),
        (429, _) => Failed::Again {
            why,
            after,
            outcome: "rate_limited",
        },
        (529, _) => Failed::Again {
            why,
            after,
            outcome: "overloaded",
        },
        (408 | 409 | 500.., _) | (_, Some("true")) => Failed::Again {
            why,
            after,
            outcome: "error",
        },
        _ => Failed::Never(why),
    }
}

/// `retry-after-ms`, else `retry-after` in seconds (or as a date, RFC 9110), at most ten minutes.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let millis = text("retry-after-ms")
        .and_then(|ms| ms.trim().parse::<f64>().ok())
        .map(|ms| ms / 1_000.0);
    let seconds = millis
        .or_else(|| text("retry-after")?.trim().parse::<f64>().ok())
        .or_else(|| {
            let date = jiff::fmt::rfc2822::parse(text("retry-after")?).ok()?;
            Some(
                date.timestamp()
                    .duration_since(jiff::Timestamp::now())
                    .as_secs_f64(),
            )
        })?;
    let told = Duration::try_from_secs_f64(seconds.max(0.0)).ok()?;
    Some(told.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests;
