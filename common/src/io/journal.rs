//! The journal on JetStream: append with an expected sequence, atomic batch, read a run's history, schedules.

mod batch;
mod bury;
mod last;
mod read;
mod tail;

use std::{sync::Arc, time::Duration};

use async_nats::{
    HeaderMap,
    header::{
        NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID, NATS_SCHEDULE, NATS_SCHEDULE_TARGET,
    },
    jetstream::context::{PublishError, PublishErrorKind},
};
use backon::{ExponentialBuilder, Retryable as _};
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tracing::debug;

pub use bury::Burial;
pub(super) use read::unavailable;
pub use read::{RawPage, decode, entries};
pub use tail::Tail;

use super::{
    broken::{self, Rule},
    bus::Bus,
    telemetry::span,
};
use crate::{
    entry::{Body, EntryError, Fired, Kind},
    event::Event,
    ids::{Name, RunId},
    names::{header, subject},
    run::Link,
    trace::TraceContext,
};

/// How long a publish is tried before the journal counts as unavailable.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages of one run that are read at most: a journal without end is a fault, not a reason to eat all memory.
const HISTORY_MAX: u64 = 100_000;
/// Reads at once by one process.
const READS_MAX: usize = 32;
const SUBJECT_SEQUENCE_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";

/// Why the journal did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Somebody wrote in between: read again, then decide again.
    #[error("the journal of {0} has grown in the meantime")]
    Conflict(String),
    /// Not now; nothing is known to be written. Trying the same again is safe.
    #[error("the journal cannot be reached: {0}")]
    Unavailable(String),
    /// NATS refuses it, now and always.
    #[error("NATS refuses to take this on `{subject}`: {problem}")]
    Refused {
        /// Where to.
        subject: String,
        /// Why.
        problem: String,
    },
    /// A message that is no entry.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// More messages than any run may have.
    #[error("the journal of {run} has more than {HISTORY_MAX} messages")]
    TooLong {
        /// Which run.
        run: RunId,
    },
}

/// A message of the stream RUNS as it is.
#[derive(Debug, Clone)]
pub struct Raw {
    /// Its sequence.
    pub seq: u64,
    /// Its subject.
    pub subject: String,
    /// Its bytes.
    pub payload: Bytes,
}

/// What became of an event, or of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Its sequence in its stream; a duplicate's is that of the first.
    pub seq: u64,
    /// Whether it was there already, as far as the deduplication window knows.
    pub duplicate: bool,
}

/// The journal. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Journal {
    bus: Bus,
    reads: Arc<Semaphore>,
}

impl Journal {
    /// The journal on this connection; the streams must have been ensured.
    #[must_use]
    pub fn new(bus: Bus) -> Self {
        Self {
            bus,
            reads: Arc::new(Semaphore::new(READS_MAX)),
        }
    }

    /// The connection.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Starts a run unless it was started before: `started` expects that nothing is there under `runs.<run>.>`. `sender`: the span of
    /// who sent its event, kept beside it for the run's own.
    ///
    /// # Errors
    /// [`JournalError::Conflict`] when the run exists already: the same event came twice.
    pub async fn start(
        &self,
        run: &RunId,
        workflow: &Name,
        payload: Vec<u8>,
        sender: Option<TraceContext>,
    ) -> Result<u64, JournalError> {
        let subject = subject::entry(run, Kind::Started, workflow);
        let mut headers = expecting(0, &subject::run(run));
        if let Some(sender) = sender {
            headers.insert(header::SENDER, sender.to_string());
        }
        self.publish(subject, headers, payload.into())
            .await
            .map(|ack| ack.seq)
    }

    /// Appends to a run's chain, all or none, if `chain` is still its last sequence. Gives the sequence of the first link;
    /// the others follow it without a gap.
    ///
    /// There is no message id on purpose: an answer "duplicate" would let a planner believe that *its* decision is stored.
    ///
    /// # Errors
    /// [`JournalError::Conflict`] when the chain has grown. That may be this very append, whose ack was lost: read again.
    pub async fn append(
        &self,
        run: &RunId,
        links: &[Link],
        chain: u64,
    ) -> Result<u64, JournalError> {
        let headers = if broken::is(Rule::ExpectedSequence) {
            HeaderMap::new()
        } else {
            expecting(chain, &subject::chain(run))
        };
        match links {
            [] => Ok(chain),
            [only] => {
                let payload = Bytes::copy_from_slice(&only.payload);
                self.publish(only.address.subject(), headers, payload)
                    .await
                    .map(|ack| ack.seq)
            }
            several => self.append_batch(several, &headers).await,
        }
    }

    /// Writes a result. The message id saves a second copy within the deduplication window; the fold ignores it after that.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn result(
        &self,
        run: &RunId,
        tool: &Name,
        id: &str,
        payload: Vec<u8>,
    ) -> Result<u64, JournalError> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, id);
        let subject = subject::entry(run, Kind::Resulted, tool);
        self.publish(subject, headers, payload.into())
            .await
            .map(|ack| ack.seq)
    }

    /// Writes a signal; `id` is the message id, so a second click changes nothing: it is a duplicate, of whatever was written
    /// under this id.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn signal(
        &self,
        run: &RunId,
        signal: &Name,
        id: &str,
        payload: Vec<u8>,
    ) -> Result<Accepted, JournalError> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, id);
        let subject = subject::entry(run, Kind::Signalled, signal);
        let accepted = self.publish(subject, headers, payload.into()).await?;
        let nudged = self.bus.client.publish(subject::nudge(run), Bytes::new());
        if let Err(problem) = nudged.await {
            debug!(%problem, "whoever works on the run is not told of its signal, and sees it later");
        }
        Ok(accepted)
    }

    /// Sets (or sets again) a timer: at that time nats-server writes `runs.<run>.fired.<name>`.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn schedule(
        &self,
        run: &RunId,
        name: &Name,
        at: Timestamp,
    ) -> Result<(), JournalError> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_SCHEDULE, format!("@at {at}"));
        headers.insert(NATS_SCHEDULE_TARGET, subject::entry(run, Kind::Fired, name));
        let refused = |e: serde_json::Error| JournalError::Unavailable(e.to_string());
        let payload = Body::Fired(Fired {}).encode(at).map_err(refused)?;
        self.publish(subject::timer(run, name), headers, payload.into())
            .await
            .map(drop)
    }

    /// Takes in an event; when this returns, it is on disk as far as JetStream is. Whoever takes it from the stream starts what
    /// `promise` says (the header of that name); without one it judges the event itself.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn publish_event(
        &self,
        event: &Event,
        promise: Option<&str>,
    ) -> Result<Accepted, JournalError> {
        let payload = encoded(event)?;
        self.publish_encoded(event, payload, promise).await
    }

    /// The same for an event that was written down already.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn publish_encoded(
        &self,
        event: &Event,
        payload: Bytes,
        promise: Option<&str>,
    ) -> Result<Accepted, JournalError> {
        self.take_in(event, payload, promise, event.identity())
            .await
    }

    /// Takes in an event once more, whatever the deduplication window says: for one whose first copy came to nothing.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn publish_event_again(
        &self,
        event: &Event,
        promise: Option<&str>,
    ) -> Result<Accepted, JournalError> {
        let message_id = format!("{}.{:016x}", event.identity(), fastrand::u64(..));
        self.take_in(event, encoded(event)?, promise, message_id)
            .await
    }

    /// Puts what became a dead letter back on its subject, as if it came for the first time.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn publish_again(
        &self,
        subject: String,
        payload: Bytes,
    ) -> Result<Accepted, JournalError> {
        self.publish(subject, HeaderMap::new(), payload).await
    }

    async fn take_in(
        &self,
        event: &Event,
        payload: Bytes,
        promise: Option<&str>,
        message_id: String,
    ) -> Result<Accepted, JournalError> {
        let subject = subject::event(&event.kind);
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, message_id);
        headers.insert("Content-Type", "application/cloudevents+json");
        if let Some(promise) = promise {
            headers.insert(header::PROMISE, promise);
        }
        self.publish(subject, headers, payload).await
    }

    pub(in crate::io) async fn publish(
        &self,
        subject: String,
        mut headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Accepted, JournalError> {
        span::stamp(&mut headers);
        let attempt = || async {
            let sent = self
                .bus
                .jetstream
                .publish_with_headers(subject.clone(), headers.clone(), payload.clone())
                .await;
            let ack = async { sent?.await }.await;
            ack.map(|ack| Accepted {
                seq: ack.sequence,
                duplicate: ack.duplicate,
            })
            .map_err(|error| refusal(&subject, &error))
        };
        attempt
            .retry(patience())
            .when(|error| matches!(error, JournalError::Unavailable(_)))
            .await
    }
}

fn encoded(event: &Event) -> Result<Bytes, JournalError> {
    let payload = serde_json::to_vec(event).map_err(|error| JournalError::Refused {
        subject: subject::event(&event.kind),
        problem: error.to_string(),
    })?;
    Ok(payload.into())
}

pub(in crate::io) fn patience() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .with_total_delay(Some(PATIENCE))
        .without_max_times()
}

pub(in crate::io) fn expecting(seq: u64, under: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, seq.to_string());
    headers.insert(SUBJECT_SEQUENCE_SUBJECT, under);
    headers
}

fn refusal(subject: &str, error: &PublishError) -> JournalError {
    let refused = |problem: String| JournalError::Refused {
        subject: subject.to_owned(),
        problem,
    };
    match error.kind() {
        PublishErrorKind::WrongLastSequence => JournalError::Conflict(subject.to_owned()),
        PublishErrorKind::MaxPayloadExceeded => {
            refused("it is larger than the server's max_payload; raise that, or send less (a tool's output_limit)".into())
        }
        PublishErrorKind::TimedOut
        | PublishErrorKind::BrokenPipe
        | PublishErrorKind::MaxAckPending
        | PublishErrorKind::StreamNotFound
        | PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::Other => JournalError::Unavailable(error.to_string()),
    }
}
