//! Keeps the index of runs complete: when Redis was emptied or restarted, it is built from the journal again, in the background
//! and with pauses. Several gateways may do it at once: a newer line is never replaced by an older one.
//!
//! The journal is read once in its order rather than run by run: a run's own history costs nats-server 2 ms (it looks through a
//! block of the stream), so 100,000 of them would cost minutes.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use flotilla_common::{
    entry::{Address, Entry, Kind},
    io::{
        journal::{Journal, JournalError, Raw},
        store::{RESTING_MAX, Store, StoreError},
    },
    names::subject,
    run::Summary,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::tally::Tally;

/// How often somebody looks whether the index is still there.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Pause after a build that failed.
const FAILED_PAUSE: Duration = Duration::from_secs(2);
/// Entries read between two pauses, each as long as the work was: at most half of one core.
const ENTRIES_PER_ROUND: usize = 1_000;
/// Lines on their way to Redis at once.
const WRITES_AT_ONCE: usize = 32;

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
    /// Asks for a build, and waits for one to end, but no longer than this.
    pub(crate) async fn wait_built(&self, patience: Duration) {
        let mut built = self.built.clone();
        built.mark_unchanged();
        self.nudge.notify_one();
        // Late, or the keeper has ended: the reader says that the list is not complete.
        drop(timeout(patience, built.changed()).await);
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

    async fn build(&self) -> Result<(), BuildError> {
        let began = Instant::now();
        let build = self.store.build_index().await?;
        let mut feeds = [Kind::Started, Kind::Decided, Kind::Signalled].map(Feed::new);
        let mut tally = Tally::new(RESTING_MAX);
        let (mut runs, mut unreadable) = (0, 0);
        loop {
            let round_began = Instant::now();
            let mut ended = Vec::new();
            let mut entries = 0;
            while let Some(message) = next(&mut feeds, &self.journal).await? {
                entries += 1;
                match decode(&message) {
                    Some(entry) => ended.extend(tally.take(entry)),
                    None => unreadable += 1,
                }
                if entries == ENTRIES_PER_ROUND {
                    break;
                }
            }
            runs += self.write(ended).await?;
            if entries < ENTRIES_PER_ROUND {
                break;
            }
            sleep(round_began.elapsed()).await;
        }
        runs += self.write(tally.rest().collect()).await?;
        if !self.store.index_is_built(&build).await? {
            return Err(BuildError::Emptied);
        }
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        info!(
            runs,
            unreadable, took_ms, "built the index of runs from the journal"
        );
        Ok(())
    }

    async fn write(&self, lines: Vec<Summary>) -> Result<usize, StoreError> {
        let count = lines.len();
        stream::iter(lines)
            .map(|line| async move { self.store.index(&line).await })
            .buffer_unordered(WRITES_AT_ONCE)
            .try_collect::<()>()
            .await?;
        Ok(count)
    }
}

/// An entry; what cannot be read has no part in any line.
fn decode(message: &Raw) -> Option<Entry> {
    let address = Address::parse(&message.subject).ok().flatten();
    let entry =
        address.and_then(|address| Entry::decode(message.seq, address, &message.payload).ok());
    if entry.is_none() {
        debug!(
            subject = message.subject,
            seq = message.seq,
            "not readable; left out of the index"
        );
    }
    entry
}

/// All entries of one kind, in order, a page at a time.
#[derive(Debug)]
struct Feed {
    subjects: String,
    page: VecDeque<Raw>,
    next: Option<u64>,
}

impl Feed {
    fn new(kind: Kind) -> Self {
        Self {
            subjects: subject::every(kind),
            page: VecDeque::new(),
            next: Some(1),
        }
    }

    /// The sequence of its next entry; `None` at the end.
    async fn peek(&mut self, journal: &Journal) -> Result<Option<u64>, JournalError> {
        if self.page.is_empty()
            && let Some(from) = self.next
        {
            let page = journal.raw_page(&self.subjects, from).await?;
            self.page = page.messages.into();
            self.next = page.next;
        }
        Ok(self.page.front().map(|message| message.seq))
    }
}

/// The next entry of all feeds, in the journal's order.
async fn next(feeds: &mut [Feed], journal: &Journal) -> Result<Option<Raw>, JournalError> {
    let mut first: Option<(u64, usize)> = None;
    for (index, feed) in feeds.iter_mut().enumerate() {
        if let Some(seq) = feed.peek(journal).await? {
            first = Some(first.map_or((seq, index), |first| first.min((seq, index))));
        }
    }
    Ok(first.and_then(|(_, index)| feeds.get_mut(index)?.page.pop_front()))
}
