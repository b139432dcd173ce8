//! The request as it stands on the wire, in types shared with no client under test. They are read in [`crate::read`].

use crate::models::Model;
use crate::thinking::Thinking;
use serde_json::{Map, Value};

/// A JSON object as it came: its keys keep their order, because a prompt cache sees it.
pub(crate) type Object = Map<String, Value>;

/// A request whose shape is right. Rules across its parts are checked in [`crate::validate`].
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) model: &'static Model,
    /// 0 writes the prompt cache and answers nothing.
    pub(crate) max_tokens: u64,
    /// The system prompt's blocks; a string counts as one text block.
    pub(crate) system: Vec<Block>,
    /// Turns in order; consecutive messages of one role are one turn.
    pub(crate) turns: Vec<Turn>,
    pub(crate) tools: Vec<Tool>,
    pub(crate) choice: Choice,
    pub(crate) stop_sequences: Vec<String>,
    pub(crate) stream: bool,
    /// `metadata.user_id`.
    pub(crate) user_id: Option<String>,
    /// Top-level `cache_control`: a breakpoint on the last block that can have one.
    pub(crate) auto_cache: Option<Ttl>,
    /// `thinking`, as sent.
    pub(crate) thinking: Option<Value>,
    /// What it says; `None`: no thinking.
    pub(crate) thinks: Option<Thinking>,
    /// `output_config.format`, as sent.
    pub(crate) format: Option<Value>,
}

/// A content block, as sent.
#[derive(Debug, Clone)]
pub(crate) struct Block(pub(crate) Object);

/// One turn of the conversation.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) role: Role,
    pub(crate) blocks: Vec<Block>,
    /// Index of its first message in `messages`, for error texts.
    pub(crate) at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    User,
    Assistant,
    /// Instructions in the middle of a conversation.
    System,
}

/// One entry of `tools`.
#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) name: String,
    /// Absent for server tools, whose `type` says what they are.
    pub(crate) schema: Option<Value>,
    pub(crate) strict: bool,
    pub(crate) raw: Object,
}

/// What `tool_choice` says, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Choice {
    pub(crate) kind: ChoiceKind,
    /// `disable_parallel_tool_use`: at most one tool_use.
    pub(crate) single: bool,
    /// As sent.
    pub(crate) raw: Option<Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum ChoiceKind {
    #[default]
    Auto,
    Any,
    Tool(String),
    None,
}

/// How long a cached prefix lives after its last use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ttl {
    FiveMinutes,
    OneHour,
}

impl Block {
    pub(crate) fn of_text(text: String) -> Self {
        let mut block = Object::new();
        block.insert("type".into(), "text".into());
        block.insert("text".into(), text.into());
        Self(block)
    }

    /// A string field of the block.
    pub(crate) fn str(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(Value::as_str)
    }

    /// `type`; checked to be there.
    pub(crate) fn kind(&self) -> &str {
        self.str("type").unwrap_or_default()
    }

    /// The text, if it is a text block.
    pub(crate) fn text(&self) -> Option<&str> {
        if self.kind() == "text" {
            self.str("text")
        } else {
            None
        }
    }
}
