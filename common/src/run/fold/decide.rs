//! Decisions, put where they belong.

use super::super::{
    Act, Agent, Approval, Child, Ended, Failing, Failure, Parked, Place, ReviewedTurn, Run,
    StepState, Turn,
};
use crate::{
    entry::{Action, Approve, Decided, Decision, Entry},
    ids::{Aside, Name, Slot, StepKey},
};

impl Run {
    /// Puts a decision where it belongs.
    pub(super) fn apply(&mut self, entry: &Entry, decided: &Decided) -> Result<(), String> {
        let step = &decided.step;
        if step.again != self.key(&step.place()).again && step.aside != Some(Aside::Undo) {
            return Err(format!("`{step}` was begun anew before this"));
        }
        match &decided.decision {
            Decision::End { outcome, reason } => {
                self.end = Some(Ended {
                    outcome: *outcome,
                    reason: reason.clone(),
                    at: entry.at,
                });
                // What they keep was told with this.
                self.parked.clear();
                return Ok(());
            }
            Decision::Park {
                by,
                why,
                until,
                replies,
                batch,
                ..
            } => {
                self.park(Parked {
                    decided: entry.seq,
                    step: step.clone(),
                    by: *by,
                    why: why.clone(),
                    at: entry.at,
                    until: *until,
                    times: 1,
                    replies: replies.clone(),
                    batch: batch.clone(),
                    awake: false,
                });
                return Ok(());
            }
            Decision::Abandon {} => {
                self.parked
                    .retain(|parked| parked.step != *step || !parked.awake);
                return Ok(());
            }
            Decision::Undo { outcome, reason } => {
                self.failing = Some(Failing {
                    outcome: *outcome,
                    reason: reason.clone(),
                });
            }
            Decision::Again { resets, until, .. } => self.begin_anew(step, resets, *until),
            Decision::Fail {
                outcome,
                error,
                reason,
            } => {
                let failure = Failure {
                    outcome: *outcome,
                    error: error.clone(),
                    reason: reason.clone(),
                };
                self.failed.insert(step.place(), failure);
            }
            Decision::Begin { until } => {
                self.limits.insert(step.place(), *until);
            }
            Decision::Act {
                tool,
                version,
                with,
            } => {
                let action = Action {
                    tool: tool.clone(),
                    version: *version,
                    with: with.clone(),
                };
                self.add_act(decided, Act::new(entry.seq, action))?;
            }
            Decision::Approve(approve) => {
                self.ask_person(entry, decided, approve)?;
                // It may be over by the run's clock: no timer would say later what is so already.
                self.expire();
            }
            Decision::Finish { end, summary } => {
                let turn = step.turn.unwrap_or_default();
                let agent = self.agent(step)?;
                if usize::try_from(turn).ok() != agent.turns.len().checked_add(1) {
                    return Err(format!(
                        "turn {turn} does not follow turn {}",
                        agent.turns.len()
                    ));
                }
                agent.end = Some((end.clone(), summary.clone()));
            }
            Decision::Review { verdict, advice } => {
                let after = step.turn.unwrap_or_default();
                let agent = self.agent(step)?;
                agent.reviews.push(ReviewedTurn {
                    after,
                    verdict: *verdict,
                    advice: advice.clone(),
                });
            }
            Decision::Answer { .. }
            | Decision::Branch { .. }
            | Decision::Skip {}
            | Decision::Each { .. }
            | Decision::Sleep { .. }
            | Decision::Run { .. } => self.add_step(step, stated(entry, &decided.decision))?,
        }
        // What is undone, or told to somebody, leaves alone what the step waits for.
        if !matches!(step.aside, Some(Aside::Undo | Aside::Notify)) {
            let place = step.place();
            self.parked.retain(|parked| parked.step.place() != place);
        }
        Ok(())
    }

    fn ask_person(
        &mut self,
        entry: &Entry,
        decided: &Decided,
        approve: &Approve,
    ) -> Result<(), String> {
        let approval = Approval {
            decided: entry.seq,
            hash: approve.hash.clone(),
            at: entry.at,
            show: approve.show.clone(),
            until: approve.until,
            on_timeout: approve.on_timeout,
            verdict: None,
        };
        match &approve.action {
            None => self.add_step(&decided.step, Some(StepState::Approval(Box::new(approval)))),
            Some(action) => {
                let hold = Some(approval);
                let act = Act::new(entry.seq, action.clone());
                self.add_act(decided, Act { hold, ..act })
            }
        }
    }

    /// Puts an action where it belongs: in the place of the one that a person was asked for, or as a new one.
    fn add_act(&mut self, decided: &Decided, act: Act) -> Result<(), String> {
        let slot = Slot {
            step: decided.step.clone(),
            branch: decided.branch,
        };
        if let Some(held) = self.act_mut(&slot) {
            if held.hold.is_none() || held.outcome.is_some() || act.hold.is_some() {
                return Err(format!("`{slot}` is decided twice"));
            }
            *held = act;
            return Ok(());
        }
        match (slot.step.aside, slot.step.turn) {
            (Some(Aside::Undo | Aside::Notify), _) => {
                self.asides.insert(slot, act);
                Ok(())
            }
            (Some(Aside::Review), _) => Err(format!("an action cannot be for `{slot}`")),
            (None, None) => self.add_step(&decided.step, Some(StepState::Tool(Box::new(act)))),
            (None, Some(turn)) => self.add_turn(decided, turn, act),
        }
    }

    /// Puts an agent's action into the next turn, or as the next branch of the last one.
    fn add_turn(&mut self, decided: &Decided, turn: u32, act: Act) -> Result<(), String> {
        let agent = self.agent(&decided.step)?;
        let last = u32::try_from(agent.turns.len()).unwrap_or(u32::MAX);
        let follows =
            |acts: &Vec<Act>| usize::try_from(decided.branch).is_ok_and(|b| b == acts.len());
        if decided.branch == 0 && turn == last.saturating_add(1) {
            let call = decided.call.as_ref();
            agent.turns.push(Turn {
                attempts: call.map(|call| call.attempts.clone()).unwrap_or_default(),
                heard: call.map(|call| call.heard).unwrap_or_default(),
                acts: vec![act],
            });
            return Ok(());
        }
        match agent.turns.last_mut() {
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

    fn add_step(&mut self, key: &StepKey, state: Option<StepState>) -> Result<(), String> {
        let place = key.place();
        if self.steps.contains_key(&place) {
            return Err(format!("step `{place}` is decided twice"));
        }
        match state {
            Some(state) if key.turn.is_none() && key.aside.is_none() => {
                self.steps.insert(place, state);
                Ok(())
            }
            Some(_) | None => Err(format!("a decision of this kind cannot be for `{key}`")),
        }
    }

    /// An agent that has not ended; it begins here if it has not yet.
    fn agent(&mut self, key: &StepKey) -> Result<&mut Agent, String> {
        let place = key.place();
        if key.turn.is_none() {
            return Err(format!("a decision of this kind cannot be for `{key}`"));
        }
        let state = self
            .steps
            .entry(place)
            .or_insert_with(|| StepState::Agent(Agent::default()));
        if let StepState::Agent(agent) = state
            && agent.end.is_none()
        {
            return Ok(agent);
        }
        Err(format!("step `{}` is no agent, or has ended", key.step))
    }

    /// An action, by where it stands.
    pub(super) fn act_mut(&mut self, slot: &Slot) -> Option<&mut Act> {
        if slot.step.aside.is_some() {
            return self.asides.get_mut(slot);
        }
        match (self.steps.get_mut(&slot.step.place())?, slot.step.turn) {
            (StepState::Tool(act), None) if slot.branch == 0 => Some(act),
            (StepState::Agent(agent), Some(turn)) => {
                let index = usize::try_from(turn.checked_sub(1)?).ok()?;
                let branch = usize::try_from(slot.branch).ok()?;
                agent.turns.get_mut(index)?.acts.get_mut(branch)
            }
            _ => None,
        }
    }

    /// Forgets what some steps did, so that they are done again under other keys.
    fn begin_anew(&mut self, root: &StepKey, resets: &[Name], until: Option<jiff::Timestamp>) {
        let place = root.place();
        let is_reset =
            |other: &Place| resets.contains(&other.step) && other.items.starts_with(&place.items);
        let gone: Vec<Place> = self.steps.keys().filter(|p| is_reset(p)).cloned().collect();
        for one in gone {
            let key = self.key(&one);
            if let Some(state) = self.steps.remove(&one) {
                self.put_by(&key, &state);
            }
        }
        self.failed.retain(|other, _| !is_reset(other));
        self.limits.retain(|other, _| !is_reset(other));
        self.pauses.retain(|other, _| !is_reset(other));
        self.tries
            .retain(|other, _| !is_reset(other) || *other == place);
        self.parked.retain(|parked| !is_reset(&parked.step.place()));
        for step in resets {
            let reset = Place {
                step: step.clone(),
                items: place.items.clone(),
            };
            let times = self.generations.entry(reset).or_default();
            *times = times.saturating_add(1);
        }
        match until {
            // Only a failure has a pause, which may be of no length.
            Some(until) => {
                let tries = self.tries.entry(place.clone()).or_default();
                *tries = tries.saturating_add(1);
                self.pauses.insert(place, until);
            }
            None => {
                self.tries.remove(&place);
                self.retry = None;
            }
        }
    }

    /// Keeps what is done of a step that is begun anew, and knows what is not by the sequence of its decision.
    fn put_by(&mut self, key: &StepKey, state: &StepState) {
        for (slot, act) in state.acts_under(key) {
            if act.outcome.is_some() {
                self.past.push((slot, act.clone()));
            } else {
                self.void.insert(act.decided);
            }
        }
        if let StepState::Run(child) = state {
            self.spent.children = self.spent.children + child.usd;
            self.void.insert(child.decided);
        }
    }
}

/// The state of a step that is decided once.
fn stated(entry: &Entry, decision: &Decision) -> Option<StepState> {
    match decision {
        Decision::Answer { output } => Some(StepState::Answer {
            output: output.clone(),
        }),
        Decision::Branch { to, end } => Some(StepState::Branch {
            to: to.clone(),
            end: *end,
        }),
        Decision::Skip {} => Some(StepState::Skipped),
        Decision::Each { items } => Some(StepState::Each { items: *items }),
        Decision::Sleep { until } => Some(StepState::Sleep { until: *until }),
        Decision::Run {
            workflow,
            with,
            child,
            usd_nano,
        } => Some(StepState::Run(Box::new(Child {
            decided: entry.seq,
            workflow: workflow.clone(),
            with: with.clone(),
            run: child.clone(),
            usd: usd_nano.unwrap_or_default(),
            allotted: *usd_nano,
            outcome: None,
        }))),
        Decision::Act { .. }
        | Decision::Finish { .. }
        | Decision::Park { .. }
        | Decision::Abandon {}
        | Decision::Begin { .. }
        | Decision::Approve(_)
        | Decision::Review { .. }
        | Decision::Fail { .. }
        | Decision::Again { .. }
        | Decision::Undo { .. }
        | Decision::End { .. } => None,
    }
}
