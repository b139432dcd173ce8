//! The rules that hold across the parts of a request: what the real API answers with 400.

use crate::error::ApiError;
use crate::read::read_cache_control;
use crate::strict;
use crate::thinking;
use crate::wire::{Block, ChoiceKind, Request, Role, Ttl, Turn};
use std::collections::HashSet;

/// Explicit and automatic cache breakpoints together.
const MAX_BREAKPOINTS: usize = 4;

/// Checks everything that needs more than one field to judge.
pub(crate) fn check(request: &Request) -> Result<(), ApiError> {
    check_tools(request)?;
    check_choice(request)?;
    check_breakpoints(request)?;
    check_first_turn(request)?;
    check_tool_turns(&request.turns)?;
    check_last_turn(request)?;
    thinking::check(request)?;
    if let Some(schema) = request
        .format
        .as_ref()
        .and_then(|format| format.get("schema"))
    {
        strict::check(schema, "output_config.format.schema")?;
    }
    Ok(())
}

fn check_tools(request: &Request) -> Result<(), ApiError> {
    let mut names = HashSet::new();
    for (index, tool) in request.tools.iter().enumerate() {
        if !names.insert(tool.name.as_str()) {
            return Err(ApiError::invalid("tools: Tool names must be unique."));
        }
        if let Some(schema) = tool.schema.as_ref().filter(|_| tool.strict) {
            strict::check(schema, &format!("tools.{index}.custom"))?;
        }
    }
    let speaks_of_tools = |block: &Block| matches!(block.kind(), "tool_use" | "tool_result");
    if request.tools.is_empty()
        && request
            .turns
            .iter()
            .any(|turn| turn.blocks.iter().any(speaks_of_tools))
    {
        return Err(ApiError::invalid(
            "Requests which include `tool_use` or `tool_result` blocks must define tools",
        ));
    }
    Ok(())
}

fn check_choice(request: &Request) -> Result<(), ApiError> {
    let choice = &request.choice;
    if choice.raw.is_some() && request.tools.is_empty() {
        return Err(ApiError::invalid(
            "tool_choice may only be specified while providing tools.",
        ));
    }
    if let ChoiceKind::Tool(name) = &choice.kind
        && !request.tools.iter().any(|tool| &tool.name == name)
    {
        return Err(ApiError::invalid(format!(
            "Tool '{name}' not found in provided tools"
        )));
    }
    if request.thinks.is_some() && matches!(choice.kind, ChoiceKind::Any | ChoiceKind::Tool(_)) {
        return Err(ApiError::invalid(
            "Thinking may not be enabled when tool_choice forces tool use.",
        ));
    }
    Ok(())
}

fn check_breakpoints(request: &Request) -> Result<(), ApiError> {
    let tools = request.tools.iter().map(|tool| &tool.raw);
    let system = request.system.iter().map(|block| &block.0);
    let messages = request
        .turns
        .iter()
        .flat_map(|turn| turn.blocks.iter().map(|block| &block.0));
    let mut lives = Vec::new();
    for object in tools.chain(system).chain(messages) {
        lives.extend(read_cache_control(object, "cache_control")?);
    }
    lives.extend(request.auto_cache);
    if lives.len() > MAX_BREAKPOINTS {
        return Err(ApiError::invalid(format!(
            "A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided. Found {}.",
            lives.len()
        )));
    }
    if lives
        .windows(2)
        .any(|pair| pair == [Ttl::FiveMinutes, Ttl::OneHour])
    {
        return Err(ApiError::invalid(
            "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note that blocks are processed in the following order: `tools`, `system`, `messages`.",
        ));
    }
    Ok(())
}

fn check_first_turn(request: &Request) -> Result<(), ApiError> {
    if request
        .turns
        .first()
        .is_some_and(|turn| turn.role != Role::User)
    {
        return Err(ApiError::invalid(
            "messages: first message must use the \"user\" role",
        ));
    }
    Ok(())
}

fn check_last_turn(request: &Request) -> Result<(), ApiError> {
    let Some(last) = request.turns.last() else {
        return Ok(());
    };
    // A paused turn of server tools is sent back as it is, and the model goes on from there.
    let paused = last
        .blocks
        .iter()
        .any(|block| block.kind() == "server_tool_use");
    if last.role == Role::Assistant && !paused && !request.model.prefill {
        return Err(ApiError::invalid(
            "This model does not support assistant message prefill. The conversation must end with a user message.",
        ));
    }
    Ok(())
}

fn check_tool_turns(turns: &[Turn]) -> Result<(), ApiError> {
    let mut seen = HashSet::new();
    for turn in turns {
        for id in tool_uses(turn) {
            if !seen.insert(id) {
                return Err(ApiError::invalid(format!(
                    "messages.{}: `tool_use` ids must be unique",
                    turn.at
                )));
            }
        }
    }
    for (index, turn) in turns.iter().enumerate() {
        match turn.role {
            Role::Assistant => check_answered(turn, turns.get(index + 1))?,
            Role::User | Role::System => check_expected(
                turn,
                index.checked_sub(1).and_then(|before| turns.get(before)),
            )?,
        }
    }
    Ok(())
}

/// Every tool_use needs its result among the blocks that the next turn starts with.
fn check_answered(turn: &Turn, next: Option<&Turn>) -> Result<(), ApiError> {
    let results: Vec<&str> = next
        .map(|next| {
            next.blocks
                .iter()
                .take_while(|block| block.kind() == "tool_result")
                .filter_map(|block| block.str("tool_use_id"))
                .collect()
        })
        .unwrap_or_default();
    let open: Vec<&str> = tool_uses(turn).filter(|id| !results.contains(id)).collect();
    if open.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "messages.{}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block must have a corresponding `tool_result` block in the next message.",
        turn.at,
        open.join(", ")
    )))
}

/// Every tool_result answers a tool_use of the turn before, once.
fn check_expected(turn: &Turn, before: Option<&Turn>) -> Result<(), ApiError> {
    let asked: Vec<&str> = before
        .map(|before| tool_uses(before).collect())
        .unwrap_or_default();
    let mut answered = HashSet::new();
    for (index, block) in turn.blocks.iter().enumerate() {
        if block.kind() != "tool_result" {
            continue;
        }
        let id = block.str("tool_use_id").unwrap_or_default();
        if !asked.contains(&id) {
            return Err(ApiError::invalid(format!(
                "messages.{}.content.{index}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must have a corresponding `tool_use` block in the previous message.",
                turn.at
            )));
        }
        if !answered.insert(id) {
            return Err(ApiError::invalid(format!(
                "messages.{}.content.{index}: each tool_use must have a single result. Found multiple `tool_result` blocks with id: {id}",
                turn.at
            )));
        }
    }
    Ok(())
}

fn tool_uses(turn: &Turn) -> impl Iterator<Item = &str> {
    turn.blocks
        .iter()
        .filter(|block| block.kind() == "tool_use")
        .filter_map(|block| block.str("id"))
}
