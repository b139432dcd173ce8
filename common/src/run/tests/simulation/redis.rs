//! The Redis of the simulation: states by compare-and-set, claims and money, as the Lua scripts have them.

use std::rc::Rc;

use super::{
    super::*,
    world::{Broken, Random},
};
use crate::run::tests::script::Choices;

/// How long a claim is held without a sign of life, in milliseconds.
pub(super) const LEASE: u64 = 1_000;
/// How long a hold of money lasts without one.
const LAPSE: u64 = 2 * LEASE;

/// A claim as the Lua scripts keep it.
#[derive(Debug, Clone, Default)]
struct Claim {
    fence: u64,
    lost: u64,
    holder: Option<(usize, u64, u64)>,
    done: Option<Value>,
    changed_at: u64,
}

/// What a claim found.
#[derive(Debug)]
pub(super) enum Claimed {
    Free(Lease),
    Held { left: u64 },
    Done(Value),
}

#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) key: String,
    pub(super) owner: u64,
    pub(super) fence: u64,
    pub(super) lost: u64,
}

impl Lease {
    /// One that nobody gave.
    pub(super) fn unclaimed(key: &str, fence: u64) -> Self {
        Self {
            key: key.to_owned(),
            owner: 0,
            fence,
            lost: 0,
        }
    }
}

/// What a save brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    last: u64,
    born: u64,
    /// The Redis process since which nothing that was acknowledged can be missing from the state.
    process: u64,
}

/// Ceilings: by key, with their limit and what the journal says is spent.
pub(super) type Bounds = Vec<(String, u64, u64)>;

#[derive(Debug, Clone)]
struct Place {
    state: Option<Rc<Run>>,
    token: Token,
}

/// A state as it is loaded.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    pub(super) run: Option<Rc<Run>>,
    pub(super) token: Token,
}

impl Token {
    /// For a state that is read from the journal: what was acknowledged before is in it.
    pub(super) fn of_journal(self, last_seen: u64) -> Self {
        Self {
            process: last_seen,
            ..self
        }
    }

    pub(super) fn process(self) -> u64 {
        self.process
    }
}

/// What is spent and held of a ceiling.
#[derive(Debug, Default)]
struct Counter {
    spent: u64,
    held: BTreeMap<String, (u64, u64)>,
}

/// What became of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Held,
    /// Only what others hold is in the way.
    Busy,
    Full,
}

#[derive(Debug, Default)]
pub(super) struct Redis {
    places: BTreeMap<RunId, Place>,
    /// Earlier states, oldest first.
    before: BTreeMap<RunId, Vec<Place>>,
    claims: BTreeMap<String, Claim>,
    counters: BTreeMap<String, Counter>,
    /// What was held, by hold; `None`: it is settled.
    holds: BTreeMap<String, Option<u64>>,
    uniques: u64,
    /// Which process it is.
    pub(super) process: u64,
    /// When it lost something last.
    pub(super) lost_at: Option<u64>,
    /// Whether it ever had an old state again.
    pub(super) stale: bool,
}

impl Redis {
    fn unique(&mut self) -> u64 {
        self.uniques += 1;
        self.uniques
    }

    /// The state, and what a save must bring. Without a state, the place is kept under a token of its own.
    pub(super) fn load(&mut self, run: &RunId, last_seen: u64) -> Loaded {
        let fresh = self.unique();
        let place = self.places.entry(run.clone()).or_insert(Place {
            state: None,
            token: Token {
                last: fresh,
                born: fresh,
                process: 0,
            },
        });
        let token = match place.state {
            Some(_) => place.token,
            None => place.token.of_journal(last_seen),
        };
        Loaded {
            run: place.state.clone(),
            token,
        }
    }

    pub(super) fn state(&self, run: &RunId) -> Option<Rc<Run>> {
        self.places.get(run)?.state.clone()
    }

    /// A number for a save that may arrive twice.
    pub(super) fn fresh(&mut self) -> u64 {
        self.unique()
    }

    /// The token of the next save, if it is saved under `fresh` now.
    pub(super) fn save(
        &mut self,
        run: &Rc<Run>,
        loaded: Token,
        fresh: u64,
        rule: Broken,
    ) -> Option<Token> {
        let token = Token {
            last: fresh,
            ..loaded
        };
        let found = self.places.get(&run.id).cloned();
        if found
            .as_ref()
            .is_some_and(|place| place.token.last == fresh)
        {
            return Some(token);
        }
        let is_there = found
            .as_ref()
            .is_some_and(|place| place.token.last == loaded.last);
        let onto_nothing = found.as_ref().is_none_or(|place| place.state.is_none());
        let taken = is_there
            || rule == Broken::CompareAndSet
            || (rule == Broken::KeepPlace && onto_nothing);
        if !taken {
            return None;
        }
        let before = self.before.entry(run.id.clone()).or_default();
        before.extend(found.filter(|place| place.state.is_some()));
        let state = Some(Rc::clone(run));
        self.places.insert(run.id.clone(), Place { state, token });
        Some(token)
    }

    pub(super) fn was_emptied(&self, run: &RunId, token: Token) -> bool {
        self.places
            .get(run)
            .is_none_or(|place| place.token.born != token.born)
    }

    /// Whether nobody has saved, and Redis was not emptied, since the load or save that gave this token.
    pub(super) fn is_current(&self, run: &RunId, token: Token) -> bool {
        self.places
            .get(run)
            .is_some_and(|place| place.token.last == token.last)
    }

    pub(super) fn is_known(&self, key: &str) -> bool {
        self.claims.contains_key(key)
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
        claim.changed_at = now;
        let (fence, lost) = (claim.fence, claim.lost);
        Claimed::Free(Lease {
            key: key.to_owned(),
            owner,
            fence,
            lost,
        })
    }

    /// Everything a task holds lasts again from now.
    pub(super) fn extend(&mut self, by: usize, now: u64) {
        let holders = self
            .claims
            .values_mut()
            .filter_map(|claim| claim.holder.as_mut());
        for (holder, _, until) in holders {
            if *holder == by && *until >= now {
                *until = now + LEASE;
            }
        }
    }

    /// A task's handling is over: what it still holds ends by itself.
    pub(super) fn abandon(&mut self, by: usize) {
        let holders = self
            .claims
            .values_mut()
            .filter_map(|claim| claim.holder.as_mut());
        for holder in holders.filter(|holder| holder.0 == by) {
            holder.0 = usize::MAX;
        }
    }

    /// Whether it is done by this owner now; a claim that is gone is taken again.
    pub(super) fn finish(&mut self, lease: &Lease, value: &Value, now: u64) -> bool {
        let claim = self
            .claims
            .entry(lease.key.clone())
            .or_insert_with(|| Claim {
                fence: lease.fence,
                holder: Some((0, lease.owner, 0)),
                ..Claim::default()
            });
        if claim
            .holder
            .is_none_or(|(_, holder, _)| holder != lease.owner)
        {
            return false;
        }
        claim.done.get_or_insert_with(|| value.clone());
        claim.changed_at = now;
        true
    }

    pub(super) fn give_back(&mut self, lease: &Lease, lost: u64, now: u64) {
        if let Some(claim) = self.claims.get_mut(&lease.key)
            && claim.done.is_none()
            && claim
                .holder
                .is_some_and(|(_, holder, _)| holder == lease.owner)
        {
            claim.holder = None;
            claim.lost += lost;
            claim.changed_at = now;
        }
    }

    /// Holds an amount under ceilings.
    pub(super) fn reserve(&mut self, hold: &str, amount: u64, ceilings: &Bounds, now: u64) -> Room {
        if self.holds.contains_key(hold) {
            self.hold(hold, amount, ceilings, now);
            return Room::Held;
        }
        let mut room = Room::Held;
        for (key, limit, spent) in ceilings {
            let counter = self.counters.entry(key.clone()).or_default();
            let lapsed = counter.held.extract_if(.., |_, (_, until)| *until < now);
            counter.spent += lapsed.map(|(_, (amount, _))| amount).sum::<u64>();
            counter.spent = counter.spent.max(*spent);
            let held: u64 = counter.held.values().map(|(amount, _)| amount).sum();
            if counter.spent + amount > *limit {
                return Room::Full;
            }
            if counter.spent + held + amount > *limit {
                room = Room::Busy;
            }
        }
        if room == Room::Held {
            self.hold(hold, amount, ceilings, now);
        }
        room
    }

    /// Makes a hold last on, whatever is left.
    pub(super) fn hold(&mut self, hold: &str, amount: u64, ceilings: &Bounds, now: u64) {
        let is_new = !self.holds.contains_key(hold);
        self.holds.entry(hold.to_owned()).or_insert(Some(amount));
        for (key, _, _) in ceilings {
            let counter = self.counters.entry(key.clone()).or_default();
            // One that has lapsed counts as spent.
            if is_new || counter.held.contains_key(hold) {
                counter.held.insert(hold.to_owned(), (amount, now + LAPSE));
            }
        }
    }

    /// Sets what a call cost in place of what was held. What Redis lost is charged as it comes.
    pub(super) fn settle(&mut self, hold: &str, cost: u64, ceilings: &Bounds) {
        let held = self.holds.insert(hold.to_owned(), None);
        let amount = match held {
            Some(None) => return,
            Some(Some(amount)) => amount,
            None => 0,
        };
        for (key, _, _) in ceilings {
            let counter = self.counters.entry(key.clone()).or_default();
            counter.spent += cost;
            if counter.held.remove(hold).is_none() {
                counter.spent = counter.spent.saturating_sub(amount);
            }
        }
    }

    pub(super) fn empty(&mut self, now: u64) {
        let (uniques, process, stale) = (self.uniques, self.process, self.stale);
        *self = Self {
            uniques,
            process,
            stale,
            lost_at: Some(now),
            ..Self::default()
        };
    }

    /// It comes up again, without what was written last: states are old ones, the youngest claims are gone, and money is known
    /// from the journal alone.
    pub(super) fn restart(&mut self, now: u64, choices: &mut Random) {
        self.process += 1;
        for (run, before) in &mut self.before {
            if before.is_empty() || choices.once_in(3) {
                continue;
            }
            let at = before.len() - 1 - choices.below(before.len().min(3));
            before.truncate(at + 1);
            self.places
                .extend(before.pop().map(|place| (run.clone(), place)));
            self.stale = true;
        }
        let since = now.saturating_sub(choices.below(600) as u64);
        self.claims.retain(|_, claim| claim.changed_at <= since);
        self.counters.clear();
        self.holds.clear();
        self.lost_at = Some(now);
    }
}
