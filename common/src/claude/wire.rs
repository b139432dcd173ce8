//! Shapes of `POST /v1/messages`, from the official Python SDK 2.11. Content blocks stay JSON values: unknown ones survive,
//! and an assistant turn goes back exactly as it came, or its prompt cache would miss.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A request. `messages` comes last and grows only at its end, so that a later turn's bytes start with an earlier one's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Model id.
    pub model: String,
    /// Largest answer, in tokens.
    pub max_tokens: u32,
    /// Who asks (the run): for the provider's abuse tracing, and for ledgers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// Top level: the cache point that moves with the conversation's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<CacheControl>,
    /// Whether a tool must be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice>,
    /// The menu.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub tools: Vec<Tool>,
    /// The system prompt.
    pub system: Vec<SystemBlock>,
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
}

/// `metadata` of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// An opaque id.
    pub user_id: String,
}

/// A prompt cache point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CacheControl {
    /// Five minutes, refreshed by use.
    Ephemeral,
}

/// How the model may use tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToolChoice {
    /// One of the menu.
    Any {
        /// Exactly one tool use.
        disable_parallel_tool_use: bool,
    },
    /// This one.
    Tool {
        /// Its name.
        name: String,
        /// Exactly one tool use.
        disable_parallel_tool_use: bool,
    },
}

/// A tool as the model sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Name.
    pub name: String,
    /// What it does and when to use it.
    pub description: String,
    /// JSON Schema of an object.
    pub input_schema: Value,
}

/// A block of the system prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SystemBlock {
    /// Text.
    Text {
        /// The text.
        text: String,
        /// A cache point after this block.
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// We.
    User,
    /// The model.
    Assistant,
}

/// One turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// Content blocks, as on the wire.
    pub content: Vec<Value>,
}

/// A text block.
#[must_use]
pub fn text_block(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// The answer to a tool use.
#[must_use]
pub fn tool_result(tool_use_id: &str, content: &str, is_error: bool) -> Value {
    if is_error {
        json!({"type": "tool_result", "tool_use_id": tool_use_id, "content": content, "is_error": true})
    } else {
        json!({"type": "tool_result", "tool_use_id": tool_use_id, "content": content})
    }
}

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

/// Tokens of a call. The prompt's size is the sum of the three kinds of input.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Input that was neither read from nor written to the cache.
    #[serde(default)]
    pub input_tokens: u64,
    /// Input written to the cache.
    #[serde(default, deserialize_with = "nullable")]
    pub cache_creation_input_tokens: u64,
    /// Input read from the cache.
    #[serde(default, deserialize_with = "nullable")]
    pub cache_read_input_tokens: u64,
    /// Output, all that is billed.
    #[serde(default)]
    pub output_tokens: u64,
}

// The SDK types the cache counters as nullable.
fn nullable<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.unwrap_or(0))
}

impl Usage {
    /// The whole prompt, in tokens.
    #[must_use]
    pub fn prompt_tokens(&self) -> u64 {
        self.input_tokens
            .saturating_add(self.cache_creation_input_tokens)
            .saturating_add(self.cache_read_input_tokens)
    }
}

impl std::ops::Add for Usage {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            cache_creation_input_tokens: self
                .cache_creation_input_tokens
                .saturating_add(other.cache_creation_input_tokens),
            cache_read_input_tokens: self
                .cache_read_input_tokens
                .saturating_add(other.cache_read_input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
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
