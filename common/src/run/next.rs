//! What must happen now: a function of the state.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    Ask, Draft, Failing, Run, StepState,
    walk::{Due, Stand, Walk},
};
use crate::{
    definition::{AgentStep, Step, Workflow},
    entry::{Decision, Outcome, RESERVED_END},
    ids::{Name, Place, StepKey},
};

/// The end by which an agent hands over to a person; also where the planner sends an agent that cannot go on.
pub(super) const ESCALATE: &str = "escalate";
/// The class of a step's failure that needs a person.
const ESCALATED: &str = "escalated";
/// Decisions of one append, at most: nats-server takes 1,000 messages in one batch.
const DRAFTS_MAX: usize = 250;

/// What must happen now.
#[derive(Debug)]
pub enum Next {
    /// Ask Claude, each of these; and look again at this time, if there is one.
    Ask(Vec<Ask>, Option<Timestamp>),
    /// Append these to the chain, all or none; never empty.
    Decide(Vec<Draft>),
    /// Others must act first, or time must pass: until then, if that is known.
    Wait(Option<Timestamp>),
    /// Nothing, ever again.
    Ended(Outcome),
}

impl Run {
    /// What must happen now.
    #[must_use]
    pub fn next(&self, workflow: &Workflow, now: Timestamp) -> Next {
        self.next_beside(workflow, now, &BTreeSet::new())
    }

    /// What must happen now, besides the questions that are asked already.
    #[must_use]
    pub fn next_beside(
        &self,
        workflow: &Workflow,
        now: Timestamp,
        busy: &BTreeSet<StepKey>,
    ) -> Next {
        let drafts = match self.due(workflow, now, busy) {
            Next::Decide(drafts) => drafts,
            other @ (Next::Ask(..) | Next::Wait(_) | Next::Ended(_)) => return other,
        };
        // What tells of an approval stays with it.
        let beside = drafts.iter().skip(DRAFTS_MAX);
        let beside = beside.take_while(|draft| draft.step.aside.is_some());
        let most = DRAFTS_MAX + beside.count();
        let told = drafts
            .into_iter()
            .take(most)
            .map(|draft| self.telling(draft, None));
        Next::Decide(told.collect())
    }

    /// Which of these questions are still to be asked.
    #[must_use]
    pub fn wanted(&self, workflow: &Workflow, busy: &BTreeSet<StepKey>) -> BTreeSet<StepKey> {
        let stops = self.cancel.is_some() || self.overdue;
        if self.end.is_some() || (stops && self.failing.is_none()) {
            return BTreeSet::new();
        }
        let mut walk = Walk::new(self, workflow, busy);
        if self.failing.is_some() {
            walk.steps_of_failure();
        } else {
            walk.steps();
        }
        let mut kept: BTreeSet<StepKey> = walk.due.kept.into_iter().collect();
        if let Some((from, _)) = self.retry.as_ref().filter(|_| self.failing.is_none()) {
            let again = anew_from(workflow, from);
            let is_again = |key: &StepKey| {
                let mut trees = again.iter().flat_map(Step::tree);
                trees.any(|step| step.id == key.step)
            };
            kept.retain(|key| !is_again(key));
        }
        kept
    }

    fn due(&self, workflow: &Workflow, now: Timestamp, busy: &BTreeSet<StepKey>) -> Next {
        if let Some(end) = &self.end {
            return Next::Ended(end.outcome);
        }
        let Some(begun) = &self.begun else {
            return Next::Wait(None);
        };
        let mut walk = Walk::new(self, workflow, busy);
        if let Some(failing) = &self.failing {
            return self.wind_up(workflow, failing, walk);
        }
        let late = self
            .deadline(workflow)
            .is_some_and(|deadline| now >= deadline);
        let overdue = self.overdue || late;
        if let Some(cancel) = &self.cancel {
            // An effect in flight is waited for, so that the journal says what became of it; but not beyond the run's time.
            let waits = self.outstanding().next().is_some() || self.children().next().is_some();
            return if waits && !overdue {
                Next::Wait(None)
            } else if cancel.compensate {
                undo(Outcome::Cancelled, cancel.reason.clone())
            } else {
                end(Outcome::Cancelled, Some(cancel.reason.clone()))
            };
        }
        if overdue {
            let since = begun.at;
            let reason = format!("limits.duration: it ran longer than allowed, since {since}");
            return fail(workflow, Outcome::Failed, reason);
        }
        if self.is_held() {
            return Next::Wait(None);
        }
        if let Some((step, why)) = &self.retry {
            return self.begin_anew_from(workflow, step, why, &walk);
        }
        let stand = walk.steps();
        match stand {
            Stand::Done => self.natural_end(),
            Stand::End(outcome, reason) => end(outcome, reason),
            Stand::Failed(failure) => fail(workflow, failure.outcome, failure.reason),
            Stand::Busy => {
                let wanted = u32::try_from(walk.due.drafts.len()).unwrap_or(u32::MAX);
                let more = !walk.due.asks.is_empty() || wanted > 0;
                let left = workflow.limits.steps.saturating_sub(self.decisions);
                // Each question becomes at least one decision.
                let room = usize::try_from(left).unwrap_or(usize::MAX);
                walk.due.asks.truncate(room.saturating_sub(busy.len()));
                if more && (left == 0 || wanted > left) {
                    return too_many(workflow);
                }
                self.not_parked(walk.due)
            }
        }
    }

    /// What is due, without what waits for a person or a timer.
    fn not_parked(&self, due: Due) -> Next {
        let Due {
            drafts,
            asks,
            mut alarm,
            ..
        } = due;
        if !drafts.is_empty() {
            return Next::Decide(drafts);
        }
        let (parked, asks): (Vec<Ask>, Vec<Ask>) = asks.into_iter().partition(|ask| {
            let parked = self.parked_at(&ask.step);
            parked.is_some_and(|parked| !parked.awake)
        });
        let wakes = parked
            .iter()
            .filter_map(|ask| self.parked_at(&ask.step)?.until);
        for wake in wakes {
            alarm = Some(alarm.map_or(wake, |alarm| alarm.min(wake)));
        }
        if asks.is_empty() {
            Next::Wait(alarm)
        } else {
            Next::Ask(asks, alarm)
        }
    }

    /// A run that has failed: what it did is undone, then what the definition says is done, then it ends.
    fn wind_up(&self, workflow: &Workflow, failing: &Failing, mut walk: Walk<'_>) -> Next {
        let asked = self.cancel.as_ref().is_some_and(|cancel| cancel.compensate);
        let undoes = workflow.on_failure.compensate || asked;
        if undoes && matches!(walk.undo(None), Stand::Busy) {
            return self.not_parked(walk.due);
        }
        if matches!(walk.steps_of_failure(), Stand::Busy) {
            return self.not_parked(walk.due);
        }
        let left = if undoes {
            self.not_undone(workflow)
        } else {
            Vec::new()
        };
        if left.is_empty() {
            return end(failing.outcome, Some(failing.reason.clone()));
        }
        let reason = format!(
            "{}; a person must look, for this could not be undone: {}",
            failing.reason,
            left.join(", ")
        );
        end(Outcome::Escalated, Some(reason))
    }

    /// A person wants the run to begin anew from a step: what was done from there on is forgotten, once it is at rest.
    fn begin_anew_from(
        &self,
        workflow: &Workflow,
        from: &Name,
        why: &str,
        walk: &Walk<'_>,
    ) -> Next {
        let again = anew_from(workflow, from);
        let moves = |step: &Step| walk.is_outstanding(step, &Place::top(&step.id));
        if again.iter().any(moves) {
            return Next::Wait(None);
        }
        let trees = again.iter().flat_map(Step::tree);
        let decision = Decision::Again {
            resets: trees.map(|step| step.id.clone()).collect(),
            until: None,
            why: format!("{why}, from step `{from}`"),
        };
        let root = again.first().map_or(from, |step| &step.id);
        Next::Decide(vec![Draft::new(self.key(&Place::top(root)), decision)])
    }

    /// When the run's time is up.
    #[must_use]
    pub fn deadline(&self, workflow: &Workflow) -> Option<Timestamp> {
        let span = SignedDuration::try_from(workflow.limits.duration?).ok()?;
        self.begun.as_ref()?.at.checked_add(span).ok()
    }

    fn natural_end(&self) -> Next {
        let agents = self.steps.values().filter_map(StepState::agent);
        let mut ends = agents.filter_map(|agent| agent.end.as_ref());
        let escalated = ends.find(|(end, _)| end.as_str() == ESCALATE);
        let escalated = escalated.map(|(_, summary)| summary.clone());
        let before = self.forked().and_then(|forked| forked.escalated.clone());
        match before.or(escalated) {
            Some(summary) => end(Outcome::Escalated, Some(summary)),
            None => end(Outcome::Completed, None),
        }
    }
}

/// An agent that cannot go on takes its `escalate` end, so that the flow goes on; without one, the run ends so, or the step fails
/// where that is not the run's end.
pub(super) fn escalation(agent: &AgentStep, key: StepKey, why: &str, plain: bool) -> Draft {
    match agent.ends.iter().find(|end| end.as_str() == ESCALATE) {
        Some(end) => Draft::new(
            key,
            Decision::Finish {
                end: end.clone(),
                summary: why.to_owned(),
            },
        ),
        None => escalated(key, why, plain),
    }
}

/// A step that needs a person: the run's end, or the step's failure where that is not the run's end.
pub(super) fn escalated(key: StepKey, why: &str, plain: bool) -> Draft {
    // The word is a name; the type cannot know.
    match ESCALATED.parse() {
        Ok(error) if !plain => Draft::new(
            StepKey {
                turn: None,
                aside: None,
                ..key
            },
            Decision::Fail {
                outcome: Outcome::Escalated,
                error,
                reason: why.to_owned(),
            },
        ),
        Ok(_) | Err(_) => run_end(key, Outcome::Escalated, Some(why.to_owned())),
    }
}

pub(super) fn run_end(key: StepKey, outcome: Outcome, reason: Option<String>) -> Draft {
    Draft::new(key, Decision::End { outcome, reason })
}

/// The steps from one on, or from the one that it stands in.
fn anew_from<'w>(workflow: &'w Workflow, from: &Name) -> &'w [Step] {
    let is_in = |step: &Step| step.tree().iter().any(|step| step.id == *from);
    let first = workflow.steps.iter().position(is_in);
    let again = first.and_then(|first| workflow.steps.get(first..));
    again.unwrap_or_default()
}

/// The run fails: at once, or after what its definition wants done then.
fn fail(workflow: &Workflow, outcome: Outcome, reason: String) -> Next {
    let winds_up = workflow.on_failure.compensate || !workflow.on_failure.steps.is_empty();
    // Where a person takes over, nothing is undone behind their back.
    if winds_up && outcome != Outcome::Escalated {
        undo(outcome, reason)
    } else {
        end(outcome, Some(reason))
    }
}

/// More decisions are needed than the definition allows.
pub(super) fn too_many(workflow: &Workflow) -> Next {
    let most = workflow.limits.steps;
    let reason = format!("limits.steps: {most} decisions were not enough");
    fail(workflow, Outcome::Failed, reason)
}

/// Whether a decision counts against `limits.steps`.
pub(super) fn counts(draft: &Draft) -> bool {
    !matches!(
        draft.decision,
        Decision::End { .. } | Decision::Park { .. } | Decision::Abandon {}
    )
}

fn undo(outcome: Outcome, reason: String) -> Next {
    settled(Decision::Undo { outcome, reason })
}

fn end(outcome: Outcome, reason: Option<String>) -> Next {
    settled(Decision::End { outcome, reason })
}

/// A decision about the run, not about one of its steps.
fn settled(decision: Decision) -> Next {
    // The word is a name; the type cannot know.
    match RESERVED_END.parse::<Name>() {
        Ok(name) => Next::Decide(vec![Draft::new(StepKey::step(&name), decision)]),
        Err(_) => Next::Wait(None),
    }
}

/// A JSON object from pairs, in order.
pub(super) fn object<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Object(
        pairs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}
