//! Keeps the index of runs complete: when Redis was emptied or restarted, it is built from the journal again, in the background
//! and with pauses. Several gateways may do it at once: a newer line is never replaced by an older one.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use flotilla_common::{
    entry::{Address, Kind},
    ids::RunId,
    io::{
        journal::{Journal, JournalError},
        store::{INDEX_MAX, Store, StoreError},
    },
    names::subject,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::history;

/// How often somebody looks whether the index is still there.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Pause after a build that failed.
const FAILED_PAUSE: Duration = Duration::from_secs(2);
/// Runs folded between two pauses, each as long as the work was: at most half of one core.
const RUNS_PER_ROUND: usize = 100;
/// Histories read at once.
const READS_AT_ONCE: usize = 4;

/// Builds the index when it is not there.
#[derive(Debug)]
pub(crate) struct Keeper {
    journal: Journal,
    store: Store,
    nudge: Arc<Notify>,
    built: watch::Sender<u64>,
}

/// A view of the keeper's work, for those who read the index.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    nudge: Arc<Notify>,
    built: watch::Receiver<u64>,
}

/// What stopped a build.
#[derive(Debug, thiserror::Error)]
enum BuildError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("Redis was emptied or restarted in the meantime")]
    Emptied,
}

impl Index {
    /// Asks for a build, and whether one ended within this time.
    pub(crate) async fn built_within(&self, patience: Duration) -> bool {
        let mut built = self.built.clone();
        built.mark_unchanged();
        self.nudge.notify_one();
        timeout(patience, built.changed())
            .await
            .is_ok_and(|changed| changed.is_ok())
    }
}

impl Keeper {
    pub(crate) fn new(journal: Journal, store: Store) -> (Self, Index) {
        let nudge = Arc::new(Notify::new());
        let (built, receiver) = watch::channel(0);
        let index = Index {
            nudge: Arc::clone(&nudge),
            built: receiver,
        };
        let keeper = Self {
            journal,
            store,
            nudge,
            built,
        };
        (keeper, index)
    }

    /// Looks and builds until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&self) {
        let mut well = true;
        loop {
            match self.look().await {
                Ok(()) => {
                    well = true;
                    tokio::select! {
                        () = self.nudge.notified() => {}
                        () = sleep(LOOK_EVERY) => {}
                    }
                }
                Err(problem) => {
                    if well {
                        warn!(%problem, "the index of runs cannot be built; trying on");
                    }
                    well = false;
                    // Not woken by readers: they would make it a busy loop.
                    sleep(FAILED_PAUSE).await;
                }
            }
        }
    }

    async fn look(&self) -> Result<(), BuildError> {
        if !self.store.index_is_complete().await? {
            self.build().await?;
            self.built.send_modify(|builds| *builds += 1);
        }
        Ok(())
    }

    /// Newest runs first: they are what people look for.
    async fn build(&self) -> Result<(), BuildError> {
        let began = Instant::now();
        let build = self.store.build_index().await?;
        let runs = self.newest().await?;
        let mut left_out = 0_usize;
        for round in runs.chunks(RUNS_PER_ROUND) {
            let round_began = Instant::now();
            let indexed: Vec<bool> = stream::iter(round.to_vec())
                .map(|run| self.index(run))
                .buffer_unordered(READS_AT_ONCE)
                .try_collect()
                .await?;
            left_out += indexed.iter().filter(|indexed| !**indexed).count();
            if runs.len() > RUNS_PER_ROUND {
                sleep(round_began.elapsed()).await;
            }
        }
        if !self.store.index_is_built(&build).await? {
            return Err(BuildError::Emptied);
        }
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        info!(
            runs = runs.len(),
            left_out, took_ms, "built the index of runs from the journal"
        );
        Ok(())
    }

    /// The newest runs, as many as the index holds, newest first. Only their ids are kept in memory.
    async fn newest(&self) -> Result<Vec<RunId>, JournalError> {
        let mut runs = VecDeque::new();
        let mut next = Some(1);
        while let Some(from) = next {
            let page = self
                .journal
                .raw_page(&subject::every(Kind::Started), from)
                .await?;
            for message in page.messages {
                if let Ok(Some(address)) = Address::parse(&message.subject) {
                    if runs.len() == INDEX_MAX {
                        runs.pop_front();
                    }
                    runs.push_back(address.run);
                }
            }
            next = page.next;
        }
        Ok(runs.into_iter().rev().collect())
    }

    /// Folds one run into its line. `false`: its journal is broken, or gone meanwhile, and there is no line of it.
    async fn index(&self, run: RunId) -> Result<bool, BuildError> {
        let messages = match self.journal.raw(&subject::run(&run), 1).await {
            Ok(messages) => messages,
            Err(JournalError::TooLong { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        match history::fold(&run, &messages) {
            Ok((_, summary)) => {
                self.store.index(&summary).await?;
                Ok(true)
            }
            Err(problem) => {
                warn!(%run, problem, "a run is left out of the index");
                Ok(false)
            }
        }
    }
}
