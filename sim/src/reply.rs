//! The reply as it goes on the wire: one message, whole or as a stream of events.

use crate::cache::Use;
use crate::policy::UsageOverride;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

/// Bytes of a delta in a long answer.
const PIECE: usize = 64;

/// A content block of the answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    Thinking {
        text: String,
        signature: String,
    },
    Text(String),
    /// `input` is an object; of a cut one, the members that were whole.
    ToolUse {
        id: String,
        name: String,
        input: Value,
    },
    /// A block as it stands, of a kind that no client knows yet.
    Other(Value),
}

/// One server-sent event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) bytes: Bytes,
    /// Whether it carries a piece of the answer, which takes time to be made.
    pub(crate) delta: bool,
}

impl Event {
    /// One that carries nothing of the answer.
    pub(crate) fn other(bytes: Bytes) -> Self {
        Self {
            bytes,
            delta: false,
        }
    }

    fn of(data: &Value) -> Self {
        Self {
            bytes: event(data),
            delta: data
                .get("type")
                .is_some_and(|kind| kind == "content_block_delta"),
        }
    }
}

/// What the model answered.
#[derive(Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) parts: Vec<Part>,
    pub(crate) stop_reason: String,
    pub(crate) stop_sequence: Option<String>,
    /// Why it refused, if it did.
    pub(crate) refusal: Option<String>,
    pub(crate) output_tokens: u64,
}

/// `usage`, as the API reports it. All in tokens.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Usage {
    pub(crate) input_tokens: u64,
    pub(crate) cache_creation_input_tokens: u64,
    pub(crate) cache_read_input_tokens: u64,
    pub(crate) cache_creation: CacheCreation,
    pub(crate) output_tokens: u64,
    pub(crate) service_tier: &'static str,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct CacheCreation {
    pub(crate) ephemeral_5m_input_tokens: u64,
    pub(crate) ephemeral_1h_input_tokens: u64,
}

impl Usage {
    /// Adds up a prompt of `prompt` tokens, what the cache did for it, and the answer.
    pub(crate) fn new(prompt: u64, used: &Use, output: u64, over: Option<&UsageOverride>) -> Self {
        let mut usage = Self {
            input_tokens: prompt - used.read - used.written(),
            cache_creation_input_tokens: used.written(),
            cache_read_input_tokens: used.read,
            cache_creation: CacheCreation {
                ephemeral_5m_input_tokens: used.written_5m,
                ephemeral_1h_input_tokens: used.written_1h,
            },
            output_tokens: output,
            service_tier: "standard",
        };
        if let Some(over) = over {
            usage.input_tokens = over.input_tokens.unwrap_or(usage.input_tokens);
            usage.output_tokens = over.output_tokens.unwrap_or(usage.output_tokens);
            usage.cache_read_input_tokens = over
                .cache_read_input_tokens
                .unwrap_or(usage.cache_read_input_tokens);
            if let Some(written) = over.cache_creation_input_tokens {
                usage.cache_creation_input_tokens = written;
                usage.cache_creation = CacheCreation {
                    ephemeral_5m_input_tokens: written,
                    ephemeral_1h_input_tokens: 0,
                };
            }
        }
        usage
    }
}

impl Part {
    fn json(&self) -> Value {
        match self {
            Self::Thinking { text, signature } => {
                json!({"type": "thinking", "thinking": text, "signature": signature})
            }
            Self::Text(text) => json!({"type": "text", "text": text}),
            Self::ToolUse { id, name, input } => {
                json!({"type": "tool_use", "id": id, "name": name, "input": input})
            }
            Self::Other(block) => block.clone(),
        }
    }
}

impl Reply {
    /// Names of the tools used, in order.
    pub(crate) fn tools_used(&self) -> Vec<String> {
        let name = |part: &Part| match part {
            Part::ToolUse { name, .. } => Some(name.clone()),
            Part::Thinking { .. } | Part::Text(_) | Part::Other(_) => None,
        };
        self.parts.iter().filter_map(name).collect()
    }

    fn stop_details(&self) -> Value {
        self.refusal.as_ref().map_or(
            Value::Null,
            |words| json!({"type": "refusal", "category": null, "explanation": words}),
        )
    }

    /// The whole message.
    pub(crate) fn message(&self, id: &str, model: &str, usage: &Usage) -> Value {
        json!({
            "id": id,
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": self.parts.iter().map(Part::json).collect::<Vec<_>>(),
            "stop_reason": self.stop_reason,
            "stop_sequence": self.stop_sequence,
            "stop_details": self.stop_details(),
            "usage": usage,
        })
    }

    /// The same as server-sent events.
    pub(crate) fn events(&self, id: &str, model: &str, usage: &Usage) -> Vec<Event> {
        let begun = Usage {
            output_tokens: usage.output_tokens.min(1),
            ..usage.clone()
        };
        let mut message = self.message(id, model, &begun);
        for (key, value) in [
            ("content", json!([])),
            ("stop_reason", Value::Null),
            ("stop_sequence", Value::Null),
            ("stop_details", Value::Null),
        ] {
            message[key] = value;
        }
        let mut events = vec![Event::of(
            &json!({"type": "message_start", "message": message}),
        )];
        for (index, part) in self.parts.iter().enumerate() {
            part_events(index, part, &mut events);
            if index == 0 {
                events.insert(2, Event::of(&json!({"type": "ping"})));
            }
        }
        events.push(Event::of(&json!({
            "type": "message_delta",
            "delta": {"stop_reason": self.stop_reason, "stop_sequence": self.stop_sequence, "stop_details": self.stop_details()},
            "usage": {
                "input_tokens": usage.input_tokens,
                "cache_creation_input_tokens": usage.cache_creation_input_tokens,
                "cache_read_input_tokens": usage.cache_read_input_tokens,
                "output_tokens": usage.output_tokens,
            },
        })));
        events.push(Event::of(&json!({"type": "message_stop"})));
        events
    }
}

fn part_events(index: usize, part: &Part, events: &mut Vec<Event>) {
    let (start, kind, field, whole) = match part {
        Part::Thinking { text, .. } => (
            json!({"type": "thinking", "thinking": "", "signature": ""}),
            "thinking_delta",
            "thinking",
            text.clone(),
        ),
        Part::Text(text) => (
            json!({"type": "text", "text": ""}),
            "text_delta",
            "text",
            text.clone(),
        ),
        Part::ToolUse { id, name, input } => (
            json!({"type": "tool_use", "id": id, "name": name, "input": {}}),
            "input_json_delta",
            "partial_json",
            input.to_string(),
        ),
        Part::Other(block) => (block.clone(), "", "", String::new()),
    };
    events.push(Event::of(
        &json!({"type": "content_block_start", "index": index, "content_block": start}),
    ));
    for piece in pieces(&whole) {
        events.push(Event::of(&json!({"type": "content_block_delta", "index": index, "delta": {"type": kind, field: piece}})));
    }
    if let Part::Thinking { signature, .. } = part {
        events.push(Event::of(&json!({"type": "content_block_delta", "index": index, "delta": {"type": "signature_delta", "signature": signature}})));
    }
    events.push(Event::of(
        &json!({"type": "content_block_stop", "index": index}),
    ));
}

/// A text in pieces, cut between characters: at most four, or of about [`PIECE`] bytes.
fn pieces(whole: &str) -> Vec<&str> {
    let size = whole.len().div_ceil(4).clamp(1, PIECE);
    let mut pieces = Vec::new();
    let mut rest = whole;
    while !rest.is_empty() {
        let cut = (size..rest.len())
            .find(|at| rest.is_char_boundary(*at))
            .unwrap_or(rest.len());
        let (piece, after) = rest.split_at(cut);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// The event as it goes on the wire.
pub(crate) fn event(data: &Value) -> Bytes {
    let name = data.get("type").and_then(Value::as_str).unwrap_or_default();
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_put_together_are_the_whole() {
        for text in [
            "",
            "a",
            "äöü",
            "a longer text with ünïcode in it",
            "{\"a\":1}",
        ] {
            let pieces = pieces(text);
            assert!(pieces.len() <= 4);
            assert_eq!(pieces.concat(), text);
        }
    }

    #[test]
    fn overridden_usage_keeps_its_sums() {
        let over = UsageOverride {
            cache_creation_input_tokens: Some(7),
            ..UsageOverride::default()
        };
        let usage = Usage::new(100, &Use::default(), 5, Some(&over));
        assert_eq!(
            (
                usage.input_tokens,
                usage.cache_creation.ephemeral_5m_input_tokens
            ),
            (100, 7)
        );
    }
}
