//! What is compared of a stream or consumer that is there, and how a difference is told.

use async_nats::jetstream::stream::Config;

use super::StreamError;
use crate::names::stream;

/// Each setting with its value.
pub(super) type Settings = Vec<(&'static str, String)>;

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

/// A limit, for people.
pub(super) fn unlimited_if(limit: i64) -> String {
    if limit <= 0 {
        "unlimited".into()
    } else {
        limit.to_string()
    }
}

/// Nothing, or what differs.
pub(super) fn same(what: &str, wanted: &Settings, found: &Settings) -> Result<(), StreamError> {
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

/// Whether what was found will do.
pub(super) fn as_needed(what: &str, mut wanted: Config, found: &Config) -> Result<(), StreamError> {
    if wanted.name == stream::EVENTS {
        // It discards what is new, so a limit costs nothing that was taken in: gateways answer 503 before it is reached.
        (wanted.max_bytes, wanted.max_messages) = (found.max_bytes, found.max_messages);
    }
    same(what, &stream_settings(&wanted), &stream_settings(found))
}
