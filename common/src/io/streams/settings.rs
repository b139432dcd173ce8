//! What streams and buckets are like.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

use crate::{
    io::leases::LEASE,
    names::{bucket, stream, subject},
};

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
/// Values kept of each token: what holds.
const TOKENS_HISTORY: i64 = 1;

pub(super) fn runs() -> Config {
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

pub(super) fn events() -> Config {
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
pub(super) fn cron() -> Config {
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

pub(super) fn dead() -> Config {
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
pub(super) fn advisories() -> Config {
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

pub(in crate::io) fn unlimited() -> Config {
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
pub(super) fn bucket_settings(name: &str, description: &str, history: i64) -> Config {
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

pub(super) fn ceilings() -> Config {
    let what = "What people set as a day's ceilings in Flotilla";
    bucket_settings(bucket::CEILINGS, what, CEILINGS_HISTORY)
}

pub(super) fn lessons() -> Config {
    let name = bucket::LESSONS;
    bucket_settings(name, "What runs of Flotilla taught", LESSONS_HISTORY)
}

pub(super) fn definitions() -> Config {
    let what = "Flotilla's workflows and tools, which are active, and what is switched off";
    bucket_settings(bucket::DEFINITIONS, what, DEFINITIONS_HISTORY)
}

pub(super) fn tools() -> Config {
    let what = "How the breakers of Flotilla's tools stand, and what people said of them";
    Config {
        // What an executor says goes with it.
        allow_message_ttl: true,
        ..bucket_settings(bucket::TOOLS, what, TOOLS_HISTORY)
    }
}

/// What became of dead letters.
pub(super) fn letters() -> Config {
    Config {
        max_age: SETTLED_AGE_MAX,
        ..bucket_settings(bucket::LETTERS, "What became of Flotilla's dead letters", 1)
    }
}

/// What is settled many at a time.
pub(super) fn redrives() -> Config {
    Config {
        max_age: SETTLED_AGE_MAX,
        ..bucket_settings(
            bucket::REDRIVES,
            "Dead letters that are settled together",
            1,
        )
    }
}

pub(super) fn leases() -> Config {
    let what = "Which process of Flotilla does what only one may do at a time";
    Config {
        max_age: LEASE,
        ..bucket_settings(bucket::LEASES, what, 1)
    }
}

pub(super) fn tokens() -> Config {
    let what = "What is kept of Flotilla's tokens: never the tokens themselves";
    bucket_settings(bucket::TOKENS, what, TOKENS_HISTORY)
}
