//! A question to Claude and what becomes of its replies: checked against the menu, the schema and the confidence floor before
//! anything is appended. A wrong reply gets one repair turn; then the step escalates.

mod chosen;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    Ceiling, Draft, Raised, Run,
    check::{Complaint, Expect, Menu, Wrong},
    next::{escalated, escalation},
    prompt::complain,
    record::{attempt, not_taken, record},
};
use crate::{
    claude::{Message, Model, Request, Role},
    definition::{
        AgentStep, ApprovalTerms, ClaudeStep, Inference, Review, Risk, Unavailable, Workflow,
    },
    entry::{Account, Answered, Attempt, Batched, Call, Decision, ParkedBy},
    ids::{RunId, StepKey, hex},
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
    /// Of which run.
    pub run: RunId,
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
    /// How many messages of people it tells.
    pub heard: u32,
    /// Replies that its run tells already, by their ids.
    told: BTreeSet<String>,
    /// What people had said that it may cost.
    pub(super) raised: Raised,
    /// Where it gives up, the run ends; otherwise only its step fails.
    plain: bool,
    expect: Expect,
    /// How people are asked before an action of high risk.
    asking: Option<Asking>,
}

/// What it takes to ask a person.
#[derive(Debug)]
struct Asking {
    run: RunId,
    at: Timestamp,
    terms: ApprovalTerms,
    facts: Value,
}

/// Calls that were made for a question and gave no reply, though they may have been paid.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Wasted {
    /// How many.
    pub calls: u64,
    /// What they cost, at most.
    pub usd: Usd,
}

impl std::ops::Add for Wasted {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            usd: self.usd + other.usd,
        }
    }
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
        key: &StepKey,
        claude: &ClaudeStep,
        request: Request,
    ) -> Self {
        let expect = claude.output.clone().map_or(Expect::Text, Expect::Answer);
        let inference = &claude.inference;
        let ask = Self::new(run, workflow, key.clone(), inference, request, expect);
        let patience = ask
            .patience
            .or_else(|| claude.batch.then_some(BATCH_PATIENCE));
        Self {
            by_batch: claude.batch,
            patience,
            ..ask
        }
    }

    pub(super) fn review(
        run: &Run,
        workflow: &Workflow,
        key: &StepKey,
        agent: &AgentStep,
        review: &Review,
        request: Request,
    ) -> Self {
        let expect = Expect::Review(Box::new(agent.clone()));
        Self::new(
            run,
            workflow,
            key.clone(),
            &review.inference,
            request,
            expect,
        )
    }

    /// Whether the run ends where this gives up.
    pub(super) fn plain(self, plain: bool) -> Self {
        Self { plain, ..self }
    }

    pub(super) fn pick(
        run: &Run,
        workflow: &Workflow,
        key: &StepKey,
        agent: &AgentStep,
        request: Request,
        facts: Value,
    ) -> Self {
        let expect = Expect::Pick(Menu {
            agent: Box::new(agent.clone()),
            left: workflow.limits.steps.saturating_sub(run.decisions),
        });
        let risky = agent.tools.iter().any(|tool| tool.risk == Risk::High);
        let asking = risky.then(|| Asking {
            run: run.id.clone(),
            at: run.time(),
            terms: workflow.approvals.clone(),
            facts,
        });
        Self {
            asking,
            heard: u32::try_from(run.heard.len()).unwrap_or(u32::MAX),
            ..Self::new(
                run,
                workflow,
                key.clone(),
                &agent.inference,
                request,
                expect,
            )
        }
    }

    fn new(
        run: &Run,
        workflow: &Workflow,
        step: StepKey,
        inference: &Inference,
        request: Request,
        expect: Expect,
    ) -> Self {
        let parked = run.parked_at(&step);
        let begun = run.begun.as_ref().map(|begun| begun.at);
        Self {
            run: run.id.clone(),
            models: Arc::clone(&inference.models),
            patience: inference.patience,
            unavailable: inference.unavailable,
            ceilings: run.ceilings(workflow, &step.step, inference),
            account: run.account(),
            replies: parked.map_or_else(Vec::new, |parked| parked.replies.clone()),
            parked_times: parked.map_or(0, |parked| parked.times),
            by_batch: false,
            batched: parked.and_then(|parked| parked.batch.clone()),
            asked_from: parked
                .map(|parked| parked.at)
                .or(begun)
                .unwrap_or(Timestamp::UNIX_EPOCH),
            step,
            request,
            heard: 0,
            told: run.told.clone(),
            raised: run.raised.clone(),
            plain: true,
            expect,
            asking: None,
        }
    }

    /// SHA-256 (hex) of the first attempt's request, as the journal keeps it.
    #[must_use]
    pub fn prompt_digest(&self) -> String {
        serde_json::to_vec(&self.request)
            .map(|bytes| hex(&Sha256::digest(bytes)))
            .unwrap_or_default()
    }

    /// What follows from the replies, oldest first, where no time has passed since it was asked.
    #[must_use]
    pub fn settle(&self, replies: &[Answered]) -> Settled {
        self.settle_at(replies, Timestamp::MIN)
    }

    /// What follows from the replies, oldest first. The time that people have for a question counts from `now`.
    #[must_use]
    pub fn settle_at(&self, replies: &[Answered], now: Timestamp) -> Settled {
        let mut attempts = Vec::new();
        let mut request = self.request.clone();
        let (mut tried, mut paused) = (0, 0);
        for answered in replies {
            let content = answered.reply.content.clone();
            let wrong = match self.expect.check(&answered.reply) {
                Ok(picked) => {
                    attempts.push(attempt(answered, None, Vec::new(), false));
                    return Settled::Decided(self.drafts(picked, replies, attempts, now));
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

    /// The records of calls that were made for this and abandoned, because nobody wants the answer any more: one for each reply, for
    /// another planner may have taken some of them from their claims.
    #[must_use]
    pub fn abandoned(&self, replies: &[Answered], wasted: Wasted) -> Vec<Call> {
        // What a parked step kept is told with that.
        let replies = replies.get(self.replies.len()..).unwrap_or_default();
        let is_told = |id: &String| self.told.contains(id);
        let untold = replies
            .iter()
            .filter(|reply| !reply.request_id.as_ref().is_some_and(is_told));
        let each = untold.map(|reply| {
            let reply = std::slice::from_ref(reply);
            let attempts = not_taken(reply, "not taken: nobody wanted it any more");
            self.call(reply, attempts, Wasted::default())
        });
        let lost = (wasted.calls > 0).then(|| self.call(&[], Vec::new(), wasted));
        each.chain(lost).collect()
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
            Expect::Pick(menu) => escalation(&menu.agent, self.step.clone(), &why, self.plain),
            // A review that cannot be had is not one that was passed.
            Expect::Review(agent) => {
                let next = self.step.turn.unwrap_or_default().saturating_add(1);
                let key = StepKey {
                    aside: None,
                    ..self.step.clone().at_turn(next)
                };
                escalation(agent, key, &why, self.plain)
            }
            Expect::Text | Expect::Answer(_) => escalated(self.step.clone(), &why, self.plain),
        };
        let called = !replies.is_empty() || wasted.calls > 0;
        draft.call = called.then(|| self.call(replies, attempts, wasted));
        draft
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
            heard: used.last().map_or(self.heard, |last| last.heard),
            ..record(used, attempts, wasted, (self.account.clone(), &self.told))
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
