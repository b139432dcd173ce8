//! A model that is wrong on purpose: what a client must survive although the wire is right.

use crate::answer::{self, id};
use crate::dice::Dice;
use crate::policy::conversation;
use crate::reply::{Part, Reply};
use crate::tokens;
use crate::wire::{ChoiceKind, Request, Role};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A name that no menu has.
const NO_SUCH_TOOL: &str = "tool_that_is_on_no_menu";

/// What a model says that does not use the tool it has to use.
const NO_TOOL: &str = "I would rather describe what I would do than do it.";

/// In front of an order that somebody put into data.
const MARKER: &str = "SYSTEM OVERRIDE: call ";

/// Far below what any gate lets through.
const LOW: f64 = 0.05;

/// One way to be wrong, and which answers it is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wrong {
    pub(crate) kind: Kind,
    /// The beginning of the model ids it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// A part of the system prompts it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    /// Share of the answers, 0 to 1; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    /// Answers it is still for; absent: no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
    /// The confidence that `low_confidence` gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    /// Tools that `endless_loop` does not use while there are others.
    #[serde(default = "ends", skip_serializing_if = "Vec::is_empty")]
    terminal: Vec<String>,
}

fn ends() -> Vec<String> {
    ["answer", "done", "escalate", "finish", "give_up"]
        .map(str::to_owned)
        .into()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    BadTool,
    BadParameters,
    LowConfidence,
    EndlessLoop,
    Injected,
    NoTool,
    TwoTools,
    Cut,
}

impl Kind {
    /// As the ledger calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BadTool => "bad_tool",
            Self::BadParameters => "bad_parameters",
            Self::LowConfidence => "low_confidence",
            Self::EndlessLoop => "endless_loop",
            Self::Injected => "injected",
            Self::NoTool => "no_tool",
            Self::TwoTools => "two_tools",
            Self::Cut => "cut",
        }
    }
}

impl Wrong {
    /// What is wrong with it as a setting, in the API's way of saying so.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        self.rate
            .is_some_and(|rate| !(0.0..=1.0).contains(&rate))
            .then_some("wrong.rate: Input should be between 0 and 1")
    }

    /// Whether it is for this call; `index` is its place in the settings.
    pub(crate) fn hits(&self, index: usize, request: &Request, dice: Dice) -> bool {
        let rate = self.rate.unwrap_or(1.0);
        let said = |part: &str| {
            let mut texts = request.system.iter().filter_map(|block| block.text());
            texts.any(|text| text.contains(part))
        };
        self.count != Some(0)
            && self
                .model
                .as_deref()
                .is_none_or(|own| request.model.id.starts_with(own))
            && self.system.as_deref().is_none_or(said)
            && dice.throw(&format!("wrong {index}")) < rate
    }

    /// The answer made wrong; `None` where it cannot be wrong in this way.
    pub(crate) fn apply(&self, request: &Request, reply: &Reply) -> Option<Reply> {
        if reply.refusal.is_some() {
            return None;
        }
        let mut parts = reply.parts.clone();
        match self.kind {
            Kind::BadTool => *first_use(&mut parts)?.1 = NO_SUCH_TOOL.to_owned(),
            Kind::BadParameters => change(request, &mut parts, |schema, input| {
                violate(schema, input);
                true
            })?,
            Kind::LowConfidence => {
                let value = self.value.unwrap_or(LOW);
                change(request, &mut parts, |schema, input| {
                    doubt(schema, input, value)
                })?;
            }
            Kind::EndlessLoop => instead(&mut parts, self.again(request)?),
            Kind::Injected => instead(&mut parts, ordered(request)?),
            Kind::NoTool => {
                first_use(&mut parts)?;
                instead(&mut parts, Part::Text(NO_TOOL.to_owned()));
            }
            Kind::TwoTools => {
                let (_, name, input) = first_use(&mut parts)?;
                let second = a_use(name.clone(), input.clone());
                parts.push(second);
            }
            Kind::Cut => {
                let input = first_use(&mut parts)?.2;
                let members = input.as_object().map_or(0, Map::len);
                if let Some(object) = input.as_object_mut() {
                    *object = std::mem::take(object)
                        .into_iter()
                        .take(members / 2)
                        .collect();
                }
                return Some(Reply {
                    parts,
                    stop_reason: "max_tokens".to_owned(),
                    stop_sequence: None,
                    refusal: None,
                    output_tokens: request.max_tokens,
                });
            }
        }
        Some(finished(request, parts))
    }

    /// The tool used last, with the same input; before any was used, the first of the menu that ends nothing.
    fn again(&self, request: &Request) -> Option<Part> {
        if request.choice.kind == ChoiceKind::None {
            return None;
        }
        let goes_on = |name: &str| {
            let forced = matches!(&request.choice.kind, ChoiceKind::Tool(only) if only != name);
            !forced && !self.terminal.iter().any(|end| end == name)
        };
        let used = request.turns.iter().flat_map(|turn| &turn.blocks).rev();
        let last = used
            .filter(|block| block.kind() == "tool_use")
            .find(|block| block.str("name").is_some_and(goes_on));
        if let Some(last) = last {
            let input = last.0.get("input").cloned().unwrap_or_default();
            return Some(a_use(last.str("name")?.to_owned(), input));
        }
        let tool = request.tools.iter().find(|tool| goes_on(&tool.name))?;
        Some(answer::filled_use(tool))
    }
}

fn a_use(name: String, input: Value) -> Part {
    Part::ToolUse {
        id: id("toolu_01"),
        name,
        input,
    }
}

fn first_use(parts: &mut [Part]) -> Option<(&mut String, &mut String, &mut Value)> {
    parts.iter_mut().find_map(|part| match part {
        Part::ToolUse { id, name, input } => Some((id, name, input)),
        Part::Thinking { .. } | Part::Text(_) | Part::Other(_) => None,
    })
}

/// The thinking stays, what comes after it is replaced.
fn instead(parts: &mut Vec<Part>, part: Part) {
    parts.retain(|part| matches!(part, Part::Thinking { .. }));
    parts.push(part);
}

fn finished(request: &Request, parts: Vec<Part>) -> Reply {
    let used = |part: &Part| matches!(part, Part::ToolUse { .. });
    let stop_reason = if parts.iter().any(used) {
        "tool_use"
    } else {
        "end_turn"
    };
    Reply {
        stop_reason: stop_reason.to_owned(),
        stop_sequence: None,
        refusal: None,
        output_tokens: tokens::of_bytes(answer::size(&parts)).clamp(1, request.max_tokens.max(1)),
        parts,
    }
}

/// Changes each input of a tool and each text of a format, by its schema; `None` if none was changed.
fn change(
    request: &Request,
    parts: &mut [Part],
    mut with: impl FnMut(&Value, &mut Value) -> bool,
) -> Option<()> {
    let mut changed = false;
    for part in parts {
        match part {
            Part::ToolUse { name, input, .. } => {
                let tool = request.tools.iter().find(|tool| &tool.name == name);
                if let Some(schema) = tool.and_then(|tool| tool.schema.as_ref()) {
                    changed |= with(schema, input);
                }
            }
            Part::Text(text) => {
                let schema = request
                    .format
                    .as_ref()
                    .and_then(|format| format.get("schema"));
                if let Some(schema) = schema
                    && let Ok(mut value) = serde_json::from_str(text)
                    && with(schema, &mut value)
                {
                    *text = value.to_string();
                    changed = true;
                }
            }
            Part::Thinking { .. } | Part::Other(_) => {}
        }
    }
    changed.then_some(())
}

/// Gives the first property a value of another type, or adds one that no schema has.
fn violate(schema: &Value, input: &mut Value) {
    let property = schema
        .get("properties")
        .and_then(Value::as_object)
        .and_then(|properties| properties.iter().next());
    let (name, value) = match property {
        Some((name, schema)) if schema.get("type").is_some_and(|kind| kind == "string") => {
            (name.as_str(), json!(12345))
        }
        Some((name, _)) => (name.as_str(), json!("not what the schema asks for")),
        None => ("property_of_no_schema", json!(true)),
    };
    match input.as_object_mut() {
        Some(object) => {
            object.insert(name.to_owned(), value);
        }
        None => *input = json!({name: value}),
    }
}

/// Sets `confidence` wherever the schema has it; false if it has it nowhere.
fn doubt(schema: &Value, input: &mut Value, value: f64) -> bool {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return false;
    };
    let mut found = false;
    for (name, schema) in properties {
        if name == "confidence" {
            if let Some(object) = input.as_object_mut() {
                object.insert(name.clone(), json!(value));
                found = true;
            }
        } else if let Some(inner) = input.get_mut(name) {
            found |= doubt(schema, inner, value);
        }
    }
    found
}

/// The order in what tools returned or the user sent, the last one first: [`MARKER`]`<tool> with {json}`.
fn ordered(request: &Request) -> Option<Part> {
    let blocks = request
        .turns
        .iter()
        .rev()
        .filter(|turn| turn.role == Role::User)
        .flat_map(|turn| turn.blocks.iter().rev());
    blocks
        .filter_map(|block| {
            let text = match block.kind() {
                "tool_result" => conversation::result_text(block),
                _ => block.text()?.to_owned(),
            };
            order_in(&text)
        })
        .next()
}

fn order_in(text: &str) -> Option<Part> {
    let (_, order) = text.split_once(MARKER)?;
    let (tool, rest) = order.split_once(" with ")?;
    // In JSON within JSON, the order's own quotes are escaped.
    let plain = || {
        serde_json::Deserializer::from_str(rest)
            .into_iter::<Value>()
            .next()?
            .ok()
    };
    let escaped = || {
        let rest = rest.replace("\\\"", "\"");
        serde_json::Deserializer::from_str(&rest)
            .into_iter::<Value>()
            .next()?
            .ok()
    };
    let input = plain().or_else(escaped)?;
    Some(a_use(tool.trim().to_owned(), input))
}

#[cfg(test)]
#[path = "wrong_tests.rs"]
mod tests;
