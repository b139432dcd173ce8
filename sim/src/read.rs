//! Reading a request's body.
//!
//! By hand, not by derived types: the real API names the place and the reason of the first fault
//! (`messages.0.content.1.text.text: Field required`), lets unknown fields and blocks pass, and so does this.

use crate::error::ApiError;
use crate::models;
use crate::options;
use crate::thinking;
use crate::wire::{Block, Choice, ChoiceKind, Object, Request, Role, Tool, Ttl, Turn};
use serde_json::Value;

impl Request {
    /// Reads the body.
    pub(crate) fn read(mut body: Object) -> Result<Self, ApiError> {
        let model = required_str(&body, "model", "model")?;
        let model =
            models::find(model).ok_or_else(|| ApiError::new(404, format!("model: {model}")))?;
        let max_tokens = match body.get("max_tokens") {
            None => return Err(missing("max_tokens")),
            Some(value) => value
                .as_u64()
                .ok_or_else(|| ApiError::invalid("max_tokens: Input should be a valid integer"))?,
        };
        let turns = read_turns(body.remove("messages"))?;
        options::check(&body)?;
        let thinking = body.remove("thinking").filter(|value| !value.is_null());
        Ok(Self {
            model,
            max_tokens,
            system: read_system(body.remove("system"))?,
            turns,
            tools: read_tools(body.remove("tools"))?,
            choice: read_choice(body.remove("tool_choice"))?,
            stop_sequences: read_stop_sequences(body.get("stop_sequences"))?,
            stream: read_bool(&body, "stream", "stream")?,
            user_id: read_user_id(body.get("metadata"))?,
            auto_cache: read_cache_control(&body, "cache_control")?,
            thinks: thinking::read(thinking.as_ref(), max_tokens)?,
            thinking,
            format: read_format(body.get("output_config"))?,
        })
    }
}

fn missing(path: &str) -> ApiError {
    ApiError::invalid(format!("{path}: Field required"))
}

fn wrong(path: &str, what: &str) -> ApiError {
    ApiError::invalid(format!("{path}: Input should be {what}"))
}

fn required_str<'a>(object: &'a Object, key: &str, path: &str) -> Result<&'a str, ApiError> {
    let value = object.get(key).ok_or_else(|| missing(path))?;
    value.as_str().ok_or_else(|| wrong(path, "a valid string"))
}

fn read_bool(object: &Object, key: &str, path: &str) -> Result<bool, ApiError> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(value) => value
            .as_bool()
            .ok_or_else(|| wrong(path, "a valid boolean")),
    }
}

fn into_object(value: Value, path: &str) -> Result<Object, ApiError> {
    if let Value::Object(object) = value {
        Ok(object)
    } else {
        Err(wrong(path, "an object"))
    }
}

fn into_list(value: Value, path: &str) -> Result<Vec<Value>, ApiError> {
    if let Value::Array(list) = value {
        Ok(list)
    } else {
        Err(wrong(path, "a valid array"))
    }
}

/// The `cache_control` of a block, a tool or the request.
pub(crate) fn read_cache_control(object: &Object, path: &str) -> Result<Option<Ttl>, ApiError> {
    let control = match object.get("cache_control") {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_object().ok_or_else(|| wrong(path, "an object"))?,
    };
    if control.get("type").and_then(Value::as_str) != Some("ephemeral") {
        return Err(wrong(&format!("{path}.type"), "'ephemeral'"));
    }
    match control.get("ttl").map(Value::as_str) {
        None | Some(Some("5m")) => Ok(Some(Ttl::FiveMinutes)),
        Some(Some("1h")) => Ok(Some(Ttl::OneHour)),
        Some(_) => Err(wrong(&format!("{path}.ttl"), "'5m' or '1h'")),
    }
}

fn read_system(value: Option<Value>) -> Result<Vec<Block>, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(value) => read_blocks(value, "system", None),
    }
}

fn read_turns(value: Option<Value>) -> Result<Vec<Turn>, ApiError> {
    let messages = into_list(value.ok_or_else(|| missing("messages"))?, "messages")?;
    if messages.is_empty() {
        return Err(ApiError::invalid(
            "messages: at least one message is required",
        ));
    }
    let last = messages.len() - 1;
    let mut turns: Vec<Turn> = Vec::with_capacity(messages.len());
    for (at, message) in messages.into_iter().enumerate() {
        let path = format!("messages.{at}");
        let mut message = into_object(message, &path)?;
        let role = match required_str(&message, "role", &format!("{path}.role"))? {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            _ => {
                return Err(wrong(
                    &format!("{path}.role"),
                    "'user', 'assistant' or 'system'",
                ));
            }
        };
        let content = message
            .remove("content")
            .ok_or_else(|| missing(&format!("{path}.content")))?;
        let speaker = Some(role).filter(|role| *role != Role::System);
        let blocks = read_blocks(content, &format!("{path}.content"), speaker)?;
        if blocks.is_empty() && !(role == Role::Assistant && at == last) {
            return Err(ApiError::invalid(format!(
                "{path}: all messages must have non-empty content except for the optional final assistant message"
            )));
        }
        match turns.last_mut() {
            Some(turn) if turn.role == role => turn.blocks.extend(blocks),
            Some(_) | None => turns.push(Turn { role, blocks, at }),
        }
    }
    Ok(turns)
}

/// A string or a list of blocks; `role` is `None` for system prompts, which are text only.
fn read_blocks(value: Value, path: &str, role: Option<Role>) -> Result<Vec<Block>, ApiError> {
    if let Value::String(text) = value {
        return Ok(if text.is_empty() {
            Vec::new()
        } else {
            vec![Block::of_text(text)]
        });
    }
    let mut blocks = Vec::new();
    for (index, value) in into_list(value, path)?.into_iter().enumerate() {
        let path = format!("{path}.{index}");
        let block = Block(into_object(value, &path)?);
        check_block(&block, &path, role)?;
        blocks.push(block);
    }
    Ok(blocks)
}

fn check_block(block: &Block, path: &str, role: Option<Role>) -> Result<(), ApiError> {
    let kind = required_str(&block.0, "type", &format!("{path}.type"))?;
    read_cache_control(&block.0, &format!("{path}.{kind}.cache_control"))?;
    match (kind, role) {
        ("text", _) => {
            if required_str(&block.0, "text", &format!("{path}.text.text"))?.is_empty() {
                return Err(ApiError::invalid(format!(
                    "{path}: text content blocks must be non-empty"
                )));
            }
            Ok(())
        }
        (_, None) => Err(wrong(&format!("{path}.type"), "'text'")),
        ("tool_use", Some(Role::User)) => Err(ApiError::invalid(format!(
            "{path}: `tool_use` blocks can only be in `assistant` messages"
        ))),
        ("tool_use", Some(Role::Assistant)) => {
            let id = required_str(&block.0, "id", &format!("{path}.tool_use.id"))?;
            check_name(
                id,
                usize::MAX,
                &format!("{path}.tool_use.id"),
                "^[a-zA-Z0-9_-]+$",
            )?;
            required_str(&block.0, "name", &format!("{path}.tool_use.name"))?;
            match block.0.get("input") {
                None => Err(missing(&format!("{path}.tool_use.input"))),
                Some(Value::Object(_)) => Ok(()),
                Some(_) => Err(wrong(&format!("{path}.tool_use.input"), "an object")),
            }
        }
        ("tool_result", Some(Role::Assistant)) => Err(ApiError::invalid(format!(
            "{path}: `tool_result` blocks can only be in `user` messages"
        ))),
        ("tool_result", Some(Role::User)) => {
            required_str(
                &block.0,
                "tool_use_id",
                &format!("{path}.tool_result.tool_use_id"),
            )?;
            read_bool(
                &block.0,
                "is_error",
                &format!("{path}.tool_result.is_error"),
            )?;
            match block.0.get("content") {
                None | Some(Value::Null | Value::String(_) | Value::Array(_)) => Ok(()),
                Some(_) => Err(wrong(
                    &format!("{path}.tool_result.content"),
                    "a valid string or array",
                )),
            }
        }
        (_, Some(_)) => Ok(()),
    }
}

fn read_tools(value: Option<Value>) -> Result<Vec<Tool>, ApiError> {
    let list = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(value) => into_list(value, "tools")?,
    };
    list.into_iter()
        .enumerate()
        .map(|(index, value)| read_tool(value, &format!("tools.{index}")))
        .collect()
}

fn read_tool(value: Value, path: &str) -> Result<Tool, ApiError> {
    let raw = into_object(value, path)?;
    let kind = raw.get("type").and_then(Value::as_str).unwrap_or("custom");
    let path = format!("{path}.{kind}");
    let name = required_str(&raw, "name", &format!("{path}.name"))?.to_owned();
    check_name(
        &name,
        128,
        &format!("{path}.name"),
        "^[a-zA-Z0-9_-]{1,128}$",
    )?;
    read_cache_control(&raw, &format!("{path}.cache_control"))?;
    let strict = read_bool(&raw, "strict", &format!("{path}.strict"))?;
    if kind != "custom" {
        return Ok(Tool {
            name,
            schema: None,
            strict: false,
            raw,
        });
    }
    let schema_path = format!("{path}.input_schema");
    let schema = raw
        .get("input_schema")
        .ok_or_else(|| missing(&schema_path))?;
    let object = schema
        .as_object()
        .ok_or_else(|| wrong(&schema_path, "an object"))?;
    match object.get("type") {
        None => return Err(missing(&format!("{schema_path}.type"))),
        Some(kind) if kind == "object" => {}
        Some(_) => return Err(wrong(&format!("{schema_path}.type"), "'object'")),
    }
    Ok(Tool {
        name,
        schema: Some(schema.clone()),
        strict,
        raw,
    })
}

fn check_name(name: &str, longest: usize, path: &str, pattern: &str) -> Result<(), ApiError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > longest || !name.bytes().all(fits) {
        return Err(ApiError::invalid(format!(
            "{path}: String should match pattern '{pattern}'"
        )));
    }
    Ok(())
}

fn read_choice(value: Option<Value>) -> Result<Choice, ApiError> {
    let raw = match value {
        None | Some(Value::Null) => return Ok(Choice::default()),
        Some(value) => into_object(value, "tool_choice")?,
    };
    let kind = match required_str(&raw, "type", "tool_choice.type")? {
        "auto" => ChoiceKind::Auto,
        "any" => ChoiceKind::Any,
        "none" => ChoiceKind::None,
        "tool" => ChoiceKind::Tool(required_str(&raw, "name", "tool_choice.tool.name")?.to_owned()),
        _ => return Err(wrong("tool_choice.type", "'auto', 'any', 'tool' or 'none'")),
    };
    let single = read_bool(
        &raw,
        "disable_parallel_tool_use",
        "tool_choice.disable_parallel_tool_use",
    )?;
    Ok(Choice {
        kind,
        single,
        raw: Some(Value::Object(raw)),
    })
}

fn read_stop_sequences(value: Option<&Value>) -> Result<Vec<String>, ApiError> {
    let list = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(value) => value
            .as_array()
            .ok_or_else(|| wrong("stop_sequences", "a valid array"))?,
    };
    let text = |value: &Value| {
        value
            .as_str()
            .filter(|text| !text.trim().is_empty())
            .map(str::to_owned)
    };
    list.iter()
        .map(|value| {
            text(value).ok_or_else(|| {
                ApiError::invalid("stop_sequences: each stop sequence must contain non-whitespace")
            })
        })
        .collect()
}

fn read_user_id(metadata: Option<&Value>) -> Result<Option<String>, ApiError> {
    let id = match metadata {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value
            .as_object()
            .ok_or_else(|| wrong("metadata", "an object"))?
            .get("user_id"),
    };
    match id {
        None | Some(Value::Null) => Ok(None),
        Some(id) => {
            let id = id
                .as_str()
                .ok_or_else(|| wrong("metadata.user_id", "a valid string"))?;
            if id.chars().count() > 256 {
                return Err(ApiError::invalid(
                    "metadata.user_id: String should have at most 256 characters",
                ));
            }
            Ok(Some(id.to_owned()))
        }
    }
}

fn read_format(output_config: Option<&Value>) -> Result<Option<Value>, ApiError> {
    let config = match output_config {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value
            .as_object()
            .ok_or_else(|| wrong("output_config", "an object"))?,
    };
    if let Some(effort) = config.get("effort").filter(|effort| !effort.is_null())
        && !["low", "medium", "high", "xhigh", "max"]
            .iter()
            .any(|known| effort == known)
    {
        return Err(wrong(
            "output_config.effort",
            "'low', 'medium', 'high', 'xhigh' or 'max'",
        ));
    }
    match config.get("format") {
        None | Some(Value::Null) => Ok(None),
        Some(format) if format.get("type").is_none_or(|kind| kind != "json_schema") => {
            Err(wrong("output_config.format.type", "'json_schema'"))
        }
        Some(format) if !format.get("schema").is_some_and(Value::is_object) => {
            Err(missing("output_config.format.schema"))
        }
        Some(format) => Ok(Some(format.clone())),
    }
}
