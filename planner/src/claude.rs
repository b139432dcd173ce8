//! Claude over HTTP. The one owner of retries: nobody above or below repeats a call.

mod answer;

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use flotilla_common::{claude::Request, entry::Answered, io::telemetry::metric, money::Usd};
use metrics::{counter, gauge, histogram};
use reqwest::Client;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use answer::{Failed, UNREADABLE, lost, read};

/// `anthropic-version`: the only one there is.
const API_VERSION: &str = "2023-06-01";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// First pause of the back-off; doubles up to [`PAUSE_MAX`], with full jitter.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Pause while only a person can help (key, billing, spend limit): runs wait, nothing is lost.
const PARKED_PAUSE: Duration = Duration::from_secs(30);
/// Such calls that one step may make: each is paid.
const UNREADABLE_MAX: u64 = 2;
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
            usd_nano: Usd::default(),
            fallbacks: Vec::new(),
            request_id,
            took_ms,
            wasted: 0,
            wasted_usd_nano: Usd::default(),
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

#[cfg(test)]
mod tests;
