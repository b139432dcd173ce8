//! What the bucket of tools' states holds, as JSON.

use async_nats::jetstream::kv::{Entry, Operation};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    breaker::{Forced, State},
    ids::Name,
    io::clock,
};

/// The value version this code writes, and the only one it reads.
const VERSION: u32 = 1;

/// What a person decided about a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Force {
    /// Which shape this is.
    v: u32,
    /// What it is forced to.
    pub state: Forced,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl Force {
    /// One that holds from now on.
    #[must_use]
    pub fn now(state: Forced, by: Option<String>, reason: Option<String>) -> Self {
        Self {
            v: VERSION,
            state,
            by,
            reason,
            at: clock::now(),
        }
    }
}

/// How a tool stands in one executor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolState {
    /// Which shape this is.
    v: u32,
    /// The tool.
    pub tool: Name,
    /// The executor.
    pub worker: String,
    /// When it said so.
    pub at: Timestamp,
    /// Messages of the tool that it has in work.
    pub in_work: u32,
    /// Its breakers.
    pub versions: Vec<VersionState>,
}

impl ToolState {
    /// How it stands now.
    #[must_use]
    pub fn now(tool: Name, worker: String, in_work: u32, versions: Vec<VersionState>) -> Self {
        Self {
            v: VERSION,
            tool,
            worker,
            at: clock::now(),
            in_work,
            versions,
        }
    }
}

/// The breaker of one version of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionState {
    /// Which version.
    pub version: u32,
    /// Where it stands.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// While it is open: until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Calls in its window.
    pub calls: u32,
    /// Of them, those that failed.
    pub failures: u32,
    /// What the last failure said, while it is not closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The hosts, of those that parameters chose, that are not well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostState>,
}

/// The breaker of one host of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostState {
    /// Which host.
    pub host: String,
    /// Where it stands.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// What the last failure said.
    pub why: String,
}

pub(super) fn force(entry: &Entry) -> Result<Force, String> {
    let force: Force = serde_json::from_slice(&entry.value).map_err(|e| e.to_string())?;
    if force.v == VERSION {
        Ok(force)
    } else {
        Err(format!(
            "it has version {}, this flotilla reads version {VERSION}",
            force.v
        ))
    }
}

/// What an executor said; of another version, it says nothing to this one.
pub(super) fn state(entry: &Entry) -> Option<ToolState> {
    if entry.operation != Operation::Put {
        return None;
    }
    let state: ToolState = serde_json::from_slice(&entry.value).ok()?;
    (state.v == VERSION).then_some(state)
}
