//! Events, as `CloudEvents` 1.0: what starts runs. (source, id) says which event it is.

mod binary;
mod content;
mod object;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use binary::{ATTRIBUTE_PREFIX, is_structured};

use crate::ids::{EventType, Name, hex};

/// Largest event as it is published, in bytes: NATS refuses payloads over 1 MiB by default. What gateways take may be larger.
pub const EVENT_BYTES_MAX: usize = 512 * 1024;
/// Longest `id` and `source`, in bytes.
const ATTRIBUTE_LENGTH_MAX: usize = 512;

/// The one version of the specification that is known.
const SPEC_VERSION: &str = "1.0";
/// Who pays when an event names no tenant.
pub const TENANT_DEFAULT: &str = "default";
/// The attribute that says what the data must be: `<type>/<version>`, of an event type that is declared.
pub const DATA_SCHEMA: &str = "dataschema";
/// The extension attribute that names the tenant.
const TENANT: &str = "tenant";

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Always `1.0`.
    pub specversion: String,
    /// With `source`, which event it is.
    pub id: String,
    /// Who says so: a URI reference.
    pub source: String,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// When it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// What it happened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The payload: untrusted input.
    #[serde(default)]
    pub data: Value,
    /// Every other attribute, kept.
    #[serde(flatten)]
    pub extensions: BTreeMap<String, Value>,
}

/// Why something is no event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Not JSON.
    #[error("the event is not valid JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// An attribute that may not be so, or that is missing.
    #[error("not a CloudEvent: {told}")]
    Attribute {
        /// Which, as a JSON Pointer into the event: `/type`; empty where all of it is meant.
        pointer: String,
        /// What is wrong with it.
        told: String,
    },
    /// So many bytes, and more than are taken.
    #[error(
        "the event has {0} bytes, at most {1} are taken; put the bulk elsewhere and send a reference"
    )]
    TooLarge(usize, usize),
}

impl EventError {
    fn of(attribute: &str, told: impl Into<String>) -> Self {
        let pointer = match attribute {
            "" => String::new(),
            named => format!("/{}", named.replace('~', "~0").replace('/', "~1")),
        };
        let told = told.into();
        Self::Attribute { pointer, told }
    }
}

/// What a plain JSON event may leave out.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// `id`, when the event has none.
    pub id: String,
    /// `source`, when the event has none.
    pub source: String,
    /// `type`, when known from elsewhere (the subject it was published on).
    pub kind: Option<EventType>,
}

impl Event {
    /// A new event without time, subject or extensions.
    #[must_use]
    pub fn new(kind: EventType, source: String, id: String, data: Value) -> Self {
        Self {
            specversion: SPEC_VERSION.into(),
            id,
            source,
            kind,
            time: None,
            subject: None,
            data,
            extensions: BTreeMap::new(),
        }
    }

    /// Reads a structured CloudEvent (`application/cloudevents+json`) of at most `bytes_max`.
    ///
    /// # Errors
    /// [`EventError`]: what is wrong, with line and column where it is JSON's fault.
    pub fn structured(bytes: &[u8], bytes_max: usize) -> Result<Self, EventError> {
        Self::of_value(json(bytes, bytes_max)?, None)
    }

    /// Reads a batch of structured CloudEvents (`application/cloudevents-batch+json`), all together of at most `bytes_max`; of
    /// each, whether it is one.
    ///
    /// # Errors
    /// [`EventError`]: it is no list.
    pub fn batch(
        bytes: &[u8],
        bytes_max: usize,
    ) -> Result<Vec<Result<Self, EventError>>, EventError> {
        let Value::Array(items) = json(bytes, bytes_max)? else {
            return Err(EventError::of("", "a batch is a list of events"));
        };
        let events = items.into_iter().map(|item| Self::of_value(item, None));
        Ok(events.collect())
    }

    /// Reads plain JSON `{type, data, id?, source?, subject?, time?}`, or a structured event if it names its `specversion`; of at
    /// most `bytes_max`.
    ///
    /// # Errors
    /// [`EventError`]: what is wrong, with line and column where it is JSON's fault.
    pub fn plain(bytes: &[u8], bytes_max: usize, defaults: Defaults) -> Result<Self, EventError> {
        Self::of_value(json(bytes, bytes_max)?, Some(defaults))
    }

    /// Reads what somebody published on `events.<type>`: a structured event, a plain envelope (`type` and `data`), or just the data.
    ///
    /// # Errors
    /// [`EventError`], also when the event's own type is not the subject's.
    pub fn published(bytes: &[u8], kind: &EventType, id: String) -> Result<Self, EventError> {
        let value = json(bytes, EVENT_BYTES_MAX)?;
        let envelope = value.get("specversion").is_some()
            || (value.get("type").is_some() && value.get("data").is_some());
        let defaults = Defaults {
            id,
            source: "nats".into(),
            kind: Some(kind.clone()),
        };
        if !envelope {
            return Self::new(kind.clone(), defaults.source, defaults.id, value).checked();
        }
        Self::of_value(value, Some(defaults))?.on_subject_of(kind)
    }

    /// The same event, where it was published on the subject of its own type.
    ///
    /// # Errors
    /// [`EventError::Attribute`].
    pub fn on_subject_of(self, kind: &EventType) -> Result<Self, EventError> {
        if self.kind == *kind {
            return Ok(self);
        }
        let told = format!(
            "the event's type is `{}`, but it was published on the subject of `{kind}`",
            self.kind
        );
        Err(EventError::of("type", told))
    }

    /// Whether it says who pays.
    #[must_use]
    pub fn names_tenant(&self) -> bool {
        self.extensions.contains_key(TENANT)
    }

    /// Says who pays.
    pub fn set_tenant(&mut self, tenant: &Name) {
        let tenant = Value::String(tenant.to_string());
        self.extensions.insert(TENANT.to_owned(), tenant);
    }

    /// Who pays: the extension attribute `tenant`, a name; checked where events come in.
    #[must_use]
    pub fn tenant(&self) -> &str {
        let tenant = self.extensions.get(TENANT);
        tenant.and_then(Value::as_str).unwrap_or(TENANT_DEFAULT)
    }

    /// A text that is the same for the same event only: for deduplication by message id.
    #[must_use]
    pub fn identity(&self) -> String {
        use sha2::{Digest as _, Sha256};
        let hash = Sha256::new()
            .chain_update(&self.source)
            .chain_update([0])
            .chain_update(&self.id)
            .finalize();
        hex(&hash[..16])
    }

    fn checked(self) -> Result<Self, EventError> {
        if self.specversion != SPEC_VERSION {
            let told = format!(
                "`specversion` is `{}`, only {SPEC_VERSION} is known",
                self.specversion
            );
            return Err(EventError::of("specversion", told));
        }
        for (name, value) in [("id", &self.id), ("source", &self.source)] {
            if value.is_empty() || value.len() > ATTRIBUTE_LENGTH_MAX {
                let told = format!(
                    "`{name}` must have 1 to {ATTRIBUTE_LENGTH_MAX} bytes, it has {}",
                    value.len()
                );
                return Err(EventError::of(name, told));
            }
            // CloudEvents forbids them; and they stand between the parts of what is hashed into a run's id.
            if value.chars().any(char::is_control) {
                let told = format!("`{name}` holds a control character, none may be in it");
                return Err(EventError::of(name, told));
            }
        }
        if let Some(tenant) = self.extensions.get(TENANT) {
            let name = tenant.as_str().map(str::parse::<Name>);
            if !matches!(name, Some(Ok(_))) {
                let told = format!("`{TENANT}` must be a name, not {tenant}");
                return Err(EventError::of(TENANT, told));
            }
        }
        Ok(self)
    }
}

fn json(bytes: &[u8], bytes_max: usize) -> Result<Value, EventError> {
    limit(bytes, bytes_max)?;
    serde_json::from_slice(bytes).map_err(EventError::Json)
}

fn limit(bytes: &[u8], bytes_max: usize) -> Result<(), EventError> {
    if bytes.len() > bytes_max {
        Err(EventError::TooLarge(bytes.len(), bytes_max))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
