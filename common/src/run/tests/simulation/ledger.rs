//! What was paid and what was done to the world, and the promises about both.

use std::collections::BTreeMap;

use super::super::*;
use crate::definition::Effect;

/// A call to Claude.
#[derive(Debug, Clone)]
struct Paid {
    what: String,
    /// When Redis had taken its reply first.
    safe_at: Option<u64>,
}

/// How often something happened for which the protocol has a rule.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen(BTreeMap<&'static str, u32>);

impl Seen {
    /// All that schedules must have met.
    const KINDS: [&str; 12] = [
        "call",
        "effect",
        "append refused",
        "save refused",
        "rebuilt",
        "saved reply taken",
        "call held by another",
        "effect held by another",
        "done before",
        "in doubt",
        "batch",
        "fan-in",
    ];

    pub(super) fn note(&mut self, kind: &'static str) {
        *self.0.entry(kind).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: Self) {
        for (kind, count) in other.0 {
            *self.0.entry(kind).or_default() += count;
        }
    }

    /// How often the rarest of them was met.
    pub(super) fn least(&self) -> u32 {
        let counts = Self::KINDS
            .iter()
            .map(|kind| self.0.get(kind).copied().unwrap_or(0));
        counts.min().unwrap_or(0)
    }
}

/// What happened outside.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) seen: Seen,
    calls: Vec<Paid>,
    /// By idempotency key: how often the tool ran, and with what.
    effects: BTreeMap<String, (u32, Value)>,
}

impl Ledger {
    /// A call begins, under a claim that was given at that time. It must not be one whose reply was saved before, unless Redis
    /// was emptied since: then nobody can know.
    pub(super) fn call(
        &mut self,
        what: &str,
        granted_at: u64,
        flushed_at: Option<u64>,
    ) -> Result<usize, String> {
        self.seen.note("call");
        let forgotten = |at: u64| flushed_at.is_some_and(|flushed| flushed >= at);
        let known = self.calls.iter().filter(|call| call.what == what);
        let saved = known
            .filter_map(|call| call.safe_at)
            .find(|at| *at < granted_at && !forgotten(*at));
        self.calls.push(Paid {
            what: what.to_owned(),
            safe_at: None,
        });
        match saved {
            Some(at) => Err(format!(
                "{what} is paid again after its reply was saved at {at}"
            )),
            None => Ok(self.calls.len() - 1),
        }
    }

    pub(super) fn is_safe(&mut self, call: usize, now: u64) {
        self.calls[call].safe_at.get_or_insert(now);
    }

    /// A tool runs. One that honours its key does each thing once; one that does not must not be run twice.
    pub(super) fn effect(&mut self, key: &str, effect: Effect, with: &Value) -> Result<(), String> {
        let (runs, first) = self
            .effects
            .entry(key.to_owned())
            .or_insert_with(|| (0, with.clone()));
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

    pub(super) fn was_done(&self, key: &str) -> bool {
        self.effects.contains_key(key)
    }
}
