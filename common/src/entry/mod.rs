//! Journal entries: what is on the stream RUNS, as `runs.<run>.<kind>.<name>` with a versioned JSON payload.
//! They hold data, never code, and are never rewritten.

mod batched;
mod body;
mod call;
mod decision;
mod reconciled;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    ids::{IdError, Name, RunId, hex},
    names::subject,
};

/// The payload version this code writes, and the only one it reads.
pub const VERSION: u32 = 1;

/// The third token of an entry's subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// By the gateway: the run begins.
    Started,
    /// By a planner.
    Decided,
    /// By an executor.
    Resulted,
    /// By the gateway, for a person or another system.
    Signalled,
    /// By nats-server: a timer that a planner set.
    Fired,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Started => "started",
            Self::Decided => "decided",
            Self::Resulted => "resulted",
            Self::Signalled => "signalled",
            Self::Fired => "fired",
        })
    }
}

/// Why a message on RUNS is no entry that this version can read. Such a message goes to DEAD.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Not `runs.<run>.<kind>.<name>`.
    #[error("the subject `{0}` is not runs.<run>.<kind>.<name>")]
    Subject(String),
    /// An id in the subject is none.
    #[error("the subject `{subject}` has a wrong part: {source}")]
    Id {
        /// The subject.
        subject: String,
        /// What is wrong.
        source: IdError,
    },
    /// The payload is not JSON of its kind.
    #[error("the payload of `{subject}` does not fit: {source}")]
    Payload {
        /// The subject.
        subject: String,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// Written by a newer version.
    #[error(
        "the payload of `{subject}` has version {version}, this flotilla reads version {VERSION}; upgrade it, then redrive"
    )]
    Version {
        /// The subject.
        subject: String,
        /// The version found.
        version: u32,
    },
}

/// Where an entry stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whose it is.
    pub run: RunId,
    /// By whom.
    pub kind: Kind,
    /// Workflow, tool or reserved word, signal or timer.
    pub name: Name,
}

impl Address {
    /// Reads a subject; `None` for a `timer`, which is a schedule and no entry.
    ///
    /// # Errors
    /// [`EntryError::Subject`], [`EntryError::Id`].
    pub fn parse(text: &str) -> Result<Option<Self>, EntryError> {
        let wrong = || EntryError::Subject(text.into());
        let id = |source| EntryError::Id {
            subject: text.into(),
            source,
        };
        let mut tokens = text.split('.');
        let (Some("runs"), Some(run), Some(kind), Some(name), None) = (
            tokens.next(),
            tokens.next(),
            tokens.next(),
            tokens.next(),
            tokens.next(),
        ) else {
            return Err(wrong());
        };
        let kind = match kind {
            "started" => Kind::Started,
            "decided" => Kind::Decided,
            "resulted" => Kind::Resulted,
            "signalled" => Kind::Signalled,
            "fired" => Kind::Fired,
            "timer" => return Ok(None),
            _ => return Err(wrong()),
        };
        Ok(Some(Self {
            run: run.parse().map_err(id)?,
            kind,
            name: name.parse().map_err(id)?,
        }))
    }

    /// The subject.
    #[must_use]
    pub fn subject(&self) -> String {
        subject::entry(&self.run, self.kind, &self.name)
    }
}

/// An entry as read from the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its sequence in the stream.
    pub seq: u64,
    /// Where it stands.
    pub address: Address,
    /// When it was written, by its writer's clock; the fold takes time from here only.
    pub at: Timestamp,
    /// What it says.
    pub body: Body,
    /// SHA-256 of its payload's bytes: the journal's hash chain is made of these.
    pub digest: [u8; 32],
}

pub use batched::{Batched, Held, Item};
pub use body::*;
pub use call::{Account, Answered, Attempt, Call};
pub use decision::*;
pub use reconciled::{Found, Reconciled};

#[derive(Serialize)]
struct WireOut<'a, T> {
    v: u32,
    at: Timestamp,
    #[serde(flatten)]
    body: &'a T,
}

#[derive(Deserialize)]
struct WireIn<T> {
    at: Timestamp,
    #[serde(flatten)]
    body: T,
}

#[derive(Deserialize)]
struct VersionOnly {
    v: u32,
}

impl Body {
    /// The payload's bytes, at a time.
    ///
    /// # Errors
    /// When a value cannot be JSON (a NaN): a fault of the caller.
    pub fn encode(&self, at: Timestamp) -> Result<Vec<u8>, serde_json::Error> {
        fn write<T: Serialize>(at: Timestamp, body: &T) -> Result<Vec<u8>, serde_json::Error> {
            serde_json::to_vec(&WireOut {
                v: VERSION,
                at,
                body,
            })
        }
        match self {
            Self::Started(body) => write(at, body),
            Self::Decided(body) => write(at, body),
            Self::Resulted(body) => write(at, body),
            Self::Signalled(body) => write(at, body),
            Self::Fired(body) => write(at, body),
        }
    }
}

impl Entry {
    /// Reads a message of the stream RUNS.
    ///
    /// # Errors
    /// [`EntryError`]: it belongs into DEAD.
    pub fn decode(seq: u64, address: Address, payload: &[u8]) -> Result<Self, EntryError> {
        let subject = || address.subject();
        let wrong = |source| EntryError::Payload {
            subject: subject(),
            source,
        };
        let VersionOnly { v: version } = serde_json::from_slice(payload).map_err(wrong)?;
        if version != VERSION {
            return Err(EntryError::Version {
                subject: subject(),
                version,
            });
        }
        fn read<T: for<'de> Deserialize<'de>>(
            payload: &[u8],
        ) -> Result<(Timestamp, T), serde_json::Error> {
            serde_json::from_slice::<WireIn<T>>(payload).map(|wire| (wire.at, wire.body))
        }
        let (at, body) = match address.kind {
            Kind::Started => read(payload).map(|(at, body)| (at, Body::Started(body))),
            Kind::Decided => read(payload).map(|(at, body)| (at, Body::Decided(body))),
            Kind::Resulted => read(payload).map(|(at, body)| (at, Body::Resulted(body))),
            Kind::Signalled => read(payload).map(|(at, body)| (at, Body::Signalled(body))),
            Kind::Fired => read(payload).map(|(at, body)| (at, Body::Fired(body))),
        }
        .map_err(wrong)?;
        Ok(Self {
            seq,
            address,
            at,
            body,
            digest: Sha256::digest(payload).into(),
        })
    }

    /// The digest of a state after folding this entry into one with digest `before`.
    #[must_use]
    pub fn chain(&self, before: &str) -> String {
        chained(before, &self.address, self.digest)
    }
}

/// The hash chain's next head: over the one before, where the entry stands (a signal's or timer's name is nowhere else) and its
/// payload.
pub(crate) fn chained(before: &str, address: &Address, payload: [u8; 32]) -> String {
    hex(&Sha256::new()
        .chain_update(before)
        .chain_update([0])
        .chain_update(address.subject())
        .chain_update(payload)
        .finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn address(kind: Kind) -> Result<Address, IdError> {
        Ok(Address {
            run: RunId::derive(&"w".parse()?, "s", "1"),
            kind,
            name: "x".parse()?,
        })
    }

    #[test]
    fn an_entry_reads_back_as_written() -> Result<(), Box<dyn std::error::Error>> {
        let body = Body::Decided(Box::new(Decided {
            step: "triage/2".parse()?,
            branch: 0,
            decision: Decision::Act {
                tool: "df".parse()?,
                version: 1,
                with: json!({"b": 1, "a": 2.50}),
            },
            reasoning: Some("full".into()),
            confidence: Some(0.9),
            call: None,
            prev: "00".into(),
            rests: vec![4, 9],
        }));
        let at: Timestamp = "2026-11-21T10:00:00Z".parse()?;
        let entry = Entry::decode(7, address(Kind::Decided)?, &body.encode(at)?)?;
        assert_eq!((entry.body, entry.at, entry.seq), (body, at, 7));
        Ok(())
    }

    #[test]
    fn unknown_versions_kinds_and_shapes_are_told_apart() -> Result<(), Box<dyn std::error::Error>>
    {
        let decode = |bytes: &[u8]| -> Result<Entry, EntryError> {
            Entry::decode(
                1,
                address(Kind::Fired).map_err(|_| EntryError::Subject(String::new()))?,
                bytes,
            )
        };
        assert!(matches!(
            decode(br#"{"v":2,"new":true}"#),
            Err(EntryError::Version { version: 2, .. })
        ));
        assert!(matches!(
            decode(br#"{"v":1}"#),
            Err(EntryError::Payload { .. })
        ));
        assert!(matches!(decode(b"\xff"), Err(EntryError::Payload { .. })));
        assert!(decode(br#"{"v":1,"at":"2026-11-21T10:00:00Z","later":1}"#).is_ok());
        let run = RunId::derive(&"w".parse()?, "s", "1");
        assert_eq!(Address::parse(&format!("runs.{run}.timer.x"))?, None);
        for bad in [
            "runs.x.started.y",
            "runs",
            &format!("runs.{run}.wrong.x"),
            &format!("runs.{run}.fired.x.y"),
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
        Ok(())
    }
}
