//! What became of a try, told to everybody who let it pass.

use flotilla_common::{
    breaker::{self, Pass},
    claude::{RateLimit, RateLimits, Request, Tier, Usage},
    io::{
        limiter::{Outcome as Limited, Ticket},
        money::Hold,
        telemetry::metric,
    },
    limit::{Kinds, Observed, Seen},
    money::Usd,
    run::Wasted,
};
use metrics::counter;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::debug;

use super::{Caller, Lane};
use crate::claude::{Answer, Billed, CallError, ErrorKind};

impl Caller {
    /// Calls; meanwhile the money is held again where Redis has lost it.
    pub(super) async fn call(
        &self,
        request: &Request,
        hold: &Hold,
    ) -> Result<Answer, Box<CallError>> {
        let call = self.claude.call(request);
        tokio::pin!(call);
        let every = self.lease / 3;
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                called = &mut call => return called,
                _ = ticks.tick() => {
                    if let Err(problem) = self.money.hold_again(hold).await {
                        debug!(%problem, "not known whether the money of a call is still held");
                    }
                }
            }
        }
    }

    pub(super) async fn settle(
        &self,
        lane: &Lane<'_>,
        pass: Pass,
        ticket: Ticket,
        hold: &Hold,
        called: Result<Answer, Box<CallError>>,
        wasted: &mut Wasted,
    ) -> Result<Answer, Box<CallError>> {
        let (outcome, why) = match &called {
            Ok(_) => (breaker::Outcome::Success, None),
            Err(error) => (judged(error.kind), Some(error.why.as_str())),
        };
        self.breakers.record(lane.model, pass, outcome, why);
        let cost = match &called {
            Ok(answer) => {
                let headers = Some(observed(answer.limits));
                self.limiter
                    .settle(ticket, counted(&answer.reply.usage, headers))
                    .await;
                lane.model.cost(&answer.reply.usage, Tier::Standard)
            }
            Err(error) => {
                let cost = self.failed(lane, ticket, error).await;
                if cost > Usd::default() {
                    counter!(metric::CLAUDE_WASTED).increment(1);
                    wasted.calls += 1;
                    wasted.usd = wasted.usd + cost;
                }
                cost
            }
        };
        if let Err(problem) = self.money.settle(hold, cost).await {
            // What is held stays held: the ceiling is reached sooner, never later.
            debug!(%problem, "the money of a call was not settled");
        }
        called
    }

    /// Settles with the limits; gives what the try may have cost.
    async fn failed(&self, lane: &Lane<'_>, ticket: Ticket, error: &CallError) -> Usd {
        match (error.billed, error.kind) {
            (Billed::Nothing, kind) => {
                self.limiter.give_back(ticket).await;
                match kind {
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
                Usd::default()
            }
            (Billed::AtLeast(usage), _) => {
                // What was produced after the cut is billed too, and nobody says how much.
                let output_tokens = u64::from(lane.request.max_tokens).max(usage.output_tokens);
                let at_most = Usage {
                    output_tokens,
                    ..usage
                };
                self.limiter.settle(ticket, counted(&at_most, None)).await;
                lane.model.cost(&at_most, Tier::Standard)
            }
            (Billed::Unknown, _) => {
                let outcome = Limited {
                    input: lane.want.input_estimate,
                    output: lane.want.output_max,
                    headers: error.limits.map(|limits| observed(Some(limits))),
                };
                self.limiter.settle(ticket, outcome).await;
                lane.worst
            }
        }
    }
}

/// What a breaker makes of a failure: only what says that the model does not answer.
fn judged(kind: ErrorKind) -> breaker::Outcome {
    match kind {
        ErrorKind::Overloaded
        | ErrorKind::Server
        | ErrorKind::Timeout
        | ErrorKind::Connection
        | ErrorKind::Unreadable
        | ErrorKind::Blocked => breaker::Outcome::Failure,
        ErrorKind::RateLimited | ErrorKind::Conflict | ErrorKind::Invalid => {
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
