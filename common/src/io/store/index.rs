//! The index of runs: what lists are read from.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::LazyLock, time::Duration};

use jiff::Timestamp;
use redis::{AsyncCommands as _, Script};

use super::{Store, StoreError, millis};
use crate::{
    ids::RunId,
    names::key,
    run::{Run, Status, Summary},
};

/// Runs the index holds, however they stand: the newest.
pub const INDEX_MAX: usize = 100_000;
/// Runs it holds besides, of each status for which [`rests`] says so: the newest. Some 600 bytes of Redis each.
pub const RESTING_MAX: usize = 1_000_000;
/// How a run may stand for weeks, until somebody comes.
const RESTING: [Status; 3] = [Status::Waiting, Status::Parked, Status::Paused];
/// Longest time that building the index may take.
const BUILD_TTL: Duration = Duration::from_secs(86_400);

static INDEX: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../lua/index.lua")));
static LIST: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../lua/list.lua")));
static BUILD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../lua/build.lua")));

/// A line's place in the index, which holds when newer runs arrive: its start and its run. Newer ones are greater.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    started_ms: i64,
    run: RunId,
}

impl Cursor {
    /// The place of a run's line.
    #[must_use]
    pub fn of(run: &Summary) -> Self {
        Self {
            started_ms: run.started_at.as_millisecond(),
            run: run.id.clone(),
        }
    }

    /// The place of all that had started by this millisecond: they come after it, newest first.
    #[must_use]
    pub fn by(at: Timestamp) -> Self {
        Self {
            started_ms: at.as_millisecond(),
            run: RunId::greatest(),
        }
    }

    /// Whether it is of a run that started in an earlier millisecond than this.
    #[must_use]
    pub fn is_before(&self, at: Timestamp) -> bool {
        self.started_ms < at.as_millisecond()
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.started_ms, self.run)
    }
}

/// Not a text that a [`Cursor`] was ever written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor; take it from `next` of the page before")]
pub struct CursorError;

impl FromStr for Cursor {
    type Err = CursorError;
    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (started_ms, run) = text.split_once('.').ok_or(CursorError)?;
        Ok(Self {
            started_ms: started_ms.parse().map_err(|_| CursorError)?,
            run: run.parse().map_err(|_| CursorError)?,
        })
    }
}

/// A line of the index.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its place.
    pub cursor: Cursor,
    /// The run; `None` when what is there cannot be read.
    pub summary: Option<Summary>,
}

/// A page of the index.
#[derive(Debug, Clone)]
pub struct Page {
    /// Newest first.
    pub lines: Vec<Line>,
    /// Whether there are older ones after the last line.
    pub more: bool,
    /// Whether the index has every run it should have: false from when Redis was emptied until it was built again.
    pub complete: bool,
}

/// A build of the index that has begun.
#[derive(Debug)]
pub struct IndexBuild {
    marker: String,
}

/// A line as the script gives it: id, start in ms, JSON.
type Row = (String, i64, Option<Vec<u8>>);

impl Store {
    /// Puts a run's line into the index, unless a newer one is there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn index(&self, summary: &Summary) -> Result<(), StoreError> {
        let line = serde_json::to_vec(summary).map_err(|source| StoreError::Unreadable {
            key: key::SUMMARIES.into(),
            source,
        })?;
        let mut script = INDEX.key(key::RUNS);
        script.key(key::SUMMARIES).key(key::COUNTS);
        for status in RESTING {
            script.key(key::resting(status));
        }
        let rests = RESTING.iter().position(|status| *status == summary.status);
        let _: u8 = script
            .arg(summary.started_at.as_millisecond())
            .arg(summary.id.as_str())
            .arg(line)
            .arg(INDEX_MAX)
            .arg(RESTING_MAX)
            .arg(rests.map_or(0, |at| at + 1))
            .invoke_async(&mut self.connection.clone())
            .await?;
        Ok(())
    }

    /// At most `count` lines, newest first, from the one after `after` on (`None`: from the newest). Where the wanted status is one
    /// that [`rests`], these are the lines of such runs; of any other one, lines of all runs.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list(
        &self,
        wanted: Option<Status>,
        after: Option<&Cursor>,
        count: usize,
    ) -> Result<Page, StoreError> {
        let set = match wanted.filter(|status| rests(*status)) {
            Some(status) => key::resting(status),
            None => key::RUNS.to_owned(),
        };
        let mut script = LIST.key(set);
        script.key(key::SUMMARIES).key(key::INDEX_READY);
        match after {
            Some(cursor) => script.arg(cursor.started_ms).arg(cursor.run.as_str()),
            None => script.arg("").arg(""),
        };
        let (complete, more, rows): (bool, bool, Vec<Row>) = script
            .arg(count)
            .invoke_async(&mut self.connection.clone())
            .await?;
        let lines = rows.into_iter().filter_map(line).collect();
        Ok(Page {
            lines,
            more,
            complete,
        })
    }

    /// The lines of these runs, in their order; `None` where there is none, or none that can be read.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn lines(&self, runs: &[RunId]) -> Result<Vec<Option<Summary>>, StoreError> {
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<&str> = runs.iter().map(RunId::as_str).collect();
        let mut connection = self.connection.clone();
        let texts: Vec<Option<Vec<u8>>> = connection.hmget(key::SUMMARIES, &ids).await?;
        let lines = texts.into_iter();
        let lines = lines.map(|text| serde_json::from_slice(&text?).ok());
        Ok(lines.collect())
    }

    /// How many runs stand in each of the ways of which [`rests`] says so.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn resting(&self) -> Result<Vec<(Status, u64)>, StoreError> {
        let mut pipe = redis::pipe();
        for status in RESTING {
            pipe.zcard(key::resting(status));
        }
        let counts: Vec<u64> = pipe.query_async(&mut self.connection.clone()).await?;
        Ok(RESTING.into_iter().zip(counts).collect())
    }

    /// How many lines of these tenants stand how; statuses that none has are not there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn counts(
        &self,
        of: impl Fn(&str) -> bool,
    ) -> Result<BTreeMap<Status, u64>, StoreError> {
        let mut connection = self.connection.clone();
        let counted: Vec<(String, u64)> = connection.hgetall(key::COUNTS).await?;
        let mut counts = BTreeMap::new();
        for (field, count) in counted {
            let stands = field.split_once(' ').filter(|(_, tenant)| of(tenant));
            if let Some(status) = stands.and_then(|(status, _)| status.parse().ok()) {
                *counts.entry(status).or_default() += count;
            }
        }
        Ok(counts)
    }

    /// The folded run as it was saved last, to look at: it may be older than the journal. `None` where there is none, or none
    /// that this version reads.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn peek(&self, run: &RunId) -> Result<Option<Run>, StoreError> {
        let mut connection = self.connection.clone();
        let state: Option<Vec<u8>> = connection.hget(key::state(run), "state").await?;
        Ok(state.and_then(|state| serde_json::from_slice(&state).ok()))
    }

    /// Whether the index has every run it should have.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn index_is_complete(&self) -> Result<bool, StoreError> {
        Ok(self.list(None, None, 0).await?.complete)
    }

    /// Begins to build the index: index every run of the journal, then say so by [`Store::index_is_built`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn build_index(&self) -> Result<IndexBuild, StoreError> {
        let marker = key::index_build(&format!("{:032x}", fastrand::u128(..)));
        let build = IndexBuild { marker };
        self.mark(&build, "begin").await?;
        Ok(build)
    }

    /// Notes that the index was built. `false`: Redis was emptied or restarted in between, build it again.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn index_is_built(&self, build: &IndexBuild) -> Result<bool, StoreError> {
        self.mark(build, "end").await
    }

    async fn mark(&self, build: &IndexBuild, what: &str) -> Result<bool, StoreError> {
        let mut script = BUILD.key(&build.marker);
        let script = script
            .key(key::INDEX_READY)
            .arg(what)
            .arg(millis(BUILD_TTL));
        Ok(script.invoke_async(&mut self.connection.clone()).await?)
    }
}

/// Whether runs of this status have a list of their own: those that rest are found however many newer runs there are.
#[must_use]
pub fn rests(status: Status) -> bool {
    RESTING.contains(&status)
}

/// An id that is none was put there by somebody else, and nobody can page from it.
fn line((id, started_ms, text): Row) -> Option<Line> {
    let run = id.parse().ok()?;
    Some(Line {
        cursor: Cursor { started_ms, run },
        summary: text.and_then(|text| serde_json::from_slice(&text).ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_nothing_else_is_one() -> Result<(), Box<dyn std::error::Error>> {
        let run = RunId::derive(&"w".parse()?, "s", "1");
        let cursor = Cursor {
            started_ms: 1_763_712_000_000,
            run,
        };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for bad in ["", "5", "nonsense", "5.run_x", ".run_"] {
            assert_eq!(bad.parse::<Cursor>(), Err(CursorError), "{bad}");
        }
        Ok(())
    }
}
