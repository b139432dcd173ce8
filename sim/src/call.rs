//! One call, from its arrival to its ledger entry.

use crate::latency::Timing;
use crate::ledger::Entry;
use crate::limits::Ticket;
use crate::models::{self, Model};
use crate::price;
use crate::server::Sim;
use crate::wire::Object;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

/// Characters of the system prompt that the ledger keeps.
const TAIL: usize = 200;

/// A call in flight. However it ends, it is in the ledger afterwards: dropped before the last frame of its
/// answer, it stands there as not delivered, since a server learns that its client is gone by being dropped.
pub(crate) struct Call {
    sim: Arc<Sim>,
    entry: Option<Box<Entry>>,
    /// Empty unless bodies are kept: thousands of waiting calls would hold theirs for nothing.
    body: Bytes,
    pub(crate) digest: [u8; 32],
    began: Instant,
    /// How the answer comes about, once there is one.
    timing: Timing,
    /// The part of it that went out, once any did.
    sent: Option<f64>,
    ticket: Option<Ticket>,
}

impl Call {
    pub(crate) fn begin(sim: &Arc<Sim>, request_id: String, body: &Bytes) -> Self {
        sim.ledger.begin();
        let now = Timestamp::now();
        let digest = Sha256::digest(body);
        let entry = Entry {
            at: format!("{now:.3}"),
            request_id,
            body_sha256: hex(&digest),
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
            digest: digest.into(),
            began: Instant::now(),
            timing: Timing::default(),
            sent: None,
            ticket: None,
        }
    }

    /// The entry so far.
    pub(crate) fn note(&mut self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = &mut self.entry {
            change(entry);
        }
    }

    /// The model it asks for, if there is one of that name.
    pub(crate) fn model(&self) -> Option<&'static Model> {
        let entry = self.entry.as_ref()?;
        models::find(entry.model.as_deref()?)
    }

    /// It was let in, and its answer will take so long.
    pub(crate) fn let_in(&mut self, ticket: Option<Ticket>, timing: Timing) {
        self.ticket = ticket;
        self.timing = timing;
    }

    /// That part of the answer is out, 0 to 1.
    pub(crate) fn sent(&mut self, part: f64) {
        self.sent = Some(part);
        let tokens = self.output(part);
        if let Some(ticket) = &mut self.ticket {
            let limiter = &self.sim.control.limiter;
            limiter.produced(ticket, tokens, false, Instant::now());
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
        let metadata = body.get("metadata").filter(|value| value.is_object());
        self.note(|entry| {
            entry.model = text(body.get("model"));
            entry.user_id = text(metadata.and_then(|metadata| metadata.get("user_id")));
            entry.metadata = metadata.cloned();
            entry.stream = body.get("stream") == Some(&Value::Bool(true));
            entry.system_tail = system;
            entry.turns = turns;
        });
    }

    /// Output tokens in that part of the answer.
    fn output(&self, part: f64) -> u64 {
        let usage = self.entry.as_ref().and_then(|entry| entry.usage.as_ref());
        usage.map_or(0, |usage| {
            (usage.output_tokens as f64 * part).round() as u64
        })
    }

    /// The end of it. `delivered`: the client has the whole answer. Of one that it has not, what was produced by then
    /// is paid.
    pub(crate) fn end(&mut self, delivered: bool) {
        let written = || self.timing.part_after(self.began.elapsed());
        let part = if delivered {
            1.0
        } else {
            self.sent.unwrap_or_else(written)
        };
        let output = self.output(part);
        let model = self.model();
        let Some(mut entry) = self.entry.take() else {
            return;
        };
        if let Some(ticket) = &mut self.ticket {
            let limiter = &self.sim.control.limiter;
            limiter.produced(ticket, output, true, Instant::now());
        }
        if let Some(usage) = &mut entry.usage {
            usage.output_tokens = output;
            entry.usd_nano = model.map_or(0, |model| price::of(model, usage, entry.batch));
        }
        entry.delivered = delivered;
        entry.finished_ms = Timestamp::now().as_millisecond();
        self.sim.log(&entry);
        self.sim
            .ledger
            .record(*entry, std::mem::take(&mut self.body));
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(false);
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
