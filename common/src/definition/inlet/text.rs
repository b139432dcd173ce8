//! An event type or a webhook as one text that stands for itself.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Inlet, Written};
use crate::{
    definition::{
        BundleError, Problems, Sources, ValueError,
        active::{VERSION, check_version},
        bundle::as_yaml,
        problem::Report,
    },
    ids::{EventType, Name, hex},
};

/// Which one it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum InletKey {
    /// A version of an event type.
    Event {
        /// The type.
        event: EventType,
        /// The version.
        version: u32,
    },
    /// A webhook.
    Hook {
        /// Its name.
        hook: Name,
    },
}

impl fmt::Display for InletKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event { event, version } => write!(f, "event type `{event}` version {version}"),
            Self::Hook { hook } => write!(f, "hook `{hook}`"),
        }
    }
}

/// An event type or a webhook, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InletText {
    /// Which shape this is.
    v: u32,
    /// Which one it is.
    #[serde(flatten)]
    pub key: InletKey,
    /// SHA-256 (hex) of the source.
    pub digest: String,
    /// As its file says it, with the schema that it names, as JSON in one line.
    pub source: String,
    /// Who applied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl InletText {
    pub(super) fn new(key: InletKey, source: &Value) -> Self {
        let source = source.to_string();
        Self {
            v: VERSION,
            key,
            digest: hex(&Sha256::digest(&source)),
            source,
            by: None,
        }
    }

    /// Compiles it alone.
    pub(super) fn compile(&self) -> Result<Inlet, BundleError> {
        const FILE: &str = "stored.yaml";
        let mut text = String::new();
        as_yaml(&self.source, &mut text);
        let mut report = Report::new(FILE, &text);
        let is_hook = matches!(self.key, InletKey::Hook { .. });
        let written = Written::read(&mut report, &Sources::default(), is_hook);
        match written {
            Some(written) if report.problems.is_empty() => Ok(written.inlet),
            Some(_) | None => Err(Problems(report.problems).into()),
        }
    }

    /// As the bucket keeps it.
    ///
    /// # Errors
    /// [`BundleError::Value`]; never for what this code makes.
    pub fn encode(&self) -> Result<Vec<u8>, BundleError> {
        Ok(serde_json::to_vec(self).map_err(ValueError::Shape)?)
    }

    /// Reads what the bucket has.
    ///
    /// # Errors
    /// [`BundleError::Value`].
    pub fn read(bytes: &[u8]) -> Result<Self, BundleError> {
        check_version(bytes)?;
        Ok(serde_json::from_slice(bytes).map_err(ValueError::Shape)?)
    }
}
