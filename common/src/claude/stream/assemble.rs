//! Events put together to the message that a plain reply would have been.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Reply, SseEvent, StreamError, Usage};
use crate::claude::StopReason;

/// Largest reply that is kept, in bytes of what its events brought.
const REPLY_BYTES_MAX: usize = 8 << 20;

/// Names of the events that are read.
const OURS: [&str; 7] = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "error",
];

/// The events that make a message, by the SDK's `RawMessageStreamEvent`. Others (`ping`, and what is still to be invented) are
/// passed over.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Map<String, Value>,
    },
    ContentBlockStart {
        index: usize,
        content_block: Map<String, Value>,
    },
    ContentBlockDelta {
        index: usize,
        delta: Value,
    },
    ContentBlockStop {
        index: usize,
    },
    MessageDelta {
        delta: Map<String, Value>,
        #[serde(default)]
        usage: Map<String, Value>,
    },
    MessageStop,
    Error {
        error: Fault,
    },
    #[serde(other)]
    Passed,
}

#[derive(Deserialize)]
struct Fault {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    message: String,
}

/// A message while it comes in.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    message: Option<Map<String, Value>>,
    usage: Option<Usage>,
    blocks: Vec<Block>,
    bytes: usize,
}

#[derive(Debug)]
struct Block {
    value: Map<String, Value>,
    /// JSON of a tool's input, so far.
    input: String,
    ended: bool,
    /// Its input is no JSON: the answer was cut off in the middle of it.
    broken: bool,
}

fn malformed(why: impl Into<String>) -> StreamError {
    StreamError::Malformed(why.into())
}

impl Assembly {
    /// Takes an event; gives the reply with the last one.
    pub(super) fn take(&mut self, event: &SseEvent) -> Result<Option<Reply>, StreamError> {
        let read = match serde_json::from_str(&event.data) {
            Ok(read) => read,
            // One that is not of the message may hold anything.
            Err(_) if !(event.name.is_empty() || OURS.contains(&event.name.as_str())) => {
                return Ok(None);
            }
            Err(error) => return Err(malformed(format!("event `{}`: {error}", event.name))),
        };
        match read {
            Event::MessageStart { message } => {
                self.keep(event.data.len())?;
                if self.message.is_some() {
                    return Err(malformed("it begins twice"));
                }
                self.usage = usage_of(&message);
                self.message = Some(message);
            }
            Event::ContentBlockStart {
                index,
                content_block,
            } => {
                self.keep(event.data.len())?;
                self.begun()?;
                if index != self.blocks.len() {
                    return Err(malformed(format!("block {index} is out of its order")));
                }
                self.blocks.push(Block {
                    value: content_block,
                    input: String::new(),
                    ended: false,
                    broken: false,
                });
            }
            Event::ContentBlockDelta { index, delta } => {
                let kept = self.open(index)?.grow(&delta)?;
                self.keep(kept)?;
            }
            Event::ContentBlockStop { index } => self.open(index)?.end(),
            Event::MessageDelta { delta, usage } => {
                self.keep(event.data.len())?;
                let message = self.begun()?;
                message.extend(delta);
                if let Value::Object(known) =
                    message.entry("usage").or_insert(Value::Object(Map::new()))
                {
                    // Totals: what is not told keeps the value of the first event.
                    known.extend(usage.into_iter().filter(|(_, value)| !value.is_null()));
                }
                self.usage = usage_of(message).or(self.usage);
            }
            Event::MessageStop => return self.finish().map(Some),
            Event::Error { error } => {
                return Err(StreamError::Fault {
                    kind: error.kind,
                    message: error.message,
                });
            }
            Event::Passed => {}
        }
        Ok(None)
    }

    /// What the first event and those since say of the bill.
    pub(super) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    fn keep(&mut self, bytes: usize) -> Result<(), StreamError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > REPLY_BYTES_MAX {
            return Err(StreamError::TooLarge(REPLY_BYTES_MAX));
        }
        Ok(())
    }

    fn begun(&mut self) -> Result<&mut Map<String, Value>, StreamError> {
        self.message
            .as_mut()
            .ok_or_else(|| malformed("it does not begin with `message_start`"))
    }

    fn open(&mut self, index: usize) -> Result<&mut Block, StreamError> {
        self.blocks
            .get_mut(index)
            .filter(|block| !block.ended)
            .ok_or_else(|| malformed(format!("block {index} is not open")))
    }

    fn finish(&mut self) -> Result<Reply, StreamError> {
        let mut message = std::mem::take(self.begun()?);
        if self.blocks.iter().any(|block| !block.ended) {
            return Err(malformed("a block has no end"));
        }
        let broken = self.blocks.iter().any(|block| block.broken);
        let blocks = std::mem::take(&mut self.blocks).into_iter();
        let content = blocks.map(|block| Value::Object(block.value)).collect();
        // In its place, where the order of the keys is that of a plain reply.
        message.insert("content".into(), Value::Array(content));
        let reply: Reply = Reply::deserialize(Value::Object(message))
            .map_err(|error| malformed(error.to_string()))?;
        if broken && !may_be_cut(&reply.stop_reason) {
            return Err(malformed("a tool's input is not JSON"));
        }
        Ok(reply)
    }
}

fn usage_of(message: &Map<String, Value>) -> Option<Usage> {
    Usage::deserialize(message.get("usage")?).ok()
}

/// Whether an answer that stopped like this can end in the middle of a tool's input.
fn may_be_cut(reason: &StopReason) -> bool {
    match reason {
        StopReason::MaxTokens | StopReason::ContextExceeded | StopReason::Refusal => true,
        StopReason::EndTurn
        | StopReason::StopSequence
        | StopReason::ToolUse
        | StopReason::PauseTurn
        | StopReason::Other(_)
        | StopReason::None => false,
    }
}

impl Block {
    /// Adds a delta; gives how many bytes it kept. One that is not known adds nothing.
    fn grow(&mut self, delta: &Value) -> Result<usize, StreamError> {
        let part = |key: &str| {
            let text = delta.get(key).and_then(Value::as_str);
            text.ok_or_else(|| malformed(format!("a delta has no text in `{key}`")))
        };
        match delta.get("type").and_then(Value::as_str) {
            Some("text_delta") => self.append("text", part("text")?),
            Some("thinking_delta") => self.append("thinking", part("thinking")?),
            Some("input_json_delta") => {
                let json = part("partial_json")?;
                self.input.push_str(json);
                Ok(json.len())
            }
            // Whole, at the end of its block: not a part of one.
            Some("signature_delta") => {
                let signature = part("signature")?;
                self.value.insert("signature".into(), signature.into());
                Ok(signature.len())
            }
            Some("citations_delta") => {
                let citation = delta.get("citation").cloned().unwrap_or_default();
                let kept = citation.to_string().len();
                let citations = self.value.entry("citations").or_insert(Value::Null);
                match citations.as_array_mut() {
                    Some(citations) => citations.push(citation),
                    None => *citations = Value::Array(vec![citation]),
                }
                Ok(kept)
            }
            Some(_) | None => Ok(0),
        }
    }

    fn append(&mut self, key: &str, part: &str) -> Result<usize, StreamError> {
        let text = self
            .value
            .entry(key)
            .or_insert_with(|| Value::String(String::new()));
        let Value::String(text) = text else {
            return Err(malformed(format!("a block's `{key}` is no text")));
        };
        text.push_str(part);
        Ok(part.len())
    }

    fn end(&mut self) {
        self.ended = true;
        // Without a delta, the input is what the block began with.
        if !self.input.is_empty() {
            match serde_json::from_str(&self.input) {
                Ok(input) => {
                    self.value.insert("input".into(), input);
                }
                Err(_) => self.broken = true,
            }
            self.input = String::new();
        }
    }
}
