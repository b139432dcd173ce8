//! Identifiers. Each is checked where it enters, so no `.`, `*`, `>`, `{` or space can reach a NATS subject or a Redis key.

mod step_key;

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use step_key::{Aside, Place, Slot, StepKey};

use crate::trace::TraceContext;

/// Longest name of a workflow, step, tool, end or signal, in bytes.
pub const NAME_LENGTH_MAX: usize = 64;

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct IdError {
    text: String,
    expected: &'static str,
}

impl IdError {
    fn new(text: &str, expected: &'static str) -> Self {
        Self {
            text: text.chars().take(80).collect(),
            expected,
        }
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.into())) } else { Err(IdError::new(text, $expected)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

fn is_token(text: &str) -> bool {
    (1..=NAME_LENGTH_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

text_id! {
    /// The name of a workflow, step, tool, end or signal: `[A-Za-z0-9_-]{1,64}`, so one NATS subject token.
    Name, "a name: 1 to 64 characters of A-Z a-z 0-9 _ -", is_token
}

text_id! {
    /// A CloudEvents `type`: dot-separated tokens of `[A-Za-z0-9_-]`, at most 200 bytes, so that `events.<type>` is a subject.
    EventType, "an event type: words of A-Z a-z 0-9 _ - with dots between, such as alertmanager.alert",
    |text| text.len() <= 200 && text.split('.').all(is_token)
}

text_id! {
    /// A run: `run_` and 32 lower-case hex characters, see [`RunId::derive`].
    RunId, "a run id: run_ and 32 hex characters",
    |text| text.strip_prefix("run_").is_some_and(is_hex_32)
}

text_id! {
    /// A blob of a run: `blob_` and 32 lower-case hex characters, see [`BlobId::of_digest`].
    BlobId, "a blob's id: blob_ and 32 hex characters",
    |text| text.strip_prefix("blob_").is_some_and(is_hex_32)
}

fn is_hex_32(text: &str) -> bool {
    text.len() == 32
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

impl BlobId {
    /// The id of what has a SHA-256 that begins so: 16 bytes of it are used.
    #[must_use]
    pub fn of_digest(digest: &[u8]) -> Self {
        let half = digest.get(..16).unwrap_or(digest);
        Self(format!("blob_{}", hex(half)).into())
    }
}

impl RunId {
    /// No other is greater.
    pub(crate) fn greatest() -> Self {
        Self(format!("run_{}", "f".repeat(32)).into())
    }

    /// The run that `workflow` starts for the event `(source, id)`: always the same, so an event delivered twice is one run.
    #[must_use]
    pub fn derive(workflow: &Name, source: &str, id: &str) -> Self {
        let hash = Sha256::new()
            .chain_update(workflow.as_str())
            .chain_update([0])
            .chain_update(source)
            .chain_update([0])
            .chain_update(id)
            .finalize();
        Self(format!("run_{}", hex(&hash[..16])).into())
    }

    /// The run of `workflow` that a step of `parent` starts. No event's run has this id, whatever its sender says: no workflow's
    /// name begins with a zero byte.
    #[must_use]
    pub fn of_step(workflow: &Name, parent: &Self, step: &StepKey) -> Self {
        let hash = Sha256::new()
            .chain_update([0])
            .chain_update(workflow.as_str())
            .chain_update([0])
            .chain_update(parent.as_str())
            .chain_update([0])
            .chain_update(step.token())
            .finalize();
        Self(format!("run_{}", hex(&hash[..16])).into())
    }

    /// The run that goes on from another one's state at a step: always the same for the same request. It is no event's, and no
    /// run's within a run.
    #[must_use]
    pub fn of_fork(from: &Self, step: &Name, request: &str) -> Self {
        let hash = Sha256::new()
            .chain_update([0, 0])
            .chain_update(from.as_str())
            .chain_update([0])
            .chain_update(step.as_str())
            .chain_update([0])
            .chain_update(request)
            .finalize();
        Self(format!("run_{}", hex(&hash[..16])).into())
    }
}

impl Slot {
    /// W3C trace context of this action: one trace per run, one parent per action, the same at every attempt.
    #[must_use]
    pub fn traceparent(&self, run: &RunId) -> String {
        TraceContext::of_action(run, self, true).to_string()
    }
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_a_subject_or_a_key_are_refused() {
        for bad in ["", "a.b", "a*", ">", "a b", "{x}", "ü", &"x".repeat(65)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
        assert!("incident-triage_2".parse::<Name>().is_ok());
        assert!("a..b".parse::<EventType>().is_err());
        assert!("alertmanager.alert".parse::<EventType>().is_ok());
        assert!("run_../../etc/passwd".parse::<RunId>().is_err());
    }

    #[test]
    fn a_run_id_depends_on_every_part_and_on_where_it_ends() -> Result<(), IdError> {
        let workflow: Name = "w".parse()?;
        let id = RunId::derive(&workflow, "a", "bc");
        assert_eq!(id, RunId::derive(&workflow, "a", "bc"));
        assert_ne!(id, RunId::derive(&workflow, "ab", "c"));
        assert_ne!(id, RunId::derive(&"v".parse()?, "a", "bc"));
        assert_eq!(id.as_str().parse::<RunId>()?, id);
        let step: Name = "fix".parse()?;
        let fork = RunId::of_fork(&id, &step, "1");
        assert_eq!(fork, RunId::of_fork(&id, &step, "1"));
        assert_ne!(fork, RunId::of_fork(&id, &step, "2"));
        assert_ne!(fork, RunId::of_fork(&id, &workflow, "1"));
        assert_ne!(fork, RunId::of_step(&workflow, &id, &StepKey::step(&step)));
        Ok(())
    }
}
