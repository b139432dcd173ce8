//! How much of tool outputs Claude sees: each is cut to its ends, and all of one conversation are bounded together. Of n outputs
//! it sees at most 200 KiB and n times 600 bytes (512, and the words in the place of what is cut), twice that for failures that
//! have a message and an output; before they are written as JSON.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::next::object;
use crate::{entry::ToolOutcome, ids::hex};

/// Longest text of one tool output that the model sees, in bytes; the whole stays on the journal.
const OUTPUT_SEEN_MAX: usize = 16 * 1024;
/// What the model sees of one output however much it has seen before, in bytes.
const OUTPUT_SEEN_MIN: usize = 512;
/// Outputs of one conversation together, in bytes, before they are cut to [`OUTPUT_SEEN_MIN`]: every turn pays for them again.
const OUTPUTS_SEEN_MAX: usize = 200 * 1024;
/// The share of what is left that one output may take.
const OUTPUT_SHARE: usize = 8;
/// Longest message of a failure that the model sees, in bytes.
const MESSAGE_SEEN_MAX: usize = 2 * 1024;

pub(super) fn outcome_text(outcome: &ToolOutcome, allowance: &mut Allowance) -> (String, bool) {
    match outcome {
        ToolOutcome::Ok {
            output: Value::String(text),
        } => (allowance.cut(text), false),
        ToolOutcome::Ok { output } => (allowance.shorten(output).to_string(), false),
        ToolOutcome::Failed {
            error,
            message,
            output,
        } => {
            let mut said = object([
                ("error", json!(error)),
                ("message", json!(allowance.message(message))),
            ]);
            if let Some(output) = output {
                said["output"] = allowance.shorten(output);
            }
            (said.to_string(), true)
        }
        ToolOutcome::Unknown { message } => {
            let text = format!(
                "It is unknown whether this happened, and it must not be repeated blindly: {}",
                allowance.message(message)
            );
            (
                object([("error", json!("unknown")), ("message", json!(text))]).to_string(),
                true,
            )
        }
    }
}

/// How much of the outputs of one conversation the model sees. What an output gets depends on those before it and on nothing
/// after, so that it is cut the same way in every later turn.
pub(super) struct Allowance {
    left: usize,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            left: OUTPUTS_SEEN_MAX,
        }
    }
}

impl Allowance {
    fn of_one(&self) -> usize {
        (self.left / OUTPUT_SHARE).clamp(OUTPUT_SEEN_MIN, OUTPUT_SEEN_MAX)
    }

    fn cut(&mut self, text: &str) -> String {
        let seen = cut(text, self.of_one());
        self.left = self.left.saturating_sub(seen.len());
        seen
    }

    fn message(&mut self, text: &str) -> String {
        let seen = cut(text, self.of_one().min(MESSAGE_SEEN_MAX));
        self.left = self.left.saturating_sub(seen.len());
        seen
    }

    pub(super) fn shorten(&mut self, value: &Value) -> Value {
        let seen = shorten(value, self.of_one());
        self.left = self.left.saturating_sub(seen.to_string().len());
        seen
    }
}

/// Cuts long texts inside a value, and the value itself if that was not enough.
pub(super) fn shorten(value: &Value, max: usize) -> Value {
    fn texts(value: &Value, max: usize) -> Value {
        match value {
            Value::String(text) => Value::String(cut(text, max)),
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| texts(item, max)).collect())
            }
            Value::Object(map) => Value::Object(
                map.iter()
                    .map(|(k, v)| (k.clone(), texts(v, max)))
                    .collect(),
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }
    let whole = value.to_string();
    if whole.len() <= max {
        return value.clone();
    }
    let shorter = texts(value, max / 4);
    if shorter.to_string().len() <= max {
        shorter
    } else {
        Value::String(cut(&whole, max))
    }
}

/// The beginning and the end of a text, with the digest of what is between: the whole stays on the journal.
fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let half = max / 2;
    let head = text.floor_char_boundary(half);
    let tail = text.ceil_char_boundary(text.len() - half);
    let missing = &text[head..tail];
    let digest = hex(&Sha256::digest(missing)[..8]);
    format!(
        "{}\n[… {} bytes cut, sha256 {digest} …]\n{}",
        &text[..head],
        missing.len(),
        &text[tail..]
    )
}
