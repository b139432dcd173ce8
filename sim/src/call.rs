//! One call, from its arrival to its ledger entry, and the body of its answer.

use crate::ledger::Entry;
use crate::server::Sim;
use crate::wire::Object;
use axum::body::Body;
use bytes::Bytes;
use futures_util::Stream;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Characters of the system prompt that the ledger keeps.
const TAIL: usize = 200;

/// A call in flight. However it ends, it is in the ledger afterwards: dropped before the last frame of its
/// answer, it stands there as not delivered, since a server learns that its client is gone by being dropped.
pub(crate) struct Call {
    sim: Arc<Sim>,
    entry: Option<Box<Entry>>,
    /// Empty unless bodies are kept: thousands of waiting calls would hold theirs for nothing.
    body: Bytes,
}

impl Call {
    pub(crate) fn begin(sim: &Arc<Sim>, request_id: String, body: &Bytes) -> Self {
        sim.ledger.begin();
        let now = Timestamp::now();
        let entry = Entry {
            at: format!("{now:.3}"),
            request_id,
            body_sha256: hex(&Sha256::digest(body)),
            started_ms: now.as_millisecond(),
            ..Entry::default()
        };
        Self {
            sim: Arc::clone(sim),
            entry: Some(Box::new(entry)),
            body: if sim.ledger.keeps_bodies() {
                body.clone()
            } else {
                Bytes::new()
            },
        }
    }

    /// The entry so far.
    pub(crate) fn note(&mut self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = &mut self.entry {
            change(entry);
        }
    }

    /// Takes what the ledger wants to know from a body, whether or not it is a valid request.
    pub(crate) fn describe(&mut self, body: &Object) {
        let messages = body.get("messages").and_then(Value::as_array);
        let turns = messages
            .into_iter()
            .flatten()
            .filter(|message| message.get("role") == Some(&"assistant".into()))
            .count();
        let system = match body.get("system") {
            Some(Value::String(text)) => tail(text),
            Some(Value::Array(blocks)) => {
                let texts = blocks
                    .iter()
                    .filter_map(|block| block.get("text")?.as_str());
                tail(&texts.collect::<Vec<_>>().join("\n"))
            }
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
                String::new()
            }
        };
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        self.note(|entry| {
            entry.model = text(body.get("model"));
            entry.user_id = text(
                body.get("metadata")
                    .and_then(|metadata| metadata.get("user_id")),
            );
            entry.stream = body.get("stream") == Some(&Value::Bool(true));
            entry.system_tail = system;
            entry.turns = turns;
        });
    }

    /// The answer as a response body, which makes the ledger entry when its last frame goes out.
    pub(crate) fn body(self, frames: Vec<Bytes>) -> Body {
        Body::from_stream(Frames {
            left: frames.into(),
            call: Some(self),
        })
    }

    fn end(&mut self, delivered: bool) {
        if let Some(mut entry) = self.entry.take() {
            entry.delivered = delivered;
            entry.finished_ms = Timestamp::now().as_millisecond();
            self.sim.log(&entry);
            self.sim
                .ledger
                .record(*entry, std::mem::take(&mut self.body));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(false);
    }
}

struct Frames {
    left: VecDeque<Bytes>,
    call: Option<Call>,
}

impl Stream for Frames {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.left.pop_front();
        // Before the last frame is on its way, so that its reader finds the entry.
        if self.left.is_empty()
            && let Some(mut call) = self.call.take()
        {
            call.end(true);
        }
        Poll::Ready(next.map(Ok))
    }
}

fn tail(text: &str) -> String {
    let start = text
        .char_indices()
        .rev()
        .nth(TAIL - 1)
        .map_or(0, |(at, _)| at);
    text[start..].to_owned()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
