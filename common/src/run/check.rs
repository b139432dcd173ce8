//! What is wrong with a reply, if anything: checked against its stop reason, the menu and the schema.

use serde_json::Value;

use super::prompt::{ANSWER, REVIEW, WITH};
use crate::{
    claude::{Reply, StopReason, ToolUse},
    definition::{AgentStep, Schema},
    entry::{Action, Decision, Reviewed},
    ids::Name,
};

/// Names that a complaint tells at most: the reply may have any number.
const NAMES_TOLD_MAX: usize = 8;

/// An agent's menu, and how much of it one reply may take: some tools, or one end.
#[derive(Debug)]
pub(super) struct Menu {
    pub(super) agent: Box<AgentStep>,
    /// Decisions that the run's `limits.steps` leaves.
    pub(super) left: u32,
}

/// What a reply must be.
#[derive(Debug)]
pub(super) enum Expect {
    /// A text.
    Text,
    /// One use of `answer`, with parameters of this shape.
    Answer(Schema),
    /// Uses of this agent's menu.
    Pick(Menu),
    /// One use of `review`, on this agent's work.
    Review(Box<AgentStep>),
}

/// What is wrong with a reply.
pub(super) enum Wrong {
    /// The model can mend it when told.
    Mend(Complaint),
    /// It cannot even be sent back: ask the same again. Why, for people.
    Unfit(&'static str),
    /// It was cut: ask again with more room.
    Cut,
    /// It goes on when its content is sent back.
    Paused,
    /// No second try would help.
    Final(String),
}

/// What the model is told of a reply that it can mend.
pub(super) struct Complaint {
    /// All of it.
    pub(super) text: String,
    /// As [`crate::entry::Attempt::faults`].
    pub(super) faults: Vec<Option<String>>,
}

impl From<String> for Complaint {
    fn from(text: String) -> Self {
        Self {
            text,
            faults: Vec::new(),
        }
    }
}

/// A reply that is a decision: more than one action where an agent uses several tools at once.
pub(super) struct Picked {
    pub(super) first: Choice,
    pub(super) others: Vec<Choice>,
}

impl From<Choice> for Picked {
    fn from(first: Choice) -> Self {
        Self {
            first,
            others: Vec::new(),
        }
    }
}

/// One use of a menu, or a text.
#[derive(Clone)]
pub(super) struct Choice {
    pub(super) decision: Decision,
    pub(super) reasoning: Option<String>,
    pub(super) confidence: Option<f64>,
}

impl Expect {
    /// What can be picked, as [`crate::entry::Call::menu`].
    pub(super) fn menu(&self) -> Vec<String> {
        match self {
            Self::Text => Vec::new(),
            Self::Answer(_) => vec![ANSWER.to_owned()],
            Self::Review(_) => vec![REVIEW.to_owned()],
            Self::Pick(menu) => {
                let tools = menu.agent.tools.iter();
                let tools = tools.map(|tool| format!("{}@{}", tool.name, tool.version));
                tools
                    .chain(menu.agent.ends.iter().map(Name::to_string))
                    .collect()
            }
        }
    }

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
            return Err(Wrong::Unfit("the reply is empty"));
        }
        match self {
            Self::Text => text(reply).map(Picked::from),
            Self::Answer(schema) => answer(schema, reply).map(Picked::from),
            Self::Pick(menu) => menu.pick(&reply.tool_uses()),
            Self::Review(_) => review(reply).map(Picked::from),
        }
    }
}

/// A verdict on an agent's work.
fn review(reply: &Reply) -> Result<Choice, Wrong> {
    #[derive(serde::Deserialize)]
    struct Given {
        verdict: Reviewed,
        advice: String,
    }
    let uses = reply.tool_uses();
    let [one] = uses.as_slice() else {
        return Err(mend(format!(
            "exactly one tool must be used, not {}.",
            told(&uses)
        )));
    };
    if one.name != REVIEW {
        return Err(mend(off_menu(one.name, REVIEW)));
    }
    let (with, reasoning, confidence) = unwrap(one.input, WITH).map_err(mend)?;
    let given: Given = serde_json::from_value(with.clone())
        .map_err(|fault| mend(format!("`with` does not fit: {fault}.")))?;
    if given.verdict != Reviewed::GoOn && given.advice.trim().is_empty() {
        return Err(mend(
            "`advice` must say what to do otherwise, or why to stop.",
        ));
    }
    Ok(Choice {
        decision: Decision::Review {
            verdict: given.verdict,
            advice: given.advice,
        },
        reasoning,
        confidence,
    })
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

fn mend(text: impl Into<String>) -> Wrong {
    Wrong::Mend(Complaint::from(text.into()))
}

fn text(reply: &Reply) -> Result<Choice, Wrong> {
    if !reply.tool_uses().is_empty() {
        // The API takes no conversation that speaks of tools where none are offered.
        return Err(Wrong::Unfit("it uses a tool, and this step has none"));
    }
    let text = reply.text();
    if text.trim().is_empty() {
        return Err(mend("the answer is empty."));
    }
    Ok(Choice {
        decision: Decision::Answer {
            output: Value::String(text),
        },
        reasoning: None,
        confidence: None,
    })
}

fn answer(schema: &Schema, reply: &Reply) -> Result<Choice, Wrong> {
    let uses = reply.tool_uses();
    let [one] = uses.as_slice() else {
        return Err(mend(format!(
            "exactly one tool must be used, not {}.",
            told(&uses)
        )));
    };
    if one.name != ANSWER {
        return Err(mend(off_menu(one.name, ANSWER)));
    }
    let (with, reasoning, confidence) = unwrap(one.input, WITH).map_err(mend)?;
    schema
        .check(with)
        .map_err(|fault| mend(format!("`with` does not fit: {fault}.")))?;
    Ok(Choice {
        decision: Decision::Answer {
            output: with.clone(),
        },
        reasoning,
        confidence,
    })
}

/// How many uses there are, and of what.
fn told(uses: &[ToolUse<'_>]) -> String {
    let names: Vec<String> = uses
        .iter()
        .take(NAMES_TOLD_MAX)
        .map(|one| shown(one.name))
        .collect();
    match (uses.len(), names.join(", ")) {
        (0, _) => "0".to_owned(),
        (count, names) if count > NAMES_TOLD_MAX => format!("{count} ({names}, …)"),
        (count, names) => format!("{count} ({names})"),
    }
}

/// A name that the model made up, as it is told.
fn shown(name: &str) -> String {
    let name: String = name.chars().take(80).collect();
    format!("`{name}`")
}

fn off_menu(name: &str, menu: &str) -> String {
    format!("{} is not on the menu; there are {menu}.", shown(name))
}

/// Takes a menu entry's wrap off: what is inside, the reasoning and the confidence; or what is wrong with it.
fn unwrap<'a>(
    input: &'a Value,
    inside: &str,
) -> Result<(&'a Value, Option<String>, Option<f64>), String> {
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
        (None, _, _) => Err(format!("`{inside}` is missing.")),
        (_, None, _) => Err("`reasoning` must be a text that is not empty.".into()),
        (_, _, None) => Err("`confidence` must be a number from 0 to 1.".into()),
    }
}

impl Menu {
    /// What these uses decide: all of them, or none where one is wrong.
    fn pick(&self, uses: &[ToolUse<'_>]) -> Result<Picked, Wrong> {
        self.count(uses)?;
        let checked: Vec<Result<Choice, String>> = uses
            .iter()
            .map(|one| self.choice(one, uses.len() == 1))
            .collect();
        let faults: Vec<Option<String>> = checked
            .iter()
            .map(|one| one.as_ref().err().cloned())
            .collect();
        let mut choices = checked.into_iter().flatten();
        let wrong: Vec<&String> = faults.iter().flatten().collect();
        match (wrong.as_slice(), choices.next()) {
            ([], Some(first)) => Ok(Picked {
                first,
                others: choices.collect(),
            }),
            ([only], _) if uses.len() == 1 => Err(mend(only.as_str())),
            _ => Err(Wrong::Mend(Complaint {
                text: together(uses, &faults),
                faults,
            })),
        }
    }

    /// Whether there are as many uses as there may be.
    fn count(&self, uses: &[ToolUse<'_>]) -> Result<(), Wrong> {
        let given = u32::try_from(uses.len()).unwrap_or(u32::MAX);
        let (most, left) = (self.agent.parallel, self.left);
        if (1..=most.min(left.max(1))).contains(&given) {
            return Ok(());
        }
        let told = told(uses);
        Err(mend(if most == 1 {
            format!("exactly one tool must be used, not {told}.")
        } else if given > left && given <= most {
            format!(
                "the run has only {left} steps left, so at most {left} tools can be used, not {told}."
            )
        } else {
            format!("1 to {} tools must be used, not {told}.", most.min(left))
        }))
    }

    /// What one use decides, or what is wrong with it.
    fn choice(&self, one: &ToolUse<'_>, alone: bool) -> Result<Choice, String> {
        if let Some(end) = self.agent.ends.iter().find(|end| end.as_str() == one.name) {
            if !alone {
                return Err(format!("`{end}` ends the work, so it must be used alone."));
            }
            return finish(end, one.input);
        }
        let tool = self
            .agent
            .tools
            .iter()
            .find(|tool| tool.name.as_str() == one.name);
        let Some(tool) = tool else {
            return Err(off_menu(one.name, &self.names().join(", ")));
        };
        let (with, reasoning, confidence) = unwrap(one.input, WITH)?;
        tool.input.check(with).map_err(|fault| {
            format!("`with` does not fit the input of `{}`: {fault}.", tool.name)
        })?;
        Ok(Choice {
            decision: Action::new(tool, with.clone()).into(),
            reasoning,
            confidence,
        })
    }

    fn names(&self) -> Vec<&str> {
        let tools = self.agent.tools.iter().map(|tool| tool.name.as_str());
        tools
            .chain(self.agent.ends.iter().map(Name::as_str))
            .collect()
    }
}

fn finish(end: &Name, input: &Value) -> Result<Choice, String> {
    let (summary, reasoning, confidence) = unwrap(input, "summary")?;
    let summary = summary.as_str().filter(|text| !text.trim().is_empty());
    let summary = summary.ok_or("`summary` must be a text that is not empty.")?;
    Ok(Choice {
        decision: Decision::Finish {
            end: end.clone(),
            summary: summary.to_owned(),
        },
        reasoning,
        confidence,
    })
}

/// The faults of several uses in one text.
fn together(uses: &[ToolUse<'_>], faults: &[Option<String>]) -> String {
    let all = uses.len();
    let wrong = uses.iter().zip(faults).enumerate();
    let wrong = wrong.filter_map(|(at, (one, fault))| {
        let fault = fault.as_ref()?;
        Some(format!(
            "use {} of {all} ({}): {fault}",
            at + 1,
            shown(one.name)
        ))
    });
    wrong.collect::<Vec<_>>().join(" ")
}
