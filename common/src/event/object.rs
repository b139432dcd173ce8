//! An event from a JSON object, attribute by attribute, so that a fault says where it is.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Defaults, Event, EventError, SPEC_VERSION, content};
use crate::ids::{EventType, IdError};

/// CloudEvents' own name for bytes in JSON.
const DATA_BASE64: &str = "data_base64";
/// The attribute that says what the data is.
pub(super) const DATA_CONTENT_TYPE: &str = "datacontenttype";

/// What was not looked at yet.
struct Attributes(Map<String, Value>);

impl Attributes {
    /// A text; `null` counts as left out.
    fn text(&mut self, name: &str) -> Result<Option<String>, EventError> {
        match self.0.swap_remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err(EventError::of(name, format!("`{name}` must be a text")))
            }
        }
    }

    fn needed(&mut self, name: &str, default: Option<String>) -> Result<String, EventError> {
        let given = self.text(name)?.or(default);
        given.ok_or_else(|| EventError::of(name, format!("`{name}` is missing")))
    }

    fn kind(&mut self, default: Option<EventType>) -> Result<EventType, EventError> {
        match (self.text("type")?, default) {
            (Some(text), _) => text
                .parse()
                .map_err(|error: IdError| EventError::of("type", error.to_string())),
            (None, Some(kind)) => Ok(kind),
            (None, None) => {
                let told =
                    "the event has no `type`; send {\"type\": \"…\", \"data\": {…}}".to_owned();
                Err(EventError::of("type", told))
            }
        }
    }

    fn time(&mut self) -> Result<Option<Timestamp>, EventError> {
        let text = self.text("time")?;
        let time = text.map(|text| text.parse()).transpose();
        time.map_err(|error| {
            EventError::of("time", format!("`time` is no time of RFC 3339: {error}"))
        })
    }

    /// The data, whichever way it is written.
    fn data(&mut self) -> Result<Value, EventError> {
        let data = self.0.swap_remove("data");
        let Some(encoded) = self.text(DATA_BASE64)? else {
            return Ok(data.unwrap_or_default());
        };
        if data.is_some() {
            let told = format!("there are both `data` and `{DATA_BASE64}`; send one of them");
            return Err(EventError::of(DATA_BASE64, told));
        }
        let kind = self.0.get(DATA_CONTENT_TYPE).and_then(Value::as_str);
        content::of_base64(kind, &encoded)
    }
}

impl Event {
    /// An event from its attributes and its `data`, as [`Event::plain`] reads them.
    ///
    /// # Errors
    /// [`EventError::Attribute`].
    pub fn of_parts(parts: Map<String, Value>, defaults: Defaults) -> Result<Self, EventError> {
        Self::of_value(Value::Object(parts), Some(defaults))
    }

    /// An event from JSON; without `defaults`, or where it names its `specversion`, it must have all that a CloudEvent must have.
    pub(super) fn of_value(value: Value, defaults: Option<Defaults>) -> Result<Self, EventError> {
        let Value::Object(map) = value else {
            let told = "an event is a JSON object: {\"type\": \"…\", \"data\": {…}}";
            return Err(EventError::of("", told));
        };
        let mut given = Attributes(map);
        let defaults = defaults.filter(|_| !given.0.contains_key("specversion"));
        let known = defaults.as_ref().map(|_| SPEC_VERSION.to_owned());
        let (id, source, kind) = defaults.map_or((None, None, None), |defaults| {
            (Some(defaults.id), Some(defaults.source), defaults.kind)
        });
        Self {
            specversion: given.needed("specversion", known)?,
            kind: given.kind(kind)?,
            id: given.needed("id", id)?,
            source: given.needed("source", source)?,
            time: given.time()?,
            subject: given.text("subject")?,
            data: given.data()?,
            extensions: given.0.into_iter().collect::<BTreeMap<_, _>>(),
        }
        .checked()
    }
}
