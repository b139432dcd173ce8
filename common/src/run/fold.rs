//! What happened: folding the journal.

use super::{
    Act, Begun, Ended, Parked, Run, SIGNAL_CANCEL, SIGNAL_RAISE, SIGNAL_RESUME, StepState,
    TIMER_DEADLINE, TIMER_WAKE, Turn,
};
use crate::{
    entry::{Body, Decided, Decision, Entry, Resulted, Signalled, Started},
    ids::{Name, RunId},
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
        match &entry.body {
            Body::Started(started) => Ok(self.start(entry, started)),
            Body::Decided(decided) => self.decide(entry, decided),
            Body::Resulted(resulted) => self.result(entry, resulted),
            Body::Signalled(signalled) => self.signal(entry, signalled),
            Body::Fired(_) => self.fire(entry),
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
        });
        self.rest_on(entry);
        Folded::New
    }

    fn decide(&mut self, entry: &Entry, decided: &Decided) -> Result<Folded, FoldError> {
        if entry.seq <= self.chain {
            return Ok(Folded::Old);
        }
        // Whether the state lacks something or the journal was changed cannot be told from one entry.
        if self.begun.is_none() || decided.rests != self.pending || decided.prev != self.digest {
            return Err(FoldError::Stale {
                run: self.id.clone(),
                seq: entry.seq,
            });
        }
        self.apply(entry, decided)
            .map_err(|problem| FoldError::Broken {
                run: self.id.clone(),
                seq: entry.seq,
                problem,
            })?;
        if let Some(call) = &decided.call {
            let calls = u64::try_from(call.attempts.len()).unwrap_or(u64::MAX);
            self.spent.calls = self.spent.calls.saturating_add(calls);
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

    /// Puts a decision where it belongs.
    fn apply(&mut self, entry: &Entry, decided: &Decided) -> Result<(), String> {
        let id = &decided.step.step;
        let act = |tool: &Name| Act {
            decided: entry.seq,
            tool: tool.clone(),
            outcome: None,
        };
        match (&decided.decision, decided.step.turn) {
            (Decision::End { outcome, reason }, _) => {
                self.end = Some(Ended {
                    outcome: *outcome,
                    reason: reason.clone(),
                    at: entry.at,
                });
                return Ok(());
            }
            (
                Decision::Park {
                    by,
                    why,
                    until,
                    replies,
                    batch,
                    ..
                },
                _,
            ) => {
                let parked = Parked {
                    decided: entry.seq,
                    step: decided.step.clone(),
                    by: *by,
                    why: why.clone(),
                    at: entry.at,
                    until: *until,
                    times: 1,
                    replies: replies.clone(),
                    batch: batch.clone(),
                    awake: false,
                };
                self.park(parked);
                return Ok(());
            }
            (Decision::Answer { output }, None) => {
                let output = output.clone();
                self.add_step(id, StepState::Answer { output })?;
            }
            (Decision::Act { tool, .. }, None) => self.add_step(id, StepState::Tool(act(tool)))?,
            (Decision::Act { tool, .. }, Some(turn)) => self.add_act(decided, turn, act(tool))?,
            (Decision::Finish { end, summary }, Some(turn)) => {
                let (turns, taken) = self.agent(id)?;
                if usize::try_from(turn).ok() != turns.len().checked_add(1) {
                    return Err(format!("turn {turn} does not follow turn {}", turns.len()));
                }
                *taken = Some((end.clone(), summary.clone()));
            }
            (Decision::Answer { .. }, Some(_)) | (Decision::Finish { .. }, None) => {
                let step = &decided.step;
                return Err(format!("a decision of this kind cannot be for `{step}`"));
            }
        }
        self.parked = None;
        self.decisions = self.decisions.saturating_add(1);
        Ok(())
    }

    /// Puts an agent's action where it belongs: into the next turn, or as the next branch of the last one.
    fn add_act(&mut self, decided: &Decided, turn: u32, act: Act) -> Result<(), String> {
        let (turns, _) = self.agent(&decided.step.step)?;
        let last = u32::try_from(turns.len()).unwrap_or(u32::MAX);
        let follows =
            |acts: &Vec<Act>| usize::try_from(decided.branch).is_ok_and(|b| b == acts.len());
        if decided.branch == 0 && turn == last.saturating_add(1) {
            let call = decided.call.as_ref();
            let attempts = call.map(|call| call.attempts.clone()).unwrap_or_default();
            let acts = vec![act];
            turns.push(Turn { attempts, acts });
            return Ok(());
        }
        match turns.last_mut() {
            Some(Turn { acts, .. }) if turn == last && follows(acts) => {
                acts.push(act);
                Ok(())
            }
            Some(_) | None => {
                let branch = decided.branch;
                Err(format!(
                    "turn {turn} branch {branch} does not follow turn {last}"
                ))
            }
        }
    }

    fn add_step(&mut self, id: &Name, state: StepState) -> Result<(), String> {
        if self.step(id).is_some() {
            return Err(format!("step `{id}` is decided twice"));
        }
        self.steps.push((id.clone(), state));
        Ok(())
    }

    /// The turns and the end of an agent step, which begins here if it has not yet.
    #[expect(clippy::type_complexity, reason = "the two fields of one variant")]
    fn agent(
        &mut self,
        id: &Name,
    ) -> Result<(&mut Vec<Turn>, &mut Option<(Name, String)>), String> {
        let index = match self.steps.iter().position(|(step, _)| step == id) {
            Some(index) => index,
            None => {
                self.steps.push((
                    id.clone(),
                    StepState::Agent {
                        turns: Vec::new(),
                        end: None,
                    },
                ));
                self.steps.len() - 1
            }
        };
        match self.steps.get_mut(index) {
            Some((_, StepState::Agent { turns, end })) if end.is_none() => Ok((turns, end)),
            _ => Err(format!("step `{id}` is no agent, or has ended")),
        }
    }

    fn result(&mut self, entry: &Entry, resulted: &Resulted) -> Result<Folded, FoldError> {
        let stale = FoldError::Stale {
            run: self.id.clone(),
            seq: entry.seq,
        };
        let state = self
            .steps
            .iter_mut()
            .find(|(id, _)| *id == resulted.step.step)
            .map(|(_, state)| state);
        let act = match (state, resulted.step.turn) {
            (Some(StepState::Tool(act)), None) if resulted.branch == 0 => Some(act),
            (Some(StepState::Agent { turns, .. }), Some(turn)) => {
                let index = usize::try_from(turn.saturating_sub(1)).ok();
                let turn = index.and_then(|index| turns.get_mut(index));
                let branch = usize::try_from(resulted.branch).ok();
                turn.zip(branch)
                    .and_then(|(turn, branch)| turn.acts.get_mut(branch))
            }
            _ => None,
        };
        let Some(act) = act.filter(|act| act.decided == resulted.decided) else {
            return Err(stale);
        };
        if act.outcome.is_some() {
            return Ok(Folded::Old);
        }
        act.outcome = Some(resulted.outcome.clone());
        self.rest_on(entry);
        Ok(Folded::New)
    }

    fn signal(&mut self, entry: &Entry, signalled: &Signalled) -> Result<Folded, FoldError> {
        if self.begun.is_none() {
            return Err(FoldError::Stale {
                run: self.id.clone(),
                seq: entry.seq,
            });
        }
        if self.signals.contains(&signalled.id) {
            return Ok(Folded::Old);
        }
        let folded = match entry.address.name.as_str() {
            // A second cancel says nothing new, whoever sends it and however often.
            SIGNAL_CANCEL if self.cancel.is_none() => {
                self.cancel = Some(cancelled_by(signalled));
                Folded::New
            }
            // Noted also where nothing waits: a rebuild must not find it unheard when something does.
            SIGNAL_RESUME => {
                self.wake();
                Folded::New
            }
            SIGNAL_RAISE => self.raise(signalled),
            _ => Folded::Old,
        };
        if folded == Folded::New {
            self.signals.insert(signalled.id.clone());
            self.rest_on(entry);
        }
        Ok(folded)
    }

    fn fire(&mut self, entry: &Entry) -> Result<Folded, FoldError> {
        if self.begun.is_none() {
            return Err(FoldError::Stale {
                run: self.id.clone(),
                seq: entry.seq,
            });
        }
        let folded = match entry.address.name.as_str() {
            TIMER_DEADLINE if !self.overdue => {
                self.overdue = true;
                Folded::New
            }
            TIMER_WAKE => self.wake_by_timer(entry.seq),
            _ => Folded::Old,
        };
        if folded == Folded::New {
            self.rest_on(entry);
        }
        Ok(folded)
    }

    fn rest_on(&mut self, entry: &Entry) {
        self.pending.push(entry.seq);
        self.advance(entry);
    }

    fn advance(&mut self, entry: &Entry) {
        self.version += 1;
        self.digest = entry.chain(&self.digest);
    }
}

fn cancelled_by(signalled: &Signalled) -> String {
    let by = signalled.by.as_deref().unwrap_or("somebody");
    let why = signalled.reason.as_deref();
    let why = why.map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("cancelled by {by}{why}")
}
