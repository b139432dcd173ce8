//! Thinking: asked for, given with a signature, and taken back only as it was given.

use crate::call::hex;
use crate::error::ApiError;
use crate::reply::Part;
use crate::wire::{Block, Object, Request, Role};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The least that may be set aside for thinking, in tokens.
const MIN_BUDGET: u64 = 1024;

/// Characters of the question that a thought repeats.
const REPEATED: usize = 80;

/// What makes a signature this server's own. Nothing is kept safe by it.
const SECRET: &str = "signed by the simulated Claude";

/// How the model is to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Thinking {
    /// Older style, with a budget: then a turn that used tools must come back with its thinking.
    budgeted: bool,
    /// Only the signature is shown.
    omitted: bool,
}

/// Reads `thinking`; `None`: off.
///
/// # Errors
/// 400, which names the first fault.
pub(crate) fn read(value: Option<&Value>, max_tokens: u64) -> Result<Option<Thinking>, ApiError> {
    let wrong = |message: String| Err(ApiError::invalid(message));
    let Some(value) = value else { return Ok(None) };
    let kind = value.get("type").and_then(Value::as_str);
    let budgeted = match kind {
        Some("disabled") => return Ok(None),
        Some("adaptive" | "between_tools") => false,
        Some("enabled") => true,
        Some(_) => {
            return wrong(
                "thinking.type: Input should be 'adaptive', 'between_tools', 'disabled' or 'enabled'".to_owned(),
            );
        }
        None => return wrong("thinking.type: Field required".to_owned()),
    };
    if budgeted {
        match value.get("budget_tokens").map(Value::as_u64) {
            None => return wrong("thinking.enabled.budget_tokens: Field required".to_owned()),
            Some(Some(budget)) if budget >= max_tokens => {
                return wrong(
                    "`max_tokens` must be greater than `thinking.budget_tokens`.".to_owned(),
                );
            }
            Some(Some(budget)) if budget >= MIN_BUDGET => {}
            Some(_) => {
                return wrong(format!(
                    "thinking.enabled.budget_tokens: Input should be greater than or equal to {MIN_BUDGET}"
                ));
            }
        }
    }
    let omitted = match value.get("display") {
        None | Some(Value::Null) => false,
        Some(display) if display == "summarized" => false,
        Some(display) if display == "omitted" => true,
        Some(_) => {
            return wrong("thinking.display: Input should be 'summarized' or 'omitted'".to_owned());
        }
    };
    Ok(Some(Thinking { budgeted, omitted }))
}

/// The thought that comes before an answer, where thinking is on. The same for the same request.
pub(crate) fn thought(request: &Request) -> Option<Part> {
    let thinking = request.thinks?;
    let asked = request.turns.iter().rev().flat_map(|turn| &turn.blocks);
    let about: String = asked
        .filter_map(Block::text)
        .next()
        .unwrap_or_default()
        .chars()
        .take(REPEATED)
        .collect();
    let text = if thinking.omitted {
        String::new()
    } else {
        format!("Simulated thinking. This is about: {about}")
    };
    Some(signed(text))
}

/// A thinking block of this text.
pub(crate) fn signed(text: String) -> Part {
    let signature = signature(&text);
    Part::Thinking { text, signature }
}

fn signature(text: &str) -> String {
    hex(&Sha256::digest([SECRET, text].join("\n")))
}

/// Checks the thinking in the conversation that came back.
///
/// # Errors
/// 400 for a block that is not as it was given, and for one that is missing where it has to be.
pub(crate) fn check(request: &Request) -> Result<(), ApiError> {
    let assistants = || {
        let turns = request.turns.iter();
        turns.filter(|turn| turn.role == Role::Assistant)
    };
    for turn in assistants() {
        for (index, block) in turn.blocks.iter().enumerate() {
            if block.kind() == "thinking" {
                check_block(&block.0, &format!("messages.{}.content.{index}", turn.at))?;
            }
        }
    }
    let Some(last) = assistants().next_back() else {
        return Ok(());
    };
    let first = last.blocks.first().map(Block::kind).unwrap_or_default();
    let uses_tool = last.blocks.iter().any(|block| block.kind() == "tool_use");
    let budgeted = request.thinks.is_some_and(|thinking| thinking.budgeted);
    if budgeted && uses_tool && !matches!(first, "thinking" | "redacted_thinking") {
        return Err(ApiError::invalid(format!(
            "messages.{}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{first}`. When `thinking` is enabled, a final `assistant` message must start with a thinking block (preceding the lastmost set of `tool_use` and `tool_result` blocks). To avoid this requirement, disable `thinking`.",
            last.at
        )));
    }
    Ok(())
}

fn check_block(block: &Object, path: &str) -> Result<(), ApiError> {
    let text = |key: &str| {
        let value = block.get(key).and_then(Value::as_str);
        value.ok_or_else(|| ApiError::invalid(format!("{path}.thinking.{key}: Field required")))
    };
    if text("signature")? == signature(text("thinking")?) {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "{path}: Invalid `signature` in `thinking` block"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(value: Value) -> String {
        read(Some(&value), 4000).unwrap_err().message
    }

    #[test]
    fn thinking_is_on_when_it_is_adaptive_or_has_a_budget() {
        let on = |value: Value| read(Some(&value), 4000).unwrap().is_some();
        assert!(on(json!({"type": "adaptive"})));
        assert!(on(json!({"type": "enabled", "budget_tokens": 1024})));
        assert!(!on(json!({"type": "disabled"})));
        assert_eq!(read(None, 1).unwrap(), None);
    }

    #[test]
    fn a_budget_has_a_minimum_and_stays_below_max_tokens() {
        assert!(words(json!({"type": "enabled"})).contains("Field required"));
        assert!(words(json!({"type": "enabled", "budget_tokens": 1023})).contains("1024"));
        assert!(
            words(json!({"type": "enabled", "budget_tokens": 4000})).contains("must be greater")
        );
        assert!(words(json!({"type": "deep"})).contains("thinking.type"));
        assert!(words(json!({"type": "adaptive", "display": "all"})).contains("display"));
    }
}
