//! A walk over the definition's steps: what is done, what must happen now, and what waits. Nothing is kept between two walks, so
//! a redelivery and a recovery after a crash see what the first handling saw.

mod agent;
mod fork;
mod groups;
mod leaves;
mod off;
mod pace;
mod sight;

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{Act, Ask, Draft, Failure, Run, Said, StepState};
use crate::{
    definition::{OnError, OnTimeout, Step, StepKind, Target, Workflow},
    entry::{Decision, Outcome},
    ids::{Name, Place, Slot, StepKey},
};
pub(super) use fork::Obstacle;
pub(super) use leaves::asked;
use pace::Pace;
pub(super) use sight::Sight;
use sight::{Lists, Scope};

/// The longest pause before a step is begun anew.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// How a step, or a list of steps, stands.
#[derive(Debug)]
pub(super) enum Stand {
    /// It is done.
    Done,
    /// Something of it must happen, or is waited for.
    Busy,
    /// It has failed, and what is around it decides what that means.
    Failed(Failure),
    /// The run ends here.
    End(Outcome, Option<String>),
}

/// What must happen now.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Decisions.
    pub(super) drafts: Vec<Draft>,
    /// Questions.
    pub(super) asks: Vec<Ask>,
    /// Questions that are asked already, and are still to be.
    pub(super) kept: Vec<StepKey>,
    /// When something that is waited for comes by itself, the earliest of all.
    pub(super) alarm: Option<Timestamp>,
}

/// What was due at some point of a walk: decisions, questions, questions that are asked already.
type Mark = (usize, usize, usize);

pub(super) struct Walk<'a> {
    pub(super) run: &'a Run,
    pub(super) workflow: &'a Workflow,
    /// Questions that are asked already.
    busy: &'a BTreeSet<StepKey>,
    pub(super) due: Due,
    lists: Lists,
    pace: Pace,
}

impl<'a> Walk<'a> {
    pub(super) fn new(run: &'a Run, workflow: &'a Workflow, busy: &'a BTreeSet<StepKey>) -> Self {
        Self {
            run,
            workflow,
            busy,
            due: Due::default(),
            lists: Lists::default(),
            pace: Pace::default(),
        }
    }

    /// The workflow's own steps.
    pub(super) fn steps(&mut self) -> Stand {
        let workflow = self.workflow;
        match self.first() {
            Ok(first) => self.list(&workflow.steps, first, &mut Scope::top()),
            Err(stand) => stand,
        }
    }

    /// What is done of a failure's steps; whatever becomes of them changes nothing.
    pub(super) fn steps_of_failure(&mut self) -> Stand {
        let workflow = self.workflow;
        let mut scope = Scope::after(&workflow.steps);
        match self.list(&workflow.on_failure.steps, 0, &mut scope) {
            Stand::Busy => Stand::Busy,
            Stand::Done | Stand::Failed(_) | Stand::End(..) => Stand::Done,
        }
    }

    /// Steps, one after the other, from one of them on.
    fn list(&mut self, steps: &'a [Step], first: usize, scope: &mut Scope<'a>) -> Stand {
        let known = scope.seen.len();
        scope.pass(steps.iter().take(first));
        let mut at = first;
        let stand = loop {
            let Some(step) = steps.get(at) else {
                break Stand::Done;
            };
            match self.step(step, scope) {
                Stand::Done => {}
                other @ (Stand::Busy | Stand::Failed(_) | Stand::End(..)) => break other,
            }
            let next = self.way(steps, at, &scope.place(step));
            // What is jumped over is there for holes to name, and is nothing.
            scope.pass(steps.get(at..next).unwrap_or_default());
            at = next;
        };
        scope.seen.truncate(known);
        stand
    }

    /// Which step follows the one at `at`: always a later one.
    fn way(&self, steps: &[Step], at: usize, place: &Place) -> usize {
        let (next, end) = (at + 1, steps.len());
        let found = |id: &Name| {
            let later = steps.iter().skip(next).position(|step| step.id == *id);
            later.map_or(end, |later| next + later)
        };
        match (self.run.step(place), steps.get(at).map(|step| &step.then)) {
            (Some(StepState::Branch { end: true, .. }), _) => end,
            (Some(StepState::Branch { to: Some(to), .. }), _) => found(to),
            (_, Some(Some(Target::Step(id)))) => found(id),
            (_, Some(Some(Target::End))) => end,
            (_, Some(None) | None) => next,
        }
    }

    /// One step, with what surrounds every kind: its pause, its time, its failure.
    fn step(&mut self, step: &'a Step, scope: &mut Scope<'a>) -> Stand {
        let place = scope.place(step);
        if matches!(self.run.step(&place), Some(StepState::Skipped)) {
            return Stand::Done;
        }
        if let Some(off) = &step.off
            && !self.has_begun(step, &place)
        {
            return self.skip(&place, off);
        }
        if let Some(failure) = self.run.failed.get(&place) {
            return self.after_failure(step, &place, failure.clone());
        }
        if let Some(pause) = self.run.pauses.get(&place)
            && *pause > self.run.clock
        {
            return self.until(*pause);
        }
        let time = match (step.timeout, self.run.limits.get(&place)) {
            (Some(timeout), None) => {
                let until = self.after(timeout);
                return self.draft(&place, Decision::Begin { until });
            }
            (_, time) => time.copied(),
        };
        let mark = self.mark();
        match (self.kind(step, &place, scope), time) {
            (Stand::Busy, Some(until)) if until <= self.run.clock => {
                self.undo_mark(mark);
                let span = step.timeout.unwrap_or_default();
                let reason = format!("step `{place}` took longer than {span:?}");
                self.fail(&place, Outcome::Failed, "timeout", reason)
            }
            (Stand::Busy, Some(until)) => self.until(until),
            (Stand::Failed(failure), _) if self.is_untold(step, &place, scope) => {
                let Failure {
                    outcome,
                    error,
                    reason,
                } = failure;
                self.draft(
                    &place,
                    Decision::Fail {
                        outcome,
                        error,
                        reason,
                    },
                )
            }
            (Stand::Failed(failure), _) => self.after_failure(step, &place, failure),
            (other, _) => other,
        }
    }

    /// Whether nothing on the journal tells that a step has failed, where later steps may ask for it: one that could not even begin,
    /// because its definition does not work for this event.
    fn is_untold(&self, step: &Step, place: &Place, scope: &Scope<'a>) -> bool {
        let of_others = matches!(step.kind, StepKind::Parallel(_) | StepKind::Steps(_));
        !of_others && !scope.is_plain(step) && self.run.step(place).is_none()
    }

    fn kind(&mut self, step: &'a Step, place: &Place, scope: &mut Scope<'a>) -> Stand {
        match &step.kind {
            StepKind::Claude(claude) => self.claude(step, claude, place, scope),
            StepKind::Tool(tool) => self.tool(step, tool, place, scope),
            StepKind::Agent(agent) => self.agent(step, agent, place, scope),
            StepKind::Switch(cases) => self.switch(cases, place, scope),
            StepKind::Parallel(branches) => self.parallel(step, branches, place, scope),
            StepKind::Each(each) => self.each(step, each, place, scope),
            StepKind::Steps(steps) => {
                scope.depth += 1;
                let stand = self.list(steps, 0, scope);
                scope.depth -= 1;
                stand
            }
            StepKind::Approval(approval) => self.approval(approval, place, scope),
            StepKind::Sleep(sleep) => self.sleep(sleep, place, scope),
            StepKind::Run(run) => self.sub_run(run, place, scope),
            StepKind::End(end) => self.end(end, place, scope),
        }
    }

    /// What a step's failure means: it is begun anew, forgiven, undone, or the failure of what is around it.
    fn after_failure(&mut self, step: &'a Step, place: &Place, failure: Failure) -> Stand {
        let tries = self.run.tries.get(place).copied().unwrap_or_default();
        if let Some(retry) = step.retry.filter(|retry| tries < retry.times) {
            if self.is_outstanding(step, place) {
                return Stand::Busy;
            }
            let pause = retry
                .pause
                .saturating_mul(1 << tries.min(16))
                .min(PAUSE_MAX);
            let again = Decision::Again {
                resets: step
                    .tree()
                    .into_iter()
                    .map(|step| step.id.clone())
                    .collect(),
                until: Some(self.after(pause)),
                why: failure.reason,
            };
            return self.draft(place, again);
        }
        match step.on_error {
            OnError::Fail => Stand::Failed(failure),
            OnError::Continue => Stand::Done,
            OnError::Compensate => self.undo(Some((step, place))),
        }
    }

    /// How an action stands; one that a person has allowed is decided now.
    fn act(&mut self, slot: &Slot, act: &Act) -> Stand {
        let Some(hold) = act.hold.as_ref().filter(|_| act.outcome.is_none()) else {
            return if act.outcome.is_some() {
                Stand::Done
            } else {
                Stand::Busy
            };
        };
        let Some(verdict) = &hold.verdict else {
            return match hold.until {
                Some(until) => self.until(until),
                None => Stand::Busy,
            };
        };
        if self.is_full(&act.action.tool) {
            return Stand::Busy;
        }
        let mut action = act.action.clone();
        if let Some(with) = &verdict.with {
            action.with.clone_from(with);
        }
        self.due.drafts.push(Draft::at(slot.clone(), action.into()));
        Stand::Busy
    }

    /// What it means to a step that nobody allowed its action in time; `None` where it is a result as others are.
    fn not_allowed(act: &Act) -> Option<Failure> {
        let verdict = act.hold.as_ref()?.verdict.as_ref()?;
        let outcome = match verdict.said {
            Said::TimedOut(OnTimeout::Escalate) => Outcome::Escalated,
            Said::TimedOut(OnTimeout::Fail) => Outcome::Failed,
            Said::Approved | Said::Rejected | Said::TimedOut(_) => return None,
        };
        let reason = format!("nobody allowed `{}` in time", act.action.tool);
        failure(outcome, "timeout", reason)
    }

    /// Decides something for a place.
    fn draft(&mut self, place: &Place, decision: Decision) -> Stand {
        let key = self.run.key(place);
        self.due.drafts.push(Draft::new(key, decision));
        Stand::Busy
    }

    /// Decides that a step has failed, where nothing else on the journal says so.
    fn fail(&mut self, place: &Place, outcome: Outcome, error: &str, reason: String) -> Stand {
        match failure(outcome, error, reason) {
            Some(Failure {
                outcome,
                error,
                reason,
            }) => self.draft(
                place,
                Decision::Fail {
                    outcome,
                    error,
                    reason,
                },
            ),
            None => Stand::Busy,
        }
    }

    fn ask(&mut self, ask: impl FnOnce() -> Ask, key: &StepKey) -> Stand {
        if !self.is_asked(key) {
            self.due.asks.push(ask());
        }
        Stand::Busy
    }

    /// Whether a question is asked already.
    fn is_asked(&mut self, key: &StepKey) -> bool {
        let asked = self.busy.contains(key);
        if asked {
            self.due.kept.push(key.clone());
        }
        asked
    }

    /// Waits for a time.
    fn until(&mut self, time: Timestamp) -> Stand {
        let earlier = self.due.alarm.is_none_or(|alarm| time < alarm);
        if earlier {
            self.due.alarm = Some(time);
        }
        Stand::Busy
    }

    /// The time so long after the last one that the run knows of: whoever walks, and whenever, it is the same.
    fn after(&self, span: Duration) -> Timestamp {
        let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
        let at = self.run.time();
        at.checked_add(span).unwrap_or(Timestamp::MAX)
    }

    fn mark(&self) -> Mark {
        let Due {
            drafts, asks, kept, ..
        } = &self.due;
        (drafts.len(), asks.len(), kept.len())
    }

    /// Forgets what must happen since a mark: it must not any more.
    fn undo_mark(&mut self, (drafts, asks, kept): Mark) {
        self.due.drafts.truncate(drafts);
        self.due.asks.truncate(asks);
        self.due.kept.truncate(kept);
    }
}

/// A failure; `None` never: the words are names, which the type cannot know.
fn failure(outcome: Outcome, error: &str, reason: String) -> Option<Failure> {
    Some(Failure {
        outcome,
        error: error.parse().ok()?,
        reason,
    })
}

/// A failure of a step as how it stands.
fn failed(outcome: Outcome, error: &str, reason: String) -> Stand {
    failure(outcome, error, reason).map_or(Stand::Busy, Stand::Failed)
}

/// A step whose definition does not work for this event.
fn broken(place: &Place, what: &str, problem: &dyn std::fmt::Display) -> Stand {
    let reason = format!("step `{place}`: {what} does not work for this event: {problem}");
    failed(Outcome::Failed, "definition", reason)
}

/// A step of which the journal tells another kind than the definition.
fn of_another_kind(place: &Place) -> Stand {
    let reason = format!("the journal's step `{place}` is of another kind than the definition's");
    failed(Outcome::Failed, "definition", reason)
}
