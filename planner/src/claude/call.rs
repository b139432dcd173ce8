//! One try: sent once, timed, counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use flotilla_common::{
    claude::{RateLimits, Reply, Request},
    io::telemetry::metric,
};
use metrics::{counter, gauge, histogram};
use tokio::time::{Instant, timeout_at};

use super::{
    Billed, CallError, Claude, ErrorKind,
    answer::{Failed, Incoming, lost},
};

/// Longest text of an error, in characters.
const WHY_CHARS_MAX: usize = 600;

/// The `outcome` label of calls that were answered.
const ANSWERED: &str = "ok";

/// What one try gave.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The reply, as received.
    pub reply: Reply,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    /// From sending to the last byte.
    pub took: Duration,
    /// From sending to the first byte of the body.
    pub first_byte: Duration,
    /// The rate limits that the reply told.
    pub limits: Option<RateLimits>,
}

/// Keeps counters there for a model, from before its first call on.
pub(crate) fn begin_counting(model: &str) {
    let kinds = [
        ErrorKind::RateLimited,
        ErrorKind::Overloaded,
        ErrorKind::Server,
        ErrorKind::Timeout,
        ErrorKind::Connection,
        ErrorKind::Unreadable,
        ErrorKind::Blocked,
        ErrorKind::Invalid,
    ];
    for outcome in kinds.map(ErrorKind::label).into_iter().chain([ANSWERED]) {
        counter!(metric::CLAUDE_CALLS, "model" => model.to_owned(), "outcome" => outcome)
            .increment(0);
    }
    counter!(metric::CLAUDE_TOKENS_WASTED, "model" => model.to_owned()).increment(0);
}

impl Claude {
    /// A request's bytes, for this model.
    ///
    /// # Errors
    /// A value that cannot be JSON: a fault of the caller.
    pub fn body(&self, request: &Request, model: &str) -> Result<Bytes, serde_json::Error> {
        let mut sent = Request {
            model: model.to_owned(),
            stream: self.config.stream,
            ..request.clone()
        };
        if !self.config.cache {
            sent.drop_cache_points();
        }
        serde_json::to_vec(&sent).map(Bytes::from)
    }

    /// Asks once; nothing is repeated. Dropped, it cancels the request. `body` is what [`Claude::body`] gave for this model.
    ///
    /// # Errors
    /// [`CallError`]; boxed for its size only.
    pub async fn call(&self, model: &str, body: Bytes) -> Result<Answer, Box<CallError>> {
        let flight = InFlight::new(model, Arc::clone(&self.in_flight));
        let answered = self.attempt(body).await;
        drop(flight);
        let outcome = answered
            .as_ref()
            .map_or_else(|e| e.kind.label(), |_| ANSWERED);
        counter!(metric::CLAUDE_CALLS, "model" => model.to_owned(), "outcome" => outcome)
            .increment(1);
        if let Ok(answer) = &answered {
            histogram!(metric::CLAUDE_DURATION, "model" => model.to_owned())
                .record(answer.took.as_secs_f64());
        }
        answered
    }

    async fn attempt(&self, body: Bytes) -> Result<Answer, Box<CallError>> {
        let never_sent = |why: String| {
            let failed = Failed::new(ErrorKind::Invalid, why, Billed::Nothing);
            self.error(failed, Told::default())
        };
        let stream = self.config.stream;
        let client = self
            .client()
            .ok_or_else(|| never_sent("no HTTP client".into()))?;

        let times = Times::begin(&self.config, stream);
        let sent = timeout_at(times.first, client.post(&self.url).body(body).send()).await;
        let response = sent
            .map_err(|_| times.late_first())
            .and_then(|sent| sent.map_err(|error| lost(&error)))
            .map_err(|failed| self.error(failed, Told::default()))?;
        let mut incoming = Incoming::new(response, times);
        let told = incoming.told();
        match incoming.reply().await {
            Ok((reply, first_byte)) => Ok(Answer {
                reply,
                request_id: told.request_id,
                took: times.begun.elapsed(),
                first_byte,
                limits: told.limits,
            }),
            Err(failed) => Err(self.error(failed, told)),
        }
    }

    /// The next one's turn.
    pub(super) fn client(&self) -> Option<&reqwest::Client> {
        let index = self.turn.fetch_add(1, Ordering::Relaxed) % self.clients.len();
        self.clients.get(index)
    }

    pub(super) fn error(&self, failed: Failed, told: Told) -> Box<CallError> {
        // Before it is shortened, or half a key could be left.
        let why = self.config.secrets().redact(&failed.why);
        Box::new(CallError {
            kind: failed.kind,
            why: why.chars().take(WHY_CHARS_MAX).collect(),
            request_id: told.request_id,
            after: told.after,
            limits: told.limits,
            status: told.status,
            billed: failed.billed,
        })
    }
}

/// What an answer's headers say, whatever its body is.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) request_id: Option<String>,
    pub(super) after: Option<Duration>,
    pub(super) limits: Option<RateLimits>,
    pub(super) status: Option<u16>,
}

/// Until when one try waits for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) begun: Instant,
    /// For the first byte.
    pub(super) first: Instant,
    /// For the last one.
    deadline: Instant,
    silence: Duration,
}

impl Times {
    /// Of a whole answer that must be there by then.
    pub(super) fn until(config: &super::ClaudeConfig, deadline: Instant) -> Self {
        let begun = Instant::now();
        Self {
            begun,
            first: deadline,
            deadline,
            silence: config.silence_timeout,
        }
    }

    fn begin(config: &super::ClaudeConfig, stream: bool) -> Self {
        let begun = Instant::now();
        let deadline = begun + config.call_timeout;
        let first = if stream {
            deadline.min(begun + config.first_byte_timeout)
        } else {
            deadline
        };
        Self {
            begun,
            first,
            deadline,
            silence: config.silence_timeout,
        }
    }

    /// Until when the next bytes must come, after some came now.
    pub(super) fn next(&self) -> Instant {
        self.deadline.min(Instant::now() + self.silence)
    }

    pub(super) fn late_first(&self) -> Failed {
        let why = format!("no answer began within {:?}", self.first - self.begun);
        Failed::new(ErrorKind::Timeout, why, Billed::Unknown)
    }

    /// Why the wait for more bytes was over.
    pub(super) fn late(&self, waited_until: Instant) -> String {
        if waited_until == self.deadline {
            format!("no whole answer within {:?}", self.deadline - self.begun)
        } else {
            format!("the answer stopped for {:?}", self.silence)
        }
    }
}

/// Counts a call as in flight while it lives.
struct InFlight {
    model: String,
    all: Arc<AtomicU64>,
}

impl InFlight {
    fn new(model: &str, all: Arc<AtomicU64>) -> Self {
        gauge!(metric::CLAUDE_IN_FLIGHT, "model" => model.to_owned()).increment(1.0);
        all.fetch_add(1, Ordering::Relaxed);
        Self {
            model: model.to_owned(),
            all,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let model = std::mem::take(&mut self.model);
        gauge!(metric::CLAUDE_IN_FLIGHT, "model" => model).decrement(1.0);
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}
