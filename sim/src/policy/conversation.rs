//! What an expression sees of a request: the conversation so far, read by its tool results.

use crate::wire::{Block, Request, Role, Turn};
use minijinja::value::{Enumerator, Object, ObjectRepr, Serde};
use minijinja::{Value, context};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// The names an expression may use, in the order they are documented.
pub(crate) const NAMES: &[&str] = &[
    "system",
    "model",
    "tools",
    "tool_choice",
    "user",
    "turns",
    "calls",
    "last",
    "text",
    "user_id",
];

/// Builds the value that expressions and templates are evaluated on.
pub(crate) fn of(request: &Request) -> Value {
    let calls = calls(request);
    context! {
        system => joined(&request.system),
        model => request.model.id,
        tools => request.tools.iter().map(|tool| Value::from(tool.name.as_str())).collect::<Vec<_>>(),
        tool_choice => request.choice.raw.as_ref().map_or_else(|| context! { type => "auto" }, json_value),
        user => request.turns.first().map(|turn| joined(&turn.blocks)).unwrap_or_default(),
        turns => request.turns.iter().filter(|turn| turn.role == Role::Assistant).count(),
        last => calls.last().cloned().unwrap_or(Value::UNDEFINED),
        calls => calls,
        text => last_text(&request.turns),
        user_id => request.user_id.as_deref().map_or(Value::UNDEFINED, Value::from),
    }
}

/// A JSON value as the expression language has it.
pub(crate) fn json_value(value: &serde_json::Value) -> Value {
    Value::from(Serde(value))
}

fn joined(blocks: &[Block]) -> String {
    blocks
        .iter()
        .filter_map(Block::text)
        .collect::<Vec<_>>()
        .join("\n")
}

fn last_text(turns: &[Turn]) -> String {
    let of_user = turns.iter().rev().filter(|turn| turn.role == Role::User);
    of_user
        .map(|turn| joined(&turn.blocks))
        .find(|text| !text.is_empty())
        .unwrap_or_default()
}

fn calls(request: &Request) -> Vec<Value> {
    let blocks = || request.turns.iter().flat_map(|turn| &turn.blocks);
    let results: HashMap<&str, &Block> = blocks()
        .filter(|block| block.kind() == "tool_result")
        .filter_map(|block| Some((block.str("tool_use_id")?, block)))
        .collect();
    blocks()
        .filter(|block| block.kind() == "tool_use")
        .map(|block| {
            let result = block.str("id").and_then(|id| results.get(id));
            Value::from_object(Call {
                tool: Value::from(block.str("name").unwrap_or_default()),
                input: block.0.get("input").map(json_value).unwrap_or_default(),
                result: result
                    .map(|result| result_text(result))
                    .unwrap_or_default()
                    .into(),
                json: OnceLock::new(),
                error: result.is_some_and(|result| result.0.get("is_error") == Some(&true.into())),
            })
        })
        .collect()
}

/// A result's content is a string or a list of blocks, of which the text counts.
pub(crate) fn result_text(result: &Block) -> String {
    let Some(content) = result.0.get("content") else {
        return String::new();
    };
    if let Some(text) = content.as_str() {
        return text.to_owned();
    }
    let blocks = content.as_array().into_iter().flatten();
    blocks
        .filter_map(|block| block.get("text")?.as_str())
        .collect::<Vec<_>>()
        .join("\n")
}

/// One tool call and its result. `json` is parsed when first asked for: most rules look at few of many results.
#[derive(Debug)]
struct Call {
    tool: Value,
    input: Value,
    result: Arc<str>,
    json: OnceLock<Value>,
    error: bool,
}

impl Object for Call {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "tool" => Some(self.tool.clone()),
            "input" => Some(self.input.clone()),
            "result" => Some(Value::from(Arc::clone(&self.result))),
            "error" => Some(Value::from(self.error)),
            "json" => Some(self.json.get_or_init(|| from_json(&self.result)).clone()),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["tool", "input", "result", "json", "error"])
    }
}

/// The value of a JSON text; undefined if it is none.
pub(crate) fn from_json(text: &str) -> Value {
    serde_json::from_str::<serde_json::Value>(text)
        .map_or(Value::UNDEFINED, |value| json_value(&value))
}
