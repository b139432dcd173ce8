//! What became of a try, told to everybody who let it pass.

use std::time::Duration;

use flotilla_common::{
    breaker,
    claude::{RateLimit, RateLimits, Tier, Usage},
    io::{
        limiter::{Outcome as Limited, Ticket},
        money::{Hold, Money},
    },
    limit::{Kinds, Observed, Seen},
    money::Usd,
};
use tokio::time::sleep;
use tracing::debug;

use super::{Caller, Lane, Question, gates::Passage};
use crate::claude::{Answer, Billed, CallError, ErrorKind};

impl Caller {
    /// Calls; meanwhile the money is held again, beside the call and not before it.
    pub(super) async fn call(
        &self,
        lane: &Lane<'_>,
        hold: &Hold,
    ) -> Result<Answer, Box<CallError>> {
        let call = self.claude.call(&lane.model.id, lane.body.clone());
        let every = self.lease / 3;
        let holding = async {
            loop {
                sleep(every).await;
                if let Err(problem) = self.money.hold_again(hold).await {
                    debug!(%problem, "not known whether the money of a call is still held");
                }
            }
        };
        tokio::select! {
            biased;
            called = call => called,
            never = holding => never,
        }
    }

    /// Tells everybody what became of a try. Behind a reply, this goes on while the reply is being saved.
    pub(super) async fn settle(
        &self,
        question: Question<'_>,
        lane: &Lane<'_>,
        passage: Passage<'_>,
        called: Result<Answer, Box<CallError>>,
    ) -> Result<Answer, Box<CallError>> {
        let Passage {
            admitted,
            ticket,
            hold,
        } = passage;
        match &called {
            Ok(answer) => {
                admitted.ended(breaker::Outcome::Success, None);
                let cost = lane.model.cost(&answer.reply.usage, Tier::Standard);
                let outcome = counted(&answer.reply.usage, Some(observed(answer.limits)));
                let (limiter, money) = (self.limiter.clone(), self.money.clone());
                self.behind.spawn(async move {
                    limiter.settle(ticket, outcome).await;
                    settle_money(&money, &hold, cost).await;
                });
            }
            Err(error) => {
                admitted.ended(judged(error.kind), Some(error.why.as_str()));
                let cost = self.failed(lane, ticket, error).await;
                if cost > Usd::default() {
                    question.tally.add(cost);
                }
                settle_money(&self.money, &hold, cost).await;
            }
        }
        called
    }

    /// Settles with the limits; gives what the try may have cost.
    async fn failed(&self, lane: &Lane<'_>, ticket: Ticket, error: &CallError) -> Usd {
        let cost = match error.billed {
            Billed::Nothing => {
                self.limiter.give_back(ticket).await;
                Usd::default()
            }
            Billed::AtLeast(usage) => {
                // What was produced after the cut is billed too, and nobody says how much.
                let output_tokens = u64::from(lane.max_tokens).max(usage.output_tokens);
                let at_most = Usage {
                    output_tokens,
                    ..usage
                };
                self.limiter.settle(ticket, counted(&at_most, None)).await;
                lane.model.cost(&at_most, Tier::Standard)
            }
            Billed::Unknown => {
                let outcome = Limited {
                    input: lane.want.input_estimate,
                    output: lane.want.output_max,
                    headers: None,
                };
                self.limiter.settle(ticket, outcome).await;
                lane.worst
            }
        };
        match error.kind {
            ErrorKind::RateLimited => {
                let observed = observed(error.limits);
                self.limiter
                    .limited(&lane.scope, error.after, observed)
                    .await;
            }
            ErrorKind::Overloaded => self.limiter.overloaded(&lane.scope).await,
            ErrorKind::Server
            | ErrorKind::Conflict
            | ErrorKind::Timeout
            | ErrorKind::Connection
            | ErrorKind::Unreadable
            | ErrorKind::Blocked
            | ErrorKind::Invalid => {}
        }
        cost
    }
}

/// Settles a hold, for as long as Redis may be away for a moment. After that it lapses: the ceiling is reached sooner, never later.
pub(crate) async fn settle_money(money: &Money, hold: &Hold, cost: Usd) {
    const TRIES: u32 = 4;
    for attempt in 1..=TRIES {
        match money.settle(hold, cost).await {
            Ok(()) => return,
            Err(problem) => {
                debug!(%problem, attempt, "the money of a call was not settled");
                sleep(Duration::from_millis(250) * attempt).await;
            }
        }
    }
}

/// What a breaker makes of a failure: only what says that the model does not answer.
pub(crate) fn judged(kind: ErrorKind) -> breaker::Outcome {
    match kind {
        ErrorKind::Overloaded
        | ErrorKind::Server
        | ErrorKind::Timeout
        | ErrorKind::Connection
        | ErrorKind::Unreadable => breaker::Outcome::Failure,
        ErrorKind::RateLimited | ErrorKind::Conflict | ErrorKind::Blocked | ErrorKind::Invalid => {
            breaker::Outcome::Neutral
        }
    }
}

/// What counts against the limits: cache reads do not.
fn counted(usage: &Usage, headers: Option<Observed>) -> Limited {
    Limited {
        input: usage
            .input_tokens
            .saturating_add(usage.cache_creation_input_tokens),
        output: usage.output_tokens,
        headers,
    }
}

fn observed(limits: Option<RateLimits>) -> Observed {
    let seen = |limit: Option<RateLimit>| Seen {
        limit: limit.map(|limit| limit.limit),
        remaining: limit.map(|limit| limit.remaining),
    };
    let limits = limits.unwrap_or_default();
    Kinds {
        requests: seen(limits.requests),
        input: seen(limits.input_tokens),
        output: seen(limits.output_tokens),
    }
}
