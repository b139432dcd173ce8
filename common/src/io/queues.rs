//! What waits for whom: every durable consumer of the streams that the fleet works from.

use async_nats::jetstream::{consumer::Info, stream::Stream};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde::Serialize;

use super::{bus::Bus, clock};
use crate::{
    ids::Name,
    names::{
        stream::{ADVISORIES, CRON, DEAD, EVENTS, RUNS},
        subject,
    },
};

/// The streams with consumers of ours.
const STREAMS: [&str; 5] = [RUNS, EVENTS, CRON, DEAD, ADVISORIES];
/// Consumers of one stream that are shown: more than any fleet has tools.
const CONSUMERS_MAX: usize = 1_000;
/// Oldest messages that are asked for at once.
const OLDEST_AT_ONCE: usize = 16;

/// A durable consumer: what waits for a role, or for a tool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Queue {
    /// `intake`, `planner`, `tool-<name>`, …
    pub consumer: String,
    /// Of which stream.
    pub stream: &'static str,
    /// Messages that nobody was given yet.
    pub pending: u64,
    /// Messages that somebody was given and has not settled, those that were put off among them.
    pub in_flight: u64,
    /// Of these, messages that were handed out more than once.
    pub redelivered: u64,
    /// Pull requests that wait for messages.
    pub waiting_pulls: u64,
    /// Seconds since the oldest of what is pending was stored; `None`: nothing is, or nobody can say.
    pub oldest_seconds: Option<u64>,
    /// Of the consumer's sequence: up to where messages were handed out, and up to where all are settled. Somebody takes work where
    /// these go on.
    #[serde(skip)]
    pub reached: (u64, u64),
}

/// NATS does not say what waits.
#[derive(Debug, thiserror::Error)]
#[error("what waits is not known: {0}")]
pub struct QueuesError(String);

/// All of them, by stream and name.
///
/// # Errors
/// [`QueuesError`].
pub async fn queues(bus: &Bus) -> Result<Vec<Queue>, QueuesError> {
    let each = STREAMS.map(|name| of_stream(bus, name));
    let all = futures_util::future::try_join_all(each).await?;
    Ok(all.into_iter().flatten().collect())
}

async fn of_stream(bus: &Bus, name: &'static str) -> Result<Vec<Queue>, QueuesError> {
    let opened = bus.jetstream.get_stream_no_info(name).await;
    let opened = opened.map_err(|e| QueuesError(e.to_string()))?;
    let consumers = opened.consumers().take(CONSUMERS_MAX);
    let infos: Vec<Info> = consumers
        .try_collect()
        .await
        .map_err(|e: async_nats::jetstream::stream::ConsumersError| QueuesError(e.to_string()))?;
    let durable = infos
        .into_iter()
        .filter(|info| info.config.durable_name.is_some());
    let mut queues: Vec<Queue> = stream::iter(durable)
        .map(|info| queue(&opened, name, info))
        .buffer_unordered(OLDEST_AT_ONCE)
        .collect()
        .await;
    queues.sort_by(|left, right| left.consumer.cmp(&right.consumer));
    Ok(queues)
}

async fn queue(stream: &Stream<()>, name: &'static str, info: Info) -> Queue {
    let oldest = if info.num_pending > 0 {
        oldest(stream, &info).await
    } else {
        None
    };
    let age = oldest.map(|at| clock::now().duration_since(at).as_secs());
    Queue {
        consumer: info.name,
        stream: name,
        pending: info.num_pending,
        in_flight: info.num_ack_pending as u64,
        redelivered: info.num_redelivered as u64,
        waiting_pulls: info.num_waiting as u64,
        oldest_seconds: age.map(|age| u64::try_from(age).unwrap_or(0)),
        reached: (
            info.delivered.consumer_sequence,
            info.ack_floor.consumer_sequence,
        ),
    }
}

/// When the first message was stored that the consumer has not handed out yet.
async fn oldest(stream: &Stream<()>, info: &Info) -> Option<Timestamp> {
    let from = info.delivered.stream_sequence.checked_add(1)?;
    let config = &info.config;
    let one = Some(&config.filter_subject).filter(|filter| !filter.is_empty());
    let mut oldest = None;
    for filter in one.into_iter().chain(&config.filter_subjects) {
        let found = stream
            .get_first_raw_message_by_subject(filter, from)
            .await
            .ok();
        let stored =
            found.and_then(|message| Timestamp::from_second(message.time.unix_timestamp()).ok());
        oldest = oldest.into_iter().chain(stored).min();
    }
    oldest
}

/// How many decisions for a tool there are, however they stand.
///
/// # Errors
/// [`QueuesError`].
pub async fn decisions(bus: &Bus, tool: &Name) -> Result<u64, QueuesError> {
    let unknown = |problem: String| QueuesError(problem);
    let opened = bus.jetstream.get_stream_no_info(RUNS).await;
    let opened = opened.map_err(|e| unknown(e.to_string()))?;
    let counts = opened.info_with_subjects(subject::decided(tool)).await;
    let counts = counts.map_err(|e| unknown(e.to_string()))?;
    let counts: Vec<(String, usize)> = counts
        .try_collect()
        .await
        .map_err(|e| unknown(e.to_string()))?;
    Ok(counts.into_iter().map(|(_, count)| count as u64).sum())
}
