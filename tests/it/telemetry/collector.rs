//! A collector, as OpenTelemetry's protocol has it, and a tool beside it that says which trace it was called in.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use flotilla_tests::{PATIENCE, eventually};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
    trace::v1 as wire,
};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// What the tool answers.
pub(crate) const OUTPUT: &str = "the-output-of-the-tool";

#[derive(Debug, Default)]
struct Seen {
    spans: Vec<Span>,
    bytes: Vec<u8>,
    called: Vec<String>,
    keys: Vec<String>,
}

/// A running collector.
pub(crate) struct Collector {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    server: JoinHandle<()>,
}

/// A span as it came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) instance: String,
    pub(crate) name: String,
    pub(crate) kind: wire::span::SpanKind,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for a root.
    pub(crate) parent: String,
    pub(crate) attributes: BTreeMap<String, Value>,
    pub(crate) links: Vec<Link>,
    pub(crate) failed: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Link {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) attributes: BTreeMap<String, Value>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let app = Router::new()
            .route("/v1/traces", post(take))
            .route("/act", post(act))
            .with_state(Arc::clone(&seen));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            seen,
            server,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.seen.lock().unwrap().spans.clone()
    }

    /// All that came, as it came.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.seen.lock().unwrap().bytes.clone()
    }

    /// The trace contexts that the tool was called with.
    pub(crate) fn called(&self) -> Vec<String> {
        self.seen.lock().unwrap().called.clone()
    }

    /// What spans were sent with as their key.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.seen.lock().unwrap().keys.clone()
    }

    /// The spans of a trace, once there are such as these.
    pub(crate) async fn trace(&self, trace: &str, wanted: &[&str]) -> Vec<Span> {
        eventually("the spans have come", PATIENCE, async || {
            let mut spans = self.spans();
            spans.retain(|span| span.trace == trace);
            let names: Vec<_> = spans.iter().map(|span| span.name.clone()).collect();
            let is_there = |name: &&str| names.iter().any(|other| other == name);
            if wanted.iter().all(is_there) {
                Ok(spans)
            } else {
                Err(names)
            }
        })
        .await
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(
    State(seen): State<Arc<Mutex<Seen>>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, [(&'static str, &'static str); 1]) {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
    let mut seen = seen.lock().unwrap();
    seen.bytes.extend_from_slice(&body);
    if let Some(key) = headers.get("x-key") {
        seen.keys.push(key.to_str().unwrap().to_owned());
    }
    for of_resource in request.resource_spans {
        let resource = attributes(of_resource.resource.unwrap().attributes);
        let text = |name: &str| resource[name].as_str().unwrap().to_owned();
        let spans = of_resource.scope_spans.into_iter();
        for span in spans.flat_map(|of_scope| of_scope.spans) {
            seen.spans.push(Span {
                service: text("service.name"),
                instance: text("service.instance.id"),
                kind: span.kind(),
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                attributes: attributes(span.attributes),
                links: span.links.into_iter().map(link).collect(),
                failed: span.status.is_some_and(|status| status.code == 2),
            });
        }
    }
    (StatusCode::OK, [("content-type", "application/x-protobuf")])
}

async fn act(State(seen): State<Arc<Mutex<Seen>>>, headers: HeaderMap) -> Json<Value> {
    let trace = headers["traceparent"].to_str().unwrap().to_owned();
    seen.lock().unwrap().called.push(trace);
    Json(json!({ "said": OUTPUT }))
}

fn link(link: wire::span::Link) -> Link {
    Link {
        trace: hex(&link.trace_id),
        id: hex(&link.span_id),
        attributes: attributes(link.attributes),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, Value> {
    let count = pairs.len();
    let pairs = pairs.into_iter();
    let all: BTreeMap<_, _> = pairs.map(|pair| (pair.key, value(pair.value))).collect();
    assert_eq!(all.len(), count, "none is there twice: {all:?}");
    all
}

fn value(of: Option<AnyValue>) -> Value {
    match of.and_then(|of| of.value) {
        Some(any_value::Value::StringValue(text)) => text.into(),
        Some(any_value::Value::IntValue(number)) => number.into(),
        Some(any_value::Value::DoubleValue(number)) => number.into(),
        Some(any_value::Value::BoolValue(is)) => is.into(),
        Some(any_value::Value::ArrayValue(list)) => {
            let values = list.values.into_iter().map(|one| value(Some(one)));
            values.collect()
        }
        other => panic!("{other:?}"),
    }
}
