//! The stream DEAD, as people look at it.

use std::{fmt::Display, time::Duration};

use async_nats::{
    HeaderMap,
    jetstream::{
        consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
        stream::{LastRawMessageErrorKind, RawMessageError, Stream},
    },
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::time::timeout;

use super::{
    bus::Bus,
    entries::within,
    journal::{JournalError, Raw, unavailable},
    worker::event_in,
};
use crate::{
    dead::{DeadLetter, LetterKind, fingerprint, run_of, stream_of},
    ids::RunId,
    names::{header, stream, subject},
};

/// Letters that one look goes through at most: more are there, and not counted.
pub const LOOK_MAX: usize = 100_000;
/// Letters asked for at once.
const BATCH: usize = 1_000;
/// Longest wait for an answer of nats-server.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);
/// How long nats-server keeps a reader that is gone.
pub(super) const READER_IDLE: Duration = Duration::from_secs(30);

/// Letters, in the order they came in.
#[derive(Debug, Default)]
pub struct Looked {
    /// Without their payloads.
    pub letters: Vec<DeadLetter>,
    /// Whether that is all.
    pub complete: bool,
}

/// The stream of dead letters. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Letters {
    bus: Bus,
}

impl Letters {
    /// On this connection; the streams must have been ensured.
    #[must_use]
    pub fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// All letters after a sequence.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    pub async fn look(&self, after: u64) -> Result<Looked, JournalError> {
        self.look_under(subject::ALL_DEAD.into(), after).await
    }

    /// The letters of one run.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    pub async fn of_run(&self, run: &RunId) -> Result<Looked, JournalError> {
        self.look_under(subject::dead_of(run), 0).await
    }

    /// Only headers are read: payloads can be large, and there can be many.
    async fn look_under(&self, subjects: String, after: u64) -> Result<Looked, JournalError> {
        let stream = self.stream(stream::DEAD).await?;
        let settings = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: after.saturating_add(1),
            },
            ack_policy: AckPolicy::None,
            filter_subject: subjects,
            headers_only: true,
            inactive_threshold: READER_IDLE,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let reader = patiently(stream.create_consumer(settings)).await?;
        let looked = read_all(&reader).await;
        // It would go by itself.
        drop(timeout(PATIENCE, stream.delete_consumer(&reader.cached_info().name)).await);
        looked
    }

    /// What changes whenever a letter comes or goes: how many there are, and the last one that ever came.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    pub async fn state(&self) -> Result<(u64, u64), JournalError> {
        let stream = patiently(self.bus.jetstream.get_stream(stream::DEAD)).await?;
        let state = &stream.cached_info().state;
        Ok((state.messages, state.last_sequence))
    }

    /// One letter with its payload; `None` when there is none of this sequence (any more).
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    pub async fn get(&self, seq: u64) -> Result<Option<(DeadLetter, Bytes)>, JournalError> {
        // Sequences begin at 1, and the server takes a question for another one to be malformed.
        if seq == 0 {
            return Ok(None);
        }
        let stream = self.stream(stream::DEAD).await?;
        let Some(message) = found(timeout(PATIENCE, stream.get_raw_message(seq)).await)? else {
            return Ok(None);
        };
        let at = Timestamp::from_nanosecond(message.time.unix_timestamp_nanos());
        let at = at.map_err(unavailable)?;
        let bytes = u64::try_from(message.payload.len()).unwrap_or(u64::MAX);
        let letter = letter(seq, &message.subject, &message.headers, at, bytes);
        Ok(Some((letter, message.payload)))
    }

    /// Takes a letter off the stream; whether it was there.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    pub async fn remove(&self, seq: u64) -> Result<bool, JournalError> {
        self.remove_from(stream::DEAD, seq).await
    }

    /// A message of another stream, by its sequence; `None` when it is not there (any more). An event in binary mode is written
    /// down as a structured one.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    pub async fn message(&self, name: &str, seq: u64) -> Result<Option<Message>, JournalError> {
        let stream = self.stream(name).await?;
        let message = found(timeout(PATIENCE, stream.get_raw_message(seq)).await)?;
        Ok(message.map(|message| {
            let text = |name: &str| message.headers.get(name).map(ToString::to_string);
            let (payload, _) = event_in(&message.subject, Some(&message.headers), &message.payload);
            Message {
                message_id: text(async_nats::header::NATS_MESSAGE_ID.as_ref()),
                promise: text(header::PROMISE),
                raw: Raw {
                    seq,
                    subject: message.subject.to_string(),
                    payload,
                },
            }
        }))
    }

    /// Takes a message off a stream; whether it was there.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    pub async fn remove_from(&self, name: &str, seq: u64) -> Result<bool, JournalError> {
        let stream = self.stream(name).await?;
        // Gone already is an error to the server, and none to us.
        if found(timeout(PATIENCE, stream.get_raw_message(seq)).await)?.is_none() {
            return Ok(false);
        }
        patiently(stream.delete_message(seq)).await
    }

    async fn stream(&self, name: &str) -> Result<Stream<()>, JournalError> {
        patiently(self.bus.jetstream.get_stream_no_info(name)).await
    }
}

/// A message of a stream.
#[derive(Debug)]
pub struct Message {
    /// What it is.
    pub raw: Raw,
    /// Its `Nats-Msg-Id`.
    pub message_id: Option<String>,
    /// Its `Flotilla-Promise`.
    pub promise: Option<String>,
}

async fn read_all(reader: &PullConsumer) -> Result<Looked, JournalError> {
    let mut looked = Looked::default();
    while looked.letters.len() < LOOK_MAX {
        let mut batch = patiently(reader.fetch().max_messages(BATCH).messages()).await?;
        let mut pending = None;
        while let Some(message) = timeout(PATIENCE, batch.next()).await.map_err(unavailable)? {
            let message = message.map_err(unavailable)?;
            let info = message.info().map_err(unavailable)?;
            let at = Timestamp::from_nanosecond(info.published.unix_timestamp_nanos());
            let at = at.map_err(unavailable)?;
            pending = Some(info.pending);
            let none = HeaderMap::new();
            let headers = message.headers.as_ref().unwrap_or(&none);
            let bytes = number(headers, "Nats-Msg-Size").unwrap_or(0);
            let letter = letter(info.stream_sequence, &message.subject, headers, at, bytes);
            looked.letters.push(letter);
        }
        if pending.is_none_or(|pending| pending == 0) {
            looked.complete = true;
            break;
        }
    }
    Ok(looked)
}

fn letter(seq: u64, on: &str, headers: &HeaderMap, at: Timestamp, bytes: u64) -> DeadLetter {
    let text = |name: &str| headers.get(name).map(ToString::to_string);
    let role = subject::dead_role(on).unwrap_or_default().to_owned();
    // Its own subject is behind the role's, also where a header is missing.
    let from = on.get("dead.".len() + role.len() + 1..).unwrap_or_default();
    let subject = text(header::SUBJECT).unwrap_or_else(|| from.to_owned());
    let reason = text(header::REASON).unwrap_or_else(|| "nobody says why".to_owned());
    let kind = text(header::KIND).and_then(|kind| kind.parse().ok());
    DeadLetter {
        seq,
        fingerprint: fingerprint(&role, &subject, &reason),
        kind: kind.unwrap_or(LetterKind::Refused),
        stream: stream_of(&subject).map(ToOwned::to_owned),
        stream_seq: number(headers, header::SEQUENCE).unwrap_or(0),
        run: run_of(&subject),
        deliveries: text(header::DELIVERIES).and_then(|text| text.parse().ok()),
        message_id: text(header::MESSAGE_ID),
        promise: text(header::PROMISE),
        form: text(header::FORM),
        cut: text(header::CUT),
        role,
        subject,
        reason,
        at,
        bytes,
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.as_str().parse().ok()
}

type Timely<T, E> = Result<Result<T, E>, tokio::time::error::Elapsed>;

fn found<T>(answer: Timely<T, RawMessageError>) -> Result<Option<T>, JournalError> {
    match answer.map_err(unavailable)? {
        Ok(message) => Ok(Some(message)),
        Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => Ok(None),
        Err(error) => Err(unavailable(error)),
    }
}

/// What NATS answers, in time.
pub(super) async fn patiently<T, E: Display>(
    question: impl Future<Output = Result<T, E>>,
) -> Result<T, JournalError> {
    within(PATIENCE, question).await.map_err(unavailable)
}
