//! Streams and consumers: created when missing, verified when there. Wrong settings stop the start; nothing is changed silently.

use std::time::Duration;

use async_nats::jetstream::{
    self, ErrorCode,
    consumer::{
        AckPolicy, DeliverPolicy, IntoConsumerConfig as _, PullConsumer, ReplayPolicy, pull,
    },
    context::GetStreamErrorKind,
    kv,
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
};

use super::{bus::Bus, leases::LEASE};
use crate::names::{bucket, stream, subject};

/// Values kept of each ceiling: who set what before.
const CEILINGS_HISTORY: i64 = 5;
/// Values kept of each key of the definitions: which versions were active before, as many as a bucket can keep. What is immutable
/// has one.
const DEFINITIONS_HISTORY: i64 = 64;
/// Values kept of a workflow's lessons: the last one holds all.
const LESSONS_HISTORY: i64 = 1;

/// Bounds of what JetStream says: far more than gateways that are away for a day miss.
const ADVISORIES_MAX: i64 = 1_000_000;
const ADVISORIES_BYTES_MAX: i64 = 256 << 20;
const ADVISORIES_AGE_MAX: Duration = Duration::from_secs(7 * 86_400);
/// How long it is kept who redrove or dropped a dead letter.
const SETTLED_AGE_MAX: Duration = Duration::from_secs(30 * 86_400);
/// Values kept of each tool's state: what holds.
const TOOLS_HISTORY: i64 = 1;

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

fn runs() -> Config {
    Config {
        name: stream::RUNS.into(),
        description: Some("Every fact of every run of Flotilla: journal and queue in one".into()),
        subjects: vec![subject::ALL_RUNS.into()],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        // nats-server refuses message schedules on a stream that discards new messages (10052, seen on 2.15.1). Without
        // limits on its size nothing is ever discarded: a full disk is a publish error.
        discard: DiscardPolicy::Old,
        allow_message_schedules: true,
        allow_rollup: true,
        allow_atomic_publish: true,
        allow_direct: true,
        ..unlimited()
    }
}

fn events() -> Config {
    Config {
        name: stream::EVENTS.into(),
        description: Some("Events on their way into runs; gone when their runs are on RUNS".into()),
        subjects: vec![subject::ALL_EVENTS.into()],
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        ..unlimited()
    }
}

/// Schedules need a stream that discards old (see `runs`), so they are not on EVENTS; and a schedule fires only to a subject of its
/// own stream. What was handled goes, what nobody consumes (the schedules) stays until it fires.
fn cron() -> Config {
    Config {
        name: stream::CRON.into(),
        description: Some("When Flotilla's workflows with a cron expression fall due".into()),
        subjects: vec![subject::ALL_CRON.into()],
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        allow_message_schedules: true,
        allow_rollup: true,
        ..unlimited()
    }
}

fn dead() -> Config {
    Config {
        name: stream::DEAD.into(),
        description: Some("What Flotilla could not handle, with its reason".into()),
        subjects: vec![subject::ALL_DEAD.into()],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        // A message whose end was not taken by NATS comes again, and is buried again.
        duplicate_window: Duration::from_secs(3_600),
        ..unlimited()
    }
}

/// What JetStream says of what it gave up on: a notice to be read once, not a record.
fn advisories() -> Config {
    Config {
        name: stream::ADVISORIES.into(),
        description: Some("What JetStream gave up on, of what Flotilla works from".into()),
        subjects: subject::ALL_ADVISORIES.map(Into::into).into(),
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        max_messages: ADVISORIES_MAX,
        max_bytes: ADVISORIES_BYTES_MAX,
        max_age: ADVISORIES_AGE_MAX,
        ..unlimited()
    }
}

pub(super) fn unlimited() -> Config {
    Config {
        max_bytes: -1,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_age: Duration::ZERO,
        max_message_size: -1,
        max_consumers: -1,
        num_replicas: 1,
        duplicate_window: Duration::from_secs(120),
        ..Config::default()
    }
}

/// The settings that every client of a bucket expects of its stream.
fn bucket_settings(name: &str, description: &str, history: i64) -> Config {
    Config {
        name: bucket::stream(name),
        description: Some(description.into()),
        subjects: vec![bucket::subjects(name)],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        max_messages_per_subject: history,
        ..unlimited()
    }
}

fn ceilings() -> Config {
    let what = "What people set as a day's ceilings in Flotilla";
    bucket_settings(bucket::CEILINGS, what, CEILINGS_HISTORY)
}

fn lessons() -> Config {
    let name = bucket::LESSONS;
    bucket_settings(name, "What runs of Flotilla taught", LESSONS_HISTORY)
}

fn definitions() -> Config {
    let what = "Flotilla's workflows and tools, which are active, and what is switched off";
    bucket_settings(bucket::DEFINITIONS, what, DEFINITIONS_HISTORY)
}

fn tools() -> Config {
    let what = "How the breakers of Flotilla's tools stand, and what people said of them";
    Config {
        // What an executor says goes with it.
        allow_message_ttl: true,
        ..bucket_settings(bucket::TOOLS, what, TOOLS_HISTORY)
    }
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
    let settings = |name, what| Config {
        max_age: SETTLED_AGE_MAX,
        ..bucket_settings(name, what, 1)
    };
    let settled = settings(bucket::LETTERS, "What became of Flotilla's dead letters");
    let jobs = settings(bucket::REDRIVES, "Dead letters that are settled together");
    Ok((
        ensure_bucket(bus, bucket::LETTERS, settled).await?,
        ensure_bucket(bus, bucket::REDRIVES, jobs).await?,
    ))
}

/// The bucket of leases: created when missing, checked when there.
///
/// # Errors
/// [`StreamError`].
pub(super) async fn ensure_leases(bus: &Bus) -> Result<kv::Store, StreamError> {
    let what = "Which process of Flotilla does what only one may do at a time";
    let wanted = Config {
        max_age: LEASE,
        ..bucket_settings(bucket::LEASES, what, 1)
    };
    ensure_bucket(bus, bucket::LEASES, wanted).await
}

/// The bucket of tools' states: created when missing, checked when there.
///
/// # Errors
/// [`StreamError`].
pub async fn ensure_tools(bus: &Bus) -> Result<kv::Store, StreamError> {
    ensure_bucket(bus, bucket::TOOLS, tools()).await
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
    let refused = |problem: String| StreamError::Refused {
        what: what.clone(),
        problem,
    };
    let found = match bus.jetstream.get_stream(&wanted.name).await {
        Ok(found) => found.cached_info().config.clone(),
        Err(error) if not_found(&error.kind()) => {
            // Another role may create it at the same moment: the same settings are accepted, others are not.
            let made = bus.jetstream.create_stream(wanted.clone()).await;
            made.map_err(|e| refused(e.to_string()))?
                .cached_info()
                .config
                .clone()
        }
        Err(error) => return Err(refused(error.to_string())),
    };
    same(&what, &stream_settings(&wanted), &stream_settings(&found))
}

fn not_found(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

type Settings = Vec<(&'static str, String)>;

/// The settings that the protocol rests on; replicas, placement and the like are the deployer's.
fn stream_settings(config: &Config) -> Settings {
    let mut subjects = config.subjects.clone();
    subjects.sort();
    vec![
        ("subjects", subjects.join(", ")),
        ("retention", format!("{:?}", config.retention)),
        ("storage", format!("{:?}", config.storage)),
        ("discard", format!("{:?}", config.discard)),
        ("max_bytes", unlimited_if(config.max_bytes)),
        ("max_msgs", unlimited_if(config.max_messages)),
        (
            "max_msgs_per_subject",
            unlimited_if(config.max_messages_per_subject),
        ),
        ("max_age", format!("{:?}", config.max_age)),
        ("max_msg_size", unlimited_if(config.max_message_size.into())),
        ("mirror", config.mirror.is_some().to_string()),
        (
            "subject_transform",
            config.subject_transform.is_some().to_string(),
        ),
        ("no_ack", config.no_ack.to_string()),
        ("sealed", config.sealed.to_string()),
        ("allow_direct", config.allow_direct.to_string()),
        ("allow_atomic", config.allow_atomic_publish.to_string()),
        (
            "allow_msg_schedules",
            config.allow_message_schedules.to_string(),
        ),
        ("allow_msg_ttl", config.allow_message_ttl.to_string()),
    ]
}

fn unlimited_if(limit: i64) -> String {
    if limit <= 0 {
        "unlimited".into()
    } else {
        limit.to_string()
    }
}

fn same(what: &str, wanted: &Settings, found: &Settings) -> Result<(), StreamError> {
    let differences: Vec<String> = wanted
        .iter()
        .zip(found)
        .filter(|(wanted, found)| wanted.1 != found.1)
        .map(|(wanted, found)| format!("{} is {}, must be {}", wanted.0, found.1, wanted.1))
        .collect();
    if differences.is_empty() {
        Ok(())
    } else {
        Err(StreamError::Differs {
            what: what.into(),
            differences: differences.join("; "),
        })
    }
}

/// A durable pull consumer: created when missing, checked when there. All processes that share it must agree on `ack_wait`.
///
/// # Errors
/// [`StreamError`].
pub async fn ensure_consumer(
    bus: &Bus,
    stream_name: &str,
    name: &str,
    filters: Vec<String>,
    ack_wait: Duration,
) -> Result<PullConsumer, StreamError> {
    let what = format!("consumer {name} of {stream_name}");
    let refused = |problem: String| StreamError::Refused {
        what: what.clone(),
        problem,
    };
    let stream = bus
        .jetstream
        .get_stream(stream_name)
        .await
        .map_err(|e| refused(e.to_string()))?;
    let wanted = pull::Config {
        durable_name: Some(name.into()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        replay_policy: ReplayPolicy::Instant,
        ack_wait,
        // The worker decides when enough is enough, and puts the message into DEAD with its reason.
        max_deliver: -1,
        // Slots bound what a process holds; this bound is for the fleet.
        max_ack_pending: 1_000_000,
        max_waiting: 4_096,
        filter_subjects: filters,
        ..pull::Config::default()
    };
    let consumer: PullConsumer = match stream.get_consumer(name).await {
        Ok(consumer) => consumer,
        Err(_) => {
            let made = stream.create_consumer_strict(wanted.clone()).await;
            match made {
                Ok(consumer) => consumer,
                // Made by another process in between, perhaps with other settings: look, do not change.
                Err(error) => stream
                    .get_consumer(name)
                    .await
                    .map_err(|_| refused(error.to_string()))?,
            }
        }
    };
    let wanted = wanted.into_consumer_config();
    let found = &consumer.cached_info().config;
    same(
        &what,
        &consumer_settings(&wanted),
        &consumer_settings(found),
    )?;
    Ok(consumer)
}

fn consumer_settings(config: &jetstream::consumer::Config) -> Settings {
    let mut filters = config.filter_subjects.clone();
    if !config.filter_subject.is_empty() {
        filters.push(config.filter_subject.clone());
    }
    filters.sort();
    vec![
        ("filters", filters.join(", ")),
        ("ack_wait", format!("{:?}", config.ack_wait)),
        ("max_deliver", unlimited_if(config.max_deliver)),
        ("max_ack_pending", unlimited_if(config.max_ack_pending)),
        ("deliver_policy", format!("{:?}", config.deliver_policy)),
        ("ack_policy", format!("{:?}", config.ack_policy)),
        ("headers_only", config.headers_only.to_string()),
    ]
}
