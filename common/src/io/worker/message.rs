//! What the pull loop gives to a handler, and what it gets back.

use std::time::Duration;

use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;
use jiff::Timestamp;

use crate::{
    dead::DeadLetter,
    event::{ATTRIBUTE_PREFIX, EVENT_BYTES_MAX, Event, is_structured},
    io::clock,
    io::telemetry::span,
    names::{header, subject},
    trace::TraceContext,
};

/// What a dead letter keeps of a form.
const STRUCTURED: &str = "structured";
const WRITTEN: &str = "written";
const WRONG: &str = "wrong";

/// How an event on `events.<type>` is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Form {
    /// As its payload says: a CloudEvent, an envelope, or just the data.
    #[default]
    Plain,
    /// It must be a CloudEvent: its content type says so.
    Structured,
    /// It is a CloudEvent that came in binary mode, and was written down as a structured one. That may be larger than what came,
    /// which was within the limit.
    Written,
    /// It says that it is a CloudEvent, and is none; why.
    Wrong(String),
}

impl Form {
    /// What a dead letter keeps of it, beside the reason; `None`: its payload says it.
    pub(super) fn kept(&self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Structured => Some(STRUCTURED),
            Self::Written => Some(WRITTEN),
            Self::Wrong(_) => Some(WRONG),
        }
    }

    /// That of a dead letter. Without it, a broken CloudEvent would be read as the mere data of another event.
    #[must_use]
    pub fn of(letter: &DeadLetter) -> Self {
        match letter.form.as_deref() {
            None => Self::Plain,
            Some(STRUCTURED) => Self::Structured,
            Some(WRITTEN) => Self::Written,
            Some(WRONG) => Self::Wrong(letter.reason.clone()),
            Some(other) => Self::Wrong(format!(
                "it is written in a form that is not known here, `{other}`"
            )),
        }
    }
}

/// A message to handle.
#[derive(Debug, Clone, Default)]
pub struct Incoming {
    /// Its subject.
    pub subject: String,
    /// Its sequence in the stream.
    pub seq: u64,
    /// Its bytes.
    pub payload: Bytes,
    /// When nats-server stored it, by its own clock.
    pub published: Timestamp,
    /// How often it was delivered, this time included.
    pub delivered: i64,
    /// Its `Nats-Msg-Id`, if its publisher gave one.
    pub message_id: Option<String>,
    /// Its `Flotilla-Promise`, on an event that a gateway took in; not checked.
    pub promise: Option<String>,
    /// How it is written, on the stream EVENTS.
    pub form: Form,
    /// The span in which it was published, where traces are on.
    pub trace: Option<TraceContext>,
}

impl Incoming {
    /// Takes out of a message what handlers need.
    pub(super) fn read(message: &jetstream::Message) -> Result<Self, String> {
        let info = message.info().map_err(|e| e.to_string())?;
        let text = |name: &str| Some(message.headers.as_ref()?.get(name)?.to_string());
        let headers = message.headers.as_ref();
        let (payload, form) = event_in(&message.subject, headers, &message.payload);
        let published = Timestamp::from_nanosecond(info.published.unix_timestamp_nanos())
            .map_err(|e| e.to_string())?;
        clock::seen(published);
        Ok(Self {
            subject: message.subject.to_string(),
            seq: info.stream_sequence,
            payload,
            form,
            published,
            delivered: info.delivered,
            message_id: text(async_nats::header::NATS_MESSAGE_ID.as_ref()),
            promise: text(header::PROMISE),
            trace: span::stamped(message.headers.as_ref()),
        })
    }

    /// Whether somebody may have worked on it before.
    #[must_use]
    pub fn is_redelivery(&self) -> bool {
        self.delivered > 1
    }
}

/// A message's bytes, and, of an event, what they are.
pub(in crate::io) fn event_in(
    on: &str,
    headers: Option<&HeaderMap>,
    payload: &Bytes,
) -> (Bytes, Form) {
    match (headers, subject::event_type(on)) {
        (Some(headers), Some(_)) => event(headers, payload),
        (None, _) | (_, None) => (payload.clone(), Form::Plain),
    }
}

/// An event's bytes, and what they are. One in binary mode is written down as a structured one, so that it is whole wherever its
/// bytes go: also among dead letters.
fn event(headers: &HeaderMap, payload: &Bytes) -> (Bytes, Form) {
    const CONTENT_TYPE: &str = "Content-Type";
    let content_type = headers.iter().find_map(|(name, values)| {
        let is_it = AsRef::<str>::as_ref(name).eq_ignore_ascii_case(CONTENT_TYPE);
        values.first().filter(|_| is_it).map(|value| value.as_str())
    });
    if let Some(kind) = content_type.filter(|kind| is_structured(kind)) {
        let format = kind.split(';').next().unwrap_or_default().trim();
        let form = if format.to_ascii_lowercase().ends_with("+json") {
            Form::Structured
        } else {
            let format = format.escape_debug();
            Form::Wrong(format!(
                "of CloudEvents' formats JSON is known, not `{format}`"
            ))
        };
        return (payload.clone(), form);
    }
    let attributes = headers.iter().flat_map(|(name, values)| {
        let name = AsRef::<str>::as_ref(name).to_ascii_lowercase();
        let values = values
            .iter()
            .map(move |value| (name.clone(), value.as_str()));
        values.filter(|(name, _)| name.starts_with(ATTRIBUTE_PREFIX))
    });
    let attributes: Vec<(String, &str)> = attributes.collect();
    if attributes.is_empty() {
        return (payload.clone(), Form::Plain);
    }
    let attributes = attributes.iter();
    let attributes = attributes.map(|(name, value)| (name.as_str(), value.as_bytes()));
    let read = Event::binary(attributes, content_type, payload, EVENT_BYTES_MAX);
    let written = read.map_err(|error| error.to_string());
    match written.and_then(|event| serde_json::to_vec(&event).map_err(|error| error.to_string())) {
        Ok(bytes) => (bytes.into(), Form::Written),
        Err(why) => (payload.clone(), Form::Wrong(why)),
    }
}

/// What is to become of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// It is done; its facts are on the journal.
    Ack,
    /// Not now: hand it out again, to whomever, after this time.
    Retry {
        /// When again.
        after: Duration,
        /// Why, for the log.
        why: String,
    },
    /// Never: into DEAD with this reason.
    Dead {
        /// Why, for people.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_in_binary_mode_may_grow_over_the_limit_when_it_is_written_down() {
        let attributes = [
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "s"),
            ("ce-type", "a.b"),
            ("Content-Type", "image/png"),
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in attributes {
            headers.insert(name, value);
        }
        let (bytes, form) = event(&headers, &vec![0; EVENT_BYTES_MAX].into());
        assert_eq!(form, Form::Written);
        assert!(bytes.len() > EVENT_BYTES_MAX);
        let (bytes, form) = event(&headers, &vec![0; EVENT_BYTES_MAX + 1].into());
        assert!(matches!(form, Form::Wrong(why) if why.contains("at most")));
        assert_eq!(bytes.len(), EVENT_BYTES_MAX + 1);
    }
}
