//! This process on its own: whether Redis answers, and what it goes by while it does not.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use metrics::gauge;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Known;
use crate::{
    io::telemetry::metric,
    limit::{Bucket, Settings},
};

/// How often Redis is tried while it does not answer: each try may cost its caller a second.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// The part of the limits for a process that never knew how many share them.
const PART_UNKNOWN: f64 = 0.25;
/// Unused for so long, its levels are full and its flows forgotten: it is made anew.
const UNUSED_MAX: Duration = Duration::from_secs(30);

/// A lock whose holders cannot leave it half changed: a panic in one does not stop the others.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether Redis answers.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<Option<Instant>>);

impl Health {
    pub(super) fn is_down(&self) -> bool {
        lock(&self.0).is_some()
    }

    /// Whether to ask Redis now. While it is down, one caller a second does.
    pub(super) fn may_try(&self) -> bool {
        let mut next_try = lock(&self.0);
        match &mut *next_try {
            None => true,
            Some(next) if *next <= Instant::now() => {
                *next = Instant::now() + TRY_EVERY;
                true
            }
            Some(_) => false,
        }
    }

    pub(super) fn answered(&self) {
        if lock(&self.0).take().is_some() {
            gauge!(metric::LIMITER_DEGRADED).set(0.0);
            info!("the fleet's limits are shared again");
        }
    }

    pub(super) fn failed(&self, problem: &str) {
        if lock(&self.0).replace(Instant::now() + TRY_EVERY).is_none() {
            gauge!(metric::LIMITER_DEGRADED).set(1.0);
            warn!(
                problem,
                "the fleet's limits cannot be reached: this process goes by its part of them alone"
            );
        }
    }
}

/// A scope's limits for this process alone.
#[derive(Debug)]
pub(super) struct Alone {
    pub(super) bucket: Bucket,
    pub(super) settings: Settings,
    /// What it was made from.
    known: Option<Known>,
    began: Instant,
    used: Instant,
}

impl Alone {
    /// From what was last known, if anything.
    pub(super) fn new(settings: Settings, known: Option<Known>) -> Self {
        let part = known.map_or(PART_UNKNOWN, |known| 1.0 / known.fleet.max(1) as f64);
        let bucket = match known {
            Some(known) if known.replied => Bucket::knowing(known.learned),
            Some(_) | None => Bucket::new(),
        };
        Self {
            bucket: bucket.in_use(0),
            settings: Settings {
                fraction: part,
                ..settings
            },
            known,
            began: Instant::now(),
            used: Instant::now(),
        }
    }

    /// Whether it still serves: else a Redis that comes and goes would fill its levels each time, and one that was away long ago
    /// would find it cold.
    pub(super) fn serves(&self, known: Option<Known>) -> bool {
        self.known == known && self.used.elapsed() < UNUSED_MAX
    }

    /// In ms since it began; it is used now.
    pub(super) fn now_ms(&mut self) -> u64 {
        self.used = Instant::now();
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
