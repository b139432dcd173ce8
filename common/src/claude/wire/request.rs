//! What is sent: a request and the sizes that are known of it before it is answered.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A request. `messages` comes last and grows only at its end, so that a later turn's bytes start with an earlier one's.
/// What is not set is not sent.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Model id.
    pub model: String,
    /// Largest answer, in tokens; thinking counts.
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
    /// Whether it thinks before it answers; a forced tool may not go with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<Thinking>,
    /// How hard it tries, and the shape of its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_config: Option<OutputConfig>,
    /// Texts that end the answer.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub stop_sequences: Vec<String>,
    /// Whether capacity bought beforehand may serve it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<ServiceTier>,
    /// Where it is computed (`us`, `global`). A place can have prices of its own; the table of models must hold those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inference_geo: Option<String>,
    /// Whether the answer comes as a stream of events.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub stream: bool,
    /// The menu.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub tools: Vec<Tool>,
    /// The system prompt.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub system: Vec<SystemBlock>,
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
}

impl Request {
    /// Size of its JSON, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let mut size = Size(0);
        // A sink takes everything, so this cannot fail; if it did, a size that no budget allows is the safe answer.
        serde_json::to_writer(&mut size, self).map_or(u64::MAX, |()| size.0)
    }

    /// Takes out all that asks for prompt caching. Blocks of messages have no cache points of ours: the one at the top level
    /// stands for theirs.
    pub fn drop_cache_points(&mut self) {
        self.cache_control = None;
        for tool in &mut self.tools {
            tool.cache_control = None;
        }
        for SystemBlock::Text { cache_control, .. } in &mut self.system {
            *cache_control = None;
        }
    }
}

/// Counts what is written to it.
struct Size(u64);

impl io::Write for Size {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the provider adds to a prompt, in tokens: a system prompt for tool use (its page on tool use names 159 to 804, by
/// model and tool choice) and one for structured output (a few hundred). Rounded up generously.
const ADDED_TOKENS_MAX: u64 = 2_000;

/// The most input tokens that a request of so many bytes of JSON can be billed: a token is at least one byte, and JSON is
/// never shorter than the text in it. It holds for text and tools; an image is billed by its pixels, which no byte count
/// bounds.
#[must_use]
pub fn request_tokens_max(bytes: u64) -> u64 {
    bytes.saturating_add(ADDED_TOKENS_MAX)
}

/// About how many tokens so many bytes of JSON are, at 3.5 bytes each (English prose has about 4, JSON about 3): for rate
/// limits, never for money.
#[must_use]
pub fn tokens_estimate(bytes: u64) -> u64 {
    bytes.saturating_mul(2).div_ceil(7)
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
    /// It lives from its last use for so long.
    Ephemeral {
        /// How long; five minutes if not said.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        ttl: Option<CacheTtl>,
    },
}

impl CacheControl {
    /// Five minutes, refreshed by use; what the provider does if no time is said.
    pub const FIVE_MINUTES: Self = Self::Ephemeral { ttl: None };
    /// One hour, refreshed by use; writing costs more.
    pub const ONE_HOUR: Self = Self::Ephemeral {
        ttl: Some(CacheTtl::OneHour),
    };
}

/// How long a prompt cache entry lives unused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheTtl {
    /// Five minutes.
    #[serde(rename = "5m")]
    FiveMinutes,
    /// One hour.
    #[serde(rename = "1h")]
    OneHour,
}

/// How the model may use tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToolChoice {
    /// As it likes.
    Auto {
        /// At most one tool use.
        #[serde(default)]
        disable_parallel_tool_use: bool,
    },
    /// One of the menu.
    Any {
        /// Exactly one tool use.
        #[serde(default)]
        disable_parallel_tool_use: bool,
    },
    /// This one.
    Tool {
        /// Its name.
        name: String,
        /// Exactly one tool use.
        #[serde(default)]
        disable_parallel_tool_use: bool,
    },
    /// None of them.
    None,
}

/// Whether the model thinks before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Thinking {
    /// As much as it sees fit.
    Adaptive,
    /// Up to a budget.
    Enabled {
        /// In tokens: at least 1,024 and less than `max_tokens`.
        budget_tokens: u32,
    },
    /// Not.
    Disabled,
}

/// What is asked of the output.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputConfig {
    /// How hard it tries.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub effort: Option<Effort>,
    /// The shape of its text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub format: Option<OutputFormat>,
}

/// How hard the model tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// Fewest tokens.
    Low,
    /// Fewer tokens.
    Medium,
    /// The provider's default.
    High,
    /// More tokens.
    XHigh,
    /// As many as it takes.
    Max,
}

/// The shape of the text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OutputFormat {
    /// JSON by a schema.
    JsonSchema {
        /// The schema.
        schema: Value,
    },
}

/// Whether capacity bought beforehand may serve a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceTier {
    /// If there is any left.
    Auto,
    /// Never.
    StandardOnly,
}

/// A tool as the model sees it.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Name.
    pub name: String,
    /// What it does and when to use it.
    pub description: String,
    /// JSON Schema of an object.
    pub input_schema: Value,
    /// Whether the provider holds the model to the schema.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub strict: bool,
    /// A cache point after this tool.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cache_control: Option<CacheControl>,
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

#[cfg(test)]
mod tests;
