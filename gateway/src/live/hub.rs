//! Who watches what by this gateway.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flotilla_common::{
    ids::RunId,
    io::{
        http::Problem,
        journal::{Journal, Raw},
        store::Store,
        telemetry::metric,
    },
};
use tokio::{
    sync::{
        Notify, OwnedSemaphorePermit, Semaphore, broadcast,
        mpsc::{self, error::TrySendError},
        watch,
    },
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    changes::{self, Changes, Pending},
    feed,
    seen::{self, Seen},
    watching::{ChangesWatch, Watching},
};
use crate::problem::unavailable;

/// What waits for one watcher: entries of its run, or lines that changed. Who is so far behind looks again.
const WAITING_MAX: usize = 64;
/// Journals being read at once for those who begin to watch.
const READS_MAX: usize = 16;
/// How long a watcher waits until the journal is followed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The hub. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Hub(pub(super) Arc<Shared>);

/// What watchers, the feed and the looks into the index share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) journal: Journal,
    pub(super) store: Store,
    pub(super) stop: CancellationToken,
    pub(super) reads: Semaphore,
    /// Whether every entry that is written from now on reaches its watchers.
    pub(super) follows: watch::Sender<bool>,
    /// Somebody came.
    pub(super) came: Notify,
    pub(super) changes: broadcast::Sender<Arc<Changes>>,
    room: Arc<Semaphore>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Who watches a run.
    runs: HashMap<RunId, Vec<Watcher>>,
    /// Watchers of runs so far, gone ones too: the next one's id.
    ids: u64,
    /// Watchers, of runs and of lists.
    watchers: usize,
    lists: usize,
    pending: Pending,
}

#[derive(Debug)]
struct Watcher {
    id: u64,
    out: mpsc::Sender<Arc<Seen>>,
}

/// A watcher's place, which is free again when it goes.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) shared: Arc<Shared>,
    /// `None`: it watches the list.
    run: Option<(RunId, u64)>,
    _room: OwnedSemaphorePermit,
}

impl Hub {
    /// A hub for so many watchers at once. Its work is done among `tasks`, until `stop`.
    pub(crate) fn new(
        journal: Journal,
        store: Store,
        watchers_max: usize,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let shared = Arc::new(Shared {
            journal,
            store,
            stop,
            reads: Semaphore::new(READS_MAX),
            follows: watch::Sender::new(false),
            came: Notify::new(),
            changes: broadcast::Sender::new(WAITING_MAX),
            room: Arc::new(Semaphore::new(watchers_max.min(Semaphore::MAX_PERMITS))),
            inner: Mutex::default(),
        });
        tasks.spawn(feed::keep(Arc::clone(&shared)));
        tasks.spawn(changes::keep(Arc::clone(&shared)));
        Self(shared)
    }

    /// Watches a run: its entries after a sequence, those that are there first.
    ///
    /// # Errors
    /// A 404 where there is no such run; a 503 where there are too many watchers, or NATS is away.
    pub(crate) async fn run(&self, run: &RunId, after: u64) -> Result<Watching, Problem> {
        let (place, live) = self.0.enter_run(run)?;
        self.0.wait_until_followed().await?;
        Watching::open(place, live, run.clone(), after).await
    }

    /// Watches all runs: the lines that changed.
    ///
    /// # Errors
    /// A 503 where there are too many watchers, or NATS is away.
    pub(crate) async fn changes(&self) -> Result<ChangesWatch, Problem> {
        let place = self.0.enter_list()?;
        let lines = self.0.changes.subscribe();
        self.0.wait_until_followed().await?;
        Ok(ChangesWatch::new(place, lines))
    }
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing in there is ever half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn room(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let room = Arc::clone(&self.room).try_acquire_owned();
        room.map_err(|_| unavailable("as many as may watch by this gateway do so; try again later"))
    }

    fn enter_run(
        self: &Arc<Self>,
        run: &RunId,
    ) -> Result<(Place, mpsc::Receiver<Arc<Seen>>), Problem> {
        let room = self.room()?;
        let (out, live) = mpsc::channel(WAITING_MAX);
        let mut inner = self.inner();
        inner.watchers += 1;
        inner.ids += 1;
        let id = inner.ids;
        let watchers = inner.runs.entry(run.clone()).or_default();
        watchers.push(Watcher { id, out });
        drop(inner);
        self.came.notify_one();
        metrics::gauge!(metric::WATCHERS, "kind" => "run").increment(1);
        let place = Place {
            shared: Arc::clone(self),
            run: Some((run.clone(), id)),
            _room: room,
        };
        Ok((place, live))
    }

    fn enter_list(self: &Arc<Self>) -> Result<Place, Problem> {
        let room = self.room()?;
        let mut inner = self.inner();
        inner.watchers += 1;
        inner.lists += 1;
        drop(inner);
        self.came.notify_one();
        metrics::gauge!(metric::WATCHERS, "kind" => "list").increment(1);
        Ok(Place {
            shared: Arc::clone(self),
            run: None,
            _room: room,
        })
    }

    /// From now on, nothing that is written passes a watcher that has its place.
    async fn wait_until_followed(&self) -> Result<(), Problem> {
        let mut follows = self.follows.subscribe();
        let followed = follows.wait_for(|follows| *follows);
        match timeout(PATIENCE, followed).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(unavailable("NATS does not answer in time; try again")),
        }
    }

    /// Whether there is anybody.
    pub(super) fn is_watched(&self) -> bool {
        self.inner().watchers > 0
    }

    /// Stops following unless somebody is there. Who comes later waits until the journal is followed again.
    pub(super) fn rest(&self) -> bool {
        let inner = self.inner();
        let rests = inner.watchers == 0;
        if rests {
            self.follows.send_replace(false);
        }
        rests
    }

    /// Gives a message to all who watch its run.
    pub(super) fn give(&self, raw: Raw) {
        let Some(run) = seen::run_of(&raw.subject) else {
            return;
        };
        let mut inner = self.inner();
        let is_listed = inner.lists > 0;
        let is_watched = inner.runs.contains_key(&run);
        if !is_listed && !is_watched {
            return;
        }
        let Some(seen) = Seen::new(raw).map(Arc::new) else {
            return;
        };
        if is_listed {
            inner.pending.changed(&run, &seen);
        }
        if let Some(watchers) = inner.runs.get_mut(&run) {
            watchers.retain(|watcher| watcher.take(&seen));
        }
    }

    /// What is to be looked up of the index.
    pub(super) fn pending<T>(&self, work: impl FnOnce(&mut Pending) -> T) -> T {
        work(&mut self.inner().pending)
    }
}

impl Watcher {
    /// Whether it stays.
    fn take(&self, seen: &Arc<Seen>) -> bool {
        match self.out.try_send(Arc::clone(seen)) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                metrics::counter!(metric::WATCHERS_LAGGED, "kind" => "run").increment(1);
                false
            }
            Err(TrySendError::Closed(_)) => false,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.shared.inner();
        inner.watchers -= 1;
        let kind = match &self.run {
            None => {
                inner.lists -= 1;
                if inner.lists == 0 {
                    inner.pending = Pending::default();
                }
                "list"
            }
            Some((run, id)) => {
                if let Some(watchers) = inner.runs.get_mut(run) {
                    watchers.retain(|watcher| watcher.id != *id);
                    if watchers.is_empty() {
                        inner.runs.remove(run);
                    }
                }
                "run"
            }
        };
        drop(inner);
        metrics::gauge!(metric::WATCHERS, "kind" => kind).decrement(1);
    }
}
