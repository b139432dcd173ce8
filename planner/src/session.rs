//! A run's state while it is worked on: loaded from Redis, or folded from the journal when Redis has none or an old one.

use flotilla_common::{
    entry::{Body, Entry},
    ids::RunId,
    io::{
        journal::{Journal, JournalError},
        store::{Store, StoreError},
        telemetry::metric,
    },
    run::{FoldError, Run},
};
use metrics::counter;

/// Why a run cannot be worked on now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// NATS.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Redis.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal does not fit together.
    #[error(transparent)]
    Fold(#[from] FoldError),
}

/// A run in work.
#[derive(Debug)]
pub(crate) struct Session {
    /// The state.
    pub(crate) run: Run,
    /// The version that Redis had: what a save compares with.
    loaded: u64,
}

impl Session {
    /// The state with `entry` folded in. A redelivered entry may have been worked on by a planner that died before it saved:
    /// then only the journal knows.
    pub(crate) async fn open(
        journal: &Journal,
        store: &Store,
        entry: &Entry,
        redelivered: bool,
    ) -> Result<Self, SessionError> {
        let id = &entry.address.run;
        if redelivered {
            return Self::rebuild(journal, store, id, "redelivered").await;
        }
        let mut run = match store.load(id).await? {
            Some(run) => run,
            None if matches!(entry.body, Body::Started(_)) => Run::new(id.clone()),
            None => return Self::rebuild(journal, store, id, "missing").await,
        };
        let loaded = run.version;
        match run.fold(entry) {
            Ok(_) => Ok(Self { run, loaded }),
            Err(_) => Self::rebuild(journal, store, id, "stale").await,
        }
    }

    /// The state from the journal alone.
    pub(crate) async fn rebuild(
        journal: &Journal,
        store: &Store,
        id: &RunId,
        reason: &'static str,
    ) -> Result<Self, SessionError> {
        counter!(metric::REBUILDS, "reason" => reason).increment(1);
        // The version first: whoever saves after this look makes our save fail, not the other way round.
        let loaded = store.version(id).await?;
        let run = Run::rebuild(id, journal.read(id).await?)?;
        Ok(Self { run, loaded })
    }

    /// Saves the state. `false`: another planner saved in between.
    pub(crate) async fn save(&mut self, store: &Store) -> Result<bool, StoreError> {
        if self.loaded == self.run.version {
            return Ok(true);
        }
        let saved = store.save(&self.run, self.loaded).await?;
        if saved {
            self.loaded = self.run.version;
        }
        Ok(saved)
    }
}
