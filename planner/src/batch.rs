//! Steps that batches answer: half the price, later. Items of many runs are collected for a moment and created as one batch; their
//! runs are parked, and look again now and then. No slot of a planner is held meanwhile.
//!
//! Order of writes: claim -> money held -> **intent in the claim** -> create the batch -> its id in the claim of each item -> park on
//! the journal, with the id -> … -> the reply in the claim -> decide. The API has no idempotency key, so whoever finds an intent
//! without an id must not send again before it knows: it lists the batches of that time and looks into the results of those that
//! nobody knows ([`find`]). Where Redis was emptied, the journal's last park or the same search takes the claim's place.

mod collect;
mod find;
mod money;
mod shelf;
mod step;
mod taken;
mod way;

use std::{sync::Arc, time::Duration};

use flotilla_common::io::{batches::Slips, store::Store};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{caller::Breakers, claude::Claude};
use collect::{Collector, Order};
use find::Finder;
use shelf::Shelf;

/// Items that wait to be collected: more wait in their planners' hands.
const QUEUE_MAX: usize = 1_024;

/// How batches are made and looked at.
#[derive(Debug, Clone)]
pub struct BatchConfig {
    /// How long items are collected before they are sent as one batch.
    pub linger: Duration,
    /// Items of one batch, at most; the provider takes 100,000.
    pub items_max: usize,
    /// Size of one batch, in bytes, at most; the provider takes 256 MB.
    pub bytes_max: usize,
    /// How long the creation of a batch may take. What died in it is sent again after twice that, if it is in no batch by then.
    pub create_timeout: Duration,
    /// The pause before the first look at a batch; later ones are longer.
    pub first_look: Duration,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            linger: Duration::from_secs(2),
            items_max: 1_000,
            bytes_max: 32 << 20,
            create_timeout: Duration::from_secs(120),
            first_look: Duration::from_secs(5),
        }
    }
}

/// The batches of this process.
pub(crate) struct Batches {
    slips: Slips,
    shelf: Arc<Shelf>,
    finder: Finder,
    orders: mpsc::Sender<Order>,
    config: BatchConfig,
}

/// What collects items, until it is told to stop.
pub(crate) struct Collecting(JoinHandle<()>);

impl Batches {
    /// Begins to collect, until `stop`.
    pub(crate) fn begin(
        claude: Arc<Claude>,
        breakers: Arc<Breakers>,
        store: &Store,
        worker: String,
        config: BatchConfig,
        stop: CancellationToken,
    ) -> (Self, Collecting) {
        let slips = Slips::new(store.clone());
        let (orders, queue) = mpsc::channel(QUEUE_MAX);
        let collector = Collector::new(
            Arc::clone(&claude),
            breakers,
            slips.clone(),
            worker,
            config.clone(),
        );
        let collecting = tokio::spawn(collector.run(queue, stop));
        let shelf = Arc::new(Shelf::new(Arc::clone(&claude)));
        let batches = Self {
            finder: Finder::new(claude, slips.clone(), Arc::clone(&shelf)),
            slips,
            shelf,
            orders,
            config,
        };
        (batches, Collecting(collecting))
    }
}

impl Collecting {
    /// Waits for creations in flight, but not for long: what is cut off is found again by whoever comes next.
    pub(crate) async fn finish(self, grace: Duration) {
        if timeout(grace, self.0).await.is_err() {
            warn!("a batch is being created still; whoever goes on with its runs looks for it");
        }
    }
}
