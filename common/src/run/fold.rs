//! What happened: folding the journal.

mod decide;
mod signal;

use super::{Begun, Run, StepState, TIMER_DEADLINE, TIMER_WAKE};
use crate::{
    entry::{Body, Decided, Entry, Fired, Resulted, Signalled, Started},
    ids::RunId,
};

/// What an entry did to the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folded {
    /// It changed it.
    New,
    /// It was there already, or came too late: the state is as before.
    Old,
}

/// Why an entry cannot be folded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// The state does not know what this entry rests on, or knows it otherwise: read the journal again.
    #[error("entry {seq} of {run} rests on what this state does not know; read the journal again")]
    Stale {
        /// The run.
        run: RunId,
        /// The entry.
        seq: u64,
    },
    /// It is another run's.
    #[error("entry {seq} is not of run {run}")]
    Foreign {
        /// The run.
        run: RunId,
        /// The entry.
        seq: u64,
    },
    /// The chain is broken: somebody changed, removed or forged an entry.
    #[error("the journal of {run} is broken at entry {seq}: {problem}")]
    Broken {
        /// The run.
        run: RunId,
        /// The entry.
        seq: u64,
        /// What does not fit.
        problem: String,
    },
}

impl Run {
    /// Takes in what happened. Entries may come twice: only the first per step and branch, signal or timer counts.
    ///
    /// # Errors
    /// [`FoldError`]; the state must be thrown away then, and rebuilt from the whole journal ([`Run::rebuild`]), which says whether
    /// this state or the journal is at fault.
    pub fn fold(&mut self, entry: &Entry) -> Result<Folded, FoldError> {
        if entry.address.run != self.id {
            return Err(FoldError::Foreign {
                run: self.id.clone(),
                seq: entry.seq,
            });
        }
        if self.end.is_some() {
            return Ok(Folded::Old);
        }
        let stale = self.begun.is_none() && !matches!(entry.body, Body::Started(_));
        if stale {
            return Err(self.stale(entry));
        }
        let folded = match &entry.body {
            Body::Started(started) => self.start(entry, started),
            Body::Decided(decided) => return self.decide(entry, decided),
            Body::Resulted(resulted) => self.result(entry, resulted)?,
            // A verdict can be quicker than the state that knows its question.
            Body::Signalled(Signalled {
                approval: Some(judged),
                ..
            }) if !self.knows(judged) => return Err(self.stale(entry)),
            Body::Signalled(signalled) => self.signal(entry, signalled),
            Body::Fired(Fired {}) => self.fire(entry),
        };
        if folded == Folded::New {
            self.pending.push(entry.seq);
            self.advance(entry);
        }
        Ok(folded)
    }

    fn stale(&self, entry: &Entry) -> FoldError {
        FoldError::Stale {
            run: self.id.clone(),
            seq: entry.seq,
        }
    }

    fn start(&mut self, entry: &Entry, started: &Started) -> Folded {
        if self.begun.is_some() {
            return Folded::Old;
        }
        self.begun = Some(Begun {
            pin: started.workflow.clone(),
            event: started.event.clone(),
            at: entry.at,
            parent: started.parent.clone(),
            lessons: started.lessons.clone(),
            forked: started.forked.clone(),
            received: started.received,
        });
        Folded::New
    }

    fn decide(&mut self, entry: &Entry, decided: &Decided) -> Result<Folded, FoldError> {
        if entry.seq <= self.chain {
            return Ok(Folded::Old);
        }
        // Whether the state lacks something or the journal was changed cannot be told from one entry.
        if decided.rests != self.pending || decided.prev != self.digest {
            return Err(self.stale(entry));
        }
        self.apply(entry, decided)
            .map_err(|problem| FoldError::Broken {
                run: self.id.clone(),
                seq: entry.seq,
                problem,
            })?;
        self.called.take(&decided.decision);
        let steps = u32::from(decided.decision.is_step());
        self.decisions = self.decisions.saturating_add(steps);
        if let Some(call) = &decided.call {
            let dropped = call.attempts.iter().filter(|attempt| attempt.dropped);
            self.told
                .extend(dropped.filter_map(|attempt| attempt.request_id.clone()));
            self.told.extend(call.items.iter().cloned());
            self.spent.calls = self.spent.calls.saturating_add(call.replies());
            self.spent.wasted = self.spent.wasted.saturating_add(call.wasted);
            self.spent.usage = self.spent.usage + call.usage;
            self.spent.usd = self.spent.usd + call.usd_nano;
            self.spent.wasted_usd = self.spent.wasted_usd + call.wasted_usd_nano;
            let of_step = self
                .spent_by_step
                .entry(decided.step.step.clone())
                .or_default();
            *of_step = *of_step + call.usd_nano + call.wasted_usd_nano;
        }
        self.chain = entry.seq;
        self.pending.clear();
        self.advance(entry);
        Ok(Folded::New)
    }

    fn result(&mut self, entry: &Entry, resulted: &Resulted) -> Result<Folded, FoldError> {
        if self.void.contains(&resulted.decided) {
            return Ok(Folded::Old);
        }
        let stale = self.stale(entry);
        let slot = resulted.slot();
        let state = self.steps.get_mut(&slot.step.place());
        if slot.step.aside.is_none()
            && let Some(StepState::Run(child)) = state
        {
            if child.decided != resulted.decided {
                return Err(stale);
            }
            if child.outcome.is_some() {
                return Ok(Folded::Old);
            }
            child.usd = resulted.usd_nano.unwrap_or(child.usd);
            child.outcome = Some(resulted.outcome.clone());
            return Ok(Folded::New);
        }
        let Some(act) = self.act_mut(&slot).filter(|act| {
            act.decided == resulted.decided && (act.hold.is_none() || act.outcome.is_some())
        }) else {
            return Err(stale);
        };
        if act.outcome.is_some() {
            return Ok(Folded::Old);
        }
        act.outcome = Some(resulted.outcome.clone());
        act.resulted = Some(entry.seq);
        self.spent.tools = self.spent.tools + resulted.usd_nano.unwrap_or_default();
        Ok(Folded::New)
    }

    fn fire(&mut self, entry: &Entry) -> Folded {
        match entry.address.name.as_str() {
            TIMER_DEADLINE if !self.overdue => {
                self.overdue = true;
                Folded::New
            }
            TIMER_WAKE => {
                let woke = self.wake_by_timer(entry);
                let passed = entry.at > self.clock;
                self.clock = self.clock.max(entry.at);
                // One that was asked for late may be over by a clock that stands already.
                let expired = self.expire();
                if woke || passed || expired {
                    Folded::New
                } else {
                    Folded::Old
                }
            }
            _ => Folded::Old,
        }
    }

    fn advance(&mut self, entry: &Entry) {
        self.version += 1;
        self.at = entry.at;
        self.digest = entry.chain(&self.digest);
    }
}
