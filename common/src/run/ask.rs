//! A question to Claude and what becomes of its replies: checked against the menu, the schema and the confidence floor before
//! anything is appended. A wrong reply gets one repair turn; then the step escalates.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{
    Ceiling, Run,
    check::{Choice, Complaint, Expect, Menu, Picked, Wrong},
    next::{Draft, escalation, run_end},
    prompt::complain,
    record::{attempt, not_taken, record},
};
use crate::{
    claude::{Message, Model, Request, Role},
    definition::{AgentStep, ClaudeStep, Floor, Inference, Step, Unavailable, Workflow},
    entry::{Account, Answered, Attempt, Batched, Call, Decision, Outcome, ParkedBy},
    ids::{StepKey, hex},
    money::Usd,
};

/// Replies that one step may take: the first and one repair.
const ATTEMPTS_MAX: usize = 2;
/// Replies of one step that may be pauses ("send it back and I go on"), not counted as attempts.
const PAUSES_MAX: usize = 4;
/// How long a step that batches answer is tried when it does not say: as long as a batch may take.
const BATCH_PATIENCE: Duration = Duration::from_secs(86_400);

/// A question, fully built.
#[derive(Debug)]
pub struct Ask {
    /// Which step or turn it decides.
    pub step: StepKey,
    /// The first attempt's request.
    pub request: Request,
    /// Who is asked, the first before the others; never empty.
    pub models: Arc<[Model]>,
    /// How long it is tried; `None`: as the planner's settings say.
    pub patience: Option<Duration>,
    /// What happens when that is over.
    pub unavailable: Unavailable,
    /// What it may cost, as far as definition and journal know.
    pub ceilings: Vec<Ceiling>,
    /// Who is charged.
    pub account: Account,
    /// What was answered before the run was parked here.
    pub replies: Vec<Answered>,
    /// How often in a row the run was parked here.
    pub parked_times: u32,
    /// Whether batches answer it.
    pub by_batch: bool,
    /// How far the attempt after `replies` came on its way through batches before the run was parked here.
    pub batched: Option<Box<Batched>>,
    /// Since when it can have been asked.
    pub asked_from: Timestamp,
    expect: Expect,
}

/// Calls that were made for a question and gave no reply, though they may have been paid.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Wasted {
    /// How many.
    pub calls: u64,
    /// What they cost, at most.
    pub usd: Usd,
}

/// What becomes of the replies so far.
#[derive(Debug)]
pub enum Settled {
    /// Ask again, with this.
    Again(Box<Request>),
    /// Append these, all or none; never empty. More than one where an agent uses several tools at once.
    Decided(Vec<Draft>),
}

impl Ask {
    pub(super) fn answer(
        run: &Run,
        workflow: &Workflow,
        step: &Step,
        claude: &ClaudeStep,
        request: Request,
    ) -> Self {
        let expect = claude.output.clone().map_or(Expect::Text, Expect::Answer);
        let key = StepKey::step(&step.id);
        let ask = Self::new(run, workflow, key, &claude.inference, request, expect);
        let patience = ask
            .patience
            .or_else(|| claude.batch.then_some(BATCH_PATIENCE));
        Self {
            by_batch: claude.batch,
            patience,
            ..ask
        }
    }

    pub(super) fn pick(
        run: &Run,
        workflow: &Workflow,
        key: StepKey,
        agent: &AgentStep,
        request: Request,
    ) -> Self {
        let expect = Expect::Pick(Menu {
            agent: Box::new(agent.clone()),
            left: workflow.limits.steps.saturating_sub(run.decisions),
        });
        Self::new(run, workflow, key, &agent.inference, request, expect)
    }

    fn new(
        run: &Run,
        workflow: &Workflow,
        step: StepKey,
        inference: &Inference,
        request: Request,
        expect: Expect,
    ) -> Self {
        let parked = run.parked.as_ref().filter(|parked| parked.step == step);
        let tenant = run.begun.as_ref().map(|begun| begun.event.tenant());
        let begun = run.begun.as_ref().map(|begun| begun.at);
        Self {
            models: Arc::clone(&inference.models),
            patience: inference.patience,
            unavailable: inference.unavailable,
            ceilings: run.ceilings(workflow, &step.step, inference),
            account: Account {
                tenant: tenant.unwrap_or_default().to_owned(),
                workflow: workflow.pin.name.to_string(),
            },
            replies: parked.map_or_else(Vec::new, |parked| parked.replies.clone()),
            parked_times: run.parked_times(&step),
            by_batch: false,
            batched: parked.and_then(|parked| parked.batch.clone()),
            asked_from: parked
                .map(|parked| parked.at)
                .or(begun)
                .unwrap_or(Timestamp::UNIX_EPOCH),
            step,
            request,
            expect,
        }
    }

    /// SHA-256 (hex) of the first attempt's request, as the journal keeps it.
    #[must_use]
    pub fn prompt_digest(&self) -> String {
        serde_json::to_vec(&self.request)
            .map(|bytes| hex(&Sha256::digest(bytes)))
            .unwrap_or_default()
    }

    /// What follows from the replies, oldest first.
    #[must_use]
    pub fn settle(&self, replies: &[Answered]) -> Settled {
        let mut attempts = Vec::new();
        let mut request = self.request.clone();
        let (mut tried, mut paused) = (0, 0);
        for answered in replies {
            let content = answered.reply.content.clone();
            let wrong = match self.expect.check(&answered.reply) {
                Ok(picked) => {
                    attempts.push(attempt(answered, None, Vec::new(), false));
                    return Settled::Decided(self.drafts(picked, replies, attempts));
                }
                Err(wrong) => wrong,
            };
            tried += 1;
            let mut last = tried == ATTEMPTS_MAX;
            let mut faults = Vec::new();
            let (complaint, dropped, hopeless) = match wrong {
                Wrong::Paused if paused < PAUSES_MAX => {
                    (tried, paused, last) = (tried - 1, paused + 1, false);
                    request.messages.push(said(&content));
                    (None, false, last)
                }
                Wrong::Paused => (Some("it paused again and again".into()), true, true),
                Wrong::Mend(Complaint { text, faults: each }) => {
                    faults = each;
                    request.messages.push(said(&content));
                    request.messages.push(complain(&content, &text, &faults));
                    (Some(text), false, last)
                }
                Wrong::Unfit(why) => (Some(why.into()), true, last),
                Wrong::Cut => {
                    let cut = format!("cut at max_tokens = {}", request.max_tokens);
                    request.max_tokens = request.max_tokens.saturating_mul(2);
                    (Some(cut), true, last)
                }
                Wrong::Final(complaint) => (Some(complaint), true, true),
            };
            let why = complaint.clone().unwrap_or_default();
            attempts.push(attempt(answered, complaint, faults, dropped));
            if hopeless {
                let draft = self.escalate(&why, replies, attempts, Wasted::default());
                return Settled::Decided(vec![draft]);
            }
        }
        Settled::Again(Box::new(request))
    }

    /// The decision that the run waits, with what was answered so far.
    #[must_use]
    pub fn park(
        &self,
        by: ParkedBy,
        why: &str,
        until: Option<Timestamp>,
        replies: &[Answered],
        wasted: Wasted,
    ) -> Draft {
        let decision = Decision::Park {
            by,
            why: format!("step `{}`: {why}", self.step),
            until,
            replies: replies.to_vec(),
            account: self.account.clone(),
            batch: None,
        };
        Draft {
            call: (wasted.calls > 0).then(|| self.call(&[], Vec::new(), wasted)),
            ..Draft::new(self.step.clone(), decision)
        }
    }

    /// The decision when Claude could not be asked to the end: for the step to escalate with this reason.
    #[must_use]
    pub fn give_up(&self, why: &str, replies: &[Answered], wasted: Wasted) -> Draft {
        let attempts = not_taken(replies, "not taken");
        self.escalate(why, replies, attempts, wasted)
    }

    fn escalate(
        &self,
        why: &str,
        replies: &[Answered],
        attempts: Vec<Attempt>,
        wasted: Wasted,
    ) -> Draft {
        let why = format!("step `{}`: {why}", self.step);
        let mut draft = match &self.expect {
            Expect::Pick(menu) => escalation(&menu.agent, self.step.clone(), &why),
            Expect::Text | Expect::Answer(_) => {
                run_end(self.step.clone(), Outcome::Escalated, Some(why))
            }
        };
        let called = !replies.is_empty() || wasted.calls > 0;
        draft.call = called.then(|| self.call(replies, attempts, wasted));
        draft
    }

    /// One draft for each choice; the first carries the call, which is paid once.
    fn drafts(&self, picked: Picked, replies: &[Answered], attempts: Vec<Attempt>) -> Vec<Draft> {
        let Picked { first, others } = self.above_floor(picked);
        let draft = |(branch, choice): (u32, Choice)| Draft {
            step: self.step.clone(),
            branch,
            decision: choice.decision,
            reasoning: choice.reasoning,
            confidence: choice.confidence,
            call: None,
            left: None,
        };
        let first = Draft {
            call: Some(self.call(replies, attempts, Wasted::default())),
            ..draft((0, first))
        };
        let others = (1..).zip(others).map(draft);
        std::iter::once(first).chain(others).collect()
    }

    /// Below the confidence floor, the agent takes the end that its definition names instead of what it picked. Of several
    /// tools, the one that it is least sure of counts: they were picked together.
    fn above_floor(&self, picked: Picked) -> Picked {
        let floor = match &self.expect {
            Expect::Pick(menu) => menu.agent.floor.as_ref(),
            Expect::Text | Expect::Answer(_) => None,
        };
        let Some(floor) = floor else {
            return picked;
        };
        let sure = |choice: &Choice| choice.confidence.unwrap_or(0.0);
        let least = picked.others.iter().fold(&picked.first, |least, other| {
            if sure(other) < sure(least) {
                other
            } else {
                least
            }
        });
        let confidence = sure(least);
        let all = std::iter::once(&picked.first).chain(&picked.others);
        let wanted: Vec<String> = all
            .filter_map(|choice| wanted(&choice.decision, floor))
            .collect();
        if confidence >= floor.min || wanted.is_empty() {
            return picked;
        }
        let summary = format!(
            "confidence {confidence} is below {}: it wanted to {}",
            floor.min,
            wanted.join(", and to ")
        );
        Picked::from(Choice {
            decision: Decision::Finish {
                end: floor.below.clone(),
                summary,
            },
            ..least.clone()
        })
    }

    /// `wasted` is what no reply of these counts.
    fn call(&self, replies: &[Answered], attempts: Vec<Attempt>, wasted: Wasted) -> Call {
        let used = replies.get(..attempts.len()).unwrap_or(replies);
        Call {
            model: used.last().map_or_else(
                || self.request.model.clone(),
                |last| last.reply.model.clone(),
            ),
            prompt: self.prompt_digest(),
            asked: self.request.model.clone(),
            menu: self.expect.menu(),
            ..record(used, attempts, wasted, self.account.clone())
        }
    }
}

/// The model's turn, as it goes back.
fn said(content: &[serde_json::Value]) -> Message {
    Message {
        role: Role::Assistant,
        content: content.to_vec(),
    }
}

/// What a decision below the floor would have done; `None` where it is what the floor leads to anyway.
fn wanted(decision: &Decision, floor: &Floor) -> Option<String> {
    match decision {
        Decision::Act { tool, with, .. } => Some(format!("use {tool} with {with}")),
        Decision::Finish { end, summary } if *end != floor.below => {
            Some(format!("end as `{end}`: {summary}"))
        }
        Decision::Finish { .. }
        | Decision::Answer { .. }
        | Decision::Park { .. }
        | Decision::End { .. } => None,
    }
}
