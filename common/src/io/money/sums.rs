//! The counters of a day, summed up from the journal after Redis lost them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use redis::Script;
use tokio::time::sleep;
use tracing::{debug, info};

use super::{DAY_TTL, Hold, Money, day, next_day};
use crate::{
    entry::{Account, Body, Decided, Decision, Entry, Kind},
    ids::{Name, Place, RunId},
    io::{
        clock,
        journal::{Journal, JournalError, decode},
        store::{StoreError, millis},
    },
    money::Usd,
    names::{key, subject},
};

/// How long a build's marker lives.
const BUILD_TTL: Duration = Duration::from_secs(3_600);

static TODAY: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../lua/today.lua")));
static SUMS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../lua/sums.lua")));

/// Why the day's counters could not be summed up.
#[derive(Debug, thiserror::Error)]
pub enum SumError {
    /// NATS.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Redis.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Redis lost them again.
    #[error("Redis was emptied or restarted while the day's costs were summed up")]
    Emptied,
}

impl Money {
    /// Sums up what today's calls cost, from the journal, so that calls under a day's ceiling can go on. Where Redis was emptied or
    /// restarted, it waits for `grace` first: planners in the middle of a call hold its money again within that time, and what
    /// was settled just now gets onto the journal. Several may do this at once. Calls in flight under no ceiling when one is set
    /// count when they end.
    ///
    /// # Errors
    /// [`SumError`].
    pub async fn sum_up(&self, journal: &Journal, grace: Duration) -> Result<(), SumError> {
        let marker = key::spent_build(&format!("{:032x}", fastrand::u128(..)));
        let begun = self.begin(&marker).await?;
        // A journal without a single decision has no calls in flight either.
        let decisions = subject::every(Kind::Decided);
        if !begun && !journal.raw_page(&decisions, 1).await?.messages.is_empty() {
            sleep(grace).await;
            // What was settled until now is on the journal.
            self.begin(&marker).await?;
        }
        let now = clock::now();
        let Sums { sums, held } = sums(journal, now).await?;
        // What is in batches was held in the Redis that was lost, and nobody sits beside it.
        for hold in &held {
            self.hold_again(hold).await?;
        }
        let today = day(now);
        let mut script = SUMS.key(&marker);
        script
            .key(key::SPENT_READY)
            .key(key::spent_counters(&today))
            .arg("end")
            .arg(&today)
            .arg(millis(DAY_TTL));
        for (counter, cost) in &sums {
            script.key(counter).arg(cost.nano());
        }
        let counted: bool = script
            .invoke_async(&mut self.store.connection())
            .await
            .map_err(StoreError::from)?;
        if !counted {
            return Err(SumError::Emptied);
        }
        info!(
            counters = sums.len(),
            "summed up the day's costs from the journal"
        );
        Ok(())
    }

    /// Whether Redis remembers all calls in flight.
    async fn begin(&self, marker: &str) -> Result<bool, StoreError> {
        let today = day(clock::now());
        let mut script = SUMS.key(marker);
        let begun = script
            .key(key::SPENT_READY)
            .key(key::spent_counters(&today))
            .arg("begin")
            .arg(millis(BUILD_TTL))
            .invoke_async(&mut self.store.connection())
            .await?;
        Ok(begun)
    }

    /// What is spent and held today, by a workflow.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn of_workflow_today(&self, workflow: &Name) -> Result<Today, StoreError> {
        let today = day(clock::now());
        self.counter(&key::spent_by_workflow(workflow.as_str(), &today), &today)
            .await
    }

    /// What is spent and held today, by a tenant.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn of_tenant_today(&self, tenant: &Name) -> Result<Today, StoreError> {
        let today = day(clock::now());
        self.counter(&key::spent_by_tenant(tenant.as_str(), &today), &today)
            .await
    }

    async fn counter(&self, counter: &str, today: &str) -> Result<Today, StoreError> {
        let mut script = TODAY.key(counter);
        let (spent, held, complete): (u64, u64, bool) = script
            .key(key::SPENT_READY)
            .arg(today)
            .invoke_async(&mut self.store.connection())
            .await?;
        Ok(Today {
            spent: Usd::from_nano(spent),
            held: Usd::from_nano(held),
            complete,
        })
    }
}

/// What stands in a counter of today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Today {
    /// What was spent.
    pub spent: Usd,
    /// What calls in flight may cost.
    pub held: Usd,
    /// Whether that is all: it was summed up from the journal since Redis started. Nobody does before a call needs it.
    pub complete: bool,
}

/// What the journal says of a day.
struct Sums {
    /// What each counter must be at least.
    sums: BTreeMap<String, Usd>,
    /// What items of batches hold.
    held: Vec<Hold>,
}

/// Reads the day's journal.
async fn sums(journal: &Journal, now: Timestamp) -> Result<Sums, JournalError> {
    let mut book = Book::new(day(now));
    let decisions = subject::every(Kind::Decided);
    let mut page = journal.raw_page_since(&decisions, begin_of(now)).await?;
    loop {
        for raw in &page.messages {
            match decode(raw) {
                Ok(entry) => entry.into_iter().for_each(|entry| book.take(entry)),
                Err(problem) => {
                    debug!(seq = raw.seq, %problem, "not readable; it is charged to nobody");
                }
            }
        }
        match page.next {
            Some(from) => page = journal.raw_page(&decisions, from).await?,
            None => return Ok(book.close()),
        }
    }
}

/// The costs of one day, by counter.
struct Book {
    today: String,
    sums: BTreeMap<String, Usd>,
    /// What parked steps keep: it is on the journal again with what they decide next.
    kept: HashMap<RunId, BTreeMap<Place, (Account, Usd)>>,
    /// What items of batches hold, by the steps that wait for them.
    held: HashMap<RunId, BTreeMap<Place, Hold>>,
}

impl Book {
    fn new(today: String) -> Self {
        Self {
            today,
            sums: BTreeMap::new(),
            kept: HashMap::new(),
            held: HashMap::new(),
        }
    }

    fn take(&mut self, entry: Entry) {
        let Body::Decided(decided) = entry.body else {
            return;
        };
        // What a parked step kept is in its next decision too, and so is an item that it waits for still; the end tells all.
        let (run, place) = (&entry.address.run, decided.step.place());
        if matches!(decided.decision, Decision::End { .. }) {
            self.kept.remove(run);
            self.held.remove(run);
        }
        if let Some(kept) = self.kept.get_mut(run) {
            kept.remove(&place);
        }
        if let Some(held) = self.held.get_mut(run) {
            held.remove(&place);
        }
        if let Some(hold) = item_hold(run, &decided) {
            let held = self.held.entry(run.clone()).or_default();
            held.insert(place.clone(), hold);
        }
        if day(entry.at) != self.today {
            return;
        }
        if let Some(call) = &decided.call {
            self.charge(&call.account, call.usd_nano + call.wasted_usd_nano);
        }
        if let Decision::Park {
            replies, account, ..
        } = decided.decision
            && !replies.is_empty()
        {
            let cost = replies
                .iter()
                .map(|reply| reply.usd_nano + reply.wasted_usd_nano);
            let kept = self.kept.entry(entry.address.run).or_default();
            kept.insert(place, (account, cost.sum()));
        }
    }

    fn charge(&mut self, account: &Account, cost: Usd) {
        let counters = [
            key::spent_by_workflow(&account.workflow, &self.today),
            key::spent_by_tenant(&account.tenant, &self.today),
        ];
        for counter in counters {
            let sum = self.sums.entry(counter).or_default();
            *sum = *sum + cost;
        }
    }

    fn close(mut self) -> Sums {
        let kept = std::mem::take(&mut self.kept).into_values();
        for (account, cost) in kept.flat_map(BTreeMap::into_values) {
            self.charge(&account, cost);
        }
        Sums {
            sums: self.sums,
            held: self
                .held
                .into_values()
                .flat_map(BTreeMap::into_values)
                .collect(),
        }
    }
}

/// What the item holds that a run is parked for.
fn item_hold(run: &RunId, decided: &Decided) -> Option<Hold> {
    let Decision::Park { batch, account, .. } = &decided.decision else {
        return None;
    };
    let held = batch.as_deref()?.item.as_ref()?.held.as_ref()?;
    Some(Hold::of_item(held, run, &decided.step.step, account))
}

/// The beginning of the day, a little before: entries are stored after their writers looked at the clock, never long before.
fn begin_of(now: Timestamp) -> Timestamp {
    let midnight = next_day(now) - SignedDuration::from_hours(24);
    midnight - SignedDuration::from_mins(5)
}
