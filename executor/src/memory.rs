//! Whether an effect may have been begun by somebody of whom nothing is known any more.
//!
//! Two memories tell: Redis knows who claimed an effect, nats-server to whom it gave the action. Each may be lost (Redis emptied, or
//! back with an older copy; nats-server killed before it wrote down what it had delivered, so that a second delivery looks like a
//! first). Either one alone, unbroken since before the decision, is enough to know.

use std::{
    future::Future,
    sync::{Mutex, PoisonError},
};

use flotilla_common::io::{
    journal::{Journal, JournalError},
    store::{Lease, Store},
    worker::Incoming,
};
use tracing::warn;

use crate::{
    action::Action,
    handle::{Executor, Stop},
};

/// Since when this executor knows that nats-server has counted every delivery.
#[derive(Debug, Default)]
pub(crate) struct Counting(Mutex<Option<Counted>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Counted {
    /// The nats-server process: it makes up another id at each start.
    server: String,
    /// The journal's last sequence after we were connected to it.
    since: u64,
}

impl Counting {
    /// Looks at which server counts, and since when; what was known of another one is forgotten.
    pub(crate) async fn begin(&self, journal: &Journal) -> Result<(), JournalError> {
        let counted = match server(journal) {
            None => None,
            Some(before) => {
                let since = journal.last_sequence().await?;
                // One that was restarted meanwhile does not count from there.
                server(journal)
                    .filter(|server| *server == before)
                    .map(|server| Counted { server, since })
            }
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = counted;
        Ok(())
    }

    /// Whether every delivery of the decision at `seq` was counted by the server that we are connected to. `None`: this is another
    /// one than the one we know of.
    fn has_all_of(&self, seq: u64, journal: &Journal) -> Option<bool> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, server) = (known.as_ref()?, server(journal)?);
        (known.server == server).then_some(seq > known.since)
    }
}

/// The one nats-server process that counts deliveries; `None` where several share that, and the one that does can change unseen.
fn server(journal: &Journal) -> Option<String> {
    let info = journal.bus().client.server_info();
    let is_alone = info.cluster.is_none() && info.jetstream;
    (is_alone && !info.server_id.is_empty()).then_some(info.server_id)
}

/// Begins both memories, so that what is decided from now on is known from its beginning. Where that fails, the first claims do it.
pub(crate) async fn begin(counting: &Counting, store: &Store, journal: &Journal) {
    if let Err(problem) = counting.begin(journal).await {
        warn!(%problem, "since when deliveries are counted is not known yet");
    }
    if let Err(problem) = store.begin_memory(journal).await {
        warn!(%problem, "what Redis remembers is not known yet");
    }
}

impl Executor {
    /// Whether somebody may have begun this effect of whom neither Redis nor nats-server knows any more. Asks nobody where Redis
    /// remembers all since the decision; the lease is kept meanwhile, and given back with the doubt when that is cut short.
    pub(crate) async fn is_forgotten(
        &self,
        action: &Action,
        incoming: &Incoming,
        lease: &mut Lease,
    ) -> Result<bool, Stop> {
        let Some(memory) = lease.memory.clone() else {
            return Ok(true);
        };
        match memory.has_all_of(action.seq) {
            Some(true) => return Ok(false),
            Some(false) => {}
            // The decision was here before we look: it is older than this memory.
            None => {
                let telling = async {
                    let last = self.patient(|| self.journal.last_sequence()).await?;
                    self.patient(|| self.store.remember(&memory, last)).await
                };
                self.or_doubt(lease, telling).await?;
            }
        }
        let counted = self.counting.has_all_of(action.seq, &self.journal);
        if counted.is_none()
            && let Err(problem) = self.counting.begin(&self.journal).await
        {
            warn!(%problem, "since when deliveries are counted is not known yet");
        }
        Ok(incoming.is_redelivery() || counted != Some(true))
    }

    /// Does `work` under a claim whose past is in doubt; cut short, it leaves the doubt to whoever comes next.
    pub(crate) async fn or_doubt<T>(
        &self,
        lease: &mut Lease,
        work: impl Future<Output = Result<T, Stop>>,
    ) -> Result<T, Stop> {
        let done = self.holding(lease, work).await;
        if done.is_err() {
            self.abandon(lease).await;
        }
        done
    }
}
