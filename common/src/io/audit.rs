//! The stream AUDIT: who changed what by a gateway, and who was turned away. It says nothing of what was sent: no payloads, no
//! secrets.

use std::{collections::BTreeMap, time::Duration};

use async_nats::{
    HeaderMap,
    jetstream::{
        consumer::{AckPolicy, DeliverPolicy, pull},
        stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
    },
};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{
    bus::Bus,
    journal::{Journal, JournalError, unavailable},
    letters::{PATIENCE, READER_IDLE, patiently},
    streams::{StreamError, ensure_stream, unlimited},
};
use crate::names::{stream, subject};

/// How long it is known who did what, and in how many bytes at most: the oldest go first.
const AGE_MAX: Duration = Duration::from_secs(366 * 86_400);
const BYTES_MAX: i64 = 1 << 30;
/// Which shape of [`Audited`] this is.
const VERSION: u32 = 1;

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The token's id; `-`: none was asked for, or none that holds was shown.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The one tenant that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// One thing that was done, or refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    /// Which shape this is.
    v: u32,
    /// When, by the gateway's clock.
    pub at: Timestamp,
    /// Who.
    pub who: Who,
    /// The method of HTTP.
    pub method: String,
    /// The route, as in `/v1/runs/{id}/cancel`.
    pub route: String,
    /// What its parts were: what was changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ids: BTreeMap<String, String>,
    /// Why, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was answered: a status of HTTP.
    pub status: u16,
    /// How often, where one entry stands for many that were refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// The other end of the connection.
    pub from: String,
    /// The request's id, as in `X-Request-Id`.
    pub request: String,
}

impl Audited {
    /// What was answered to a request; nothing is said yet of its parts.
    #[must_use]
    pub fn new(who: Who, method: &str, route: &str, status: u16, at: Timestamp) -> Self {
        Self {
            v: VERSION,
            at,
            who,
            method: method.to_owned(),
            route: route.to_owned(),
            ids: BTreeMap::new(),
            reason: None,
            status,
            times: None,
            from: String::new(),
            request: String::new(),
        }
    }
}

/// An entry and its sequence on the stream.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// Higher is later.
    pub seq: u64,
    /// What it says.
    #[serde(flatten)]
    pub entry: Audited,
}

/// Some entries, the oldest first.
#[derive(Debug, Default)]
pub struct Page {
    /// Those of this version.
    pub lines: Vec<Line>,
    /// The last sequence that was looked at, where there are more.
    pub next: Option<u64>,
}

/// Where to begin.
#[derive(Debug, Clone, Copy)]
pub enum From {
    /// After this sequence.
    After(u64),
    /// At this time.
    At(Timestamp),
}

/// The stream's settings.
pub(super) fn settings() -> Config {
    Config {
        name: stream::AUDIT.into(),
        description: Some("Who changed what in Flotilla, and who was turned away".into()),
        subjects: vec![subject::ALL_AUDIT.into()],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        max_age: AGE_MAX,
        max_bytes: BYTES_MAX,
        ..unlimited()
    }
}

/// The stream. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Audit {
    bus: Bus,
    journal: Journal,
}

impl Audit {
    /// Opens it: created when missing, checked when there.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn open(bus: &Bus) -> Result<Self, StreamError> {
        ensure_stream(bus, settings()).await?;
        Ok(Self {
            bus: bus.clone(),
            journal: Journal::new(bus.clone()),
        })
    }

    /// Writes an entry about an area and what was done there; when this returns, JetStream has it.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn write(&self, area: &str, verb: &str, entry: &Audited) -> Result<(), JournalError> {
        let on = subject::audit(area, verb);
        let payload = serde_json::to_vec(entry).map_err(|e| JournalError::Refused {
            subject: on.clone(),
            problem: e.to_string(),
        })?;
        let written = self.journal.publish(on, HeaderMap::new(), payload.into());
        written.await.map(drop)
    }

    /// So many entries, from somewhere on.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    pub async fn read(&self, from: From, count: usize) -> Result<Page, JournalError> {
        let stream = patiently(self.bus.jetstream.get_stream(stream::AUDIT)).await?;
        let state = &stream.cached_info().state;
        let deliver_policy = match from {
            From::After(seq) => DeliverPolicy::ByStartSequence {
                start_sequence: seq.saturating_add(1),
            },
            From::At(at) => {
                // The stream's own time, moved: its type is nameless here.
                let first = state.first_timestamp.unix_timestamp_nanos();
                let later = u64::try_from(at.as_nanosecond() - first).unwrap_or(0);
                let start_time = state.first_timestamp + Duration::from_nanos(later);
                DeliverPolicy::ByStartTime { start_time }
            }
        };
        if state.messages == 0 {
            return Ok(Page::default());
        }
        let settings = pull::Config {
            deliver_policy,
            ack_policy: AckPolicy::None,
            inactive_threshold: READER_IDLE,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let reader = patiently(stream.create_consumer(settings)).await?;
        let page = some(&reader, count).await;
        // It would go by itself.
        drop(timeout(PATIENCE, stream.delete_consumer(&reader.cached_info().name)).await);
        page
    }
}

async fn some(
    reader: &async_nats::jetstream::consumer::PullConsumer,
    count: usize,
) -> Result<Page, JournalError> {
    let mut page = Page::default();
    let mut batch = patiently(reader.fetch().max_messages(count).messages()).await?;
    while let Some(message) = timeout(PATIENCE, batch.next()).await.map_err(unavailable)? {
        let message = message.map_err(unavailable)?;
        let info = message.info().map_err(unavailable)?;
        let seq = info.stream_sequence;
        page.next = (info.pending > 0).then_some(seq);
        let entry = serde_json::from_slice::<Audited>(&message.payload);
        let entry = entry.ok().filter(|entry| entry.v == VERSION);
        page.lines.extend(entry.map(|entry| Line { seq, entry }));
    }
    Ok(page)
}
