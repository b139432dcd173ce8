//! Asking Claude under a claim, so that no call is paid twice: whoever finds the claim done takes its reply, whoever finds it
//! held waits, and the reply is saved in it before anything else is done.

use std::time::Duration;

use flotilla_common::{
    claude::{Request, StopReason, request_tokens_max},
    entry::{Answered, Call},
    ids::StepKey,
    io::{
        broken::{self, Rule},
        clock, killpoint,
        store::{Claimed, Lease},
        telemetry::metric,
    },
    money::Usd,
    names::key,
    run::{Ask, Concluded, Settled, Wasted},
};
use metrics::counter;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    caller::{Outcome, Question, Tally},
    handle::Planner,
    observe::{Recovered, rejected},
    stop::Stop,
};

/// What stops a question.
#[derive(Debug)]
pub(crate) struct Stops {
    /// Nobody wants to know any more: what it cost is told by who asked.
    pub(crate) unwanted: CancellationToken,
    /// Who asked cannot go on: whoever comes next asks again, and tells what it cost.
    pub(crate) hand_back: CancellationToken,
}

/// What came of a question.
pub(crate) enum Asked {
    /// This is decided, which may be to wait.
    Decided(Box<Concluded>),
    /// Nobody wanted to know any more; this was paid for it.
    Abandoned(Vec<Call>),
}

/// What came of one attempt.
struct Attempted {
    outcome: Outcome,
    /// Now, and not found in its claim: who received that has counted it.
    received: bool,
    /// What holders of the claim before wasted, and is in no reply.
    before: Wasted,
    /// What was wasted now, and is in none either.
    own: Wasted,
}

/// Whether the last reply is what decides, or a part of what will.
fn is_taken(settled: &Settled, last: &Answered) -> bool {
    match settled {
        Settled::Again(_) => last.reply.stop_reason == StopReason::PauseTurn,
        Settled::Decided(drafts) => {
            let calls = drafts.iter().filter_map(|draft| draft.call.as_ref());
            let last = calls.filter_map(|call| call.attempts.last()).next_back();
            last.is_none_or(|attempt| attempt.complaint.is_none())
        }
    }
}

impl Planner {
    /// Asks Claude until its replies decide the step, each under its own claim, or until nobody wants to know any more. `fresh`:
    /// nobody can have begun with it before.
    pub(crate) async fn ask(&self, ask: &Ask, fresh: bool, stops: &Stops) -> Result<Asked, Stop> {
        let mut replies = ask.replies.clone();
        let mut is_new = false;
        loop {
            let settled = ask.settle_at(&replies, clock::now());
            if let Some(last) = replies
                .last()
                .filter(|last| is_new && !is_taken(&settled, last))
            {
                rejected(&ask.account.workflow, last);
            }
            let request = match settled {
                Settled::Decided(drafts) => {
                    let concluded = ask.concludes(drafts, &replies, Default::default());
                    return Ok(Asked::Decided(Box::new(concluded)));
                }
                Settled::Again(request) => request,
            };
            let attempt = self.attempt(ask, replies.len(), &request, fresh, stops);
            let attempt = attempt.await?;
            let Some(Attempted {
                outcome,
                received,
                before,
                own,
            }) = attempt
            else {
                return Ok(Asked::Abandoned(Vec::new()));
            };
            let wasted = before + own;
            let draft = match outcome {
                Outcome::Unwanted => {
                    return Ok(Asked::Abandoned(ask.abandoned(&replies, wasted)));
                }
                Outcome::Answered(answered) => {
                    replies.push(*answered);
                    is_new = received;
                    continue;
                }
                Outcome::GivenUp(why) => ask.give_up(&why, &replies, wasted),
                Outcome::Parked {
                    by,
                    why,
                    until,
                    batch,
                } => {
                    let workflow = ask.account.workflow.clone();
                    counter!(metric::RUNS_PARKED, "workflow" => workflow, "by" => by.to_string())
                        .increment(1);
                    let draft = ask.park(by, &why, until, &replies, wasted);
                    draft.with_batch(batch)
                }
            };
            let concluded = ask.concludes(vec![draft], &replies, (before, own));
            return Ok(Asked::Decided(Box::new(concluded)));
        }
    }

    /// One attempt: the reply saved by whoever asked first, or asked now. `None`: nobody wants it any more.
    async fn attempt(
        &self,
        ask: &Ask,
        attempt: usize,
        request: &Request,
        fresh: bool,
        stops: &Stops,
    ) -> Result<Option<Attempted>, Stop> {
        let claim = key::call(&ask.run, &ask.step, attempt);
        let claimed = tokio::select! {
            claimed = self.claim(claim.clone(), &ask.step) => claimed?,
            () = stops.unwanted.cancelled() => return Ok(None),
            () = stops.hand_back.cancelled() => return Err(cut_off()),
        };
        let mut lease = match claimed {
            Ok(lease) => lease,
            Err(answered) => {
                debug!(step = %ask.step, attempt, "the reply was saved before: not asked again");
                Recovered::Saved.count(1);
                let saved = Outcome::Answered(Box::new(answered));
                return Ok(Some(Attempted {
                    outcome: saved,
                    received: false,
                    before: Wasted::default(),
                    own: Wasted::default(),
                }));
            }
        };
        killpoint::pass("claimed");
        if lease.lost > 0 {
            Recovered::Claim.count(1);
        }
        let mut before = lost(&lease, ask, request);
        let id = format!("{claim}.{}", lease.fence);
        let (tally, validity) = (Tally::default(), lease.validity());
        let question = Question {
            ask,
            request,
            id: &id,
            tally: &tally,
            validity: &validity,
        };
        let called = self.call(question, attempt, &mut lease, fresh, stops);
        let mut outcome = match called.await {
            Ok(outcome) => outcome,
            Err(stop) => {
                // A call in the middle may be paid, and its reply is nobody's. Who only waited has lost nothing. What was sent by
                // batch, and what came to nothing of it, is found again.
                let lost = if ask.by_batch { 0 } else { tally.lost() };
                self.give_back(&lease, lost).await;
                return Err(stop);
            }
        };
        let mut own = tally.wasted();
        match &mut outcome {
            Outcome::Answered(answered) => {
                answered.heard = ask.heard;
                answered.wasted += before.calls;
                answered.wasted_usd_nano = answered.wasted_usd_nano + before.usd;
                (before, own) = (Wasted::default(), Wasted::default());
                killpoint::pass("replied");
                self.keep(&lease, answered).await?;
                killpoint::pass("reply_saved");
            }
            Outcome::GivenUp(_) => self.give_back(&lease, 0).await,
            Outcome::Unwanted => {
                let lost = tally.lost() - own.calls;
                own.calls += lost;
                own.usd = own.usd + worst(ask, request, lost);
                self.give_back(&lease, 0).await;
            }
            // What other holders lost stays with the claim while the run waits, and is told when the step is decided.
            Outcome::Parked { .. } => {
                before = Wasted::default();
                self.give_back(&lease, 0).await;
            }
        }
        Ok(Some(Attempted {
            outcome,
            received: true,
            before,
            own,
        }))
    }

    /// Nothing came of a claim, but for calls that were lost under it: the next holder asks anew.
    async fn give_back(&self, lease: &Lease, lost: u64) {
        if let Err(problem) = self.store.give_back(lease, lost).await {
            debug!(%problem, "a claim was not given back; its lease will end");
        }
    }

    /// The claim, or the reply that was saved in it. Held by another planner, it is waited for here: handing the message back
    /// would cost a delivery each time, however well the other one is.
    async fn claim(&self, claim: String, step: &StepKey) -> Result<Result<Lease, Answered>, Stop> {
        const LOOK_EVERY: Duration = Duration::from_millis(500);
        let why = || format!("another planner asks Claude for {step}");
        let mut held_until: Option<Instant> = None;
        loop {
            // Redis may be emptied under the holder, who is at work still: its lease is respected all the same.
            let respected = held_until.is_some_and(|until| Instant::now() < until);
            let left = if respected && !self.patient(|| self.store.is_known(&claim)).await?? {
                LOOK_EVERY
            } else {
                let claimed = || self.store.claim::<Answered>(claim.clone(), self.lease);
                match self.patient(claimed).await?? {
                    Claimed::Free(lease) => return Ok(Ok(lease)),
                    Claimed::Done { value, .. } => return Ok(Err(value)),
                    Claimed::Held(left) => {
                        debug!(%step, ?left, "another planner asks Claude for this");
                        held_until = Some(Instant::now() + left);
                        left
                    }
                }
            };
            counter!(metric::CLAIMS_HELD, "role" => "planner").increment(1);
            tokio::select! {
                () = self.stop.cancelled() => {
                    return Err(Stop::Retry { after: left, why: why() });
                }
                () = sleep(left.clamp(Duration::from_millis(20), LOOK_EVERY)) => {}
            }
        }
    }

    /// Asks, and keeps the claim alive all the while; a slow Redis does not hold the call up.
    async fn call(
        &self,
        question: Question<'_>,
        attempt: usize,
        lease: &mut Lease,
        fresh: bool,
        stops: &Stops,
    ) -> Result<Outcome, Stop> {
        let for_batch = question.ask.by_batch.then(|| lease.clone());
        // What is on its way into a batch is soon there, and cannot be called back; what is in one is not waited for.
        let can_stop = for_batch.is_none();
        let call = async {
            match &for_batch {
                Some(lease) => {
                    let unwanted = &stops.unwanted;
                    let asking = self.ask_by_batch(question, lease, attempt, fresh, unwanted);
                    Box::pin(asking).await
                }
                None => self.caller.ask(question).await,
            }
        };
        tokio::pin!(call);
        tokio::select! {
            biased;
            outcome = &mut call => outcome,
            after = self.store.hold::<Answered>(lease) => {
                warn!("this planner was too slow: another one has taken over its call");
                Err(Stop::Retry { after, why: "another planner has taken over".into() })
            }
            () = stops.hand_back.cancelled() => Err(cut_off()),
            () = stops.unwanted.cancelled(), if can_stop => Ok(Outcome::Unwanted),
        }
    }

    /// Saves a reply in its claim, before anything else is done with it.
    async fn keep(&self, lease: &Lease, answered: &Answered) -> Result<(), Stop> {
        const TRIES: u32 = 5;
        if broken::is(Rule::ReplyNotSaved) {
            return Ok(());
        }
        for attempt in 1..=TRIES {
            match self.store.finish(lease, answered).await {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    warn!(
                        "this planner was too slow: its reply is not taken, another planner's is"
                    );
                    return Err(Stop::Retry {
                        after: Duration::ZERO,
                        why: "the claim was lost".into(),
                    });
                }
                Err(problem) => {
                    debug!(%problem, attempt, "a reply was not saved");
                    sleep(Duration::from_millis(100) * attempt).await;
                }
            }
        }
        // The append that follows keeps it for ever; only a crash before that would cost this call.
        warn!("Redis does not take a reply; it goes straight on the journal");
        Ok(())
    }
}

fn cut_off() -> Stop {
    Stop::handed_back(
        "cut off: the time for draining is over, or another question of the run failed",
    )
}

/// Calls of holders before this one, who were lost without saying what came of them: each may have cost all it could. What was
/// sent by batch is found again.
fn lost(lease: &Lease, ask: &Ask, request: &Request) -> Wasted {
    let calls = if ask.by_batch { 0 } else { lease.lost };
    Wasted {
        calls,
        usd: worst(ask, request, calls),
    }
}

/// What so many calls may have cost, at most.
fn worst(ask: &Ask, request: &Request, calls: u64) -> Usd {
    if calls == 0 {
        return Usd::default();
    }
    let tokens_max = request_tokens_max(request.bytes());
    let worst = ask
        .models
        .iter()
        .map(|model| model.worst_cost(tokens_max, request.max_tokens));
    let each = worst.max().unwrap_or_default().nano();
    Usd::from_nano(each.saturating_mul(calls))
}
