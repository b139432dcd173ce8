//! The one owner of retries. A question goes to the step's first model until it is answered or has had its tries, then to the
//! models it may fall back to; then the step escalates or the run waits, as its definition says. Every try passes the model's
//! breaker, the fleet's rate limits and every ceiling of its money, in this order, and settles with each what became of it.

mod bill;
mod breakers;
mod course;
mod gates;
mod settle;
mod waiting;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;

use flotilla_common::{
    claude::{Model, Request, Tier, request_tokens_max, tokens_estimate},
    definition::Unavailable,
    entry::{Answered, Batched, ParkedBy},
    io::{
        ceilings::Watched, clock, journal::Journal, limiter::Limiter, money::Money, store::Validity,
    },
    limit::{Flow, Scope, Want},
    money::Usd,
    run::{Ask, Wasted},
};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::{
    claude::{Answer, CallError, Claude},
    spans,
    stop::Stop,
};
use gates::Passed;
pub(crate) use {
    bill::NoRoom,
    breakers::Breakers,
    course::{Course, ROUNDS_MAX, TRIES_BEFORE_FALLBACK, Then, UNREADABLE_MAX},
    settle::{judged, settle_money},
    waiting::Waiting,
};

/// Longest pause of a parked run between two looks, other than for money.
const PARK_MAX: Duration = Duration::from_secs(1_800);
/// How often the pause of a run doubles that waits for money which others hold: calls in flight hold it for moments, but items of
/// batches for hours, and each look is an entry of the journal.
const MONEY_DOUBLINGS_MAX: u32 = 4;

/// Everything that a call needs beside its question.
pub(crate) struct Caller {
    pub(crate) claude: Arc<Claude>,
    pub(crate) breakers: Arc<Breakers>,
    pub(crate) limiter: Limiter,
    pub(crate) money: Money,
    pub(crate) ceilings: Watched,
    pub(crate) journal: Journal,
    pub(crate) patience: Duration,
    /// First pause of a parked run.
    pub(crate) park_pause: Duration,
    /// Length of a claim's lease.
    pub(crate) lease: Duration,
    pub(crate) stop: CancellationToken,
    pub(crate) waiting: Waiting,
    pub(crate) summing: tokio::sync::Mutex<()>,
    /// What settles behind replies that are being saved already.
    pub(crate) behind: TaskTracker,
}

/// One attempt of a step, under its claim.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) ask: &'a Ask,
    pub(crate) request: &'a Request,
    /// The claim and its fence: what no other holder's tries are called.
    pub(crate) id: &'a str,
    pub(crate) tally: &'a Tally,
    /// Of the claim: nothing is sent under one that may be over.
    pub(crate) validity: &'a Validity,
}

/// What was paid for a question and came to nothing, as it stands: also for whoever drops the asking in the middle.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    calls: AtomicU64,
    usd_nano: AtomicU64,
    in_flight: AtomicBool,
}

impl Tally {
    pub(crate) fn add(&self, cost: Usd) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.usd_nano.fetch_add(cost.nano(), Ordering::Relaxed);
    }

    fn flies(&self, in_flight: bool) {
        self.in_flight.store(in_flight, Ordering::Relaxed);
    }

    /// What is wasted for sure.
    pub(crate) fn wasted(&self) -> Wasted {
        Wasted {
            calls: self.calls.load(Ordering::Relaxed),
            usd: Usd::from_nano(self.usd_nano.load(Ordering::Relaxed)),
        }
    }

    /// Calls that are lost if the asking ends now, the one in flight among them.
    pub(crate) fn lost(&self) -> u64 {
        self.wasted().calls + u64::from(self.in_flight.load(Ordering::Relaxed))
    }
}

/// What came of a question; what was wasted on the way is in its tally.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answered(Box<Answered>),
    /// The run waits.
    Parked {
        by: ParkedBy,
        why: String,
        until: Option<Timestamp>,
        /// How far its item came, where batches answer.
        batch: Option<Box<Batched>>,
    },
    /// No reply, and waiting would not help.
    GivenUp(String),
    /// Nobody wants to know any more.
    Unwanted,
}

/// What came of asking one model.
enum Tried {
    Answered(Box<Answered>),
    /// It has had its tries: the next one, if there is one.
    Spent(String),
    /// Whichever model: a person is needed.
    Parked(ParkedBy, String, Option<Timestamp>),
    /// Whichever model: this request will never do.
    GivenUp(String),
}

/// What is the same for all tries of one model.
struct Lane<'a> {
    model: &'a Model,
    /// The request's bytes.
    body: Bytes,
    max_tokens: u32,
    scope: Scope,
    flow: Flow,
    want: Want,
    /// The most that one try can cost.
    worst: Usd,
    /// Whether no other model comes after it.
    last: bool,
    deadline: Instant,
}

impl Caller {
    /// Asks until there is an answer, or waiting in place is over. Dropped, it leaves the call in flight to its fate; its money
    /// stays held until that lapses.
    pub(crate) async fn ask(&self, question: Question<'_>) -> Result<Outcome, Stop> {
        let ask = question.ask;
        let ends = Instant::now() + ask.patience.unwrap_or(self.patience);
        let mut passed: Vec<String> = Vec::new();
        let mut left = u32::try_from(ask.models.len()).unwrap_or(u32::MAX);
        for (index, model) in ask.models.iter().enumerate() {
            // Each model has its part of the time, or the first one would use up all of it.
            let part = ends.saturating_duration_since(Instant::now()) / left.max(1);
            left -= 1;
            let deadline = Instant::now() + part;
            let lane = Lane::new(&question, &self.claude, model, left == 0, deadline)?;
            match self.try_model(question, &lane, index).await? {
                Tried::Answered(answered) => {
                    let wasted = question.tally.wasted();
                    return Ok(Outcome::Answered(Box::new(Answered {
                        fallbacks: passed,
                        wasted: wasted.calls,
                        wasted_usd_nano: wasted.usd,
                        ..*answered
                    })));
                }
                Tried::Spent(why) => {
                    debug!(model = model.id, why, "no answer from this model");
                    passed.push(format!("{}: {why}", model.id));
                }
                Tried::Parked(by, why, until) => {
                    return Ok(Outcome::Parked {
                        by,
                        why,
                        until,
                        batch: None,
                    });
                }
                Tried::GivenUp(why) => return Ok(Outcome::GivenUp(why)),
            }
        }
        let why = format!("no answer in time: {}", passed.join("; "));
        Ok(match ask.unavailable {
            Unavailable::Escalate => Outcome::GivenUp(why),
            Unavailable::Park => Outcome::Parked {
                by: ParkedBy::Unavailable,
                why,
                until: Some(self.later(ask.parked_times)),
                batch: None,
            },
        })
    }

    async fn try_model(
        &self,
        question: Question<'_>,
        lane: &Lane<'_>,
        index: usize,
    ) -> Result<Tried, Stop> {
        let mut course = Course::new();
        for number in 0..ROUNDS_MAX {
            let id = format!("{}.{index}.{number}", question.id);
            let passage = match self.pass(question, lane, &mut course, &id).await? {
                Passed::Through(passage) => passage,
                Passed::Later => continue,
                Passed::Over(tried) => return Ok(tried),
            };
            // This process may have slept, and another one taken over.
            question.validity.holds().await;
            question.tally.flies(true);
            let chat = spans::chat(&question, lane.model, lane.max_tokens, number + 1);
            let called = self.call(lane, &passage.hold).await;
            spans::chatted(chat, &called);
            let called = self.settle(question, lane, *passage, called).await;
            question.tally.flies(false);
            match called {
                Ok(answer) => return Ok(Tried::Answered(answered(lane.model, answer))),
                Err(error) => {
                    if let Some(tried) = self.after(question, lane, &mut course, &error).await? {
                        return Ok(tried);
                    }
                }
            }
        }
        Ok(Tried::Spent("it was tried too often".into()))
    }

    /// What a failed try leads to; `None`: the next try, whose pause is over.
    async fn after(
        &self,
        question: Question<'_>,
        lane: &Lane<'_>,
        course: &mut Course,
        error: &CallError,
    ) -> Result<Option<Tried>, Stop> {
        let left = lane.deadline.saturating_duration_since(Instant::now());
        match course.after(error, lane.last, left) {
            Then::GiveUp(why) => Ok(Some(Tried::GivenUp(why))),
            Then::Spent(why) => Ok(Some(Tried::Spent(why))),
            Then::Blocked(why) => {
                warn!(
                    why,
                    "Claude cannot be used until a person mends this; the run waits"
                );
                let until = self.later(question.ask.parked_times);
                Ok(Some(Tried::Parked(ParkedBy::Blocked, why, Some(until))))
            }
            Then::Again(wait) => {
                debug!(why = error.why, ?wait, "asking Claude again");
                self.wait(wait, &error.why).await.map(|()| None)
            }
        }
    }

    /// When a parked run looks again: later each time, and not all at once.
    pub(crate) fn later(&self, times: u32) -> Timestamp {
        let doubled = self.park_pause.saturating_mul(1 << times.min(16));
        soon(doubled.min(PARK_MAX).mul_f64(0.8 + 0.4 * fastrand::f64()))
    }

    /// The same, where what others hold is in the way.
    pub(crate) fn later_for_money(&self, times: u32) -> Timestamp {
        self.later(times.min(MONEY_DOUBLINGS_MAX))
    }
}

/// So long from now.
pub(crate) fn soon(pause: Duration) -> Timestamp {
    let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::ZERO);
    clock::now().checked_add(pause).unwrap_or(Timestamp::MAX)
}

impl<'a> Lane<'a> {
    fn new(
        question: &Question<'_>,
        claude: &Claude,
        model: &'a Model,
        last: bool,
        deadline: Instant,
    ) -> Result<Self, Stop> {
        let dead = |problem: &dyn std::fmt::Display| Stop::Dead(problem.to_string());
        let body = claude
            .body(question.request, &model.id)
            .map_err(|e| dead(&e))?;
        let account = &question.ask.account;
        let bytes = body.len() as u64;
        let max_tokens = question.request.max_tokens;
        Ok(Self {
            scope: Scope::claude(&model.family),
            flow: Flow {
                tenant: account.tenant.parse().map_err(|e| dead(&e))?,
                workflow: account.workflow.parse().map_err(|e| dead(&e))?,
            },
            want: Want {
                input_estimate: tokens_estimate(bytes),
                output_max: u64::from(max_tokens),
            },
            worst: model.worst_cost(request_tokens_max(bytes), max_tokens),
            model,
            body,
            max_tokens,
            last,
            deadline,
        })
    }
}

/// A reply as it is saved.
pub(crate) fn answered(model: &Model, answer: Answer) -> Box<Answered> {
    let Answer {
        reply,
        request_id,
        took,
        ..
    } = answer;
    Box::new(Answered {
        usd_nano: model.cost(&reply.usage, Tier::Standard),
        reply,
        fallbacks: Vec::new(),
        request_id,
        batch: None,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        heard: 0,
        wasted: 0,
        wasted_usd_nano: Usd::default(),
    })
}
