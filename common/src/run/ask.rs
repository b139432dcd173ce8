//! A question to Claude and what becomes of its replies: checked against the menu, the schema and the confidence floor before
//! anything is appended. A wrong reply gets one repair turn; then the step escalates.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    check::{Expect, Picked, Wrong},
    next::{Draft, escalation, run_end},
    prompt::complain,
};
use crate::{
    claude::{Message, Model, Reply, Request, Role, Usage},
    definition::{AgentStep, ClaudeStep},
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

/// What becomes of the replies so far.
#[derive(Debug)]
pub enum Settled {
    /// Ask again, with this.
    Again(Box<Request>),
    /// Append this.
    Decided(Box<Draft>),
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
            expect: Expect::Pick(Box::new(agent.clone())),
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
            let wrong = match self.expect.check(&answered.reply) {
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
                Wrong::Mend(complaint) => {
                    request.messages.push(Message {
                        role: Role::Assistant,
                        content: content.clone(),
                    });
                    request.messages.push(complain(&content, &complaint));
                    (complaint, false, last)
                }
                Wrong::Empty => ("the reply is empty".into(), true, last),
                Wrong::Cut => {
                    let cut = format!("cut at max_tokens = {}", request.max_tokens);
                    request.max_tokens = request.max_tokens.saturating_mul(2);
                    (cut, true, last)
                }
                Wrong::Final(complaint) => (complaint, true, true),
            };
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
        let floor = match &self.expect {
            Expect::Pick(agent) => agent.floor.as_ref(),
            Expect::Text | Expect::Answer(_) => None,
        };
        let Some(floor) = floor else {
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
            took_ms: used
                .iter()
                .fold(0, |sum: u64, answered| sum.saturating_add(answered.took_ms)),
            wasted: used
                .iter()
                .fold(0, |sum: u64, answered| sum.saturating_add(answered.wasted)),
        }
    }
}
