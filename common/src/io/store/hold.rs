//! Keeping a claim while the work under it goes on.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::debug;

use super::{Claimed, Lease, Store};

impl Store {
    /// Extends the lease every third of its length for as long as it is ours; ends when somebody else has taken over, with the
    /// time that they hold it for (zero: they are done). A Redis that was emptied or does not answer ends nothing.
    pub async fn hold<T: DeserializeOwned>(&self, lease: &mut Lease) -> Duration {
        let every = lease.length() / 3;
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let again = match self.extend(lease).await {
                Ok(true) => continue,
                // Perhaps Redis was emptied: then it is free, and stays ours.
                Ok(false) => self.reclaim::<T>(lease).await,
                Err(problem) => Err(problem),
            };
            match again {
                Ok(Claimed::Free(mine)) => lease.renew(mine),
                Ok(Claimed::Held(left)) => return left,
                Ok(Claimed::Done { .. }) => return Duration::ZERO,
                Err(problem) => debug!(%problem, "a lease was not extended"),
            }
        }
    }
}
