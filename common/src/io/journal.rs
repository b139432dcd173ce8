//! The journal on JetStream: append with an expected sequence, atomic batch, read a run's history, schedules, dead letters.

mod pages;

use std::time::Duration;

use async_nats::{
    HeaderMap, StatusCode,
    header::{
        NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL, NATS_BATCH_ID, NATS_BATCH_SEQUENCE,
        NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID, NATS_SCHEDULE, NATS_SCHEDULE_TARGET,
    },
    jetstream::context::{PublishError, PublishErrorKind},
};
use backon::{ExponentialBuilder, Retryable as _};
use bytes::Bytes;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::warn;

pub use pages::RawPage;

use super::bus::Bus;
use crate::{
    entry::{Address, Body, Entry, EntryError, Fired, Kind},
    event::Event,
    ids::{Name, RunId},
    names::{header, stream, subject},
    run::Link,
};

/// How long a publish is tried before the journal counts as unavailable.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest wait for the next message of a history.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages asked for at once when a history is read.
const READ_BATCH: usize = 512;
/// Messages of one run that are read at most: a journal without end is a fault, not a reason to eat all memory.
const HISTORY_MAX: usize = 100_000;
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

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Its sequence in EVENTS.
    pub seq: u64,
    /// Whether it was there already, as far as the deduplication window knows.
    pub duplicate: bool,
}

#[derive(Serialize)]
struct DirectGet<'a> {
    seq: u64,
    batch: usize,
    next_by_subj: &'a str,
}

#[derive(Deserialize)]
struct BatchAck {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    error: Option<BatchFault>,
}

#[derive(Deserialize)]
struct BatchFault {
    err_code: u64,
    description: String,
}

/// The journal. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Journal {
    bus: Bus,
}

impl Journal {
    /// The journal on this connection; the streams must have been ensured.
    #[must_use]
    pub fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// The connection.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Starts a run unless it was started before: `started` expects that nothing is there under `runs.<run>.>`.
    ///
    /// # Errors
    /// [`JournalError::Conflict`] when the run exists already: the same event came twice.
    pub async fn start(
        &self,
        run: &RunId,
        workflow: &Name,
        payload: Vec<u8>,
    ) -> Result<u64, JournalError> {
        let subject = subject::entry(run, Kind::Started, workflow);
        self.publish(subject, expecting(0, &subject::run(run)), payload.into())
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
        let headers = expecting(chain, &subject::chain(run));
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

    async fn append_batch(
        &self,
        links: &[Link],
        expected: &HeaderMap,
    ) -> Result<u64, JournalError> {
        let attempt = || async {
            let id = format!("{:032x}", fastrand::u128(..));
            let mut last = None;
            for (index, link) in links.iter().enumerate() {
                let mut headers = if index == 0 {
                    expected.clone()
                } else {
                    HeaderMap::new()
                };
                headers.insert(NATS_BATCH_ID, id.as_str());
                headers.insert(NATS_BATCH_SEQUENCE, (index + 1).to_string());
                let subject = link.address.subject();
                let payload = Bytes::copy_from_slice(&link.payload);
                if index + 1 < links.len() {
                    let sent = self
                        .bus
                        .client
                        .publish_with_headers(subject, headers, payload)
                        .await;
                    sent.map_err(|e| JournalError::Unavailable(e.to_string()))?;
                } else {
                    headers.insert(NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL);
                    let reply = self
                        .bus
                        .client
                        .request_with_headers(subject, headers, payload)
                        .await;
                    last = Some(reply.map_err(|e| JournalError::Unavailable(e.to_string()))?);
                }
            }
            let payload = last.map(|message| message.payload).unwrap_or_default();
            batch_ack(&payload, links)
        };
        attempt
            .retry(patience())
            .when(|error| matches!(error, JournalError::Unavailable(_)))
            .await
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

    /// Writes a signal; `id` is the message id, so a second click changes nothing.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn signal(
        &self,
        run: &RunId,
        signal: &Name,
        id: &str,
        payload: Vec<u8>,
    ) -> Result<u64, JournalError> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, id);
        let subject = subject::entry(run, Kind::Signalled, signal);
        self.publish(subject, headers, payload.into())
            .await
            .map(|ack| ack.seq)
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

    /// Takes in an event; when this returns, it is on disk as far as JetStream is.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn publish_event(&self, event: &Event) -> Result<Accepted, JournalError> {
        self.take_in(event, event.identity()).await
    }

    /// Takes in an event once more, whatever the deduplication window says: for one whose first copy came to nothing.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn publish_event_again(&self, event: &Event) -> Result<Accepted, JournalError> {
        self.take_in(
            event,
            format!("{}.{:016x}", event.identity(), fastrand::u64(..)),
        )
        .await
    }

    async fn take_in(&self, event: &Event, message_id: String) -> Result<Accepted, JournalError> {
        let subject = subject::event(&event.kind);
        let payload = serde_json::to_vec(event).map_err(|e| JournalError::Refused {
            subject: subject.clone(),
            problem: e.to_string(),
        })?;
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, message_id);
        headers.insert("Content-Type", "application/cloudevents+json");
        self.publish(subject, headers, payload.into()).await
    }

    /// Puts aside what cannot be handled, with its reason.
    ///
    /// # Errors
    /// [`JournalError`]: then the original must not be acknowledged.
    pub async fn bury(&self, role: &str, from: &Raw, reason: &str) -> Result<(), JournalError> {
        let mut headers = HeaderMap::new();
        let reason: String = reason
            .chars()
            .take(1_000)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        headers.insert(header::REASON, reason.as_str());
        headers.insert(header::SUBJECT, from.subject.as_str());
        headers.insert(header::SEQUENCE, from.seq.to_string());
        headers.insert(
            NATS_MESSAGE_ID,
            format!("{role}.{}.{}", from.subject, from.seq),
        );
        self.publish(
            subject::dead(role, &from.subject),
            headers,
            from.payload.clone(),
        )
        .await
        .map(drop)
    }

    /// All entries of a run, in order; none if there is no such run.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn read(&self, run: &RunId) -> Result<Vec<Entry>, JournalError> {
        let mut entries = Vec::new();
        for raw in self.raw(&subject::run(run), 1).await? {
            match decode(&raw) {
                Ok(entry) => entries.extend(entry),
                // Anyone may have written rubbish there. What no decision rests on counts nowhere; if one does, the
                // rebuild says so.
                Err(problem) if !is_chain(&raw.subject) => {
                    warn!(subject = raw.subject, seq = raw.seq, %problem, "skipped on the journal");
                }
                Err(problem) => return Err(problem.into()),
            }
        }
        Ok(entries)
    }

    /// All messages under a subject (wildcards allowed) from a sequence on, in order: batched direct gets, no consumer
    /// (which takes 33 ms to create once the stream holds hundreds of thousands of subjects).
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn raw(&self, subjects: &str, from: u64) -> Result<Vec<Raw>, JournalError> {
        let mut found: Vec<Raw> = Vec::new();
        let mut next = from.max(1);
        loop {
            let page = || self.page(subjects, next);
            let (messages, more) = page
                .retry(patience())
                .when(|error| matches!(error, JournalError::Unavailable(_)))
                .await?;
            if let Some(last) = messages.last() {
                next = last.seq + 1;
            }
            let progress = !messages.is_empty();
            found.extend(messages);
            if !more || !progress {
                return Ok(found);
            }
            if found.len() > HISTORY_MAX {
                let run = found
                    .first()
                    .and_then(|raw| Address::parse(&raw.subject).ok().flatten());
                return Err(run.map_or_else(
                    || {
                        JournalError::Unavailable(format!(
                            "more than {HISTORY_MAX} messages under {subjects}"
                        ))
                    },
                    |address| JournalError::TooLong { run: address.run },
                ));
            }
        }
    }

    async fn page(&self, subjects: &str, seq: u64) -> Result<(Vec<Raw>, bool), JournalError> {
        let unavailable = |problem: String| JournalError::Unavailable(problem);
        let inbox = self.bus.client.new_inbox();
        let mut replies = self
            .bus
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|e| unavailable(e.to_string()))?;
        let ask = DirectGet {
            seq,
            batch: READ_BATCH,
            next_by_subj: subjects,
        };
        let ask = serde_json::to_vec(&ask).map_err(|e| unavailable(e.to_string()))?;
        let api = format!("$JS.API.DIRECT.GET.{}", stream::RUNS);
        let sent = self
            .bus
            .client
            .publish_with_reply(api, inbox, ask.into())
            .await;
        sent.map_err(|e| unavailable(e.to_string()))?;
        let mut messages = Vec::new();
        loop {
            let reply = tokio::time::timeout(READ_TIMEOUT, replies.next()).await;
            let message = match reply {
                Ok(Some(message)) => message,
                Ok(None) => return Err(unavailable("the connection closed while reading".into())),
                Err(_) => return Err(unavailable("no answer to a read in time".into())),
            };
            match message.status {
                None => messages.push(direct_message(&message)?),
                Some(StatusCode::NOT_FOUND) => return Ok((messages, false)),
                // End of batch: how many are left under this subject.
                Some(status) if status.as_u16() == 204 => {
                    let pending = header_number(&message, "Nats-Num-Pending").unwrap_or(0);
                    return Ok((messages, pending > 0));
                }
                Some(status) => {
                    return Err(unavailable(format!(
                        "a read was answered with status {status}"
                    )));
                }
            }
        }
    }

    async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Accepted, JournalError> {
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

/// Reads a message as an entry; `None` for a message schedule.
///
/// # Errors
/// [`EntryError`].
pub fn decode(raw: &Raw) -> Result<Option<Entry>, EntryError> {
    match Address::parse(&raw.subject)? {
        None => Ok(None),
        Some(address) => Entry::decode(raw.seq, address, &raw.payload).map(Some),
    }
}

fn is_chain(subject: &str) -> bool {
    subject
        .split('.')
        .nth(2)
        .is_some_and(|kind| kind == "decided" || kind == "started")
}

fn patience() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .with_total_delay(Some(PATIENCE))
        .without_max_times()
}

fn expecting(seq: u64, under: &str) -> HeaderMap {
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
            refused("it is larger than the server's max_payload; raise that, or lower the tool's output_limit".into())
        }
        PublishErrorKind::TimedOut
        | PublishErrorKind::BrokenPipe
        | PublishErrorKind::MaxAckPending
        | PublishErrorKind::StreamNotFound
        | PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::Other => JournalError::Unavailable(error.to_string()),
    }
}

fn batch_ack(payload: &[u8], links: &[Link]) -> Result<u64, JournalError> {
    /// nats-server: "wrong last sequence".
    const WRONG_LAST_SEQUENCE: u64 = 10_071;
    let ack: BatchAck = serde_json::from_slice(payload)
        .map_err(|e| JournalError::Unavailable(format!("no batch ack: {e}")))?;
    let subject = links
        .first()
        .map(|link| link.address.subject())
        .unwrap_or_default();
    match ack.error {
        None => Ok((ack.seq + 1).saturating_sub(links.len() as u64)),
        Some(fault) if fault.err_code == WRONG_LAST_SEQUENCE => {
            Err(JournalError::Conflict(subject))
        }
        Some(fault) => Err(JournalError::Unavailable(format!(
            "{} ({})",
            fault.description, fault.err_code
        ))),
    }
}

fn header_number(message: &async_nats::Message, name: &str) -> Option<u64> {
    message.headers.as_ref()?.get(name)?.as_str().parse().ok()
}

fn direct_message(message: &async_nats::Message) -> Result<Raw, JournalError> {
    let subject = message
        .headers
        .as_ref()
        .and_then(|headers| headers.get("Nats-Subject"))
        .map(ToString::to_string);
    match (header_number(message, "Nats-Sequence"), subject) {
        (Some(seq), Some(subject)) => Ok(Raw {
            seq,
            subject,
            payload: message.payload.clone(),
        }),
        _ => Err(JournalError::Unavailable(
            "a read was answered without subject and sequence".into(),
        )),
    }
}
