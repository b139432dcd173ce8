//! Streams and consumers: created when missing, verified when there. Wrong settings stop the start; nothing is changed silently.

mod compare;
mod consumers;
mod look;
mod settings;

use std::time::Duration;

use async_nats::jetstream::{
    ErrorCode,
    context::{CreateStreamErrorKind, GetStreamErrorKind},
    kv,
    stream::Config,
};

use tokio::time::{Instant, sleep};
use tracing::debug;

use compare::as_needed;
pub use consumers::ensure_consumer;
pub use look::{Looked, Standing, look, time_of};
pub(super) use settings::unlimited;
use settings::{
    advisories, ceilings, cron, dead, definitions, events, leases, lessons, letters, redrives,
    runs, tokens, tools,
};

use super::bus::Bus;
use crate::names::bucket;

/// How long a cluster may take to elect who leads a stream.
const LEADER_WITHIN: Duration = Duration::from_secs(30);
const LEADER_PAUSE: Duration = Duration::from_millis(500);

/// Why a stream or consumer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// It is there with other settings.
    #[error(
        "{what} exists with other settings than flotilla needs: {differences}. Change it (`nats stream edit`, or `nats consumer rm`), or use another NATS account"
    )]
    Differs {
        /// `stream RUNS`, `consumer planner of RUNS`.
        what: String,
        /// `setting is x, must be y`, all of them.
        differences: String,
    },
    /// JetStream refuses or does not answer.
    #[error("JetStream cannot give {what}: {problem}")]
    Refused {
        /// `stream RUNS`.
        what: String,
        /// What it says.
        problem: String,
    },
}

/// Creates the streams that are missing and checks those that are there.
///
/// # Errors
/// [`StreamError`].
pub async fn ensure_streams(bus: &Bus) -> Result<(), StreamError> {
    for wanted in [runs(), events(), cron(), dead(), advisories()] {
        ensure_stream(bus, wanted).await?;
    }
    Ok(())
}

/// The bucket of ceilings: created when missing, checked when there.
///
/// # Errors
/// [`StreamError`].
pub async fn ensure_ceilings(bus: &Bus) -> Result<kv::Store, StreamError> {
    ensure_bucket(bus, bucket::CEILINGS, ceilings()).await
}

/// The bucket of lessons: created when missing, checked when there.
///
/// # Errors
/// [`StreamError`].
pub async fn ensure_lessons(bus: &Bus) -> Result<kv::Store, StreamError> {
    ensure_bucket(bus, bucket::LESSONS, lessons()).await
}

/// The bucket of definitions: created when missing, checked when there.
///
/// # Errors
/// [`StreamError`].
pub async fn ensure_definitions(bus: &Bus) -> Result<kv::Store, StreamError> {
    ensure_bucket(bus, bucket::DEFINITIONS, definitions()).await
}

/// The buckets of what became of dead letters, and of what is settled many at a time: created when missing, checked when there.
///
/// # Errors
/// [`StreamError`].
pub async fn ensure_redrives(bus: &Bus) -> Result<(kv::Store, kv::Store), StreamError> {
    Ok((
        ensure_bucket(bus, bucket::LETTERS, letters()).await?,
        ensure_bucket(bus, bucket::REDRIVES, redrives()).await?,
    ))
}

/// The bucket of leases: created when missing, checked when there.
///
/// # Errors
/// [`StreamError`].
pub(super) async fn ensure_leases(bus: &Bus) -> Result<kv::Store, StreamError> {
    ensure_bucket(bus, bucket::LEASES, leases()).await
}

/// The bucket of tools' states: created when missing, checked when there.
///
/// # Errors
/// [`StreamError`].
pub async fn ensure_tools(bus: &Bus) -> Result<kv::Store, StreamError> {
    ensure_bucket(bus, bucket::TOOLS, tools()).await
}

/// The bucket of tokens: created when missing, checked when there.
///
/// # Errors
/// [`StreamError`].
pub(super) async fn ensure_tokens(bus: &Bus) -> Result<kv::Store, StreamError> {
    ensure_bucket(bus, bucket::TOKENS, tokens()).await
}

async fn ensure_bucket(bus: &Bus, name: &str, wanted: Config) -> Result<kv::Store, StreamError> {
    ensure_stream(bus, wanted).await?;
    let opened = bus.jetstream.get_key_value(name).await;
    opened.map_err(|error| StreamError::Refused {
        what: format!("bucket {name}"),
        problem: error.to_string(),
    })
}

pub(super) async fn ensure_stream(bus: &Bus, wanted: Config) -> Result<(), StreamError> {
    let what = format!("stream {}", wanted.name);
    let began = Instant::now();
    let found = loop {
        match found_or_made(bus, &wanted).await {
            Ok(found) => break found,
            Err(Missed::ForNow(problem)) if began.elapsed() < LEADER_WITHIN => {
                debug!(what, problem, "asked again");
                sleep(LEADER_PAUSE).await;
            }
            Err(Missed::ForNow(problem) | Missed::ForGood(problem)) => {
                return Err(StreamError::Refused { what, problem });
            }
        }
    };
    as_needed(&what, wanted, &found)
}

/// Why a stream is not there.
enum Missed {
    /// A cluster that has just started elects its leaders, some seconds long.
    ForNow(String),
    ForGood(String),
}

async fn found_or_made(bus: &Bus, wanted: &Config) -> Result<Config, Missed> {
    let found = bus.jetstream.get_stream(&wanted.name).await;
    let why = match found {
        Ok(found) => return Ok(found.cached_info().config.clone()),
        Err(error) => error,
    };
    match why.kind() {
        GetStreamErrorKind::Request => return Err(Missed::ForNow(why.to_string())),
        GetStreamErrorKind::JetStream(error) if has_no_leader(error.error_code()) => {
            return Err(Missed::ForNow(why.to_string()));
        }
        kind if not_found(&kind) => {}
        GetStreamErrorKind::JetStream(_)
        | GetStreamErrorKind::EmptyName
        | GetStreamErrorKind::InvalidStreamName => return Err(Missed::ForGood(why.to_string())),
    }
    let settings = Config {
        num_replicas: bus.replicas,
        ..wanted.clone()
    };
    // Another role may create it at the same moment: the same settings are accepted, others are not.
    let made = bus.jetstream.create_stream(settings).await;
    let why = match made {
        Ok(made) => return Ok(made.cached_info().config.clone()),
        Err(error) => error,
    };
    let for_now = match why.kind() {
        CreateStreamErrorKind::TimedOut => true,
        CreateStreamErrorKind::JetStream(error) => has_no_leader(error.error_code()),
        CreateStreamErrorKind::EmptyStreamName
        | CreateStreamErrorKind::InvalidStreamName
        | CreateStreamErrorKind::DomainAndExternalSet
        | CreateStreamErrorKind::JetStreamUnavailable
        | CreateStreamErrorKind::Response
        | CreateStreamErrorKind::NotFound
        | CreateStreamErrorKind::ResponseParse => false,
    };
    Err(if for_now {
        Missed::ForNow(why.to_string())
    } else {
        Missed::ForGood(why.to_string())
    })
}

fn has_no_leader(code: ErrorCode) -> bool {
    [
        ErrorCode::CLUSTER_NOT_AVAILABLE,
        ErrorCode::CLUSTER_NOT_LEADER,
    ]
    .contains(&code)
}

fn not_found(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}
