//! Blobs go with their runs: some time after a run's end, and after a day where there is no such run. One gateway at a time looks.

use std::{collections::BTreeSet, time::Duration};

use flotilla_common::{
    ids::RunId,
    io::{
        blobs::{BlobError, Blobs},
        clock,
        journal::{Journal, JournalError},
        leases::{LEASE, Leases},
        telemetry::metric,
    },
};
use jiff::{SignedDuration, Timestamp};
use metrics::counter;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// What gateways share this work by.
const WORK: &str = "blobs";
/// How long blobs stay that no run on the journal has: longer than an event may be on its way.
const ORPHANS_KEEP: Duration = Duration::from_secs(86_400);
/// From one look to the next.
const LOOK_EVERY_MIN: Duration = Duration::from_secs(1);
const LOOK_EVERY_MAX: Duration = Duration::from_secs(600);
/// Runs whose blobs are removed in one look.
const REMOVED_MAX: usize = 1_000;
/// How long one look may take; what is left is for the next.
const LOOK_LIMIT: Duration = Duration::from_secs(LEASE.as_secs() / 2);

/// Looks for blobs whose time is over.
#[derive(Debug)]
pub(crate) struct Sweeper {
    pub(crate) blobs: Blobs,
    pub(crate) journal: Journal,
    pub(crate) leases: Leases,
    /// How long blobs stay after their run's end.
    pub(crate) keep: Duration,
}

/// Why a look ended before its time.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error(transparent)]
    Blobs(#[from] BlobError),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Sweeper {
    /// Looks again and again until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let every = (self.keep / 10).clamp(LOOK_EVERY_MIN, LOOK_EVERY_MAX);
        let looking = async {
            loop {
                // Gateways that start together need not look together.
                sleep(every.mul_f64(0.5 + fastrand::f64())).await;
                self.look().await;
            }
        };
        stop.run_until_cancelled(looking).await;
    }

    async fn look(&self) {
        let holder = format!("{:016x}", fastrand::u64(..));
        match self.leases.take(WORK, &holder).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(problem) => return debug!(%problem, "blobs are not looked at"),
        }
        match timeout(LOOK_LIMIT, Box::pin(self.sweep())).await {
            Ok(Ok(0)) => {}
            Ok(Ok(runs)) => info!(runs, "blobs were removed, their time was over"),
            Ok(Err(problem)) => warn!(%problem, "blobs whose time is over are still there"),
            Err(_) => warn!("there are more blobs than can be looked at in one go"),
        }
        if let Err(problem) = self.leases.give_back(WORK).await {
            debug!(%problem, "the next look at blobs is late");
        }
    }

    /// Removes what is over; of how many runs.
    async fn sweep(&self) -> Result<usize, Cut> {
        let mut over = BTreeSet::new();
        for run in self.blobs.runs().await? {
            if self.is_over(&run, clock::now()).await? {
                over.insert(run);
            }
            if over.len() == REMOVED_MAX {
                break;
            }
        }
        if !over.is_empty() {
            self.blobs.remove_of(&over).await?;
            counter!(metric::BLOBS_REMOVED).increment(over.len() as u64);
        }
        Ok(over.len())
    }

    async fn is_over(&self, run: &RunId, now: Timestamp) -> Result<bool, Cut> {
        if let Some(ended) = self.journal.ended_at(run).await? {
            return Ok(is_older(ended, now, self.keep));
        }
        if self.journal.is_there(run).await? {
            return Ok(false);
        }
        let last = self.blobs.last_of(run).await?;
        let keep = ORPHANS_KEEP.min(self.keep);
        Ok(last.is_some_and(|last| is_older(last, now, keep)))
    }
}

fn is_older(at: Timestamp, now: Timestamp, age: Duration) -> bool {
    SignedDuration::try_from(age).is_ok_and(|age| now.duration_since(at) > age)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_from_the_future_is_not_old() {
        let now = Timestamp::UNIX_EPOCH;
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let age = Duration::from_secs(10);
        assert!(is_older(at(-11), now, age));
        assert!(!is_older(at(-10), now, age) && !is_older(at(60), now, age));
    }
}
