//! After a day's ceiling was raised or cleared: every run that it may have parked is told to look again, in the background and
//! with pauses.

use std::{collections::HashSet, sync::Arc, time::Duration};

use flotilla_common::{
    entry::{ParkedBy, Signalled},
    ids::RunId,
    io::{
        ceilings::{Payer, Whose},
        clock,
        journal::Journal,
        store::{RESTING_MAX, Store, StoreError},
    },
    run::{Status, Summary},
};
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Interval, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use crate::{
    index::Index,
    signal::{self, Signal},
};

/// Changes being followed up at once.
const CHANGES_MAX: usize = 64;
/// Time between two signals, of all changes together: 200 a second, a small part of what planners and the journal do.
const PACE: Duration = Duration::from_millis(5);
/// How long the first signal waits, so that planners have seen the new ceiling: else they park the run again by the old one.
const SEEN_WITHIN: Duration = Duration::from_secs(1);
/// When the index is looked at once more, for runs that were parked by the old ceiling while it changed.
const LATE_AFTER: Duration = Duration::from_secs(5);
/// How often what fails is tried, and the pause before each new try: together longer than a restart of NATS or Redis.
const TRIES_MAX: usize = 60;
const FAILED_PAUSE: Duration = Duration::from_secs(2);
/// How long a look waits for an index that is being built.
const BUILD_PATIENCE: Duration = Duration::from_secs(2);
/// How long the one who made the change waits to hear how many runs it is for.
const ANSWER_PATIENCE: Duration = Duration::from_secs(8);
/// Lines of the index asked for at once.
const LINES_AT_ONCE: usize = 500;

/// Tells parked runs to look again.
#[derive(Debug, Clone)]
pub(crate) struct Resumer {
    journal: Journal,
    store: Store,
    index: Index,
    tasks: TaskTracker,
    stop: CancellationToken,
    room: Arc<Semaphore>,
    pace: Arc<Mutex<Interval>>,
}

/// A change of a ceiling.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// Whose ceiling.
    pub(crate) whose: Whose,
    /// Which change: what the ids of the signals are made from.
    pub(crate) revision: u64,
    /// Who changed it.
    pub(crate) by: Option<String>,
    /// What the signals say.
    pub(crate) why: String,
}

/// A run that waits for a ceiling, and the decision to wait.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Waiting {
    run: RunId,
    parked: u64,
}

/// Runs that wait, as the index knows them.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    runs: Vec<Waiting>,
    /// False while the index is being built: there may be more.
    pub(crate) complete: bool,
}

impl Found {
    pub(crate) fn none() -> Self {
        Self {
            runs: Vec::new(),
            complete: true,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.runs.len()
    }
}

impl Resumer {
    pub(crate) fn new(
        journal: Journal,
        store: Store,
        index: Index,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            journal,
            store,
            index,
            tasks,
            stop,
            room: Arc::new(Semaphore::new(CHANGES_MAX)),
            pace: Arc::new(Mutex::new(pace)),
        }
    }

    /// Room for one more change; `None` when there are too many in work.
    pub(crate) fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_owned().ok()
    }

    /// Resumes the runs that wait for a ceiling of this workflow or tenant, in the background: those that wait now, and those that
    /// turn up a little later. Gives the first ones; `None` when Redis does not say in time, and they are looked for later.
    pub(crate) async fn resume(&self, room: OwnedSemaphorePermit, change: Change) -> Option<Found> {
        let (sender, found) = oneshot::channel();
        let resumer = self.clone();
        // A task of its own from the beginning: a client that is gone must not keep runs from being told.
        self.tasks.spawn(async move {
            let work = Box::pin(resumer.follow_up(&change, sender));
            if resumer.stop.run_until_cancelled(work).await.is_none() {
                let (payer, name) = &change.whose;
                warn!(%payer, %name, "stopped before every run was told of its new ceiling; the same change again tells the rest");
            }
            drop(room);
        });
        timeout(ANSWER_PATIENCE, found).await.ok()?.ok()
    }

    async fn follow_up(&self, change: &Change, answer: oneshot::Sender<Found>) {
        let mut told = HashSet::new();
        match self.waiting(&change.whose).await {
            Ok(found) => {
                told.extend(found.runs.iter().cloned());
                // Nobody waits for the answer any more: that is no reason to stop.
                drop(answer.send(found.clone()));
                sleep(SEEN_WITHIN).await;
                self.tell(change, &found.runs).await;
            }
            Err(problem) => {
                drop(answer);
                warn!(%problem, "the runs that wait for a ceiling are looked for later");
            }
        }
        sleep(LATE_AFTER).await;
        for _ in 0..TRIES_MAX {
            match self.waiting(&change.whose).await {
                Ok(mut found) if found.complete => {
                    found.runs.retain(|run| !told.contains(run));
                    self.tell(change, &found.runs).await;
                    return;
                }
                Ok(_) | Err(_) => sleep(FAILED_PAUSE).await,
            }
        }
        let (payer, name) = &change.whose;
        error!(%payer, %name, "the index of runs was not to be had: runs that wait for this ceiling may not have been resumed; the same change again does it");
    }

    /// The index does not know whether a run waits for this ceiling or for one of its own; one that looks in vain parks again.
    async fn waiting(&self, whose: &Whose) -> Result<Found, StoreError> {
        let found = waiting(&self.store, whose).await?;
        if found.complete {
            return Ok(found);
        }
        self.index.wait_built(BUILD_PATIENCE).await;
        waiting(&self.store, whose).await
    }

    async fn tell(&self, change: &Change, runs: &[Waiting]) {
        let mut told = 0_usize;
        for waiting in runs {
            self.pace.lock().await.tick().await;
            told += usize::from(self.signal(change, waiting).await);
        }
        if !runs.is_empty() {
            let (payer, name) = &change.whose;
            info!(%payer, %name, told, of = runs.len(), "told runs that their ceiling changed");
        }
    }

    /// Whether the run was told.
    async fn signal(&self, change: &Change, waiting: &Waiting) -> bool {
        let mut problem = String::new();
        for _ in 0..TRIES_MAX {
            let signalled = Signalled {
                // The same change for the same wait is the same signal, whoever repeats it.
                id: format!("ceiling.{}.{}", change.revision, waiting.parked),
                by: change.by.clone(),
                reason: Some(change.why.clone()),
                ..Signalled::default()
            };
            let at = clock::now();
            match signal::write(&self.journal, &waiting.run, Signal::Resume, signalled, at).await {
                Ok(_) => return true,
                Err(failed) => problem = failed.detail,
            }
            sleep(FAILED_PAUSE).await;
        }
        error!(run = %waiting.run, problem, "cannot be told that its ceiling changed");
        false
    }
}

async fn waiting(store: &Store, whose: &Whose) -> Result<Found, StoreError> {
    let mut found = Found::none();
    let mut after = None;
    // New runs that come in meanwhile are before the first page: the index can be no longer than this.
    for _ in 0..=RESTING_MAX / LINES_AT_ONCE {
        let parked = store.list(Some(Status::Parked), after.as_ref(), LINES_AT_ONCE);
        let page = parked.await?;
        found.complete &= page.complete;
        let more = page.more;
        for line in page.lines {
            if let Some(run) = line.summary.filter(|run| waits(run, whose)) {
                found.runs.push(Waiting {
                    run: run.id,
                    parked: run.chain,
                });
            }
            after = Some(line.cursor);
        }
        if !more {
            break;
        }
    }
    Ok(found)
}

fn waits(run: &Summary, (payer, name): &Whose) -> bool {
    let its = match payer {
        Payer::Workflow => run.workflow == *name,
        Payer::Tenant => run.tenant == name.as_str(),
    };
    its && run.status == Status::Parked && run.parked_by == Some(ParkedBy::Ceiling)
}
