//! What the bucket of ceilings holds: its keys, and its values as JSON.

use std::{fmt, str::FromStr};

use async_nats::jetstream::kv::{Entry, Operation};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{
    ids::{IdError, Name},
    io::clock,
    money::Usd,
    names::bucket,
};

/// The value version this code writes, and the only one it reads.
const VERSION: u32 = 1;
/// Whose spending of one day (UTC) a ceiling bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payer {
    /// All runs of a workflow.
    Workflow,
    /// All runs of a tenant.
    Tenant,
}

impl fmt::Display for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Workflow => "workflow",
            Self::Tenant => "tenant",
        })
    }
}

impl FromStr for Payer {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Workflow, Self::Tenant]
            .into_iter()
            .find(|payer| payer.to_string() == text)
            .ok_or_else(|| format!("`{text}` is none of workflow, tenant"))
    }
}

/// Which ceiling: a workflow's or a tenant's, and its name.
pub type Whose = (Payer, Name);

/// What somebody set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// Which shape this is.
    v: u32,
    /// The ceiling.
    pub usd_nano: Usd,
    /// Who set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl Set {
    /// A ceiling that is set now.
    #[must_use]
    pub fn now(usd_nano: Usd, by: Option<String>, reason: Option<String>) -> Self {
        Self {
            v: VERSION,
            usd_nano,
            by,
            reason,
            at: clock::now(),
        }
    }

    /// Whether it says the same, whenever it was said.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        (self.usd_nano, &self.by, &self.reason) == (other.usd_nano, &other.by, &other.reason)
    }
}

/// What the bucket holds under one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// A ceiling.
    Set(Set),
    /// It was set once, and is no more.
    Cleared,
    /// Something that this version does not understand; nobody can say what the ceiling is.
    Unreadable,
}

pub(super) fn standing(entry: &Entry) -> Standing {
    match entry.operation {
        Operation::Delete | Operation::Purge => Standing::Cleared,
        Operation::Put => match read(&entry.value) {
            Ok(set) => Standing::Set(set),
            Err(problem) => {
                warn!(
                    key = entry.key,
                    problem, "this ceiling cannot be read; set it again (`flotilla ceiling set`)"
                );
                Standing::Unreadable
            }
        },
    }
}

fn read(value: &[u8]) -> Result<Set, String> {
    let set: Set = serde_json::from_slice(value).map_err(|e| e.to_string())?;
    if set.v == VERSION {
        Ok(set)
    } else {
        Err(format!(
            "it has version {}, this flotilla reads version {VERSION}",
            set.v
        ))
    }
}

pub(super) fn key((payer, name): &Whose) -> String {
    bucket::ceiling(&payer.to_string(), name)
}

pub(super) fn whose(key: &str) -> Result<Whose, String> {
    let (payer, name) = bucket::ceiling_parts(key).map_err(|e: IdError| e.to_string())?;
    Ok((payer.parse()?, name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_of_another_version_or_shape_is_unreadable() {
        let at = "2026-11-21T10:00:00Z";
        let good = json!({"v": 1, "usd_nano": 5, "by": "me", "at": at});
        let read = |value: serde_json::Value| read(value.to_string().as_bytes());
        let found = read(good).unwrap();
        assert_eq!(
            (found.usd_nano.nano(), found.by.as_deref()),
            (5, Some("me"))
        );
        for bad in [json!({"v": 2, "usd_nano": 5, "at": at}), json!(20)] {
            assert!(read(bad).is_err());
        }
        assert_eq!(whose("tenant.a").unwrap().0, Payer::Tenant);
        assert!(whose("step.a").is_err() && whose("tenant.a.b").is_err());
    }
}
