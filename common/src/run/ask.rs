//! A question to Claude and what becomes of its replies: checked against the menu, the schema and the confidence floor before
//! anything is appended. A wrong reply gets one repair turn; then the step escalates.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    next::{Draft, escalation, run_end},
    prompt::{ANSWER, WITH, complain},
};
use crate::{
    claude::{Message, Model, Reply, Request, Role, StopReason, Usage},
    definition::{AgentStep, ClaudeStep, Schema},
    entry::{Attempt, Call, Decision, Outcome},
    ids::{Name, StepKey, hex},
    money::Usd,
};

/// Replies that one step may take: the first and one repair.
pub const ATTEMPTS_MAX: usize = 2;

/// A reply as the planner saved it, before anything else was done with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The reply, as received.
    pub reply: Reply,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    /// Wall time of the call, in milliseconds.
    pub took_ms: u64,
    /// Calls for this attempt that were lost with their planner before.
    pub wasted: u64,
}

/// A question, fully built.
#[derive(Debug)]
pub struct Ask {
    /// Which step or turn it decides.
    pub step: StepKey,
    /// The first attempt's request.
    pub request: Request,
    model: Model,
    expect: Expect,
}

#[derive(Debug)]
enum Expect {
    Text,
    Answer(Schema),
    Pick(AgentStep),
}

/// What becomes of the replies so far.
#[derive(Debug)]
pub enum Settled {
    /// Ask again, with this.
    Again(Box<Request>),
    /// Append this.
    Decided(Box<Draft>),
}

/// What is wrong with a reply.
enum Wrong {
    /// The model can mend it when told.
    Mend(String),
    /// It was cut: ask again with more room.
    Cut,
    /// No second try would help.
    Final(String),
}

struct Picked {
    decision: Decision,
    reasoning: Option<String>,
    confidence: Option<f64>,
}

impl Ask {
    pub(super) fn answer(step: &Name, claude: &ClaudeStep, request: Request) -> Self {
        let expect = claude.output.clone().map_or(Expect::Text, Expect::Answer);
        Self {
            step: StepKey::step(step),
            request,
            model: claude.model.clone(),
            expect,
        }
    }

    pub(super) fn pick(step: StepKey, agent: &AgentStep, request: Request) -> Self {
        Self {
            step,
            request,
            model: agent.model.clone(),
            expect: Expect::Pick(agent.clone()),
        }
    }

    /// What follows from the replies, oldest first; at most [`ATTEMPTS_MAX`] are looked at.
    #[must_use]
    pub fn settle(&self, replies: &[Answered]) -> Settled {
        let mut attempts = Vec::new();
        let mut request = self.request.clone();
        for (index, answered) in replies.iter().take(ATTEMPTS_MAX).enumerate() {
            let content = answered.reply.content.clone();
            let last = index + 1 == ATTEMPTS_MAX;
            let wrong = match self.check(&answered.reply) {
                Ok(picked) => {
                    attempts.push(Attempt {
                        content,
                        complaint: None,
                        dropped: false,
                    });
                    return Settled::Decided(Box::new(self.draft(picked, replies, attempts)));
                }
                Err(wrong) => wrong,
            };
            let (complaint, dropped, hopeless) = match wrong {
                Wrong::Mend(complaint) => (complaint, false, last),
                Wrong::Cut => (
                    format!("cut at max_tokens = {}", request.max_tokens),
                    true,
                    last,
                ),
                Wrong::Final(complaint) => (complaint, true, true),
            };
            if dropped {
                request.max_tokens = request.max_tokens.saturating_mul(2);
            } else {
                request.messages.push(Message {
                    role: Role::Assistant,
                    content: content.clone(),
                });
                request.messages.push(complain(&content, &complaint));
            }
            attempts.push(Attempt {
                content,
                complaint: Some(complaint.clone()),
                dropped,
            });
            if hopeless {
                return Settled::Decided(Box::new(self.escalate(&complaint, replies, attempts)));
            }
        }
        Settled::Again(Box::new(request))
    }

    /// The decision when Claude could not be asked to the end: for the step to escalate with this reason.
    #[must_use]
    pub fn give_up(&self, why: &str, replies: &[Answered]) -> Draft {
        let attempts = replies
            .iter()
            .map(|answered| Attempt {
                content: answered.reply.content.clone(),
                complaint: Some("not taken".into()),
                dropped: true,
            })
            .collect();
        self.escalate(why, replies, attempts)
    }

    fn escalate(&self, why: &str, replies: &[Answered], attempts: Vec<Attempt>) -> Draft {
        let why = format!("step `{}`: {why}", self.step);
        let mut draft = match &self.expect {
            Expect::Pick(agent) => escalation(agent, self.step.clone(), &why),
            Expect::Text | Expect::Answer(_) => {
                run_end(self.step.clone(), Outcome::Escalated, Some(why))
            }
        };
        draft.call = (!replies.is_empty()).then(|| self.call(replies, attempts));
        draft
    }

    fn draft(&self, picked: Picked, replies: &[Answered], attempts: Vec<Attempt>) -> Draft {
        let call = Some(self.call(replies, attempts));
        let Picked {
            decision,
            reasoning,
            confidence,
        } = self.above_floor(picked);
        Draft {
            step: self.step.clone(),
            branch: 0,
            decision,
            reasoning,
            confidence,
            call,
        }
    }

    /// Below the confidence floor, the agent takes the end that its definition names instead of what it picked.
    fn above_floor(&self, picked: Picked) -> Picked {
        let Expect::Pick(AgentStep {
            floor: Some(floor), ..
        }) = &self.expect
        else {
            return picked;
        };
        let confidence = picked.confidence.unwrap_or(0.0);
        if confidence >= floor.min {
            return picked;
        }
        let wanted = match &picked.decision {
            Decision::Act { tool, with, .. } => format!("use {tool} with {with}"),
            Decision::Finish { end, summary } if *end != floor.below => {
                format!("end as `{end}`: {summary}")
            }
            Decision::Finish { .. } | Decision::Answer { .. } | Decision::End { .. } => {
                return picked;
            }
        };
        let summary = format!(
            "confidence {confidence} is below {}: it wanted to {wanted}",
            floor.min
        );
        Picked {
            decision: Decision::Finish {
                end: floor.below.clone(),
                summary,
            },
            ..picked
        }
    }

    fn check(&self, reply: &Reply) -> Result<Picked, Wrong> {
        match &reply.stop_reason {
            StopReason::EndTurn | StopReason::ToolUse | StopReason::StopSequence => {}
            StopReason::MaxTokens => return Err(Wrong::Cut),
            StopReason::PauseTurn => {
                return Err(Wrong::Mend("the turn was paused before a decision.".into()));
            }
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
        match &self.expect {
            Expect::Text => text(reply),
            Expect::Answer(schema) => {
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
            Expect::Pick(agent) => pick(agent, reply),
        }
    }

    fn call(&self, replies: &[Answered], attempts: Vec<Attempt>) -> Call {
        let used = replies.get(..attempts.len()).unwrap_or(replies);
        let prompt = serde_json::to_vec(&self.request)
            .map(|bytes| hex(&Sha256::digest(bytes)))
            .unwrap_or_default();
        Call {
            model: used.last().map_or_else(
                || self.request.model.clone(),
                |last| last.reply.model.clone(),
            ),
            request_id: used.last().and_then(|last| last.request_id.clone()),
            prompt,
            attempts,
            usage: used
                .iter()
                .fold(Usage::default(), |sum, answered| sum + answered.reply.usage),
            usd_nano: used
                .iter()
                .map(|answered| self.model.cost(&answered.reply.usage))
                .sum::<Usd>(),
            took_ms: used.iter().map(|answered| answered.took_ms).sum(),
            wasted: used.iter().map(|answered| answered.wasted).sum(),
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
