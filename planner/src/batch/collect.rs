//! Collects items of many runs for a moment and creates one batch of them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use flotilla_common::{
    breaker,
    claude::{Batch, Model, batch_body},
    entry::Item,
    io::{batches::Slips, clock, killpoint, store::Lease, telemetry::metric},
};
use jiff::SignedDuration;
use metrics::counter;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::{Instant, sleep, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use super::BatchConfig;
use crate::{
    caller::{Breakers, judged},
    claude::{CallError, Claude},
};

/// Batches that are created at once.
const CREATIONS_MAX: usize = 4;
/// Tries to write down which batch has an item.
const SAVES_MAX: u32 = 3;

/// An item to be sent.
pub(super) struct Order {
    /// Its claim.
    pub(super) lease: Lease,
    /// The item; when it is sent is filled in here.
    pub(super) item: Item,
    /// Whom it asks.
    pub(super) model: Model,
    /// Its request, as JSON.
    pub(super) params: Vec<u8>,
    /// Where what became of it is told; dropped, nothing was sent.
    pub(super) sent: oneshot::Sender<Sent>,
}

/// What became of an item.
pub(super) enum Sent {
    /// It is in this batch.
    In(Item, Batch),
    /// Nobody knows whether it is in one.
    Unknown(Item, String),
    /// It certainly is in none.
    Refused(Box<CallError>),
    /// Its claim is somebody else's by now.
    Lost,
}

/// Creates batches.
pub(super) struct Collector {
    claude: Arc<Claude>,
    breakers: Arc<Breakers>,
    slips: Slips,
    worker: String,
    config: BatchConfig,
}

impl Collector {
    pub(super) fn new(
        claude: Arc<Claude>,
        breakers: Arc<Breakers>,
        slips: Slips,
        worker: String,
        config: BatchConfig,
    ) -> Self {
        Self {
            claude,
            breakers,
            slips,
            worker,
            config,
        }
    }

    /// Until `stop`; what is not sent by then is dropped, and so handed back. Creations in flight are waited for.
    pub(super) async fn run(self, mut queue: mpsc::Receiver<Order>, stop: CancellationToken) {
        let collector = Arc::new(self);
        let room = Arc::new(Semaphore::new(CREATIONS_MAX));
        let tasks = TaskTracker::new();
        let mut next: Option<Order> = None;
        while let Some((orders, over)) = collector.gather(next.take(), &mut queue, &stop).await {
            next = over;
            let permit = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                permit = Arc::clone(&room).acquire_owned() => permit,
            };
            let Ok(permit) = permit else { break };
            let collector = Arc::clone(&collector);
            tasks.spawn(async move {
                collector.send(orders).await;
                drop(permit);
            });
        }
        drop((next, queue));
        tasks.close();
        tasks.wait().await;
    }

    /// Items for one batch, and one that had no room in it any more. `None`: it is time to stop.
    async fn gather(
        &self,
        first: Option<Order>,
        queue: &mut mpsc::Receiver<Order>,
        stop: &CancellationToken,
    ) -> Option<(Vec<Order>, Option<Order>)> {
        let first = match first {
            Some(first) => first,
            None => tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                first = queue.recv() => first?,
            },
        };
        let until = Instant::now() + self.config.linger;
        let mut bytes = first.params.len();
        let mut orders = vec![first];
        while orders.len() < self.config.items_max {
            let order = tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                order = timeout_at(until, queue.recv()) => order,
            };
            let Ok(Some(order)) = order else { break };
            if bytes + order.params.len() > self.config.bytes_max {
                return Some((orders, Some(order)));
            }
            bytes += order.params.len();
            orders.push(order);
        }
        Some((orders, None))
    }

    async fn send(&self, orders: Vec<Order>) {
        let deadline = Instant::now() + self.config.create_timeout;
        let orders = self.intend(orders).await;
        if orders.is_empty() {
            return;
        }
        killpoint::pass("batch_intended");
        let items = orders
            .iter()
            .map(|order| (order.item.custom_id.as_str(), order.params.as_slice()));
        let created = self.create(&orders, batch_body(items), deadline).await;
        match created {
            Ok(batch) => {
                killpoint::pass("batch_created");
                info!(batch = batch.id, items = orders.len(), "batch created");
                self.save(&orders, &batch.id).await;
                killpoint::pass("batch_saved");
                for order in orders {
                    tell(order.sent, Sent::In(order.item, batch.clone()));
                }
            }
            Err(error) if error.was_not_created() => {
                warn!(why = error.why, items = orders.len(), "no batch created");
                for order in orders {
                    let claim = order.lease.key();
                    if let Err(problem) = self.slips.retract(claim, &order.item.custom_id).await {
                        debug!(%problem, "an intent stays; its item will be looked for");
                    }
                    tell(order.sent, Sent::Refused(error.clone()));
                }
            }
            Err(error) => {
                let why = &error.why;
                warn!(
                    why,
                    items = orders.len(),
                    "not known whether a batch was created"
                );
                for order in orders {
                    tell(order.sent, Sent::Unknown(order.item, why.clone()));
                }
            }
        }
    }

    /// Writes down under each claim that its item is about to be sent; those that may not be are left out.
    async fn intend(&self, orders: Vec<Order>) -> Vec<Order> {
        let now = clock::now();
        let timeout = SignedDuration::try_from(self.config.create_timeout);
        let to = timeout
            .ok()
            .and_then(|timeout| now.checked_add(timeout).ok());
        let half = Instant::now() + self.config.create_timeout / 2;
        let mut intended = Vec::with_capacity(orders.len());
        for mut order in orders {
            // Nobody waits for it any more; or so slow a Redis that there would be no time left to create the batch.
            if order.sent.is_closed() || Instant::now() >= half {
                continue;
            }
            (order.item.from, order.item.to) = (now, to.unwrap_or(now));
            match self
                .slips
                .intend(&order.lease, &order.item, &self.worker)
                .await
            {
                Ok(true) => intended.push(order),
                Ok(false) => tell(order.sent, Sent::Lost),
                Err(problem) => debug!(%problem, "an item is not sent"),
            }
        }
        intended
    }

    /// Creates the batch; each model in it is told how that went.
    async fn create(
        &self,
        orders: &[Order],
        body: Vec<u8>,
        deadline: Instant,
    ) -> Result<Batch, Box<CallError>> {
        let models: BTreeMap<&str, &Model> = orders
            .iter()
            .map(|order| (order.model.id.as_str(), &order.model))
            .collect();
        let admitted: Vec<_> = models
            .into_values()
            .filter_map(|model| self.breakers.admit(model).ok())
            .collect();
        let created = self.claude.create_batch(body, deadline).await;
        let (outcome, why) = match &created {
            Ok(_) => (breaker::Outcome::Success, None),
            Err(error) => (judged(error.kind), Some(error.why.as_str())),
        };
        for admitted in admitted {
            admitted.ended(outcome, why);
        }
        created
    }

    /// Writes down under each claim which batch has its item.
    async fn save(&self, orders: &[Order], batch: &str) {
        let mut all = true;
        for order in orders {
            all &= self.save_one(order, batch).await;
            counter!(metric::BATCH_ITEMS, "model" => order.model.id.clone(), "outcome" => "sent")
                .increment(1);
        }
        if all && let Err(problem) = self.slips.all_saved(batch).await {
            debug!(%problem, batch, "not told that all items know their batch");
        }
    }

    async fn save_one(&self, order: &Order, batch: &str) -> bool {
        for attempt in 1..=SAVES_MAX {
            let (claim, item) = (order.lease.key(), &order.item.custom_id);
            match self.slips.batched(claim, item, batch).await {
                Ok(()) => return true,
                Err(problem) => {
                    debug!(%problem, batch, "an item's batch is not written down");
                    sleep(Duration::from_millis(100) * attempt).await;
                }
            }
        }
        false
    }
}

/// Whoever asked may be gone; then its claim says it.
fn tell(to: oneshot::Sender<Sent>, sent: Sent) {
    drop(to.send(sent));
}
