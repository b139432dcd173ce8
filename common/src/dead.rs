//! Dead letters: what nobody could handle, as the stream DEAD keeps it, and which of them have one cause.

mod print;

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use print::fingerprint;

use crate::{
    entry::{Address, Entry, EntryError},
    event::Event,
    ids::RunId,
    names::{stream, subject},
};

/// What is wrong with a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LetterKind {
    /// It is no entry, event or due time.
    Unreadable,
    /// It was written by a newer version.
    Version,
    /// It can be read, and nobody here takes it: an unknown type, a condition that does not fit.
    Unplaceable,
    /// It was handed out again and again, and never settled.
    Exhausted,
    /// Whoever handled it says that nobody can.
    Refused,
    /// JetStream itself gave up on it.
    Abandoned,
}

impl LetterKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Unreadable,
        Self::Version,
        Self::Unplaceable,
        Self::Exhausted,
        Self::Refused,
        Self::Abandoned,
    ];

    /// What is wrong with a message that nobody could handle; `exhausted`: it was handed out as often as may be.
    #[must_use]
    pub fn of(subject: &str, payload: &[u8], exhausted: bool) -> Self {
        if stream_of(subject) == Some(stream::RUNS) {
            let read = Address::parse(subject).map(|address| {
                address.map_or(Ok(()), |address| {
                    Entry::decode(0, address, payload).map(drop)
                })
            });
            return match read.and_then(|read| read) {
                Err(EntryError::Version { .. }) => Self::Version,
                Err(
                    EntryError::Subject(_) | EntryError::Id { .. } | EntryError::Payload { .. },
                ) => Self::Unreadable,
                Ok(()) if exhausted => Self::Exhausted,
                Ok(()) => Self::Refused,
            };
        }
        let readable = match subject::event_type(subject) {
            Some(kind) => Event::published(payload, &kind, "1".into()).is_ok(),
            None => serde_json::from_slice::<serde::de::IgnoredAny>(payload).is_ok(),
        };
        match (readable, exhausted) {
            (false, _) => Self::Unreadable,
            (true, true) => Self::Exhausted,
            (true, false) => Self::Unplaceable,
        }
    }
}

impl fmt::Display for LetterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unreadable => "unreadable",
            Self::Version => "version",
            Self::Unplaceable => "unplaceable",
            Self::Exhausted => "exhausted",
            Self::Refused => "refused",
            Self::Abandoned => "abandoned",
        })
    }
}

impl FromStr for LetterKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.to_string() == text)
            .ok_or_else(|| format!("`{text}` is no kind of dead letter"))
    }
}

/// A dead letter, without its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its sequence on the stream DEAD: what people call it by.
    pub seq: u64,
    /// Which letters have the same cause.
    pub fingerprint: String,
    /// Who gave up: gateway, planner, executor.
    pub role: String,
    /// What is wrong.
    pub kind: LetterKind,
    /// Where it came from.
    pub subject: String,
    /// Its stream, as far as its subject says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Its sequence there.
    pub stream_seq: u64,
    /// Whose entry it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Why, for people.
    pub reason: String,
    /// When it was given up, by nats-server's clock.
    pub at: Timestamp,
    /// How often it was handed out; `None` of letters from before that was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliveries: Option<i64>,
    /// The message id that its publisher gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// What a gateway promised for it, on an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<String>,
    /// How it was written, of an event whose payload alone does not say: for whoever reads it again, not for people.
    #[serde(skip)]
    pub form: Option<String>,
    /// Of one that was too large to be kept: how large it was, and its digest. Only its beginning is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<String>,
    /// Bytes that are kept of it.
    pub bytes: u64,
}

/// The stream that a subject is of.
#[must_use]
pub fn stream_of(subject: &str) -> Option<&'static str> {
    match subject.split('.').next()? {
        "runs" => Some(stream::RUNS),
        "events" => Some(stream::EVENTS),
        "cron" => Some(stream::CRON),
        _ => None,
    }
}

/// The run whose entry has this subject.
#[must_use]
pub fn run_of(subject: &str) -> Option<RunId> {
    let mut tokens = subject.split('.');
    (tokens.next()? == "runs")
        .then(|| tokens.next()?.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_seen_from_the_message() -> Result<(), Box<dyn std::error::Error>> {
        let run = RunId::derive(&"w".parse()?, "s", "1");
        let fired = format!("runs.{run}.fired.wake");
        let of = |subject: &str, payload: &str| LetterKind::of(subject, payload.as_bytes(), false);
        assert_eq!(of(&fired, "{"), LetterKind::Unreadable);
        assert_eq!(of("runs.x.y", "{}"), LetterKind::Unreadable);
        assert_eq!(of(&fired, r#"{"v": 2}"#), LetterKind::Version);
        let good = r#"{"v": 1, "at": "2026-11-21T10:00:00Z"}"#;
        assert_eq!(of(&fired, good), LetterKind::Refused);
        let exhausted = LetterKind::of(&fired, good.as_bytes(), true);
        assert_eq!(exhausted, LetterKind::Exhausted);
        assert_eq!(of("events.a.b", "{"), LetterKind::Unreadable);
        assert_eq!(of("events.a.b", "{}"), LetterKind::Unplaceable);
        assert_eq!(of("cron.due.w", "5"), LetterKind::Unplaceable);
        for kind in LetterKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!((run_of(&fired), run_of("events.a")), (Some(run), None));
        Ok(())
    }
}
