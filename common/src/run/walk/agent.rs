//! Agents: turns, what comes of them, reviews, ends.

use super::{Scope, Stand, Walk, broken, of_another_kind};
use crate::{
    definition::{AgentStep, Step},
    entry::{Outcome, Reviewed},
    ids::{Aside, Place, Slot, StepKey},
    run::{Agent, Ask, StepState, Turn, next::escalation, prompt},
};

impl<'a> Walk<'a> {
    pub(super) fn agent(
        &mut self,
        step: &'a Step,
        definition: &'a AgentStep,
        place: &Place,
        scope: &Scope<'a>,
    ) -> Stand {
        let fresh = Agent::default();
        let agent = match self.run.step(place) {
            Some(StepState::Agent(agent)) => agent,
            Some(_) => return of_another_kind(place),
            None => &fresh,
        };
        if agent.end.is_some() {
            return Stand::Done;
        }
        let key = self.run.key(place);
        let taken = u32::try_from(agent.turns.len()).unwrap_or(u32::MAX);
        let next = key.clone().at_turn(taken.saturating_add(1));
        let plain = scope.is_plain(step);
        if let Some(last) = agent.turns.last() {
            let this = key.at_turn(taken);
            match self.turn(&this, last) {
                Stand::Done => {}
                Stand::Failed(failure) if failure.outcome == Outcome::Escalated => {
                    let draft = escalation(definition, next, &failure.reason, plain);
                    self.due.drafts.push(draft);
                    return Stand::Busy;
                }
                other @ (Stand::Busy | Stand::Failed(_) | Stand::End(..)) => return other,
            }
            if let Some(stand) = self.review(step, definition, agent, &this, scope) {
                return stand;
            }
        }
        let last_review = agent.reviews.last().filter(|review| review.after == taken);
        if let Some(review) = last_review.filter(|review| review.verdict == Reviewed::Stop) {
            let why = format!("its reviewer stopped it: {}", review.advice);
            self.due
                .drafts
                .push(escalation(definition, next, &why, plain));
            return Stand::Busy;
        }
        if taken >= definition.max_loops {
            let used: usize = agent.turns.iter().map(|turn| turn.acts.len()).sum();
            let why = format!("max_loops: {used} tools were used, and it picked no end");
            self.due
                .drafts
                .push(escalation(definition, next, &why, plain));
            return Stand::Busy;
        }
        if self.is_asked(&next) {
            return Stand::Busy;
        }
        let (run, workflow) = (self.run, self.workflow);
        let asked = self.sight(scope).and_then(|sight| {
            let request = prompt::agent_turn(run, workflow, step, definition, agent, &sight)?;
            Ok((request, sight.facts))
        });
        match asked {
            Ok((request, facts)) => {
                let ask =
                    || Ask::pick(run, workflow, &next, definition, request, facts).plain(plain);
                self.ask(ask, &next)
            }
            Err(error) => broken(place, "its goal", &error),
        }
    }

    /// How the actions of a turn stand: done when each has its result.
    fn turn(&mut self, key: &StepKey, turn: &Turn) -> Stand {
        let mut waits = false;
        for (branch, act) in (0..).zip(&turn.acts) {
            if let Some(failure) = Self::not_allowed(act) {
                return Stand::Failed(failure);
            }
            let slot = Slot {
                step: key.clone(),
                branch,
            };
            waits |= matches!(self.act(&slot, act), Stand::Busy);
        }
        if waits { Stand::Busy } else { Stand::Done }
    }

    /// The review that is due after a turn; `None` where there is none, or it is done.
    fn review(
        &mut self,
        step: &'a Step,
        definition: &'a AgentStep,
        agent: &Agent,
        turn: &StepKey,
        scope: &Scope<'a>,
    ) -> Option<Stand> {
        let review = definition.review.as_ref()?;
        let taken = turn.turn.unwrap_or_default();
        let is_done = agent.reviews.iter().any(|done| done.after == taken);
        if is_done || !taken.is_multiple_of(review.every.max(1)) {
            return None;
        }
        let key = turn.clone().beside(Aside::Review);
        if self.is_asked(&key) {
            return Some(Stand::Busy);
        }
        let (run, workflow) = (self.run, self.workflow);
        let request = self.sight(scope).and_then(|sight| {
            prompt::review(run, workflow, step, definition, review, agent, &sight)
        });
        Some(match request {
            Ok(request) => {
                let plain = scope.is_plain(step);
                let ask =
                    || Ask::review(run, workflow, &key, definition, review, request).plain(plain);
                self.ask(ask, &key)
            }
            Err(error) => broken(&turn.place(), "its review", &error),
        })
    }
}
