//! Load at a rate, by tenant, and how long each run takes.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use flotilla_common::{entry::RESERVED_END, event::Event, ids::RunId, io::journal::Journal};
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::{
    task::AbortHandle,
    time::{MissedTickBehavior, interval, sleep},
};

use super::fleet::{BenchFleet, EVENT, WORKFLOW, run_of};

/// Longest pause between two ends of runs before the bench gives up.
const SILENCE_MAX: Duration = Duration::from_secs(120);

type Times = Arc<Mutex<HashMap<RunId, Instant>>>;

/// Somebody who sends events.
pub(super) struct Tenant {
    name: &'static str,
    journal: Journal,
    number: AtomicU64,
    sent: Times,
    ended: Times,
    watching: AbortHandle,
}

impl Tenant {
    pub(super) async fn new(fleet: &BenchFleet, name: &'static str) -> anyhow::Result<Self> {
        let mut ends = fleet.decided(RESERVED_END).await?;
        let ended = Times::default();
        let noted = Arc::clone(&ended);
        let watching = tokio::spawn(async move {
            while let Some(end) = ends.next().await {
                if let Some(run) = run_of(&end) {
                    locked(&noted).insert(run, Instant::now());
                }
            }
        });
        Ok(Self {
            name,
            journal: fleet.journal.clone(),
            number: AtomicU64::new(0),
            sent: Times::default(),
            ended,
            watching: watching.abort_handle(),
        })
    }

    /// Sends so many events a second for so long.
    pub(super) async fn sends(&self, per_second: u64, span: Duration) -> anyhow::Result<()> {
        let mut ticks = interval(Duration::from_secs(1) / u32::try_from(per_second.max(1))?);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let begun = Instant::now();
        while begun.elapsed() < span {
            ticks.tick().await;
            let number = self.number.fetch_add(1, Ordering::Relaxed).to_string();
            let run = RunId::derive(&WORKFLOW.parse()?, self.name, &number);
            locked(&self.sent).insert(run, Instant::now());
            let mut event = Event::new(
                EVENT.parse()?,
                self.name.into(),
                number.clone(),
                json!({"n": number}),
            );
            event.extensions.insert("tenant".into(), json!(self.name));
            self.journal.publish_event(&event, None).await?;
        }
        Ok(())
    }

    /// Waits for all that was sent to end; gives the 95th percentile of the time that took, in seconds, and forgets them.
    pub(super) async fn ends(&self) -> anyhow::Result<f64> {
        let mut left = std::mem::take(&mut *locked(&self.sent));
        let mut took = Vec::with_capacity(left.len());
        let mut heard = Instant::now();
        while !left.is_empty() {
            let before = left.len();
            {
                let ended = locked(&self.ended);
                left.retain(|run, began| match ended.get(run) {
                    Some(at) => {
                        took.push(at.duration_since(*began).as_secs_f64());
                        false
                    }
                    None => true,
                });
            }
            if left.len() < before {
                heard = Instant::now();
            }
            if heard.elapsed() > SILENCE_MAX {
                bail!("{} runs of {} do not end", left.len(), self.name);
            }
            sleep(Duration::from_millis(50)).await;
        }
        took.sort_by(f64::total_cmp);
        let at = took.len().saturating_sub(1) * 95 / 100;
        took.get(at).copied().context("nothing was sent")
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

fn locked(times: &Times) -> MutexGuard<'_, HashMap<RunId, Instant>> {
    times.lock().unwrap_or_else(PoisonError::into_inner)
}
