//! Asking Claude without a fleet: by the planner's own client and its retry rules, with money held under one ceiling before every
//! try. Nothing is written anywhere, and no fleet knows of these calls.

mod purse;

use std::time::Duration;

use bytes::Bytes;
use flotilla_common::{
    claude::{Model, Request, Tier, Usage, request_tokens_max},
    entry::Answered,
    money::Usd,
    run::{Ask, Draft, Settled},
};
use tokio::time::{Instant, sleep};
use tracing::debug;

use purse::Held;
pub use purse::Purse;

use crate::{
    caller::{Course, ROUNDS_MAX, Then, answered},
    claude::{Answer, Billed, CallError, Claude, ClaudeConfig, ClaudeError},
};

/// Replies that one question can take: the first, its repair, and pauses. More is a fault somewhere.
const REPLIES_MAX: usize = 8;
/// Tokens that telling the model what was wrong may add to the second request, besides its own reply.
const COMPLAINT_TOKENS_MAX: u64 = 2_048;

/// Claude, for somebody who asks alone.
#[derive(Debug)]
pub struct Alone {
    claude: Claude,
    patience: Duration,
}

/// What came of a question.
#[derive(Debug)]
pub struct AskedAlone {
    /// What a planner would append; or why there is no answer, for people.
    pub drafts: Result<Vec<Draft>, String>,
    /// What it cost: tries that were lost at their most.
    pub usd: Usd,
    /// Wall time of the calls that were answered, in milliseconds.
    pub took_ms: u64,
}

/// Why one attempt has no reply.
struct NoReply(String);

impl Alone {
    /// A client for so many calls at once.
    ///
    /// # Errors
    /// [`ClaudeError`].
    pub fn new(config: ClaudeConfig, calls: usize) -> Result<Self, ClaudeError> {
        let patience = config.patience;
        let claude = Claude::new(config, calls)?;
        Ok(Self { claude, patience })
    }

    /// The most that a question can cost with its one repair: a token is at least a byte, and a reply that is cut gets twice the
    /// room. Tries whose connection breaks come on top.
    #[must_use]
    pub fn worst(&self, ask: &Ask) -> Usd {
        let tokens = request_tokens_max(ask.request.bytes());
        let room = ask.request.max_tokens;
        let repaired = tokens
            .saturating_add(u64::from(room))
            .saturating_add(COMPLAINT_TOKENS_MAX);
        let both = ask.models.iter().map(|model| {
            model.worst_cost(tokens, room) + model.worst_cost(repaired, room.saturating_mul(2))
        });
        both.max().unwrap_or_default()
    }

    /// Asks until its replies decide the question, or there is no answer to be had, or no money left.
    pub async fn ask(&self, ask: &Ask, purse: &Purse) -> AskedAlone {
        let mut tab = Tab::default();
        let mut replies: Vec<Answered> = Vec::new();
        let drafts = loop {
            let request = match ask.settle(&replies) {
                Settled::Decided(drafts) => break Ok(drafts),
                Settled::Again(request) => request,
            };
            if replies.len() >= REPLIES_MAX {
                break Err("it was asked too often".to_owned());
            }
            match self.attempt(ask, &request, purse, &mut tab).await {
                Ok(answered) => replies.push(answered),
                Err(NoReply(why)) => break Err(why),
            }
        };
        AskedAlone {
            drafts,
            usd: tab.usd,
            took_ms: replies.iter().map(|reply| reply.took_ms).sum(),
        }
    }

    /// One attempt: each of the models in its turn.
    async fn attempt(
        &self,
        ask: &Ask,
        request: &Request,
        purse: &Purse,
        tab: &mut Tab,
    ) -> Result<Answered, NoReply> {
        let ends = Instant::now() + ask.patience.unwrap_or(self.patience);
        let mut left = u32::try_from(ask.models.len()).unwrap_or(u32::MAX);
        let mut passed: Vec<String> = Vec::new();
        for model in ask.models.iter() {
            let now = Instant::now();
            let deadline = now + ends.saturating_duration_since(now) / left.max(1);
            left = left.saturating_sub(1);
            let body = self.claude.body(request, &model.id);
            let body = body.map_err(|error| NoReply(error.to_string()))?;
            let lane = Lane {
                model,
                worst: model.worst_cost(request_tokens_max(body.len() as u64), request.max_tokens),
                max_tokens: request.max_tokens,
                body,
                last: left == 0,
                deadline,
            };
            match self.try_model(&lane, purse, tab).await? {
                Ok(answer) => {
                    return Ok(Answered {
                        fallbacks: passed,
                        ..*answered(model, answer)
                    });
                }
                Err(why) => passed.push(format!("{}: {why}", model.id)),
            }
        }
        Err(NoReply(format!("no answer in time: {}", passed.join("; "))))
    }

    /// One model until it answers or has had its tries; the error inside is why the next one is asked.
    async fn try_model(
        &self,
        lane: &Lane<'_>,
        purse: &Purse,
        tab: &mut Tab,
    ) -> Result<Result<Answer, String>, NoReply> {
        let mut course = Course::new();
        for _ in 0..ROUNDS_MAX {
            let held = purse.hold(lane.worst).await;
            let held = held.map_err(|full| NoReply(full.to_string()))?;
            let called = self.claude.call(&lane.model.id, lane.body.clone()).await;
            let error = match called {
                Ok(answer) => {
                    tab.pay(held, lane.model.cost(&answer.reply.usage, Tier::Standard));
                    return Ok(Ok(answer));
                }
                Err(error) => error,
            };
            tab.pay(held, lane.lost(&error));
            let left = lane.deadline.saturating_duration_since(Instant::now());
            match course.after(&error, lane.last, left) {
                Then::GiveUp(why) | Then::Blocked(why) => return Err(NoReply(why)),
                Then::Spent(why) => return Ok(Err(why)),
                Then::Again(wait) => {
                    debug!(why = error.why, ?wait, "asking Claude again");
                    sleep(wait).await;
                }
            }
        }
        Ok(Err("it was tried too often".into()))
    }
}

/// What is the same for all tries of one model.
struct Lane<'a> {
    model: &'a Model,
    body: Bytes,
    worst: Usd,
    max_tokens: u32,
    last: bool,
    deadline: Instant,
}

impl Lane<'_> {
    /// What a failed try may have cost.
    fn lost(&self, error: &CallError) -> Usd {
        match error.billed {
            Billed::Nothing => Usd::default(),
            // What was produced after the cut is billed too, and nobody says how much.
            Billed::AtLeast(usage) => {
                let output_tokens = u64::from(self.max_tokens).max(usage.output_tokens);
                let at_most = Usage {
                    output_tokens,
                    ..usage
                };
                self.model.cost(&at_most, Tier::Standard)
            }
            Billed::Unknown => self.worst,
        }
    }
}

/// What a question cost so far.
#[derive(Debug, Default)]
struct Tab {
    usd: Usd,
}

impl Tab {
    fn pay(&mut self, held: Held<'_>, cost: Usd) {
        self.usd = self.usd + cost;
        held.pay(cost);
    }
}

#[cfg(test)]
mod tests;
