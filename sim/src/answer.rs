//! From a decision to a reply: the tool choice is obeyed, and `max_tokens` cuts.

use crate::error::ApiError;
use crate::fill;
use crate::policy::{Answer, Decision};
use crate::reply::{Part, Reply};
use crate::thinking;
use crate::tokens;
use crate::wire::{ChoiceKind, Request, Tool};
use serde_json::{Map, Value};

const NOTHING_SCRIPTED: &str = "This is the simulated Claude. No policy says what to answer here.";
const NO_TOOL_ALLOWED: &str = "No tool may be used here.";

/// Makes the reply to a request, or the error that a policy asked for.
pub(crate) fn build(request: &Request, decision: &Decision) -> Result<Reply, ApiError> {
    if request.max_tokens == 0 && !matches!(decision.answer, Answer::Error(_)) {
        return Ok(prewarmed());
    }
    let parts = match &decision.answer {
        Answer::Error(error) => return Err(error.clone()),
        Answer::Refuse(words) => {
            return Ok(Reply {
                parts: Vec::new(),
                stop_reason: decision
                    .stop
                    .clone()
                    .unwrap_or_else(|| "refusal".to_owned()),
                stop_sequence: None,
                refusal: Some(words.clone()),
                output_tokens: 1,
            });
        }
        Answer::Anything => anything(request),
        Answer::Message { say, uses } => {
            let said = say.iter().cloned().map(Part::Text);
            let used = uses
                .iter()
                .map(|(name, input)| scripted_use(request, name, input.as_ref()));
            said.chain(used).collect()
        }
    };
    let mut parts = obey(request, parts);
    parts.splice(0..0, thinking::thought(request));
    let stop_sequence = stop_at_sequence(request, &mut parts);
    let full = size(&parts);
    let room = tokens::bytes_within(request.max_tokens);
    let scripted_cut = decision.stop.as_deref() == Some("max_tokens");
    let cut = full > room || scripted_cut;
    if cut {
        // A scripted cut has to show in an answer that would have fitted.
        let end = if scripted_cut { full / 2 } else { room };
        cut_to(&mut parts, end.min(room));
    }
    let uses_tool = parts
        .iter()
        .any(|part| matches!(part, Part::ToolUse { .. }));
    let reason = match (&stop_sequence, cut, uses_tool) {
        (_, true, _) => "max_tokens",
        (Some(_), false, _) => "stop_sequence",
        (None, false, true) => "tool_use",
        (None, false, false) => "end_turn",
    };
    Ok(Reply {
        output_tokens: if cut {
            request.max_tokens
        } else {
            tokens::of_bytes(size(&parts)).max(1)
        },
        parts,
        stop_reason: decision.stop.clone().unwrap_or_else(|| reason.to_owned()),
        stop_sequence: stop_sequence.filter(|_| !cut),
        refusal: None,
    })
}

/// The answer to `max_tokens: 0`: the prompt is cached, and nothing is said.
fn prewarmed() -> Reply {
    Reply {
        parts: Vec::new(),
        stop_reason: "max_tokens".to_owned(),
        stop_sequence: None,
        refusal: None,
        output_tokens: 0,
    }
}

/// What is answered where no policy says it.
fn anything(request: &Request) -> Vec<Part> {
    if let Some(schema) = request
        .format
        .as_ref()
        .and_then(|format| format.get("schema"))
    {
        return vec![Part::Text(fill::value(schema).to_string())];
    }
    vec![Part::Text(NOTHING_SCRIPTED.to_owned())]
}

fn scripted_use(request: &Request, name: &str, input: Option<&Value>) -> Part {
    let input = input.cloned().unwrap_or_else(|| {
        let tool = request.tools.iter().find(|tool| tool.name == name);
        tool.map_or_else(|| Value::Object(Map::new()), fill::input)
    });
    Part::ToolUse {
        id: id("toolu_01"),
        name: name.to_owned(),
        input,
    }
}

pub(crate) fn filled_use(tool: &Tool) -> Part {
    Part::ToolUse {
        id: id("toolu_01"),
        name: tool.name.clone(),
        input: fill::input(tool),
    }
}

/// A new id in the API's style: a prefix and 22 random characters.
pub(crate) fn id(prefix: &str) -> String {
    let mut id = prefix.to_owned();
    id.extend(std::iter::repeat_with(fastrand::alphanumeric).take(22));
    id
}

/// A model cannot answer outside `tool_choice`, whatever a policy says; so the nearest allowed answer is given.
fn obey(request: &Request, mut parts: Vec<Part>) -> Vec<Part> {
    let is_use = |part: &Part| matches!(part, Part::ToolUse { .. });
    match &request.choice.kind {
        ChoiceKind::Auto => {}
        ChoiceKind::None => {
            parts.retain(|part| !is_use(part));
            if parts.is_empty() {
                parts.push(Part::Text(NO_TOOL_ALLOWED.to_owned()));
            }
        }
        ChoiceKind::Any => {
            // A forced model writes no text first.
            parts.retain(is_use);
            if parts.is_empty() {
                parts.extend(fill::choose_tool(request).map(filled_use));
            }
        }
        ChoiceKind::Tool(forced) => {
            parts.retain(|part| matches!(part, Part::ToolUse { name, .. } if name == forced));
            if parts.is_empty() {
                parts.extend(
                    request
                        .tools
                        .iter()
                        .find(|tool| &tool.name == forced)
                        .map(filled_use),
                );
            }
        }
    }
    if request.choice.single {
        let mut used = 0;
        parts.retain(|part| {
            used += usize::from(is_use(part));
            !is_use(part) || used == 1
        });
    }
    parts
}

/// Ends the answer at the first stop sequence in its text, and says which it was.
fn stop_at_sequence(request: &Request, parts: &mut Vec<Part>) -> Option<String> {
    for index in 0..parts.len() {
        let Some(Part::Text(text)) = parts.get_mut(index) else {
            continue;
        };
        let found = request
            .stop_sequences
            .iter()
            .filter_map(|stop| Some((text.find(stop.as_str())?, stop)));
        if let Some((at, stop)) = found.min_by_key(|(at, _)| *at) {
            text.truncate(at);
            parts.truncate(index + 1);
            return Some(stop.clone());
        }
    }
    None
}

/// Bytes of the answer.
pub(crate) fn size(parts: &[Part]) -> u64 {
    parts.iter().map(part_size).sum()
}

fn part_size(part: &Part) -> u64 {
    match part {
        Part::Thinking { text, .. } | Part::Text(text) => text.len() as u64,
        Part::ToolUse { name, input, .. } => (name.len() + input.to_string().len()) as u64,
        Part::Other(block) => block.to_string().len() as u64,
    }
}

/// Keeps what fits into `room` bytes. Of a tool_use, the members of its input that fit whole; a reply cut in the
/// middle of one has such a block, and a client must not act on it.
fn cut_to(parts: &mut Vec<Part>, room: u64) {
    let mut left = room;
    let mut kept = 0;
    for part in parts.iter_mut() {
        kept += 1;
        let whole = part_size(part);
        if whole <= left {
            left -= whole;
            continue;
        }
        match part {
            Part::Thinking { text, .. } => {
                text.truncate(boundary_before(text, left));
                *part = thinking::signed(std::mem::take(text));
            }
            Part::Text(text) => text.truncate(boundary_before(text, left)),
            Part::ToolUse { name, input, .. } => {
                let mut left = left.saturating_sub(name.len() as u64 + 2);
                let mut members = Map::new();
                for (key, value) in input.as_object().into_iter().flatten() {
                    let member = (key.len() + value.to_string().len() + 4) as u64;
                    if member > left {
                        break;
                    }
                    left -= member;
                    members.insert(key.clone(), value.clone());
                }
                *input = Value::Object(members);
            }
            Part::Other(_) => {}
        }
        break;
    }
    parts.truncate(kept);
}

/// The last place at or before `at` bytes where a text can be cut.
fn boundary_before(text: &str, at: u64) -> usize {
    let at = usize::try_from(at).unwrap_or(usize::MAX).min(text.len());
    (0..=at)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
