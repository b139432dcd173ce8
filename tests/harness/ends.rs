//! Waiting for a fleet: until it has taken in what it was sent, until runs have ended.

use std::time::Duration;

use crate::api::Summary;
use crate::fleet::Fleet;
use crate::journal::Journal;
use crate::wait::{PATIENCE, eventually};

impl Fleet {
    /// Waits until intake has dealt with every event that is on the stream EVENTS now.
    ///
    /// # Panics
    /// When it has not in time.
    pub async fn wait_intake(&self) {
        let stream = self
            .nats
            .jetstream()
            .await
            .get_stream("EVENTS")
            .await
            .expect("the stream EVENTS");
        eventually("intake has dealt with every event", PATIENCE, || async {
            let state = stream
                .consumer_info("intake")
                .await
                .map_err(|error| error.to_string())?;
            match (state.num_pending, state.num_ack_pending) {
                (0, 0) => Ok(()),
                (waiting, unacknowledged) => Err(format!(
                    "{waiting} waiting, {unacknowledged} not acknowledged"
                )),
            }
        })
        .await;
    }

    /// Waits until the gateway says that a run has ended, and gives what it says.
    ///
    /// # Panics
    /// When it has not in time.
    pub async fn wait_run_end(&self, id: &str) -> Summary {
        eventually(&format!("{id} ends"), PATIENCE, || async {
            match self.run(id).await {
                Some(view) if view.run.ended_at.is_some() => Ok(view.run),
                seen => Err(seen.map(|view| view.run)),
            }
        })
        .await
    }

    /// Waits until the journal has the end of that many runs, and gives the ends.
    ///
    /// # Panics
    /// When they are not there in time.
    pub async fn wait_ends(&self, count: usize, limit: Duration) -> Vec<(String, String, String)> {
        eventually(&format!("{count} runs end"), limit, || async {
            let ends = Journal::read(&self.nats, "runs.*.decided.end").await.ends();
            if ends.len() < count {
                return Err(format!("{} have", ends.len()));
            }
            Ok(ends
                .into_iter()
                .map(|(run, (outcome, reason))| (run, outcome, reason))
                .collect())
        })
        .await
    }
}
