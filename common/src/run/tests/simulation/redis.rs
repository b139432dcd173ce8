//! The Redis of the simulation: one run's state by compare-and-set, and claims, as the Lua scripts have them.

use std::collections::BTreeMap;

use super::{
    super::*,
    world::{Broken, Random},
};
use crate::run::tests::script::Choices;

/// How long a claim is held without a sign of life, in milliseconds.
const LEASE: u64 = 1_000;

/// A claim as the Lua scripts keep it.
#[derive(Debug, Clone, Default)]
struct Claim {
    fence: u64,
    lost: u64,
    holder: Option<(usize, u64, u64)>,
    done: Option<Value>,
}

/// What a claim found.
#[derive(Debug)]
pub(super) enum Claimed {
    Free { owner: u64, fence: u64, lost: u64 },
    Held { left: u64 },
    Done(Value),
}

/// Redis: one run's state, and claims.
#[derive(Debug, Default)]
pub(super) struct Redis {
    state: Option<String>,
    token: Option<u64>,
    before: Vec<String>,
    claims: BTreeMap<String, Claim>,
    owners: u64,
    /// When it was emptied last.
    pub(super) flushed_at: Option<u64>,
    /// Whether it ever had an old state again.
    pub(super) stale: bool,
}

impl Redis {
    /// The state, and the token that a save must bring. Without a state, the place is kept under a token of its own.
    pub(super) fn load(&mut self) -> (Option<Run>, u64) {
        if self.token.is_none() {
            self.token = Some(self.unique());
        }
        (self.state(), self.token.unwrap_or_default())
    }

    pub(super) fn state(&self) -> Option<Run> {
        let state = self.state.as_ref()?;
        Some(serde_json::from_str(state).expect("what was saved is readable"))
    }

    /// Whether it is saved under `fresh` now.
    pub(super) fn save(&mut self, run: &Run, loaded: u64, fresh: u64, rule: Broken) -> bool {
        if self.token == Some(fresh) {
            return true;
        }
        let onto_nothing = rule == Broken::KeepPlace && self.state.is_none();
        if self.token != Some(loaded) && rule != Broken::CompareAndSet && !onto_nothing {
            return false;
        }
        self.before.extend(self.state.take());
        self.state = Some(serde_json::to_string(run).expect("JSON"));
        self.token = Some(fresh);
        true
    }

    pub(super) fn unique(&mut self) -> u64 {
        self.owners += 1;
        self.owners
    }

    pub(super) fn claim(&mut self, key: &str, by: usize, now: u64) -> Claimed {
        let owner = self.unique();
        let claim = self.claims.entry(key.to_owned()).or_default();
        if let Some(value) = &claim.done {
            return Claimed::Done(value.clone());
        }
        if let Some((_, _, until)) = claim.holder {
            if until > now {
                return Claimed::Held { left: until - now };
            }
            claim.lost += 1;
        }
        claim.fence += 1;
        claim.holder = Some((by, owner, now + LEASE));
        Claimed::Free {
            owner,
            fence: claim.fence,
            lost: claim.lost,
        }
    }

    /// Everything a process holds lasts again from now.
    pub(super) fn extend(&mut self, by: usize, now: u64) {
        for (holder, _, until) in self
            .claims
            .values_mut()
            .filter_map(|claim| claim.holder.as_mut())
        {
            if *holder == by && *until >= now {
                *until = now + LEASE;
            }
        }
    }

    /// Whether it is done by this owner now; a claim that is gone is taken again.
    pub(super) fn finish(&mut self, key: &str, owner: u64, fence: u64, value: &Value) -> bool {
        let claim = self.claims.entry(key.to_owned()).or_insert_with(|| Claim {
            fence,
            holder: Some((0, owner, 0)),
            ..Claim::default()
        });
        if claim.holder.is_none_or(|(_, holder, _)| holder != owner) {
            return false;
        }
        claim.done.get_or_insert_with(|| value.clone());
        true
    }

    pub(super) fn release(&mut self, key: &str, owner: u64) {
        if let Some(claim) = self.claims.get_mut(key)
            && claim.done.is_none()
            && claim.holder.is_some_and(|(_, holder, _)| holder == owner)
        {
            claim.holder = None;
        }
    }

    pub(super) fn flush(&mut self, now: u64) {
        self.state = None;
        self.token = None;
        self.before.clear();
        self.claims.clear();
        self.flushed_at = Some(now);
    }

    /// A failover to a replica that lagged behind: an older state is back.
    pub(super) fn grow_stale(&mut self, choices: &mut Random) {
        if !self.before.is_empty() {
            self.state = Some(choices.pick(&self.before).clone());
            self.stale = true;
        }
    }
}
