//! Money of the whole fleet: reserved at a call's worst case before it, settled with what it cost after it. All in one script, so
//! that whoever races at a ceiling, the sum of what is spent and what is held never passes it.
//!
//! The counters of a run and a step start from what the journal says. Those of a day cannot: every call is charged to them, also
//! where no ceiling is set, and after Redis has lost them, no call under a day's ceiling is begun until they were summed up from the
//! journal again ([`Money::sum_up`]). A hold that is not held again for a while lapses: its planner was lost, the call may have cost
//! all of it, and that counts as spent until somebody knows better.

mod hold;
mod sums;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::{Timestamp, tz::TimeZone};
use redis::Script;

use super::store::{Store, StoreError, millis};
pub use hold::{Hold, Wanted};
pub use sums::{SumError, Today};

use crate::{
    money::Usd,
    names::key,
    run::{Ceiling, Scope},
};

/// How long the mark lives that a hold was settled: longer than anybody tries to settle it again.
const SETTLED_TTL: Duration = Duration::from_secs(2 * 86_400);
/// How long the counter of a run or a step lives after its last change, and a hold that nobody settles: the counters know how much it
/// is for as long as they know of it. The journal knows better then.
const RUN_TTL: Duration = Duration::from_secs(7 * 86_400);
/// How long the counter of a day lives after its last change.
const DAY_TTL: Duration = Duration::from_secs(3 * 86_400);
/// How often what is charged outside of ceilings is told.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// Leases after which a hold lapses; holders hold again every third of one.
const LAPSE_LEASES: u32 = 2;

static RESERVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/reserve.lua")));
static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/settle.lua")));

/// The counters.
#[derive(Debug, Clone)]
pub struct Money {
    store: Store,
    lapse: Duration,
    charges: Arc<Mutex<Charges>>,
}

/// What was charged and is not told yet, by day and counter.
#[derive(Debug)]
struct Charges {
    sums: HashMap<(String, String), Usd>,
    told: Instant,
}

impl Charges {
    /// Adds a call; gives all of it when it is time to tell.
    fn add(&mut self, hold: &Hold, cost: Usd) -> Option<HashMap<(String, String), Usd>> {
        for counter in &hold.charged {
            let sum = self
                .sums
                .entry((hold.day.clone(), counter.clone()))
                .or_default();
            *sum = *sum + cost;
        }
        if self.told.elapsed() < TELL_EVERY {
            return None;
        }
        self.told = Instant::now();
        Some(std::mem::take(&mut self.sums))
    }

    fn put_back(&mut self, charges: HashMap<(String, String), Usd>) {
        for (counter, cost) in charges {
            let sum = self.sums.entry(counter).or_default();
            *sum = *sum + cost;
        }
    }
}

/// What became of a reservation.
#[derive(Debug, Clone)]
pub enum Reserved {
    /// The money is held: call.
    Held(Hold),
    /// It could cost more than this ceiling leaves.
    Full(Full),
    /// The day's counters are not complete: [`Money::sum_up`], then ask again.
    Unknown,
}

/// A ceiling that leaves too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// Which.
    pub ceiling: Ceiling,
    /// What is spent of it, calls that were lost at their most.
    pub spent: Usd,
    /// What calls in flight hold of it.
    pub held: Usd,
    /// Whether there will be enough when those turn out cheaper: ask again soon.
    pub passing: bool,
}

/// What the script answers: a word, and which counter is how full.
type Answer = (String, Option<usize>, Option<u64>, Option<u64>);

impl Money {
    /// On this Redis, among planners whose claims have leases of this length.
    #[must_use]
    pub fn new(store: Store, lease: Duration) -> Self {
        Self {
            store,
            lapse: lease * LAPSE_LEASES,
            charges: Arc::new(Mutex::new(Charges {
                sums: HashMap::new(),
                told: Instant::now(),
            })),
        }
    }

    /// Holds what is wanted under every one of these ceilings, or under none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may be held all the same; ask again with the same id.
    pub async fn reserve(
        &self,
        wanted: &Wanted<'_>,
        ceilings: &[Ceiling],
    ) -> Result<Reserved, StoreError> {
        let hold = Hold::planned(wanted, ceilings);
        if hold.counters.is_empty() {
            return Ok(Reserved::Held(hold));
        }
        let (word, index, spent, held) = self.hold(&hold, false).await?;
        if word == "held" {
            return Ok(Reserved::Held(hold));
        }
        let full = index.and_then(|index| hold.counters.get(index));
        Ok(match full {
            Some(counter) => Reserved::Full(Full {
                ceiling: counter.ceiling,
                spent: Usd::from_nano(spent.unwrap_or(0)),
                held: Usd::from_nano(held.unwrap_or(0)),
                passing: word == "busy",
            }),
            None => Reserved::Unknown,
        })
    }

    /// Makes a hold last on, and holds it again, whatever is left, if Redis was emptied since. For calls in flight and items of
    /// batches.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn hold_again(&self, hold: &Hold) -> Result<(), StoreError> {
        if !hold.counters.is_empty() {
            self.hold(hold, true).await?;
        }
        Ok(())
    }

    /// Sets what the call cost in place of what was held. A second time changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: try again; what stays held lapses, and counts as spent then.
    pub async fn settle(&self, hold: &Hold, cost: Usd) -> Result<(), StoreError> {
        if hold.is_kept() {
            let mut script = SETTLE.key(&hold.key);
            for counter in &hold.counters {
                script.key(&counter.key).key(key::holds(&counter.key));
            }
            script.arg(cost.nano()).arg(millis(SETTLED_TTL));
            for counter in &hold.counters {
                script.arg(millis(life(counter.ceiling.scope)));
            }
            let settled: u8 = script.invoke_async(&mut self.store.connection()).await?;
            if settled == 0 {
                return Ok(());
            }
        }
        self.charge(hold, cost).await
    }

    /// Charges the day's counters that no ceiling of the call is kept by: one may be set later. That is done for many calls at
    /// once, so that it costs next to nothing; what a process that dies had not told yet is missing until the day is summed up.
    async fn charge(&self, hold: &Hold, cost: Usd) -> Result<(), StoreError> {
        if hold.charged.is_empty() || cost == Usd::default() {
            return Ok(());
        }
        let due = self.charges().add(hold, cost);
        match due {
            Some(charges) => self.tell(charges).await,
            None => Ok(()),
        }
    }

    /// Tells Redis what was charged and is not told yet: at the end of a process.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn finish(&self) -> Result<(), StoreError> {
        let charges = std::mem::take(&mut self.charges().sums);
        self.tell(charges).await
    }

    async fn tell(&self, charges: HashMap<(String, String), Usd>) -> Result<(), StoreError> {
        if charges.is_empty() {
            return Ok(());
        }
        let life = i64::try_from(millis(DAY_TTL)).unwrap_or(i64::MAX);
        let mut pipe = redis::pipe();
        for ((day, counter), cost) in &charges {
            let counters = key::spent_counters(day);
            pipe.hincr(counter, "spent", cost.nano()).ignore();
            pipe.pexpire(counter, life).ignore();
            pipe.sadd(&counters, counter).ignore();
            pipe.pexpire(&counters, life).ignore();
        }
        let told = pipe
            .query_async::<()>(&mut self.store.connection())
            .await
            .map_err(StoreError::from);
        if told.is_err() {
            self.charges().put_back(charges);
        }
        told
    }

    fn charges(&self) -> MutexGuard<'_, Charges> {
        self.charges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn hold(&self, hold: &Hold, force: bool) -> Result<Answer, StoreError> {
        let mut script = RESERVE.key(&hold.key);
        for counter in &hold.counters {
            script.key(&counter.key).key(key::holds(&counter.key));
        }
        script
            .key(key::SPENT_READY)
            .key(key::spent_counters(&hold.day))
            .arg(hold.amount.nano())
            .arg(millis(hold.lasts(self.lapse)))
            .arg(millis(RUN_TTL))
            .arg(u8::from(force))
            .arg(&hold.day);
        for counter in &hold.counters {
            let ceiling = &counter.ceiling;
            script
                .arg(ceiling.limit.nano())
                .arg(ceiling.spent.nano())
                .arg(millis(life(ceiling.scope)))
                .arg(u8::from(of_day(ceiling.scope)));
        }
        // A shorter answer than a tuple is filled up with nothing.
        let mut answer: Vec<Option<String>> =
            script.invoke_async(&mut self.store.connection()).await?;
        answer.resize(4, None);
        let number = |at: usize| answer.get(at)?.as_ref()?.parse::<u64>().ok();
        let word = answer.first().cloned().flatten().unwrap_or_default();
        let index = number(1).and_then(|index| usize::try_from(index).ok());
        Ok((word, index, number(2), number(3)))
    }
}
/// The day (UTC) that a time is in, as `2026-11-21`.
#[must_use]
pub fn day(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).date().to_string()
}

/// The beginning of the day (UTC) after this time.
#[must_use]
pub fn next_day(at: Timestamp) -> Timestamp {
    let tomorrow = at.to_zoned(TimeZone::UTC).date().tomorrow();
    let begins = tomorrow.and_then(|date| date.to_zoned(TimeZone::UTC));
    begins.map_or(Timestamp::MAX, |begins| begins.timestamp())
}

fn of_day(scope: Scope) -> bool {
    match scope {
        Scope::Step | Scope::Run => false,
        Scope::WorkflowDay | Scope::TenantDay => true,
    }
}

fn life(scope: Scope) -> Duration {
    if of_day(scope) { DAY_TTL } else { RUN_TTL }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_utc_and_end_at_midnight() -> Result<(), jiff::Error> {
        let late: Timestamp = "2026-12-31T23:59:59.5Z".parse()?;
        assert_eq!(day(late), "2026-12-31");
        assert_eq!(next_day(late).to_string(), "2027-01-01T00:00:00Z");
        assert_eq!(day(next_day(late)), "2027-01-01");
        Ok(())
    }
}
