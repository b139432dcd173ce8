//! What is wrong with a reply, if anything: checked against its stop reason, the menu and the schema.

use serde_json::Value;

use super::prompt::{ANSWER, WITH};
use crate::{
    claude::{Reply, StopReason},
    definition::{AgentStep, Schema},
    entry::Decision,
    ids::Name,
};

/// What a reply must be.
#[derive(Debug)]
pub(super) enum Expect {
    /// A text.
    Text,
    /// One use of `answer`, with parameters of this shape.
    Answer(Schema),
    /// One use of a tool or an end of this agent's menu.
    Pick(Box<AgentStep>),
}

/// What is wrong with a reply.
pub(super) enum Wrong {
    /// The model can mend it when told.
    Mend(String),
    /// There is nothing in it, which cannot even be sent back: ask the same again.
    Empty,
    /// It was cut: ask again with more room.
    Cut,
    /// It goes on when its content is sent back.
    Paused,
    /// No second try would help.
    Final(String),
}

/// A reply that is a decision.
pub(super) struct Picked {
    pub(super) decision: Decision,
    pub(super) reasoning: Option<String>,
    pub(super) confidence: Option<f64>,
}

impl Expect {
    /// The decision in a reply.
    pub(super) fn check(&self, reply: &Reply) -> Result<Picked, Wrong> {
        match &reply.stop_reason {
            StopReason::EndTurn | StopReason::ToolUse | StopReason::StopSequence => {}
            StopReason::MaxTokens => return Err(Wrong::Cut),
            StopReason::PauseTurn => return Err(Wrong::Paused),
            StopReason::Refusal => return Err(Wrong::Final(refusal(reply))),
            StopReason::ContextExceeded => {
                return Err(Wrong::Final(
                    "the conversation is longer than the model's context window".into(),
                ));
            }
            StopReason::Other(reason) => {
                return Err(Wrong::Final(format!("unknown stop reason `{reason}`")));
            }
            StopReason::None => return Err(Wrong::Final("the reply names no stop reason".into())),
        }
        if is_empty(&reply.content) {
            return Err(Wrong::Empty);
        }
        match self {
            Self::Text => text(reply),
            Self::Answer(schema) => {
                let input = only_use(reply, |name| name == ANSWER, ANSWER)?.1;
                let (with, reasoning, confidence) = unwrap(input, WITH)?;
                schema
                    .check(with)
                    .map_err(|fault| Wrong::Mend(format!("`with` does not fit: {fault}.")))?;
                Ok(Picked {
                    decision: Decision::Answer {
                        output: with.clone(),
                    },
                    reasoning,
                    confidence,
                })
            }
            Self::Pick(agent) => pick(agent, reply),
        }
    }
}

fn refusal(reply: &Reply) -> String {
    let details = reply.stop_details.as_ref();
    let explanation = details.and_then(|details| details["explanation"].as_str());
    match explanation {
        Some(explanation) => format!("the model refused: {explanation}"),
        None => "the model refused".into(),
    }
}

/// Whether nothing is said: blocks of any other kind than blank text say something.
fn is_empty(content: &[Value]) -> bool {
    let blank = |block: &Value| {
        block["type"] == "text" && block["text"].as_str().is_none_or(|t| t.trim().is_empty())
    };
    content.iter().all(blank)
}

fn text(reply: &Reply) -> Result<Picked, Wrong> {
    let text = reply.text();
    if text.trim().is_empty() {
        return Err(Wrong::Mend("the answer is empty.".into()));
    }
    Ok(Picked {
        decision: Decision::Answer {
            output: Value::String(text),
        },
        reasoning: None,
        confidence: None,
    })
}

/// The one tool use of a reply, if it is on the menu.
fn only_use<'a>(
    reply: &'a Reply,
    on_menu: impl Fn(&str) -> bool,
    menu: &str,
) -> Result<(&'a str, &'a Value), Wrong> {
    let uses = reply.tool_uses();
    let [one] = uses.as_slice() else {
        return Err(Wrong::Mend(format!(
            "exactly one tool must be used, not {}.",
            uses.len()
        )));
    };
    if on_menu(one.name) {
        Ok((one.name, one.input))
    } else {
        let name: String = one.name.chars().take(80).collect();
        Err(Wrong::Mend(format!(
            "`{name}` is not on the menu; there are {menu}."
        )))
    }
}

/// Takes a menu entry's wrap off: what is inside, the reasoning and the confidence.
fn unwrap<'a>(
    input: &'a Value,
    inside: &str,
) -> Result<(&'a Value, Option<String>, Option<f64>), Wrong> {
    let reasoning = input["reasoning"]
        .as_str()
        .map(str::trim)
        .filter(|text| !text.is_empty());
    let confidence = input["confidence"]
        .as_f64()
        .filter(|confidence| (0.0..=1.0).contains(confidence));
    match (input.get(inside), reasoning, confidence) {
        (Some(value), Some(reasoning), Some(confidence)) => {
            Ok((value, Some(reasoning.to_owned()), Some(confidence)))
        }
        (None, _, _) => Err(Wrong::Mend(format!("`{inside}` is missing."))),
        (_, None, _) => Err(Wrong::Mend(
            "`reasoning` must be a text that is not empty.".into(),
        )),
        (_, _, None) => Err(Wrong::Mend(
            "`confidence` must be a number from 0 to 1.".into(),
        )),
    }
}

fn pick(agent: &AgentStep, reply: &Reply) -> Result<Picked, Wrong> {
    let names: Vec<&str> = agent
        .tools
        .iter()
        .map(|tool| tool.name.as_str())
        .chain(agent.ends.iter().map(Name::as_str))
        .collect();
    let (name, input) = only_use(reply, |name| names.contains(&name), &names.join(", "))?;
    if let Some(end) = agent.ends.iter().find(|end| end.as_str() == name) {
        let (summary, reasoning, confidence) = unwrap(input, "summary")?;
        let summary = summary.as_str().filter(|text| !text.trim().is_empty());
        let summary = summary
            .ok_or_else(|| Wrong::Mend("`summary` must be a text that is not empty.".into()))?;
        let decision = Decision::Finish {
            end: end.clone(),
            summary: summary.to_owned(),
        };
        return Ok(Picked {
            decision,
            reasoning,
            confidence,
        });
    }
    let (with, reasoning, confidence) = unwrap(input, WITH)?;
    let tool = agent.tools.iter().find(|tool| tool.name.as_str() == name);
    let tool =
        tool.ok_or_else(|| Wrong::Final(format!("`{name}` is on the menu but in no catalogue")))?;
    let fits = tool.input.check(with);
    fits.map_err(|fault| {
        Wrong::Mend(format!(
            "`with` does not fit the input of `{name}`: {fault}."
        ))
    })?;
    let decision = Decision::Act {
        tool: tool.name.clone(),
        version: tool.version,
        with: with.clone(),
    };
    Ok(Picked {
        decision,
        reasoning,
        confidence,
    })
}
