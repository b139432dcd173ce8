//! The one owner of retries. A question goes to the step's first model until it is answered or has had its tries, then to the
//! models it may fall back to; then the step escalates or the run waits, as its definition says. Every try passes the model's
//! breaker, the fleet's rate limits and every ceiling of its money, in this order, and settles with each what became of it.

mod bill;
mod breakers;
mod gates;
mod settle;
mod waiting;

use std::time::Duration;

use flotilla_common::{
    claude::{Model, Request, Tier, request_tokens_max, tokens_estimate},
    definition::Unavailable,
    entry::{Answered, ParkedBy},
    io::{ceilings::Watched, journal::Journal, limiter::Limiter, money::Money},
    limit::{Flow, Scope, Want},
    money::Usd,
    run::{Ask, Run, Wasted},
};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    claude::{Answer, CallError, Claude, ErrorKind},
    stop::Stop,
};
use bill::Room;
use gates::Entered;
pub(crate) use {breakers::Breakers, waiting::Waiting};

/// First pause of the back-off; doubles up to [`PAUSE_MAX`], with full jitter.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Failed tries of one model before the next one is asked, where there is one. Being told to wait is no failure.
const TRIES_BEFORE_FALLBACK: u32 = 4;
/// Replies of one model that could not be read, for one question: each is paid.
const UNREADABLE_MAX: u32 = 2;
/// Rounds of one model, waits included: more is a fault somewhere.
const ROUNDS_MAX: u32 = 100_000;
/// Longest pause of a parked run between two looks, other than for money.
const PARK_MAX: Duration = Duration::from_secs(1_800);

/// Everything that a call needs beside its question.
pub(crate) struct Caller {
    pub(crate) claude: Claude,
    pub(crate) breakers: Breakers,
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
}

/// One attempt of a step, under its claim.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) run: &'a Run,
    pub(crate) ask: &'a Ask,
    pub(crate) request: &'a Request,
    /// The claim and its fence: what no other holder's tries are called.
    pub(crate) id: &'a str,
}

/// What came of a question.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A reply; what was wasted on the way is in it.
    Answered(Box<Answered>),
    /// The run waits.
    Parked {
        by: ParkedBy,
        why: String,
        until: Option<Timestamp>,
        wasted: Wasted,
    },
    /// No reply, and waiting would not help.
    GivenUp { why: String, wasted: Wasted },
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
    request: Request,
    scope: Scope,
    flow: Flow,
    want: Want,
    /// The most that one try can cost.
    worst: Usd,
    /// Whether no other model comes after it.
    last: bool,
    deadline: Instant,
}

/// How the tries of one model went so far.
struct Course {
    tries: u32,
    unreadable: u32,
    pause: Duration,
}

impl Caller {
    /// Asks until there is an answer, or waiting in place is over. Dropped, it leaves the call in flight to its fate and its
    /// money held.
    pub(crate) async fn ask(&self, question: Question<'_>) -> Result<Outcome, Stop> {
        let ask = question.ask;
        let deadline = Instant::now() + ask.patience.unwrap_or(self.patience);
        let mut wasted = Wasted::default();
        let mut passed: Vec<String> = Vec::new();
        for (index, model) in ask.models.iter().enumerate() {
            let last = index + 1 == ask.models.len();
            let lane = Lane::new(&question, model, last, deadline)?;
            let tried = self.try_model(question, &lane, index, &mut wasted).await?;
            match tried {
                Tried::Answered(answered) => {
                    return Ok(Outcome::Answered(Box::new(Answered {
                        fallbacks: passed,
                        wasted: wasted.calls,
                        wasted_usd_nano: wasted.usd,
                        ..*answered
                    })));
                }
                Tried::Spent(why) => {
                    debug!(model = model.id, why, last, "no answer from this model");
                    passed.push(format!("{}: {why}", model.id));
                }
                Tried::Parked(by, why, until) => {
                    return Ok(Outcome::Parked {
                        by,
                        why,
                        until,
                        wasted,
                    });
                }
                Tried::GivenUp(why) => return Ok(Outcome::GivenUp { why, wasted }),
            }
        }
        let why = format!("no answer in time: {}", passed.join("; "));
        Ok(match ask.unavailable {
            Unavailable::Escalate => Outcome::GivenUp { why, wasted },
            Unavailable::Park => Outcome::Parked {
                by: ParkedBy::Unavailable,
                why,
                until: Some(self.later(ask.parked_times)),
                wasted,
            },
        })
    }

    async fn try_model(
        &self,
        question: Question<'_>,
        lane: &Lane<'_>,
        index: usize,
        wasted: &mut Wasted,
    ) -> Result<Tried, Stop> {
        let mut course = Course {
            tries: 0,
            unreadable: 0,
            pause: PAUSE_MIN,
        };
        for number in 0..ROUNDS_MAX {
            // Looked at before a place within the limits is taken, and again when it is there.
            if let Some(open) = self.breakers.open(lane.model) {
                match self.stand_by(lane, open).await? {
                    Some(why) => return Ok(Tried::Spent(why)),
                    None => continue,
                }
            }
            let ticket = match self.enter(question, lane).await? {
                Entered::Ticket(ticket) => ticket,
                Entered::Spent(why) => return Ok(Tried::Spent(why)),
                Entered::Parked(why, until) => {
                    return Ok(Tried::Parked(ParkedBy::Unavailable, why, Some(until)));
                }
            };
            let pass = match self.breakers.admit(lane.model) {
                Ok(pass) => pass,
                Err(open) => {
                    self.limiter.give_back(ticket).await;
                    match self.stand_by(lane, open).await? {
                        Some(why) => return Ok(Tried::Spent(why)),
                        None => continue,
                    }
                }
            };
            let id = format!("{}.{index}.{number}", question.id);
            let hold = match self.room(question, lane, &id).await {
                Ok(Room::Held(hold)) => hold,
                not_held => {
                    self.breakers.cancelled(lane.model, pass);
                    self.limiter.give_back(ticket).await;
                    match not_held? {
                        Room::Parked(why, until) => {
                            return Ok(Tried::Parked(ParkedBy::Ceiling, why, until));
                        }
                        Room::Held(_) | Room::Later => continue,
                    }
                }
            };
            let called = self.call(&lane.request, &hold).await;
            let called = self.settle(lane, pass, ticket, &hold, called, wasted).await;
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
        let why = error.why.clone();
        match error.kind {
            ErrorKind::Invalid => {
                return Ok(Some(Tried::GivenUp(format!(
                    "Claude refuses the request: {why}"
                ))));
            }
            ErrorKind::Blocked => {
                warn!(
                    why,
                    "Claude cannot be used until a person mends this; the run waits"
                );
                let until = self.later(question.ask.parked_times);
                return Ok(Some(Tried::Parked(ParkedBy::Blocked, why, Some(until))));
            }
            ErrorKind::Unreadable => {
                course.unreadable += 1;
                if course.unreadable >= UNREADABLE_MAX {
                    let why = format!("{UNREADABLE_MAX} replies could not be read: {why}");
                    let over = if lane.last {
                        Tried::GivenUp(why)
                    } else {
                        Tried::Spent(why)
                    };
                    return Ok(Some(over));
                }
            }
            ErrorKind::RateLimited => {}
            ErrorKind::Overloaded
            | ErrorKind::Server
            | ErrorKind::Conflict
            | ErrorKind::Timeout
            | ErrorKind::Connection => course.tries += 1,
        }
        if !lane.last && course.tries >= TRIES_BEFORE_FALLBACK {
            return Ok(Some(Tried::Spent(why)));
        }
        let jittered = course.pause.mul_f64(fastrand::f64());
        course.pause = (course.pause * 2).min(PAUSE_MAX);
        let wait = error.after.map_or(jittered, |told| told + jittered);
        if Instant::now() + wait >= lane.deadline {
            return Ok(Some(Tried::Spent(why)));
        }
        debug!(why, ?wait, "asking Claude again");
        self.wait(wait, &why).await.map(|()| None)
    }

    /// When a parked run looks again: later each time, and not all at once.
    fn later(&self, times: u32) -> Timestamp {
        let doubled = self.park_pause.saturating_mul(1 << times.min(16));
        soon(doubled.min(PARK_MAX).mul_f64(0.8 + 0.4 * fastrand::f64()))
    }
}

/// So long from now.
fn soon(pause: Duration) -> Timestamp {
    let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::ZERO);
    Timestamp::now()
        .checked_add(pause)
        .unwrap_or(Timestamp::MAX)
}

impl<'a> Lane<'a> {
    fn new(
        question: &Question<'_>,
        model: &'a Model,
        last: bool,
        deadline: Instant,
    ) -> Result<Self, Stop> {
        let request = Request {
            model: model.id.clone(),
            ..question.request.clone()
        };
        let account = &question.ask.account;
        let name = |text: &str| text.parse().map_err(|e| Stop::Dead(format!("{e}")));
        let bytes = request.bytes();
        Ok(Self {
            scope: Scope::claude(&model.family),
            flow: Flow {
                tenant: name(&account.tenant)?,
                workflow: name(&account.workflow)?,
            },
            want: Want {
                input_estimate: tokens_estimate(bytes),
                output_max: u64::from(request.max_tokens),
            },
            worst: model.worst_cost(request_tokens_max(bytes), request.max_tokens),
            model,
            request,
            last,
            deadline,
        })
    }
}

fn answered(model: &Model, answer: Answer) -> Box<Answered> {
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
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        wasted: 0,
        wasted_usd_nano: Usd::default(),
    })
}
