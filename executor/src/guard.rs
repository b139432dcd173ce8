//! What stands before a tool: its bulkhead and its rate, so that one tool's load is not another's trouble.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use flotilla_common::{definition::Tool, io::telemetry::metric, units::Rate};
use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use metrics::gauge;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

type Limiter = RateLimiter<NotKeyed, InMemoryState, Timer, NoOpMiddleware<Duration>>;

/// Tokio's clock, so that tests can stop it.
#[derive(Debug, Clone)]
struct Timer {
    start: Instant,
}

impl Clock for Timer {
    type Instant = Duration;
    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// The bulkhead and the rate of one tool in this process. Clones are the same guard.
#[derive(Debug, Clone)]
pub struct Guard {
    slots: Arc<Semaphore>,
    rate: Option<Arc<Limiter>>,
    tool: Arc<str>,
}

/// Leave to run the tool once. The slot is free again when this is dropped.
#[derive(Debug)]
pub struct Permit {
    _slot: OwnedSemaphorePermit,
    tool: Arc<str>,
}

impl Permit {
    fn new(slot: OwnedSemaphorePermit, tool: &Arc<str>) -> Self {
        gauge!(metric::BULKHEAD_IN_USE, "tool" => Arc::clone(tool)).increment(1.0);
        Self {
            _slot: slot,
            tool: Arc::clone(tool),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        gauge!(metric::BULKHEAD_IN_USE, "tool" => Arc::clone(&self.tool)).decrement(1.0);
    }
}

impl Guard {
    /// The guard of a tool.
    #[must_use]
    pub fn new(tool: &Tool) -> Self {
        let slots = usize::try_from(tool.concurrency).unwrap_or(usize::MAX);
        let rate = tool.rate.map(|rate| {
            let start = Instant::now();
            Arc::new(RateLimiter::direct_with_clock(quota(rate), Timer { start }))
        });
        Self {
            slots: Arc::new(Semaphore::new(slots.min(Semaphore::MAX_PERMITS))),
            rate,
            tool: Arc::from(tool.name.as_str()),
        }
    }

    /// Waits for a free slot, then for the rate; `None` when `stop` came first. Nothing is used up by a wait that is given up.
    pub async fn enter(&self, stop: &CancellationToken) -> Option<Permit> {
        let entered = async {
            // The narrower first: a slot that waits for the rate is given back, a rate that was used is not.
            let slot = Arc::clone(&self.slots).acquire_owned().await.ok()?;
            let permit = Permit::new(slot, &self.tool);
            if let Some(rate) = &self.rate {
                in_turn(rate).await;
            }
            Some(permit)
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => None,
            permit = entered => permit,
        }
    }
}

async fn in_turn(rate: &Limiter) {
    while let Err(early) = rate.check() {
        let wait = early.wait_time_from(rate.clock().now());
        // Tokio's timers count milliseconds: a wait of less would be no wait, and this a busy loop.
        tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
    }
}

/// `count` at once, and then one every `per / count`.
fn quota(rate: Rate) -> Quota {
    let every = (rate.per / rate.count.get()).max(Duration::from_nanos(1));
    let one = Quota::per_second(NonZeroU32::MIN);
    Quota::with_period(every)
        .unwrap_or(one)
        .allow_burst(rate.count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flotilla_common::{
        claude::Models,
        definition::{Catalogue, Sources},
    };
    use tokio::time::timeout;

    type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

    fn guard(limits: &str) -> Result<Guard> {
        let yaml = format!(
            "tools:\n- {{tool: t, version: 1, description: d, effect: read, input: {{type: object}}, command: [ls], {limits}}}\n"
        );
        let sources = Sources([("t.yaml".to_owned(), yaml)].into());
        let catalogue = Catalogue::parse(&sources, &Models::built_in()?)?;
        let tool = catalogue.tools.iter().next().ok_or("no tool")?;
        Ok(Guard::new(tool))
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_run_at_once_than_the_bulkhead_has_room_for() -> Result<()> {
        let (guard, stop) = (guard("concurrency: 2")?, CancellationToken::new());
        let first = guard.enter(&stop).await.ok_or("no permit")?;
        let _second = guard.enter(&stop).await.ok_or("no permit")?;
        let third = timeout(Duration::from_secs(3_600), guard.enter(&stop)).await;
        assert!(third.is_err());
        drop(first);
        assert!(guard.enter(&stop).await.is_some());
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_then_the_rate_holds() -> Result<()> {
        let (guard, stop) = (guard("rate: 10/s")?, CancellationToken::new());
        let begun = Instant::now();
        for _ in 0..10 {
            drop(guard.enter(&stop).await);
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        for _ in 0..20 {
            drop(guard.enter(&stop).await);
        }
        let took = begun.elapsed();
        assert!(
            (Duration::from_secs(2)..Duration::from_millis(2_100)).contains(&took),
            "{took:?}"
        );
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_by_the_hour_is_not_waited_for_in_a_busy_loop() -> Result<()> {
        let (guard, stop) = (guard("rate: 2/h")?, CancellationToken::new());
        let begun = Instant::now();
        for _ in 0..3 {
            drop(guard.enter(&stop).await);
        }
        assert!(begun.elapsed() >= Duration::from_secs(1_800));
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_every_wait_and_uses_nothing_up() -> Result<()> {
        let (guard, stop) = (
            guard("concurrency: 1, rate: 1/h")?,
            CancellationToken::new(),
        );
        drop(guard.enter(&stop).await.ok_or("no permit")?);
        let waiting = CancellationToken::new();
        let by_rate = guard.enter(&waiting);
        let stopping = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            waiting.cancel();
        };
        let (by_rate, ()) = tokio::join!(by_rate, stopping);
        assert!(by_rate.is_none());
        assert_eq!(guard.slots.available_permits(), 1);
        assert!(guard.enter(&waiting).await.is_none());
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        let begun = Instant::now();
        assert!(guard.enter(&stop).await.is_some());
        assert_eq!(begun.elapsed(), Duration::ZERO);
        Ok(())
    }
}
