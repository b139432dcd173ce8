//! A view of the definitions that is kept current by a watch.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::kv::{Entry, Watch};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Definitions, Unreachable, next, patiently, value, view::View, written};
use crate::{
    claude::Models,
    definition::{Catalogue, Workflow},
    entry::Pin,
    ids::{Name, RunId},
};

/// Pause after a watch that failed.
const FAILED_PAUSE: Duration = Duration::from_secs(1);
/// A watch that says nothing for so long is begun anew, after what is known: it bounds how long a lost one could keep an old view.
const ANEW_AFTER: Duration = Duration::from_secs(60);
/// How long the last of several changes is waited for, where the server says that there are more.
const MORE_WITHIN: Duration = Duration::from_millis(200);
/// How long a run waits for the version that it is pinned to: whoever started it has seen it, and the watch here is behind.
const BEHIND_MAX: Duration = Duration::from_secs(3);

/// The definitions as they are now. Clones share one view.
#[derive(Debug, Clone)]
pub struct Live {
    known: watch::Receiver<Arc<Catalogue>>,
    /// Of a view that nobody changes.
    _fixed: Option<Arc<watch::Sender<Arc<Catalogue>>>>,
}

impl From<Arc<Catalogue>> for Live {
    /// Definitions that do not change.
    fn from(catalogue: Arc<Catalogue>) -> Self {
        let (sender, known) = watch::channel(catalogue);
        Self {
            known,
            _fixed: Some(Arc::new(sender)),
        }
    }
}

impl Live {
    /// The definitions as they are known now. While NATS is away, what was known holds.
    #[must_use]
    pub fn current(&self) -> Arc<Catalogue> {
        Arc::clone(&self.known.borrow())
    }

    /// Waits for definitions that this handle has not given yet; for ever when nobody keeps them current any more.
    pub async fn changed(&mut self) -> Arc<Catalogue> {
        match self.known.changed().await {
            Ok(()) => Arc::clone(&self.known.borrow_and_update()),
            Err(_) => std::future::pending().await,
        }
    }

    /// Exactly the version that a run is pinned to, for which it waits a moment where it is not here yet.
    pub async fn pinned(&self, pin: &Pin) -> Option<Arc<Workflow>> {
        self.soon(|catalogue| catalogue.pinned(pin).cloned()).await
    }

    /// The version that this run of a workflow gets, for which it waits a moment where none is active yet.
    pub async fn picked(&self, name: &Name, run: &RunId) -> Option<Arc<Workflow>> {
        self.soon(|catalogue| catalogue.pick(name, run).cloned())
            .await
    }

    /// What is found in the definitions, now or in a moment.
    async fn soon<T>(&self, find: impl Fn(&Catalogue) -> Option<T>) -> Option<T> {
        let mut known = self.known.clone();
        let found = known.wait_for(|catalogue| find(catalogue).is_some());
        match timeout(BEHIND_MAX, found).await {
            Ok(Ok(catalogue)) => find(&catalogue),
            Ok(Err(_)) | Err(_) => None,
        }
    }
}

impl Definitions {
    /// All that there is now.
    ///
    /// # Errors
    /// [`Unreachable`]: NATS does not give it in time.
    pub async fn known(&self, models: Arc<Models>) -> Result<Arc<Catalogue>, Unreachable> {
        let mut view = View::new(models);
        let take = |entry: &Entry| view.take(&entry.key, value(entry), written(entry));
        Box::pin(self.load(take)).await?;
        Ok(view.catalogue())
    }

    /// A view that is kept current until `stop`. It begins with all that there is.
    ///
    /// # Errors
    /// [`Unreachable`]: NATS does not give it in time.
    pub async fn follow(
        &self,
        models: Arc<Models>,
        stop: CancellationToken,
    ) -> Result<Live, Unreachable> {
        let mut view = View::new(Arc::clone(&models));
        let take = |entry: &Entry| view.take(&entry.key, value(entry), written(entry));
        let (changes, revision) = Box::pin(self.load(take)).await?;
        let catalogue = view.catalogue();
        let (workflows, versions) = (catalogue.active().count(), catalogue.versions().count());
        if workflows == 0 {
            warn!("no workflow is active, so nothing starts; `flotilla apply` brings definitions");
        } else {
            info!(workflows, versions, "the definitions are known");
        }
        let (sender, known) = watch::channel(catalogue);
        let follower = Follower {
            definitions: self.clone(),
            models,
            view,
            revision,
            sender,
        };
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = Box::pin(follower.follow(changes)) => {}
            }
        });
        Ok(Live {
            known,
            _fixed: None,
        })
    }
}

/// Keeps a view current.
struct Follower {
    definitions: Definitions,
    models: Arc<Models>,
    view: View,
    /// Up to this sequence of the bucket, the view has everything.
    revision: u64,
    sender: watch::Sender<Arc<Catalogue>>,
}

impl Follower {
    async fn follow(mut self, changes: Watch) {
        let mut ended = self.keep_current(changes).await;
        let mut well = true;
        loop {
            if let Err(problem) = ended {
                if well {
                    warn!(%problem, "the definitions are not watched; what was known holds, and trying on");
                }
                well = false;
                sleep(FAILED_PAUSE).await;
            }
            ended = match self.watch_on().await {
                Ok(changes) => {
                    if !well {
                        info!("the definitions are watched again");
                    }
                    well = true;
                    self.keep_current(changes).await
                }
                Err(problem) => Err(problem),
            };
        }
    }

    /// What comes after what is known; all of it, where the bucket is another one.
    async fn watch_on(&mut self) -> Result<Watch, Unreachable> {
        let store = &self.definitions.store;
        let last = patiently(store.stream.get_info())
            .await?
            .state
            .last_sequence;
        if last >= self.revision {
            let changes = store.watch_all_from_revision(self.revision + 1);
            return Ok(patiently(changes).await?);
        }
        warn!("the bucket of definitions was made anew; reading it from its beginning");
        let mut view = View::new(Arc::clone(&self.models));
        let take = |entry: &Entry| view.take(&entry.key, value(entry), written(entry));
        let (changes, revision) = Box::pin(self.definitions.load(take)).await?;
        (self.view, self.revision) = (view, revision);
        self.tell();
        Ok(changes)
    }

    /// Follows the changes until there are none for a while. Those that were made together are told together.
    async fn keep_current(&mut self, mut changes: Watch) -> Result<(), Unreachable> {
        let mut untold: Option<Instant> = None;
        loop {
            let until = untold.unwrap_or_else(|| Instant::now() + ANEW_AFTER);
            match timeout_at(until, next(&mut changes)).await {
                Ok(entry) => {
                    let entry = entry?;
                    debug!(key = entry.key, revision = entry.revision, "a definition");
                    self.view.take(&entry.key, value(&entry), written(&entry));
                    self.revision = entry.revision;
                    untold = (entry.delta > 0)
                        .then(|| untold.unwrap_or_else(|| Instant::now() + MORE_WITHIN));
                }
                Err(_) if untold.is_none() => return Ok(()),
                Err(_) => untold = None,
            }
            if untold.is_none() {
                self.tell();
            }
        }
    }

    fn tell(&self) {
        self.sender.send_replace(self.view.catalogue());
    }
}
