//! What a gateway's work looks like in traces: see docs/telemetry.md. No event's data is in them.

use axum::{
    extract::{MatchedPath, Request},
    http::Method,
    response::Response,
};
use flotilla_common::{
    entry::Pin,
    event::Event,
    ids::RunId,
    io::telemetry::{
        attribute as named,
        span::{self, Span, SpanKind},
    },
    names::{header, stream},
    trace::TraceContext,
};

/// A request that may change something. Those that only look have no span: consoles and probes would drown all others.
pub(crate) fn request(request: &Request, route: Option<&MatchedPath>) -> Span {
    let method = request.method();
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(method) || !span::is_on() {
        return Span::default();
    }
    let sender = request.headers().get(header::TRACEPARENT);
    let sender = sender.and_then(|text| text.to_str().ok()?.parse().ok());
    let route = route.map_or("", MatchedPath::as_str);
    // A client may invent methods.
    let method = match method.as_str() {
        known @ ("POST" | "PUT" | "DELETE" | "PATCH") => known,
        _ => "_OTHER",
    };
    let mut span = Span::of_request(sender, || format!("{method} {route}"));
    span.note(|notes| {
        notes.set(named::HTTP_METHOD, method.to_owned());
        notes.set(named::HTTP_ROUTE, route.to_owned());
    });
    span
}

/// It is answered.
pub(crate) fn answered(mut span: Span, response: &Response) {
    let status = response.status();
    span.note(|notes| {
        notes.set(named::HTTP_STATUS, i64::from(status.as_u16()));
        if status.is_server_error() {
            notes.failed(status.as_str());
        }
    });
    span.end();
}

/// An event on its way to the stream.
pub(crate) fn publishing(event: &Event) -> Span {
    let mut span = Span::below(SpanKind::Producer, || format!("publish {}", event.kind));
    span.note(|notes| {
        notes.set(named::MESSAGING_SYSTEM, named::NATS);
        notes.set(named::MESSAGING_DESTINATION, stream::EVENTS);
        notes.set(named::MESSAGING_OPERATION, "send");
    });
    span
}

/// Which runs a request starts.
pub(crate) fn starts(runs: &[RunId]) {
    span::note(|notes| {
        for run in runs {
            notes.link(TraceContext::of_run(run, span::is_sampled(run)), "run");
        }
    });
}

/// Who sent an event: the message says it, or the event.
pub(crate) fn sender(published: Option<TraceContext>, event: &Event) -> Option<TraceContext> {
    if !span::is_on() {
        return None;
    }
    let own = || {
        event
            .extensions
            .get(header::TRACEPARENT)?
            .as_str()?
            .parse()
            .ok()
    };
    published.or_else(own)
}

/// A run's beginning.
pub(crate) fn start(run: &RunId, pin: &Pin, sender: Option<TraceContext>) -> Span {
    let mut span = Span::of_run(run, SpanKind::Consumer, || format!("start {}", pin.name));
    span.note(|notes| {
        notes.set(named::GEN_AI_WORKFLOW, pin.name.to_string());
        notes.set(named::GEN_AI_CONVERSATION, run.to_string());
        notes.set(named::VERSION, i64::from(pin.version));
        notes.set(named::MESSAGING_SYSTEM, named::NATS);
        notes.set(named::MESSAGING_DESTINATION, stream::EVENTS);
        notes.set(named::MESSAGING_OPERATION, "process");
        if let Some(sender) = sender {
            notes.link(sender, "sender");
        }
    });
    span
}
