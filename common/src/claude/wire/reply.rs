//! What comes back: a message, why it stopped, and its tool uses.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Usage;

/// A reply. Fields that are not listed are ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Message id.
    #[serde(default)]
    pub id: String,
    /// The model that spoke.
    pub model: String,
    /// Content blocks, as received.
    pub content: Vec<Value>,
    /// Why it stopped.
    #[serde(default)]
    pub stop_reason: StopReason,
    /// More about a refusal, as received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_details: Option<Value>,
    /// What is billed.
    pub usage: Usage,
}

/// Why the model stopped; a reason we do not know survives as its text.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Option<String>", into = "String")]
pub enum StopReason {
    /// It was done.
    EndTurn,
    /// It hit `max_tokens`: a cut tool use is no decision.
    MaxTokens,
    /// A stop sequence.
    StopSequence,
    /// It wants a tool used.
    ToolUse,
    /// Send the content back and go on.
    PauseTurn,
    /// It will not.
    Refusal,
    /// The prompt fills its window.
    ContextExceeded,
    /// One that this version does not know.
    Other(String),
    /// The reply names none.
    #[default]
    None,
}

impl From<Option<String>> for StopReason {
    fn from(text: Option<String>) -> Self {
        match text.as_deref() {
            Some("end_turn") => Self::EndTurn,
            Some("max_tokens") => Self::MaxTokens,
            Some("stop_sequence") => Self::StopSequence,
            Some("tool_use") => Self::ToolUse,
            Some("pause_turn") => Self::PauseTurn,
            Some("refusal") => Self::Refusal,
            Some("model_context_window_exceeded") => Self::ContextExceeded,
            Some("") | None => Self::None,
            Some(other) => Self::Other(other.to_owned()),
        }
    }
}

impl From<StopReason> for String {
    fn from(reason: StopReason) -> Self {
        match reason {
            StopReason::EndTurn => "end_turn".into(),
            StopReason::MaxTokens => "max_tokens".into(),
            StopReason::StopSequence => "stop_sequence".into(),
            StopReason::ToolUse => "tool_use".into(),
            StopReason::PauseTurn => "pause_turn".into(),
            StopReason::Refusal => "refusal".into(),
            StopReason::ContextExceeded => "model_context_window_exceeded".into(),
            StopReason::Other(text) => text,
            StopReason::None => String::new(),
        }
    }
}

/// A tool use block.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolUse<'a> {
    /// Its id, which the result names.
    pub id: &'a str,
    /// The tool.
    pub name: &'a str,
    /// The input.
    pub input: &'a Value,
}

impl Reply {
    /// The tool uses, in order.
    #[must_use]
    pub fn tool_uses(&self) -> Vec<ToolUse<'_>> {
        tool_uses(&self.content)
    }

    /// All text blocks, one after the other.
    #[must_use]
    pub fn text(&self) -> String {
        let texts = self.content.iter().filter(|block| block["type"] == "text");
        texts.filter_map(|block| block["text"].as_str()).collect()
    }
}

/// The tool uses among content blocks, in order.
pub(crate) fn tool_uses(content: &[Value]) -> Vec<ToolUse<'_>> {
    let uses = content.iter().filter(|block| block["type"] == "tool_use");
    uses.filter_map(|block| {
        Some(ToolUse {
            id: block["id"].as_str()?,
            name: block["name"].as_str()?,
            input: block.get("input")?,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_blocks_and_reasons_survive() -> Result<(), serde_json::Error> {
        let text = r#"{"id":"m","model":"x","content":[{"type":"new","z":1,"a":[2.50]},{"type":"tool_use","id":"t","name":"n","input":{}}],
            "stop_reason":"brand_new","usage":{"input_tokens":1,"cache_read_input_tokens":null,"output_tokens":2,"later":{}}}"#;
        let reply: Reply = serde_json::from_str(text)?;
        assert_eq!(reply.stop_reason, StopReason::Other("brand_new".into()));
        assert_eq!(reply.tool_uses().len(), 1);
        assert_eq!(
            serde_json::to_string(&reply.content[0])?,
            r#"{"type":"new","z":1,"a":[2.5]}"#
        );
        let again: Reply = serde_json::from_str(&serde_json::to_string(&reply)?)?;
        assert_eq!(again, reply);
        Ok(())
    }
}
