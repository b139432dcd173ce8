//! Claude over HTTP: one try. The one owner of retries is `caller`.

mod answer;
mod batches;
mod call;
mod config;
mod error;
mod models;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::{Client, redirect};

pub(crate) use answer::kind_of_error;
pub use call::Answer;
pub(crate) use call::begin_counting;
pub use config::{ClaudeConfig, Key};
pub use error::{Billed, CallError, ErrorKind};
pub use models::ModelsError;

/// Calls on one HTTP/2 connection: servers allow about a hundred streams on each, and a client opens only one per host.
const CALLS_PER_CLIENT: usize = 96;
const CLIENTS_MAX: usize = 128;

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
    /// The key is wrong.
    #[error(
        "ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN has characters that no HTTP header can hold"
    )]
    Key,
    /// The HTTP client cannot be built.
    #[error("the HTTP client for Claude cannot be built: {0}")]
    Client(#[source] reqwest::Error),
}

/// A client of the Messages API, for thousands of calls in flight.
#[derive(Debug)]
pub struct Claude {
    clients: Vec<Client>,
    turn: AtomicUsize,
    /// Calls that are out.
    in_flight: Arc<AtomicU64>,
    url: String,
    config: ClaudeConfig,
}

impl Claude {
    /// Builds the client for that many calls at once.
    ///
    /// # Errors
    /// [`ClaudeError::BaseUrl`], [`ClaudeError::Key`], [`ClaudeError::Client`].
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
        let headers = config.headers()?;
        let count = calls.div_ceil(CALLS_PER_CLIENT).clamp(1, CLIENTS_MAX);
        let client = || {
            Client::builder()
                .default_headers(headers.clone())
                // The key would go along.
                .redirect(redirect::Policy::none())
                .connect_timeout(config.connect_timeout)
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
            in_flight: Arc::default(),
            url: format!("{base}/v1/messages"),
            config,
        })
    }

    /// How many calls are out.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }
}
