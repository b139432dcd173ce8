//! Asking Claude under a claim, so that no call is paid twice: whoever finds the claim done takes its reply, whoever finds it
//! held waits, and the reply is saved in it before anything else is done.

use std::time::Duration;

use flotilla_common::{
    claude::Request,
    entry::Answered,
    ids::StepKey,
    io::{
        store::{Claimed, Lease},
        telemetry::metric,
    },
    names::key,
    run::{Ask, Draft, Run, Settled},
};
use metrics::counter;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use crate::{claude::ClaudeError, handle::Planner, stop::Stop};

impl Planner {
    /// Asks Claude until its replies decide the step, each under its own claim; gives the decision.
    pub(crate) async fn ask(&self, run: &Run, ask: &Ask) -> Result<Draft, Stop> {
        let mut replies = ask.replies.clone();
        loop {
            let request = match ask.settle(&replies) {
                Settled::Decided(draft) => return Ok(*draft),
                Settled::Again(request) => request,
            };
            let attempt = replies.len();
            match self.attempt(run, ask, attempt, &request).await? {
                Ok(answered) => replies.push(answered),
                Err(why) => return Ok(ask.give_up(&why, &replies)),
            }
        }
    }

    /// One attempt: the reply saved by whoever asked first, or asked now. The inner error is a refusal that no retry helps.
    async fn attempt(
        &self,
        run: &Run,
        ask: &Ask,
        attempt: usize,
        request: &Request,
    ) -> Result<Result<Answered, String>, Stop> {
        let step = &ask.step;
        let mut lease = match self.claim(key::call(&run.id, step, attempt), step).await? {
            Ok(lease) => lease,
            Err(answered) => {
                debug!(%step, attempt, "the reply was saved before: not asked again");
                return Ok(Ok(answered));
            }
        };
        if lease.lost > 0 {
            counter!(metric::CLAUDE_WASTED).increment(1);
        }
        let called = match self.call(request, &mut lease).await {
            Ok(called) => called,
            Err(stop) => {
                // A call in the middle: it may be paid, and its reply is nobody's.
                if let Err(problem) = self.store.abandon(&lease).await {
                    debug!(%problem, "a claim was not given back; its lease will end");
                }
                return Err(stop);
            }
        };
        match called {
            Ok(mut answered) => {
                answered.wasted += lease.lost;
                if let Some(model) = ask.models.first() {
                    answered.usd_nano = model.cost(&answered.reply.usage);
                }
                self.keep(&lease, &answered).await?;
                Ok(Ok(answered))
            }
            Err(error) => {
                // Nothing came of it: the next holder asks anew, and nothing is counted as lost.
                if let Err(problem) = self.store.release(&lease).await {
                    debug!(%problem, "a claim was not given back; its lease will end");
                }
                match error {
                    ClaudeError::Stopping => Err(Stop::Retry {
                        after: Duration::ZERO,
                        why: error.to_string(),
                    }),
                    ClaudeError::Refused(_)
                    | ClaudeError::Exhausted { .. }
                    | ClaudeError::BaseUrl { .. }
                    | ClaudeError::Client(_) => Ok(Err(error.to_string())),
                }
            }
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

    /// Calls Claude and keeps the claim alive all the while; a slow Redis does not hold the call up.
    async fn call(
        &self,
        request: &Request,
        lease: &mut Lease,
    ) -> Result<Result<Answered, ClaudeError>, Stop> {
        let call = self.claude.ask(request, &self.stop);
        tokio::pin!(call);
        tokio::select! {
            biased;
            answered = &mut call => Ok(answered),
            after = self.store.hold::<Answered>(lease) => {
                warn!("this planner was too slow: another one has taken over its call");
                Err(Stop::Retry { after, why: "another planner has taken over".into() })
            }
            () = self.abandon.cancelled() => {
                Err(Stop::Retry { after: Duration::ZERO, why: "cut off: the time for draining is over".into() })
            }
        }
    }

    /// Saves a reply in its claim, before anything else is done with it.
    async fn keep(&self, lease: &Lease, answered: &Answered) -> Result<(), Stop> {
        const TRIES: u32 = 5;
        for attempt in 1..=TRIES {
            match self.store.finish(lease, answered).await {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    counter!(metric::CLAUDE_WASTED).increment(1);
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
