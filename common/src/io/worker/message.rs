//! What the pull loop gives to a handler, and what it gets back.

use std::time::Duration;

use async_nats::jetstream;
use bytes::Bytes;
use jiff::Timestamp;

use crate::names::header;

/// A message to handle.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// Its subject.
    pub subject: String,
    /// Its sequence in the stream.
    pub seq: u64,
    /// Its bytes.
    pub payload: Bytes,
    /// When nats-server stored it, by its own clock.
    pub published: Timestamp,
    /// How often it was delivered, this time included.
    pub delivered: i64,
    /// Its `Nats-Msg-Id`, if its publisher gave one.
    pub message_id: Option<String>,
    /// Its `Flotilla-Promise`, on an event that a gateway took in; not checked.
    pub promise: Option<String>,
}

impl Incoming {
    /// Takes out of a message what handlers need.
    pub(super) fn read(message: &jetstream::Message) -> Result<Self, String> {
        let info = message.info().map_err(|e| e.to_string())?;
        let text = |name: &str| Some(message.headers.as_ref()?.get(name)?.to_string());
        Ok(Self {
            subject: message.subject.to_string(),
            seq: info.stream_sequence,
            payload: message.payload.clone(),
            published: Timestamp::from_nanosecond(info.published.unix_timestamp_nanos())
                .map_err(|e| e.to_string())?,
            delivered: info.delivered,
            message_id: text(async_nats::header::NATS_MESSAGE_ID.as_ref()),
            promise: text(header::PROMISE),
        })
    }

    /// Whether somebody may have worked on it before.
    #[must_use]
    pub fn is_redelivery(&self) -> bool {
        self.delivered > 1
    }
}

/// What is to become of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// It is done; its facts are on the journal.
    Ack,
    /// Not now: hand it out again, to whomever, after this time.
    Retry {
        /// When again.
        after: Duration,
        /// Why, for the log.
        why: String,
    },
    /// Never: into DEAD with this reason.
    Dead {
        /// Why, for people.
        reason: String,
    },
}
