//! The run state machine. No IO, no clock, no randomness: what must happen is a function of the state, so a redelivery and a
//! recovery after a crash take the same path as the first time.

mod ask;
mod called;
mod check;
mod concluded;
mod dead;
mod draft;
mod effects;
mod explain;
mod facts;
mod fold;
mod fork;
mod next;
mod park;
mod prompt;
mod rebuild;
mod record;
mod replay;
mod seen;
mod signals;
mod state;
mod summary;
mod told;
mod undo;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use ask::{Ask, Settled, Wasted};
pub use called::Called;
pub use concluded::Concluded;
pub use dead::Letters;
pub use draft::{Draft, Left, Link, LinkError};
pub use effects::{EffectLine, Known, Undoing, effects};
pub use explain::{Chosen, ExplainError, Explained, Prompt, Verdict, Waited, explain};
pub use facts::{Begun, Cancel, Ended, Failing, Heard, Spent};
pub use fold::{FoldError, Folded};
pub use fork::{ForkError, check_same_before};
pub use next::Next;
pub use park::{Ceiling, Parked, Raised, Scope, asks_claude};
pub use replay::{
    Change, Difference, Observation, Replay, Side, Standing, Unreachable, changes, compare,
    observations, question, standing,
};
pub use signals::{
    SIGNAL_APPROVE, SIGNAL_CANCEL, SIGNAL_DEAD, SIGNAL_DROP, SIGNAL_FEEDBACK, SIGNAL_MESSAGE,
    SIGNAL_PAUSE, SIGNAL_RAISE, SIGNAL_REDRIVE, SIGNAL_REJECT, SIGNAL_RESUME, SIGNAL_RETRY,
    TIMER_DEADLINE, TIMER_WAKE,
};
pub use state::{
    Act, Agent, Approval, Child, Failure, ReviewedTurn, Ruling, Said, StepState, Turn,
};
pub use summary::{ForkedFrom, Status, Summary};
pub use told::Told;

use crate::{
    definition::{Context, Workflow},
    entry::Action,
    event::Event,
    ids::{Name, Place, RunId, Slot, StepKey},
    money::Usd,
};

/// A run, folded from its journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Which run.
    pub id: RunId,
    /// Entries folded; what Redis compares and sets by.
    pub version: u64,
    /// The hash chain's head: a digest over every entry folded, in order. Equal digests are equal states.
    pub digest: String,
    /// Sequence of the last decision: what the next one expects under `runs.<run>.decided.>`; 0 before the first.
    pub chain: u64,
    /// Sequences of the others' entries folded since then, in the order they were folded.
    pub pending: Vec<u64>,
    /// What began it; `None` before `started`.
    pub begun: Option<Begun>,
    /// Steps that something was decided for.
    pub steps: BTreeMap<Place, StepState>,
    /// Steps that have failed, where a decision says so.
    pub failed: BTreeMap<Place, Failure>,
    /// Steps with a time limit that have begun, with when their time is up.
    pub limits: BTreeMap<Place, Timestamp>,
    /// How often steps were begun anew, by the step and the loops around what was.
    generations: BTreeMap<Place, u32>,
    /// How often a step was begun anew because it failed.
    pub(super) tries: BTreeMap<Place, u32>,
    /// When steps that are begun anew may begin.
    pub(super) pauses: BTreeMap<Place, Timestamp>,
    /// Actions of steps that were begun anew, and are done.
    pub(super) past: Vec<(Slot, Act)>,
    /// Actions whose result nobody waits for any more, by their decisions.
    void: BTreeSet<u64>,
    /// Actions beside the steps' own: what was undone, who was told.
    pub asides: BTreeMap<Slot, Act>,
    /// The time as of the last timer that fired.
    pub clock: Timestamp,
    /// When the entry was written that was folded last.
    pub at: Timestamp,
    /// Decisions so far, the end not counted.
    pub decisions: u32,
    /// Tools that it called.
    #[serde(default, skip_serializing_if = "Called::is_empty")]
    called: Called,
    /// Replies that came to nothing and are told, by their ids: whoever finds one in its claim again does not tell it twice.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    told: BTreeSet<String>,
    /// What Claude cost so far.
    pub spent: Spent,
    /// What Claude cost by step, calls that were lost at their most.
    pub spent_by_step: BTreeMap<Name, Usd>,
    /// Ceilings that people set.
    pub raised: Raised,
    /// Steps at which it waits, or was just told to look again.
    pub parked: Vec<Parked>,
    /// Signals seen, by id.
    signals: BTreeSet<String>,
    /// Asked to stop.
    pub cancel: Option<Cancel>,
    /// Asked to do nothing for a while, by whom.
    pub paused: Option<String>,
    /// Where the last pause stands that is folded, and the last resume.
    #[serde(default)]
    paused_at: u64,
    #[serde(default)]
    resumed_at: u64,
    /// Entries of it that became dead letters: it begins nothing until they are settled.
    #[serde(default)]
    pub dead: Letters,
    /// Asked to begin anew from a step, and by whom.
    pub retry: Option<(Name, String)>,
    /// What people said to its agents.
    pub heard: Vec<Heard>,
    /// It has failed, and undoes what it did.
    pub failing: Option<Failing>,
    /// Its deadline's timer fired.
    pub overdue: bool,
    /// How it ended.
    pub end: Option<Ended>,
}

impl Run {
    /// A run of which nothing is known yet.
    #[must_use]
    pub fn new(id: RunId) -> Self {
        Self {
            digest: id.to_string(),
            id,
            version: 0,
            chain: 0,
            pending: Vec::new(),
            begun: None,
            steps: BTreeMap::new(),
            failed: BTreeMap::new(),
            limits: BTreeMap::new(),
            generations: BTreeMap::new(),
            tries: BTreeMap::new(),
            pauses: BTreeMap::new(),
            past: Vec::new(),
            void: BTreeSet::new(),
            asides: BTreeMap::new(),
            clock: Timestamp::UNIX_EPOCH,
            at: Timestamp::UNIX_EPOCH,
            decisions: 0,
            called: Called::default(),
            told: BTreeSet::new(),
            spent: Spent::default(),
            spent_by_step: BTreeMap::new(),
            raised: Raised::default(),
            parked: Vec::new(),
            signals: BTreeSet::new(),
            cancel: None,
            paused: None,
            paused_at: 0,
            resumed_at: 0,
            dead: Letters::default(),
            retry: None,
            heard: Vec::new(),
            failing: None,
            overdue: false,
            end: None,
        }
    }

    pub(super) fn step(&self, place: &Place) -> Option<&StepState> {
        self.steps.get(place)
    }

    /// The key of a place as it is now: how often it was begun anew.
    #[must_use]
    pub fn key(&self, place: &Place) -> StepKey {
        StepKey::at(place, self.generation(place))
    }

    /// What the run gives to the one above it: what its definition says, or what the last of its steps gave.
    #[must_use]
    pub fn output(&self, workflow: &Workflow) -> Value {
        let facts = self.facts(workflow);
        match &workflow.output {
            Some(shape) => shape.render(&Context::new(&facts)).unwrap_or_default(),
            None => {
                let mut given = workflow
                    .steps
                    .iter()
                    .rev()
                    .map(|step| &facts["steps"][step.id.as_str()]);
                given
                    .find(|value| !value.is_null())
                    .cloned()
                    .unwrap_or_default()
            }
        }
    }

    /// How often a place was begun anew, by itself or with what is around it.
    fn generation(&self, place: &Place) -> u32 {
        if self.generations.is_empty() {
            return 0;
        }
        let around = (0..=place.items.len()).filter_map(|depth| place.items.get(..depth));
        let found = around.filter_map(|items| {
            self.generations.get(&Place {
                step: place.step.clone(),
                items: items.to_vec(),
            })
        });
        found.sum()
    }

    /// Actions that an executor has, or will have: their result is not known yet.
    pub fn outstanding(&self) -> impl Iterator<Item = &Act> {
        let of_steps = self.steps.values().flat_map(StepState::acts);
        of_steps
            .chain(self.asides.values())
            .filter(|act| act.is_outstanding())
    }

    /// Runs within this one that have not ended.
    pub fn children(&self) -> impl Iterator<Item = &Child> {
        let children = self.steps.values().filter_map(StepState::child);
        children.filter(|child| child.outcome.is_none())
    }

    /// Questions to people that wait, with what each is for.
    pub fn approvals(&self) -> impl Iterator<Item = (Slot, &Approval, Option<&Action>)> {
        self.steps
            .iter()
            .flat_map(|(place, state)| self.open_approvals(place, state))
    }

    fn open_approvals<'a>(
        &'a self,
        place: &'a Place,
        state: &'a StepState,
    ) -> Vec<(Slot, &'a Approval, Option<&'a Action>)> {
        if let StepState::Approval(approval) = state {
            let slot = Slot {
                step: self.key(place),
                branch: 0,
            };
            let open = approval.is_open();
            return open
                .then_some((slot, approval.as_ref(), None))
                .into_iter()
                .collect();
        }
        let held = |(slot, act): (Slot, &'a Act)| {
            let hold = act.hold.as_ref().filter(|_| act.is_held())?;
            Some((slot, hold, Some(&act.action)))
        };
        self.acts_of(place, state)
            .into_iter()
            .filter_map(held)
            .collect()
    }

    /// The actions of a step, with where each stands.
    pub(super) fn acts_of<'a>(&self, place: &Place, state: &'a StepState) -> Vec<(Slot, &'a Act)> {
        state.acts_under(&self.key(place))
    }

    /// The latest time that it knows of: where its last writer's clock is behind, the timer that fired last knows better.
    pub(super) fn time(&self) -> Timestamp {
        self.at.max(self.clock)
    }

    /// How many runs are above this one.
    #[must_use]
    pub fn depth(&self) -> u32 {
        let parent = self.begun.as_ref().and_then(|begun| begun.parent.as_ref());
        parent.map_or(0, |parent| parent.depth)
    }

    /// Whether it waits for others, or for a time. Whoever handles the last of several entries must see that it is the last: a
    /// state that lacks an earlier one, because Redis fell back to an old copy, would wait for ever.
    #[must_use]
    pub fn awaits_others(&self) -> bool {
        let sleeps =
            |state: &StepState| matches!(state, StepState::Sleep { until } if *until > self.clock);
        self.outstanding().next().is_some()
            || self.children().next().is_some()
            || self.approvals().next().is_some()
            || !self.parked.is_empty()
            || self.is_held()
            || self.pauses.values().any(|until| *until > self.clock)
            || self.steps.values().any(sleeps)
    }
}

/// What definitions and prompts see of an event; its extensions are the transport's business.
#[must_use]
pub fn event_facts(event: &Event) -> Value {
    let mut facts = json!({"type": event.kind, "source": event.source, "id": event.id});
    if let Some(subject) = &event.subject {
        facts["subject"] = json!(subject);
    }
    if let Some(time) = &event.time {
        facts["time"] = json!(time);
    }
    facts["data"] = event.data.clone();
    facts
}

#[cfg(test)]
mod tests;
