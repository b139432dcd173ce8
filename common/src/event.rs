//! Events, as `CloudEvents` 1.0: what starts runs. (source, id) says which event it is.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{EventType, Name, hex};

/// Largest event as it is published, in bytes: NATS refuses payloads over 1 MiB by default. What gateways take may be larger.
pub const EVENT_BYTES_MAX: usize = 512 * 1024;
/// Longest `id` and `source`, in bytes.
const ATTRIBUTE_LENGTH_MAX: usize = 512;

/// Who pays when an event names no tenant.
pub const TENANT_DEFAULT: &str = "default";
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
    /// JSON of another shape.
    #[error("not a CloudEvent: {0}")]
    Shape(#[source] serde_json::Error),
    /// An attribute that may not be so.
    #[error("{0}")]
    Attribute(String),
    /// So many bytes, and more than are taken.
    #[error(
        "the event has {0} bytes, at most {1} are taken; put the bulk elsewhere and send a reference"
    )]
    TooLarge(usize, usize),
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

#[derive(Deserialize)]
struct Plain {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    source: Option<String>,
    #[serde(rename = "type", default)]
    kind: Option<EventType>,
    #[serde(default)]
    time: Option<Timestamp>,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    data: Value,
    #[serde(flatten)]
    extensions: BTreeMap<String, Value>,
}

impl Event {
    /// A new event without time, subject or extensions.
    #[must_use]
    pub fn new(kind: EventType, source: String, id: String, data: Value) -> Self {
        Self {
            specversion: "1.0".into(),
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
        limit(bytes, bytes_max)?;
        let value: Value = serde_json::from_slice(bytes).map_err(EventError::Json)?;
        let event: Self = serde_json::from_value(value).map_err(EventError::Shape)?;
        event.checked()
    }

    /// Reads plain JSON `{type, data, id?, source?, subject?, time?}`, or a structured event if it names its `specversion`; of at
    /// most `bytes_max`.
    ///
    /// # Errors
    /// [`EventError`]: what is wrong, with line and column where it is JSON's fault.
    pub fn plain(bytes: &[u8], bytes_max: usize, defaults: Defaults) -> Result<Self, EventError> {
        limit(bytes, bytes_max)?;
        let value: Value = serde_json::from_slice(bytes).map_err(EventError::Json)?;
        if value.get("specversion").is_some() {
            let event: Self = serde_json::from_value(value).map_err(EventError::Shape)?;
            return event.checked();
        }
        let plain: Plain = serde_json::from_value(value).map_err(EventError::Shape)?;
        let kind = plain.kind.or(defaults.kind).ok_or_else(|| {
            EventError::Attribute(
                "the event has no `type`; send {\"type\": \"…\", \"data\": {…}}".into(),
            )
        })?;
        Self {
            specversion: "1.0".into(),
            id: plain.id.unwrap_or(defaults.id),
            source: plain.source.unwrap_or(defaults.source),
            kind,
            time: plain.time,
            subject: plain.subject,
            data: plain.data,
            extensions: plain.extensions,
        }
        .checked()
    }

    /// Reads what somebody published on `events.<type>`: a structured event, a plain envelope (`type` and `data`), or just the data.
    ///
    /// # Errors
    /// [`EventError`], also when the event's own type is not the subject's.
    pub fn published(bytes: &[u8], kind: &EventType, id: String) -> Result<Self, EventError> {
        limit(bytes, EVENT_BYTES_MAX)?;
        let value: Value = serde_json::from_slice(bytes).map_err(EventError::Json)?;
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
        let event = Self::plain(bytes, EVENT_BYTES_MAX, defaults)?;
        if event.kind == *kind {
            Ok(event)
        } else {
            Err(EventError::Attribute(format!(
                "the event's type is `{}`, but it was published on the subject of `{kind}`",
                event.kind
            )))
        }
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
        let wrong = |text: String| Err(EventError::Attribute(text));
        if self.specversion != "1.0" {
            return wrong(format!(
                "`specversion` is `{}`, only 1.0 is known",
                self.specversion
            ));
        }
        for (name, value) in [("id", &self.id), ("source", &self.source)] {
            if value.is_empty() || value.len() > ATTRIBUTE_LENGTH_MAX {
                return wrong(format!(
                    "`{name}` must have 1 to {ATTRIBUTE_LENGTH_MAX} bytes, it has {}",
                    value.len()
                ));
            }
            // CloudEvents forbids them; and they stand between the parts of what is hashed into a run's id.
            if value.chars().any(char::is_control) {
                return wrong(format!(
                    "`{name}` holds a control character, none may be in it"
                ));
            }
        }
        if let Some(tenant) = self.extensions.get(TENANT) {
            let name = tenant.as_str().map(str::parse::<Name>);
            if !matches!(name, Some(Ok(_))) {
                return wrong(format!("`{TENANT}` must be a name, not {tenant}"));
            }
        }
        if self.extensions.contains_key("data_base64") {
            return wrong("`data_base64` is not taken: send JSON in `data`".into());
        }
        Ok(self)
    }
}

fn limit(bytes: &[u8], bytes_max: usize) -> Result<(), EventError> {
    if bytes.len() > bytes_max {
        Err(EventError::TooLarge(bytes.len(), bytes_max))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn defaults() -> Defaults {
        Defaults {
            id: "d1".into(),
            source: "http".into(),
            kind: None,
        }
    }

    #[test]
    fn plain_json_gets_what_it_left_out() -> Result<(), EventError> {
        let event = Event::plain(
            br#"{"type":"a.b","data":{"x":1},"traceparent":"00-1"}"#,
            EVENT_BYTES_MAX,
            defaults(),
        )?;
        assert_eq!((event.id.as_str(), event.source.as_str()), ("d1", "http"));
        assert_eq!(event.extensions["traceparent"], "00-1");
        let text = serde_json::to_vec(&event).map_err(EventError::Json)?;
        assert_eq!(Event::structured(&text, EVENT_BYTES_MAX)?, event);
        Ok(())
    }

    #[test]
    fn what_is_published_may_be_bare_data_or_an_envelope() -> Result<(), Box<dyn std::error::Error>>
    {
        let kind: EventType = "a.b".parse()?;
        let bare = Event::published(br#"{"x":1}"#, &kind, "7".into())?;
        assert_eq!((bare.id.as_str(), &bare.data), ("7", &json!({"x": 1})));
        let envelope = Event::published(
            br#"{"type":"a.b","id":"9","data":{"x":1}}"#,
            &kind,
            "7".into(),
        )?;
        assert_eq!(envelope.id, "9");
        let other = Event::published(br#"{"type":"c","data":1}"#, &kind, "7".into());
        assert!(other.is_err_and(|e| e.to_string().contains("subject of `a.b`")));
        Ok(())
    }

    #[test]
    fn wrong_events_say_what_is_wrong() {
        let shown = |bytes: &[u8]| {
            Event::plain(bytes, EVENT_BYTES_MAX, defaults())
                .map_err(|e| e.to_string())
                .err()
                .unwrap_or_default()
        };
        assert!(shown(b"{\"type\": ").contains("line 1 column 9"));
        assert!(shown(b"{}").contains("no `type`"));
        assert!(
            shown(br#"{"specversion":"2.0","id":"a","source":"b","type":"c"}"#)
                .contains("only 1.0")
        );
        assert!(shown(br#"{"type":"a b"}"#).contains("event type"));
        assert!(shown(br#"{"type":"a","id":"x\u0000y"}"#).contains("`id` holds a control"));
        assert!(shown(br#"{"type":"a","source":"x\ny"}"#).contains("`source` holds a control"));
        assert!(shown(&vec![b' '; EVENT_BYTES_MAX + 1]).contains("at most"));
    }
}
