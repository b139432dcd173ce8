//! Asking Claude under a claim, with its money held. As the planner's own, with a Claude that says anything.

use std::{cell::Cell, rc::Rc};

use super::{
    super::*,
    claude::reply_to,
    ledger::Since,
    process::Process,
    redis::{Bounds, Claimed, Lease, Room},
    session::Retry,
    world::{Broken, World},
};
use crate::{
    entry::Call,
    names::key,
    run::tests::script::{Choices, unanswered},
};

/// What one call costs at most, in nano-dollars.
pub(super) const WORST: u64 = 40_000;

/// What stops a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Halt {
    No,
    /// Nobody wants to know any more: what it cost is told by who asked.
    Unwanted,
    /// Who asked cannot go on: whoever comes next asks again, and tells what it cost.
    HandBack,
}

/// What came of a question.
pub(super) enum Asked {
    Decided(Box<Concluded>),
    /// Nobody wanted to know any more; this was paid for it.
    Abandoned(Vec<Call>),
}

/// What came of one attempt.
enum Outcome {
    Answered(Box<Answered>),
    GivenUp,
    Parked(ParkedBy, Option<Timestamp>),
    Unwanted,
}

/// A question, until its replies decide the step or nobody wants to know any more.
pub(super) struct Asking {
    process: Process,
    ask: Ask,
    halt: Rc<Cell<Halt>>,
    /// The last decision that was known when it was asked.
    chain: u64,
}

fn lost(calls: u64) -> Wasted {
    Wasted {
        calls,
        usd: Usd::from_nano(calls * WORST),
    }
}

impl Asking {
    pub(super) fn new(process: &Process, ask: Ask, chain: u64, halt: &Rc<Cell<Halt>>) -> Self {
        Self {
            process: process.clone(),
            ask,
            halt: Rc::clone(halt),
            chain,
        }
    }

    pub(super) async fn answer(self) -> Result<Asked, Retry> {
        let ask = &self.ask;
        let mut replies = ask.replies.clone();
        loop {
            let request = match ask.settle_at(&replies, self.process.now()) {
                Settled::Decided(drafts) => {
                    let concluded = ask.concludes(drafts, &replies, Default::default());
                    return Ok(Asked::Decided(Box::new(concluded)));
                }
                Settled::Again(request) => request,
            };
            let new = replies.iter().skip(ask.replies.len());
            let new: Vec<_> = new.filter_map(|one| one.request_id.clone()).collect();
            let attempt = self.attempt(replies.len(), &request).await;
            if attempt.is_err() {
                self.process.at_once(|world| world.ledger.left(&new));
            }
            let Some((outcome, before, own)) = attempt? else {
                // Who is at the next attempt has these replies too, and tells them.
                self.process.at_once(|world| world.ledger.excuses(&new));
                return Ok(Asked::Abandoned(Vec::new()));
            };
            let wasted = before + own;
            let draft = match outcome {
                Outcome::Unwanted => {
                    return Ok(Asked::Abandoned(ask.abandoned(&replies, wasted)));
                }
                Outcome::Answered(answered) => {
                    replies.push(*answered);
                    continue;
                }
                Outcome::GivenUp => ask.give_up("no answer", &replies, wasted),
                Outcome::Parked(by, until) => {
                    self.process.notes("parked");
                    ask.park(by, "it waits", until, &replies, wasted)
                }
            };
            let concluded = ask.concludes(vec![draft], &replies, (before, own));
            return Ok(Asked::Decided(Box::new(concluded)));
        }
    }

    /// One attempt. With it comes what was wasted and is in no reply, by holders of the claim before and now; `None`: nobody wants
    /// it, and it was not begun.
    async fn attempt(
        &self,
        attempt: usize,
        request: &Request,
    ) -> Result<Option<(Outcome, Wasted, Wasted)>, Retry> {
        let (process, ask, none) = (&self.process, &self.ask, Wasted::default());
        let key = key::call(&ask.run, &ask.step, attempt);
        let (lease, granted_at) = match self.claim(&key).await? {
            Some(Ok(granted)) => granted,
            Some(Err(answered)) => return Ok(Some((Outcome::Answered(answered), none, none))),
            None => return Ok(None),
        };
        let call = Try {
            of: self,
            what: format!("{} attempt {attempt}", ask.step),
            request,
            lease: &lease,
            granted_at,
        };
        let (outcome, own) = call.make().await?;
        let before = match &outcome {
            Outcome::Answered(_) => return Ok(Some((outcome, none, none))),
            Outcome::GivenUp | Outcome::Unwanted => lost(lease.lost),
            // What other holders lost stays with the claim while the run waits.
            Outcome::Parked(..) => none,
        };
        process
            .does(|world| world.redis.give_back(&lease, 0, world.clock))
            .await;
        Ok(Some((outcome, before, own)))
    }

    /// The claim and when it was given, or the reply that was saved in it; `None`: nobody wants it any more.
    async fn claim(&self, key: &str) -> Result<Option<Result<(Lease, u64), Box<Answered>>>, Retry> {
        let (process, mut held_until) = (&self.process, 0);
        loop {
            match self.halt.get() {
                Halt::No => {}
                Halt::Unwanted => return Ok(None),
                Halt::HandBack => return Err(Retry(0)),
            }
            let respected =
                process.at_once(|world| world.clock < held_until && !world.redis.is_known(key));
            if !respected {
                let claim = |world: &mut World| match world.broken {
                    Broken::ClaimCall => {
                        world.ledger.granted(&self.ask.run, 1);
                        Claimed::Free(Lease::unclaimed(key, 1))
                    }
                    _ => {
                        let claimed = world.redis.claim(key, process.task, world.clock);
                        if let Claimed::Free(lease) = &claimed {
                            // What was lost before may have been told, and is told again.
                            world.ledger.granted(&self.ask.run, 1 + lease.lost);
                        }
                        claimed
                    }
                };
                let (claimed, clock) = process.does(|world| (claim(world), world.clock)).await;
                match claimed {
                    Claimed::Free(lease) => return Ok(Some(Ok((lease, clock)))),
                    Claimed::Done(value) => {
                        process.notes("saved reply taken");
                        let answered = serde_json::from_value(value).expect("what was saved");
                        return Ok(Some(Err(answered)));
                    }
                    Claimed::Held { left } => {
                        process.notes("call held by another");
                        held_until = clock + left;
                    }
                }
            }
            process.waits(4).await;
        }
    }
}

/// One call.
struct Try<'a> {
    of: &'a Asking,
    what: String,
    request: &'a Request,
    lease: &'a Lease,
    granted_at: u64,
}

impl Try<'_> {
    /// One call, if there is money for it. With it comes what was wasted and is in no reply.
    async fn make(&self) -> Result<(Outcome, Wasted), Retry> {
        let process = &self.of.process;
        let bounds = self.bounds();
        let hold = format!(
            "{}.{}.{}",
            self.lease.key, self.lease.fence, self.lease.owner
        );
        let none = |until| (Outcome::Parked(ParkedBy::Ceiling, until), Wasted::default());
        match self.room(&hold, &bounds).await {
            Room::Held => {}
            // What others hold is free again soon.
            Room::Busy => return Ok(none(Some(later(process)))),
            Room::Full => return Ok(none(None)),
        }
        let (call, cost) = process.at_once(|world| self.begins(world));
        let thinking = process.at_once(|world| 1 + world.random.below(8));
        for _ in 0..thinking {
            process.waits(1).await;
            match self.of.halt.get() {
                Halt::No => {}
                // The hold lapses, and counts as spent then.
                Halt::Unwanted => return Ok((Outcome::Unwanted, lost(1))),
                Halt::HandBack => {
                    process.at_once(|world| world.ledger.is_lost(call));
                    process
                        .does(|world| world.redis.give_back(self.lease, 1, world.clock))
                        .await;
                    return Err(Retry(0));
                }
            }
            process.at_once(|world| world.redis.hold(&hold, WORST, &bounds, world.clock));
        }
        let reply = process.at_once(|world| reply_to(self.request, world.kind, &mut world.random));
        match reply {
            Some(reply) => {
                let answered = self.save(reply, call, cost).await;
                process
                    .does(|world| world.redis.settle(&hold, cost, &bounds))
                    .await;
                let answered = answered.ok_or(Retry(0))?;
                Ok((Outcome::Answered(Box::new(answered)), Wasted::default()))
            }
            None => {
                process
                    .does(|world| world.redis.settle(&hold, WORST, &bounds))
                    .await;
                let later = later(process);
                Ok((process.at_once(|world| gone(world, later)), lost(1)))
            }
        }
    }

    /// Saves a reply in its claim; `None`: the claim is another's.
    async fn save(&self, reply: Reply, call: usize, cost: u64) -> Option<Answered> {
        let (process, lease) = (&self.of.process, self.lease);
        let before = lost(lease.lost);
        let answered = Answered {
            request_id: Some(process.at_once(|world| world.ledger.id(call))),
            usd_nano: Usd::from_nano(cost),
            wasted: before.calls,
            wasted_usd_nano: before.usd,
            heard: self.of.ask.heard,
            ..answered(reply)
        };
        let value = serde_json::to_value(&answered).expect("JSON");
        let saved = process
            .retries(|world| {
                let skipped = matches!(world.broken, Broken::SaveBeforeAppend | Broken::ClaimCall);
                // Safe is what Redis has taken, whether or not its answer arrives.
                let saved = skipped || world.redis.finish(lease, &value, world.clock);
                if saved {
                    world.ledger.is_safe(call, world.clock);
                } else {
                    world.ledger.is_lost(call);
                }
                saved
            })
            .await;
        saved.then_some(answered)
    }

    fn bounds(&self) -> Bounds {
        let ask = &self.of.ask;
        let each = ask.ceilings.iter().map(|ceiling| {
            let key = match ceiling.scope {
                Scope::Step => format!("{} {}", ask.run, ask.step.step),
                Scope::Run => ask.run.to_string(),
                Scope::WorkflowDay | Scope::TenantDay => panic!("no day is bounded here"),
            };
            (key, ceiling.limit.nano(), ceiling.spent.nano())
        });
        each.collect()
    }

    async fn room(&self, hold: &str, bounds: &Bounds) -> Room {
        let process = &self.of.process;
        if process.at_once(|world| world.broken == Broken::HoldMoney) {
            return Room::Held;
        }
        for _ in 0..6 {
            let room = process
                .does(|world| world.redis.reserve(hold, WORST, bounds, world.clock))
                .await;
            if room != Room::Busy {
                return room;
            }
            process.notes("money held by others");
            process.waits(4).await;
        }
        Room::Busy
    }

    /// A call begins: it is paid, whatever comes of it.
    fn begins(&self, world: &mut World) -> (usize, u64) {
        if let Some(problem) = unanswered(self.request) {
            world.violated(problem);
        }
        let (process, ask) = (&self.of.process, &self.of.ask);
        let task = process.task;
        world.note(|| format!("planner {task} asks for {}", self.what));
        let cost = 5_000 + world.random.below(36) as u64 * 1_000;
        let since = Since {
            chain: self.of.chain,
            granted: self.granted_at,
            lost: world.redis.lost_at.map(|at| (at, world.lost_seq)),
            seq: world.seq,
        };
        let by = (&ask.run, &ask.step.step, process.id);
        let (call, problem) = world.ledger.call(by, &self.what, since, cost);
        if let Some(problem) = problem {
            world.violated(problem);
        }
        (call, cost)
    }
}

fn later(process: &Process) -> Timestamp {
    process.now() + SignedDuration::from_millis(400)
}

/// Claude does not answer: the step escalates, or the run waits for a timer or a person.
fn gone(world: &mut World, later: Timestamp) -> Outcome {
    match world.random.below(3) {
        0 => Outcome::GivenUp,
        1 => Outcome::Parked(ParkedBy::Unavailable, Some(later)),
        _ => Outcome::Parked(ParkedBy::Blocked, None),
    }
}
