//! Money of the whole fleet: reserved at a call's worst case before it, settled with what it cost after it. All in one script, so
//! that whoever races at a ceiling, the sum of what is spent and what is held never passes it.
//!
//! The counters of a run and a step start from what the journal says. Those of a day cannot: when Redis has lost them, no call is
//! begun until they were summed up from the journal again ([`Money::sum_up`]).

mod sums;

use std::{sync::LazyLock, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use redis::Script;

use super::store::{Store, StoreError, millis};
use crate::{
    entry::Account,
    ids::{Name, RunId},
    money::Usd,
    names::key,
    run::{Ceiling, Scope},
};
pub use sums::{SumError, Today};

/// How long a hold lives, and the mark that it was settled: longer than any call.
const HOLD_TTL: Duration = Duration::from_secs(2 * 86_400);
/// How long the counter of a run or a step lives after its last change; the journal knows better then.
const RUN_TTL: Duration = Duration::from_secs(7 * 86_400);
/// How long the counter of a day lives after its last change.
const DAY_TTL: Duration = Duration::from_secs(3 * 86_400);

static RESERVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/reserve.lua")));
static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/settle.lua")));

/// The counters.
#[derive(Debug, Clone)]
pub struct Money {
    store: Store,
}

/// A ceiling of a call, and the counter it is kept by.
#[derive(Debug, Clone)]
struct Counter {
    key: String,
    ceiling: Ceiling,
}

/// What a call may cost, held under all its ceilings until it is settled.
#[derive(Debug, Clone)]
pub struct Hold {
    key: String,
    amount: Usd,
    counters: Vec<Counter>,
}

/// What became of a reservation.
#[derive(Debug, Clone)]
pub enum Reserved {
    /// The money is held: call.
    Held(Hold),
    /// It could cost more than this ceiling leaves.
    Full(Full),
    /// The day's counters are not complete: [`Money::sum_up`] for this, then ask again.
    Unknown(Hold),
}

/// A ceiling that leaves too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// Which.
    pub ceiling: Ceiling,
    /// What is spent of it.
    pub spent: Usd,
    /// What calls in flight hold of it.
    pub held: Usd,
    /// Whether there will be enough when those turn out cheaper: ask again soon.
    pub passing: bool,
}

/// What the script answers: a word, and which counter is how full.
type Answer = (String, Option<usize>, Option<u64>, Option<u64>);

impl Hold {
    /// Of a call that no ceiling bounds.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            key: String::new(),
            amount: Usd::default(),
            counters: Vec::new(),
        }
    }
}

impl Money {
    /// On this Redis.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Holds `amount` under every one of these ceilings, or under none. `id` is the try's own: the same one again is the same hold.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn reserve(
        &self,
        id: &str,
        run: &RunId,
        step: &Name,
        account: &Account,
        ceilings: &[Ceiling],
        amount: Usd,
    ) -> Result<Reserved, StoreError> {
        let day = day(Timestamp::now());
        let counters = ceilings.iter().map(|ceiling| Counter {
            key: match ceiling.scope {
                Scope::Step => key::spent_by_step(run, step),
                Scope::Run => key::spent_by_run(run),
                Scope::WorkflowDay => key::spent_by_workflow(&account.workflow, &day),
                Scope::TenantDay => key::spent_by_tenant(&account.tenant, &day),
            },
            ceiling: *ceiling,
        });
        let hold = Hold {
            key: key::hold(id),
            amount,
            counters: counters.collect(),
        };
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
            None => Reserved::Unknown(hold),
        })
    }

    /// Holds it again, whatever is left, if Redis was emptied since; else nothing changes. For calls in flight.
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
    /// [`StoreError::Unavailable`]: what is held stays held, which is the safe side.
    pub async fn settle(&self, hold: &Hold, cost: Usd) -> Result<(), StoreError> {
        if hold.counters.is_empty() {
            return Ok(());
        }
        let mut script = SETTLE.key(&hold.key);
        for counter in &hold.counters {
            script.key(&counter.key);
        }
        script.arg(cost.nano()).arg(millis(HOLD_TTL));
        for counter in &hold.counters {
            script.arg(millis(life(counter.ceiling.scope)));
        }
        let _: u8 = script.invoke_async(&mut self.store.connection()).await?;
        Ok(())
    }

    async fn hold(&self, hold: &Hold, force: bool) -> Result<Answer, StoreError> {
        let mut script = RESERVE.key(&hold.key);
        for counter in &hold.counters {
            script.key(&counter.key);
        }
        script
            .arg(hold.amount.nano())
            .arg(millis(HOLD_TTL))
            .arg(u8::from(force));
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
