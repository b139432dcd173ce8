//! How full NATS is, as far as it says.

use std::fmt;

use async_nats::jetstream::consumer::PullConsumer;

use super::bus::Bus;
use crate::names::stream;

/// Used so much of any limit, gateways take in nothing more.
pub const FULL: f64 = 0.90;

/// What has a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// The bytes of the stream EVENTS.
    EventsBytes,
    /// The messages of the stream EVENTS.
    EventsMessages,
    /// The bytes of the stream RUNS.
    RunsBytes,
    /// The storage of the account.
    Storage,
    /// The events that wait for their runs.
    Pending,
}

impl Limited {
    /// The label of a metric.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::EventsBytes => "events_bytes",
            Self::EventsMessages => "events_messages",
            Self::RunsBytes => "runs_bytes",
            Self::Storage => "storage",
            Self::Pending => "pending",
        }
    }
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EventsBytes => "the bytes of the stream EVENTS",
            Self::EventsMessages => "the messages of the stream EVENTS",
            Self::RunsBytes => "the bytes of the stream RUNS",
            Self::Storage => "the storage of the NATS account",
            Self::Pending => "the events that wait for their runs",
        })
    }
}

/// How much of a limit is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Used {
    /// Of which.
    pub what: Limited,
    /// From 0 to 1, or a little more.
    pub share: f64,
}

impl Used {
    /// `None`: there is no limit.
    #[must_use]
    pub fn of(what: Limited, used: u64, limit: i64) -> Option<Self> {
        let limit = u64::try_from(limit).ok().filter(|limit| *limit > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "a share of a limit")]
        let share = used as f64 / limit as f64;
        Some(Self { what, share })
    }
}

/// How full NATS is.
#[derive(Debug, Clone, PartialEq)]
pub struct Filled {
    /// What all streams of the account take on its disk, in bytes.
    pub stored: u64,
    /// What is used of each limit that there is.
    pub used: Vec<Used>,
}

/// NATS does not say.
#[derive(Debug, thiserror::Error)]
#[error("NATS does not say how full it is: {0}")]
pub struct Unknown(String);

impl Unknown {
    fn of(problem: impl fmt::Display) -> Self {
        Self(problem.to_string())
    }
}

/// Asks NATS how full it is.
#[derive(Debug)]
pub struct Room {
    bus: Bus,
    intake: PullConsumer,
    pending_max: u64,
}

impl Room {
    /// `intake` is the consumer of the stream EVENTS, `pending_max` how many events may wait for it.
    #[must_use]
    pub fn new(bus: Bus, intake: PullConsumer, pending_max: u64) -> Self {
        Self {
            bus,
            intake,
            pending_max,
        }
    }

    /// How full it is now.
    ///
    /// # Errors
    /// [`Unknown`].
    pub async fn filled(&mut self) -> Result<Filled, Unknown> {
        let jetstream = &self.bus.jetstream;
        let events = jetstream.get_stream(stream::EVENTS).await;
        let events = events.map_err(Unknown::of)?;
        let runs = jetstream.get_stream(stream::RUNS).await;
        let runs = runs.map_err(Unknown::of)?;
        let account = jetstream.query_account().await.map_err(Unknown::of)?;
        let intake = self.intake.get_info().await.map_err(Unknown::of)?;
        let (events, runs) = (events.cached_info(), runs.cached_info());
        let in_work = u64::try_from(intake.num_ack_pending).unwrap_or(u64::MAX);
        let pending = intake.num_pending.saturating_add(in_work);
        let pending_max = i64::try_from(self.pending_max).unwrap_or(i64::MAX);
        let limits = [
            (
                Limited::EventsBytes,
                events.state.bytes,
                events.config.max_bytes,
            ),
            (
                Limited::EventsMessages,
                events.state.messages,
                events.config.max_messages,
            ),
            (Limited::RunsBytes, runs.state.bytes, runs.config.max_bytes),
            (
                Limited::Storage,
                account.storage,
                account.limits.max_storage.unwrap_or(-1),
            ),
            (Limited::Pending, pending, pending_max),
        ];
        let used = limits.into_iter();
        let used = used.filter_map(|(what, used, limit)| Used::of(what, used, limit));
        Ok(Filled {
            stored: account.storage,
            used: used.collect(),
        })
    }
}
