//! What spans say of themselves, and of each other.

use opentelemetry::{
    Array, KeyValue, Value,
    trace::{Link, SpanContext, SpanId, TraceFlags, TraceId, TraceState},
};

use super::attribute;
use crate::trace::TraceContext;

/// Links of one span, and so of the runs that one request may start.
const LINKS_MAX: usize = 64;

/// What is said of a span.
#[derive(Debug, Default)]
pub struct Notes {
    pub(super) name: Option<String>,
    pub(super) attributes: Vec<KeyValue>,
    pub(super) links: Vec<Link>,
    pub(super) failed: bool,
}

impl Notes {
    /// Names it.
    pub fn name(&mut self, name: String) {
        self.name = Some(name);
    }

    /// Says something of it, by a name of [`attribute`].
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.attributes.push(KeyValue::new(key, value));
    }

    /// Says something of it that is a list, of one.
    pub fn list(&mut self, key: &'static str, value: String) {
        let list = Array::String(vec![value.into()]);
        self.attributes.push(KeyValue::new(key, Value::Array(list)));
    }

    /// It failed, as a class.
    pub fn failed(&mut self, class: impl Into<String>) {
        self.failed = true;
        self.set(attribute::ERROR_TYPE, class.into());
    }

    /// Ties it to another span; `what` that one is to it.
    pub fn link(&mut self, to: TraceContext, what: &'static str) {
        self.link_with(to, vec![KeyValue::new(attribute::LINK, what)]);
    }

    /// Ties it to the span in which a wait began: what for, and how long it took where that is known.
    pub fn link_wait(&mut self, to: TraceContext, kind: &'static str, seconds: Option<f64>) {
        let mut said = vec![
            KeyValue::new(attribute::LINK, "wait"),
            KeyValue::new(attribute::WAIT_KIND, kind),
        ];
        said.extend(seconds.map(|seconds| KeyValue::new(attribute::WAIT_SECONDS, seconds)));
        self.link_with(to, said);
    }

    fn link_with(&mut self, to: TraceContext, said: Vec<KeyValue>) {
        if self.links.len() < LINKS_MAX {
            self.links.push(Link::new(span_context(to, true), said, 0));
        }
    }

    /// How often its message was handed out, and what else is known of it.
    pub fn message(&mut self, stream: &'static str, consumer: String, seq: u64, delivered: i64) {
        self.set(attribute::MESSAGING_SYSTEM, attribute::NATS);
        self.set(attribute::MESSAGING_DESTINATION, stream);
        self.set(attribute::MESSAGING_OPERATION, "process");
        self.set(attribute::MESSAGING_CONSUMER, consumer);
        self.set(attribute::MESSAGING_ID, seq.to_string());
        self.set(attribute::DELIVERY, delivered);
    }
}

/// A context as the exporter has it.
pub(super) fn span_context(of: TraceContext, is_remote: bool) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(of.trace),
        SpanId::from_bytes(of.span),
        TraceFlags::default().with_sampled(of.sampled),
        is_remote,
        TraceState::NONE,
    )
}
