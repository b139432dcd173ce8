//! How the streams stand beside what is needed, for people who ask: nothing is created and nothing is changed.

use std::time::Duration;

use async_nats::jetstream::{
    context::GetStreamErrorKind,
    stream::{Config, Info},
};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::timeout;

use super::{
    as_needed, not_found,
    settings::{
        advisories, ceilings, cron, dead, definitions, events, leases, lessons, letters, redrives,
        runs, tokens, tools,
    },
};
use crate::{
    io::{audit, blobs, bus::Bus},
    names::stream,
};

/// How a stream stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is there, with the settings that are needed.
    AsNeeded {
        /// What is in it, in bytes.
        bytes: u64,
        /// Servers that keep it.
        replicas: usize,
    },
    /// It is not there: the role that needs it makes it when it starts.
    Missing,
    /// It is there with other settings; what they are, and must be.
    Differs(String),
    /// NATS does not say: why.
    Unknown(String),
}

/// A stream, or the stream that a bucket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// `RUNS`, `KV_TOKENS`.
    pub name: String,
    /// How it stands.
    pub standing: Standing,
}

/// Looks at every stream and bucket of the fleet, side by side; each is asked after for so long at most.
pub async fn look(bus: &Bus, limit: Duration) -> Vec<Looked> {
    let all = [
        runs(),
        events(),
        cron(),
        dead(),
        advisories(),
        audit::settings(),
        blobs::settings(),
        definitions(),
        tokens(),
        tools(),
        ceilings(),
        lessons(),
        letters(),
        redrives(),
        leases(),
    ];
    join_all(all.map(|wanted| one(bus, wanted, limit))).await
}

/// What time it is by nats-server's clock. `None`: it does not say, or there is no stream yet.
pub async fn time_of(bus: &Bus) -> Option<Timestamp> {
    /// The part of a description of a stream that says when it was made.
    #[derive(Deserialize)]
    struct Told {
        ts: Timestamp,
    }
    let subject = format!("STREAM.INFO.{}", stream::RUNS);
    let told: Result<Told, _> = bus.jetstream.request(subject, &()).await;
    told.ok().map(|told| told.ts)
}

async fn one(bus: &Bus, wanted: Config, limit: Duration) -> Looked {
    let name = wanted.name.clone();
    let standing = match timeout(limit, bus.jetstream.get_stream(&name)).await {
        Ok(Ok(found)) => of(wanted, found.cached_info()),
        Ok(Err(error)) if not_found(&error.kind()) => Standing::Missing,
        Ok(Err(error)) => Standing::Unknown(match error.kind() {
            GetStreamErrorKind::Request => "it does not answer, or may not be asked".to_owned(),
            GetStreamErrorKind::JetStream(_)
            | GetStreamErrorKind::EmptyName
            | GetStreamErrorKind::InvalidStreamName => error.to_string(),
        }),
        Err(_) => Standing::Unknown(format!(
            "no answer within {} s: it is away, or this user may not ask",
            limit.as_secs()
        )),
    };
    Looked { name, standing }
}

fn of(wanted: Config, found: &Info) -> Standing {
    let what = format!("stream {}", wanted.name);
    match as_needed(&what, wanted, &found.config) {
        Ok(()) => Standing::AsNeeded {
            bytes: found.state.bytes,
            replicas: found.config.num_replicas,
        },
        Err(problem) => Standing::Differs(problem.to_string()),
    }
}
