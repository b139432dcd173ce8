//! The ledger of what is used, in Redis. Its sums and how far it has read the journal change together, in one script, so each entry
//! counts once: whoever adds what was added already is refused. Where Redis fell back to an older state, the ledger's place did too,
//! and what came after is read again; where it was emptied, everything is.

mod batch;

use std::{collections::HashMap, sync::LazyLock, time::Duration};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{Timestamp, civil::Date};
use redis::{AsyncCommands as _, Script};

use super::store::{Store, StoreError, millis};
use crate::{
    ids::RunId,
    money::Usd,
    names::usage as key,
    usage::{Batch, Open, Row},
};

/// How long whoever reads the journal does so without saying it again.
const LEAD_TTL: Duration = Duration::from_secs(10);
/// Rows of one kind in one day, or one minute: what is more is summed up in one row besides.
pub const ROWS_MAX: usize = 2_000;
/// Runs among a day's dearest.
pub const DEAREST_MAX: usize = 100;
/// Hashes being read at once.
const READS_AT_ONCE: usize = 8;
/// How long the journal's end may be past until the ledger counts as behind.
const BEHIND_AFTER_MS: u64 = 10_000;

static LEAD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/usage_lead.lua")));
static ADD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/usage.lua")));

/// The ledger. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Ledger {
    store: Store,
}

/// How far the ledger has come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The journal's sequence up to which it has read.
    pub seq: u64,
    /// When the last entry that it has read was written, by its writer's clock.
    pub at: Option<Timestamp>,
    /// Whether it was at the journal's end within the last ten seconds.
    pub current: bool,
    /// Runs that began until there.
    pub started: u64,
    /// Runs that ended until there.
    pub ended: u64,
}

/// A part of what is in a day or a minute.
pub type Sum = (Row, String, u64);

impl Ledger {
    /// In this Redis.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
        }
    }

    /// Takes it over to read the journal for the ledger, or goes on with it: from which sequence on it has to be read. `None`:
    /// another process does it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn lead(&self, who: &str) -> Result<Option<u64>, StoreError> {
        let mut script = LEAD.key(key::LEAD);
        let (leads, seq): (bool, u64) = script
            .key(key::AT)
            .arg(who)
            .arg(millis(LEAD_TTL))
            .invoke_async(&mut self.store.connection())
            .await?;
        Ok(leads.then_some(seq))
    }

    /// Those of these runs that are open.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn open(&self, runs: &[&RunId]) -> Result<HashMap<RunId, Open>, StoreError> {
        if runs.is_empty() {
            return Ok(HashMap::new());
        }
        let fields: Vec<&str> = runs.iter().map(|run| run.as_str()).collect();
        let mut command = redis::cmd("HMGET");
        command.arg(key::RUNS).arg(fields);
        let texts: Vec<Option<Vec<u8>>> = command.query_async(&mut self.store.connection()).await?;
        let open = runs.iter().zip(texts).filter_map(|(run, text)| {
            let open = serde_json::from_slice(&text?).ok()?;
            Some(((*run).clone(), open))
        });
        Ok(open.collect())
    }

    /// Adds what was read after `from` up to `to`; `at_end`: there was nothing more. `false`: the ledger stands elsewhere, and
    /// nothing was added.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn add(
        &self,
        from: u64,
        to: u64,
        at_end: bool,
        batch: &Batch,
    ) -> Result<bool, StoreError> {
        let (keys, text) = batch::encode(batch)?;
        let mut script = ADD.key(key::AT);
        script.key(key::RUNS);
        for key in keys {
            script.key(key);
        }
        let at = batch.at.map(|at| at.as_millisecond().to_string());
        script
            .arg(from)
            .arg(to)
            .arg(at.unwrap_or_default())
            .arg(u8::from(at_end))
            .arg(ROWS_MAX)
            .arg(DEAREST_MAX)
            .arg(text);
        let added = script.invoke_async(&mut self.store.connection()).await?;
        Ok(added)
    }

    /// How far it has come.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn place(&self) -> Result<Place, StoreError> {
        let mut pipe = redis::pipe();
        pipe.hgetall(key::AT).cmd("TIME");
        type Found = (HashMap<String, u64>, (u64, u64));
        let (found, (seconds, micros)): Found =
            pipe.query_async(&mut self.store.connection()).await?;
        let number = |name: &str| found.get(name).copied();
        let now_ms = seconds.saturating_mul(1_000) + micros / 1_000;
        let at = number("at_ms").and_then(|at| i64::try_from(at).ok());
        Ok(Place {
            seq: number("seq").unwrap_or_default(),
            at: at.and_then(|at| Timestamp::from_millisecond(at).ok()),
            current: number("end_ms")
                .is_some_and(|end| now_ms.saturating_sub(end) < BEHIND_AFTER_MS),
            started: number("started").unwrap_or_default(),
            ended: number("ended").unwrap_or_default(),
        })
    }

    /// What was used on these days.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn days(&self, days: Vec<Date>) -> Result<Vec<(Date, Vec<Sum>)>, StoreError> {
        let reads = days.into_iter().map(async |day| {
            let sums = self.sums(key::day(&day.to_string())).await?;
            Ok::<_, StoreError>((day, sums))
        });
        stream::iter(reads)
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await
    }

    /// What happened in these minutes since 1970.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn minutes(&self, minutes: Vec<i64>) -> Result<Vec<(i64, Vec<Sum>)>, StoreError> {
        let reads = minutes.into_iter().map(async |minute| {
            let sums = self.sums(key::minute(minute)).await?;
            Ok::<_, StoreError>((minute, sums))
        });
        stream::iter(reads)
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await
    }

    /// The dearest runs of a day: the tenant, the run, and what it had cost when it was charged last on that day.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn dearest(&self, day: Date) -> Result<Vec<(String, RunId, Usd)>, StoreError> {
        let mut connection = self.store.connection();
        let key = key::dearest(&day.to_string());
        let found: Vec<(String, u64)> = connection.zrevrange_withscores(key, 0, -1).await?;
        let runs = found.into_iter().filter_map(|(member, nano)| {
            let (tenant, run) = member.rsplit_once(' ')?;
            Some((tenant.to_owned(), run.parse().ok()?, Usd::from_nano(nano)))
        });
        Ok(runs.collect())
    }

    async fn sums(&self, key: String) -> Result<Vec<Sum>, StoreError> {
        let mut connection = self.store.connection();
        let fields: HashMap<String, u64> = connection.hgetall(key).await?;
        let sums = fields.into_iter().filter_map(|(field, sum)| {
            let (row, measure) = Row::of_field(&field)?;
            Some((row, measure.to_owned(), sum))
        });
        Ok(sums.collect())
    }
}
