//! What was paid, done, asked and allowed, as the world saw it, and the promises about it.

mod calls;

use std::collections::BTreeMap;

use super::super::*;
use crate::definition::Effect;
use calls::Calls;
pub(super) use calls::Since;

/// A question to a person.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) run: RunId,
    pub(super) slot: Slot,
    pub(super) hash: String,
    /// The parameters of the action it is about.
    pub(super) with: Option<Value>,
}

/// How often something happened for which the protocol has a rule.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen(BTreeMap<&'static str, u32>);

impl Seen {
    pub(super) fn note(&mut self, kind: &'static str) {
        *self.0.entry(kind).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: Self) {
        for (kind, count) in other.0 {
            *self.0.entry(kind).or_default() += count;
        }
    }

    pub(super) fn count(&self, kind: &str) -> u32 {
        self.0.get(kind).copied().unwrap_or(0)
    }
}

/// What happened outside.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) seen: Seen,
    calls: Calls,
    /// By idempotency key: how often the tool ran, and with what.
    effects: BTreeMap<String, (u32, Value)>,
    pub(super) asked: Vec<Asked>,
    /// Processes that died: who knew of a reply that nobody wants may be gone.
    pub(super) crashed: BTreeSet<usize>,
    /// What was decided, by run, branch and kind.
    decided: BTreeSet<(RunId, StepKey, u32, Name)>,
}

impl Ledger {
    /// A run begins.
    pub(super) fn bound(&mut self, run: &RunId, workflow: &Workflow, started: &Started) {
        self.calls.bound(run, workflow, started);
    }

    /// A person lets a run, or a step of it, cost so much.
    pub(super) fn raised(&mut self, run: &RunId, step: Option<&Name>, usd: u64) {
        self.calls.raised(run, step, usd);
    }

    /// A decision is on the journal: a step is decided once, and a call is told once.
    pub(super) fn decided(
        &mut self,
        run: &RunId,
        decided: &Decided,
        seq: u64,
    ) -> Result<(), String> {
        if let Some(call) = &decided.call {
            self.calls.tell(run, call, seq)?;
        }
        let name = match &decided.decision {
            // A run may wait at a step more than once, and tell more than once of what it asked there.
            Decision::Park { .. } | Decision::Abandon {} => return Ok(()),
            Decision::Act { .. } => "act".parse().expect("a name"),
            Decision::Approve(approve) => {
                self.seen.note("approval");
                self.asked.push(Asked {
                    run: run.clone(),
                    slot: Slot {
                        step: decided.step.clone(),
                        branch: decided.branch,
                    },
                    hash: approve.hash.clone(),
                    with: approve.action.as_ref().map(|action| action.with.clone()),
                });
                decided.decision.name().expect("a name")
            }
            other => other.name().expect("a name"),
        };
        const SEEN: [&str; 7] = ["each", "sleep", "again", "undo", "review", "fail", "run"];
        if let Some(kind) = SEEN.into_iter().find(|kind| *kind == name.as_str()) {
            self.seen.note(kind);
        }
        if decided.step.aside == Some(crate::ids::Aside::Undo) {
            self.seen.note("undone");
        }
        let key = (run.clone(), decided.step.clone(), decided.branch, name);
        let told = format!("{} was decided twice", decided.step);
        self.decided.insert(key).then_some(()).ok_or(told)
    }

    /// The parent of a run learns how it ended.
    pub(super) fn told_above(&mut self, run: &RunId, cost: Usd) -> Result<(), String> {
        self.calls.told_above(run, cost.nano())
    }

    /// A call begins: see [`Calls::begin`].
    pub(super) fn call(
        &mut self,
        by: (&RunId, &Name, usize),
        what: &str,
        since: Since,
        cost: u64,
    ) -> (usize, Option<String>) {
        self.seen.note("call");
        self.calls.begin(by, what, since, cost)
    }

    /// What a reply is known by.
    pub(super) fn id(&self, call: usize) -> String {
        self.calls.id(call)
    }

    /// A claim was given, which tells so many calls at most.
    pub(super) fn granted(&mut self, run: &RunId, calls: u64) {
        self.calls.granted(run, calls);
    }

    pub(super) fn is_safe(&mut self, call: usize, now: u64) {
        self.calls.is_safe(call, now);
    }

    pub(super) fn is_lost(&mut self, call: usize) {
        self.calls.is_lost(call);
    }

    /// These replies need not be told.
    pub(super) fn excuses(&mut self, ids: &[String]) {
        self.calls.excuses(ids);
    }

    /// These replies are in claims alone.
    pub(super) fn left(&mut self, ids: &[String]) {
        self.calls.left(ids);
    }

    /// Nor that so many calls were wasted.
    pub(super) fn dropped(&mut self, run: &RunId, calls: u64) {
        self.calls.dropped(run, calls);
    }

    pub(super) fn redis_forgets(&mut self) {
        self.calls.redis_forgets();
    }

    pub(super) fn all_told(&self, run: &RunId) -> Option<String> {
        self.calls.all_told(run, &self.crashed)
    }

    /// A tool runs. One that honours its key does each thing once; one that does not must not be run twice.
    pub(super) fn effect(&mut self, key: &str, effect: Effect, with: &Value) -> Result<(), String> {
        let first = || (0, with.clone());
        let (runs, first) = self.effects.entry(key.to_owned()).or_insert_with(first);
        *runs += 1;
        self.seen.note("effect");
        if first != with {
            return Err(format!(
                "{key} stands for two different actions: {first} and {with}"
            ));
        }
        match effect {
            Effect::Once if *runs > 1 => Err(format!(
                "{key} was done {runs} times, and it may be done once"
            )),
            Effect::Once | Effect::Read | Effect::Idempotent => Ok(()),
        }
    }

    /// Whether a tool ran under this key.
    pub(super) fn was_done(&self, key: &str) -> bool {
        self.effects.contains_key(key)
    }
}
