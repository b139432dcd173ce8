//! Spans. What belongs together, such as a planner's work on an entry with its calls of Claude, is handed to the exporter together
//! when it is over: a process that is killed takes all of it along, so that no span is left without its parent.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use async_nats::HeaderMap;
use jiff::Timestamp;
use opentelemetry::trace::{SpanId, Status};
use opentelemetry_sdk::trace::{SpanData, SpanLinks};

pub use super::notes::Notes;
pub use opentelemetry::trace::SpanKind;

use super::{
    notes::span_context,
    tracer::{Tracer, tracer},
};
use crate::{
    ids::{RunId, Slot},
    io::clock,
    names::header,
    trace::TraceContext,
};

/// Spans of one unit that are kept: those beyond it are counted as dropped, but a run's root, without which its trace is none.
const UNIT_MAX: usize = 256;

tokio::task_local! {
    /// Where this task is.
    static HERE: Option<Here>;
}

/// The span that a task works within.
#[derive(Debug, Clone)]
struct Here {
    context: TraceContext,
    unit: Arc<Unit>,
}

/// What is exported together.
#[derive(Debug, Default)]
struct Unit(Mutex<Parts>);

#[derive(Debug, Default)]
struct Parts {
    spans: Vec<SpanData>,
    /// What was said of the unit's own span by those who only know that they are within it.
    notes: Notes,
    /// Over: what comes late goes by itself.
    closed: bool,
}

/// A span that is begun. It ends when it is told, or dropped: then as one that was cut off. Where traces are off, or its trace is not
/// sampled, it is nothing and costs nothing.
#[derive(Debug, Default)]
#[must_use]
pub struct Span(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    tracer: &'static Tracer,
    context: TraceContext,
    parent: Option<[u8; 8]>,
    parent_is_remote: bool,
    kind: SpanKind,
    name: String,
    begun: SystemTime,
    notes: Notes,
    unit: Arc<Unit>,
    is_unit: bool,
    /// It may be one of several attempts of an action, each of which would have the action's own id.
    is_attempt: bool,
}

impl Open {
    /// Makes it an attempt below the action's own span, which is still to come.
    fn step_below(&mut self) {
        self.parent = Some(self.context.span);
        self.context = self.context.beside(fresh());
    }
}

/// The fleet's time, as the entries have it that other spans begin and end with.
fn now() -> SystemTime {
    clock::now().into()
}

/// Whether traces are on.
#[must_use]
pub fn is_on() -> bool {
    tracer().is_some()
}

/// Whether what is done for a run is recorded, as a trace context makes it.
#[must_use]
pub fn is_sampled(run: &RunId) -> bool {
    tracer().is_some_and(|tracer| tracer.samples(crate::trace::trace_of(run), None))
}

/// What a tool is told of the action that calls it. Where traces are off it is said all the same: tools may trace by themselves.
#[must_use]
pub fn of_call(run: &RunId, slot: &Slot) -> TraceContext {
    TraceContext::of_action(run, slot, !is_on() || is_sampled(run))
}

impl Span {
    /// What is done for a run within one message or request, whose spans are exported together. Its parent is the run's root.
    pub fn of_run(run: &RunId, kind: SpanKind, name: impl FnOnce() -> String) -> Self {
        let Some(tracer) = tracer().filter(|_| is_sampled(run)) else {
            return Self::default();
        };
        let root = TraceContext::of_run(run, true);
        let context = root.beside(fresh());
        Self::unit(tracer, context, Some(root.span), kind, name())
    }

    /// An attempt of an action: whose spans are all below the action's own, whether that ends with this attempt or not.
    pub fn of_action(run: &RunId, slot: &Slot, name: impl FnOnce() -> String) -> Self {
        let Some(tracer) = tracer().filter(|_| is_sampled(run)) else {
            return Self::default();
        };
        let root = TraceContext::of_run(run, true);
        let context = TraceContext::of_action(run, slot, true);
        let mut span = Self::unit(tracer, context, Some(root.span), SpanKind::Consumer, name());
        if let Some(open) = &mut span.0 {
            open.is_attempt = true;
        }
        span
    }

    /// A request from outside, in its sender's trace where it names one.
    pub fn of_request(sender: Option<TraceContext>, name: impl FnOnce() -> String) -> Self {
        let Some(tracer) = tracer() else {
            return Self::default();
        };
        let trace = sender.map_or_else(random_trace, |sender| sender.trace);
        let asked = sender.map(|sender| sender.sampled);
        if !tracer.samples(trace, asked) {
            return Self::default();
        }
        let context = TraceContext {
            trace,
            span: fresh(),
            sampled: true,
        };
        let parent = sender.map(|sender| sender.span);
        let mut span = Self::unit(tracer, context, parent, SpanKind::Server, name());
        if let Some(open) = &mut span.0 {
            open.parent_is_remote = true;
        }
        span
    }

    /// A span below the one that this task works within; nothing where it works within none.
    pub fn below(kind: SpanKind, name: impl FnOnce() -> String) -> Self {
        let Some((tracer, here)) = tracer().zip(here()) else {
            return Self::default();
        };
        Self(Some(Box::new(Open {
            tracer,
            context: here.context.beside(fresh()),
            parent: Some(here.context.span),
            parent_is_remote: false,
            kind,
            name: name(),
            begun: now(),
            notes: Notes::default(),
            unit: here.unit,
            is_unit: false,
            is_attempt: false,
        })))
    }

    fn unit(
        tracer: &'static Tracer,
        context: TraceContext,
        parent: Option<[u8; 8]>,
        kind: SpanKind,
        name: String,
    ) -> Self {
        Self(Some(Box::new(Open {
            tracer,
            context,
            parent,
            parent_is_remote: false,
            kind,
            name,
            begun: now(),
            notes: Notes::default(),
            unit: Arc::default(),
            is_unit: true,
            is_attempt: false,
        })))
    }

    /// The same span under a name of its own, which others can tell without having heard of it.
    pub fn known_as(mut self, context: TraceContext) -> Self {
        if let Some(open) = &mut self.0 {
            open.context = context;
        }
        self
    }

    /// The same, without a parent: the root of its trace.
    pub fn as_root(mut self) -> Self {
        if let Some(open) = &mut self.0 {
            open.parent = None;
        }
        self
    }

    /// The same, begun then.
    pub fn since(mut self, begun: Timestamp) -> Self {
        if let Some(open) = &mut self.0 {
            open.begun = begun.into();
        }
        self
    }

    /// Says something of it, where it is one.
    pub fn note(&mut self, say: impl FnOnce(&mut Notes)) {
        if let Some(open) = &mut self.0 {
            say(&mut open.notes);
        }
    }

    /// Does some work within this span: what it publishes names it, and spans below it are.
    pub fn within<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        let here = self.0.as_ref().map(|open| Here {
            context: open.context,
            unit: Arc::clone(&open.unit),
        });
        HERE.scope(here, work)
    }

    /// It is over.
    pub fn end(mut self) {
        self.finish(now());
    }

    /// It was over then.
    pub fn end_at(mut self, at: Timestamp) {
        self.finish(at.into());
    }

    /// It is over as an attempt only: the action's own span is still to come, from whoever ends it.
    pub fn end_as_attempt(mut self) {
        if let Some(open) = &mut self.0 {
            open.step_below();
        }
        self.finish(now());
    }

    /// It is none after all: what it was about had been done before.
    pub fn forget(mut self) {
        self.0 = None;
    }

    fn finish(&mut self, at: SystemTime) {
        if let Some(open) = self.0.take() {
            open.finish(at);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(open) = &mut self.0 {
            open.notes.failed("cut_off");
            if open.is_attempt {
                open.step_below();
            }
        }
        self.finish(now());
    }
}

impl Open {
    fn finish(self, at: SystemTime) {
        let (tracer, unit, is_unit) = (self.tracer, Arc::clone(&self.unit), self.is_unit);
        let mut parts = unit.0.lock().unwrap_or_else(PoisonError::into_inner);
        let notes = if is_unit {
            std::mem::take(&mut parts.notes)
        } else {
            Notes::default()
        };
        let is_root = self.parent.is_none();
        let data = self.data(notes, at);
        if is_unit {
            parts.closed = true;
            parts.spans.push(data);
            tracer.export(std::mem::take(&mut parts.spans));
        } else if parts.closed {
            tracer.export(vec![data]);
        } else if parts.spans.len() < UNIT_MAX || is_root {
            parts.spans.push(data);
        } else {
            tracer.dropped(1);
        }
    }

    fn data(self, more: Notes, at: SystemTime) -> SpanData {
        let Notes {
            attributes, links, ..
        } = self.notes;
        let failed = self.notes.failed || more.failed;
        let mut kept = SpanLinks::default();
        kept.links = links.into_iter().chain(more.links).collect();
        SpanData {
            span_context: span_context(self.context, false),
            parent_span_id: self.parent.map_or(SpanId::INVALID, SpanId::from_bytes),
            parent_span_is_remote: self.parent_is_remote,
            span_kind: self.kind,
            name: more.name.unwrap_or(self.name).into(),
            start_time: self.begun,
            end_time: at.max(self.begun),
            attributes: attributes.into_iter().chain(more.attributes).collect(),
            dropped_attributes_count: 0,
            events: Default::default(),
            links: kept,
            status: if failed {
                Status::error("")
            } else {
                Status::Unset
            },
            instrumentation_scope: self.tracer.scope.clone(),
        }
    }
}

/// Says something of the unit that this task works within, where there is one.
pub fn note(say: impl FnOnce(&mut Notes)) {
    if !is_on() {
        return;
    }
    if let Some(here) = here() {
        let mut parts = here.unit.0.lock().unwrap_or_else(PoisonError::into_inner);
        say(&mut parts.notes);
    }
}

/// Takes along where this task is, into work that another one will do.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    HERE.scope(here(), work)
}

/// The span that this task works within.
#[must_use]
pub fn current() -> Option<TraceContext> {
    here().map(|here| here.context)
}

fn here() -> Option<Here> {
    HERE.try_with(Clone::clone).ok().flatten()
}

/// Has a message name the span in which it is published.
pub fn stamp(headers: &mut HeaderMap) {
    if let Some(context) = is_on().then(current).flatten() {
        headers.insert(header::TRACEPARENT, context.to_string());
    }
}

/// What a message says of where it comes from; nothing where traces are off.
#[must_use]
pub fn stamped(headers: Option<&HeaderMap>) -> Option<TraceContext> {
    if !is_on() {
        return None;
    }
    let text = headers?.get(header::TRACEPARENT)?;
    text.as_str().parse().ok()
}

/// The id of a span that nobody has to know.
fn fresh() -> [u8; 8] {
    fastrand::u64(1..).to_be_bytes()
}

fn random_trace() -> [u8; 16] {
    fastrand::u128(1..).to_be_bytes()
}
