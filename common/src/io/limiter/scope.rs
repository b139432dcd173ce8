//! What a process keeps of one scope: the lines of those who wait, and what it knows without asking.

use std::{
    collections::HashMap,
    mem,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter, clock::Clock as _};
use metrics::{counter, gauge};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
};

use super::{
    Known,
    alone::{Alone, lock},
};
use crate::{
    io::telemetry::metric,
    limit::{Answer, Flow, Grant, Moved, Reason, Report, Scope, Settings, Source, Standing, Want},
};

/// Callers of one flow that ask at the same time; the others wait behind them, in order.
pub(super) const FRONT: usize = 8;
/// How long "there are no limits" holds without asking again. With [`RENEWED_FOR`], an overload reaches everyone in a second.
pub(super) const UNLIMITED_FOR: Duration = Duration::from_millis(800);
/// How long it goes on to hold while one caller asks again.
pub(super) const RENEWED_FOR: Duration = Duration::from_millis(100);
/// Why a call was granted, for metrics.
const UNLIMITED: &str = "unlimited";
const MINUTE: Duration = Duration::from_secs(60);
/// Longest pause between two looks at the smoothing limiter.
const SMOOTH_PAUSE_MAX: Duration = Duration::from_secs(1);

/// One scope in this process.
#[derive(Debug)]
pub(super) struct ScopeState {
    pub(super) scope: Scope,
    pub(super) settings: Settings,
    lines: Mutex<HashMap<Flow, Arc<Semaphore>>>,
    local: Mutex<Local>,
}

#[derive(Debug, Default)]
struct Local {
    known: Option<Known>,
    unlimited_until: Option<Instant>,
    /// Nobody is granted anything before: a block is never made shorter.
    blocked_until: Option<Instant>,
    /// Calls granted without asking that Redis was not told of yet.
    unasked: u32,
    /// Made for so many requests a minute.
    smooth: Option<(u32, Arc<DefaultDirectRateLimiter>)>,
    alone: Option<Alone>,
}

/// A place among the first of a flow.
#[derive(Debug)]
pub(super) struct Place<'a> {
    state: &'a ScopeState,
    flow: &'a Flow,
    line: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut lines = lock(&self.state.lines);
        self.permit = None;
        // The map's and ours: nobody else stands in this line. Without this it would grow with every flow ever seen.
        if Arc::strong_count(&self.line) == 2 {
            lines.remove(self.flow);
        }
    }
}

impl ScopeState {
    pub(super) fn new(scope: Scope, settings: Settings) -> Self {
        Self {
            scope,
            settings,
            lines: Mutex::default(),
            local: Mutex::default(),
        }
    }

    /// Waits to be among the first of its flow, first come first served.
    pub(super) async fn stand_in_line<'a>(&'a self, flow: &'a Flow) -> Place<'a> {
        let line = Arc::clone(
            lock(&self.lines)
                .entry(flow.clone())
                .or_insert_with(|| Arc::new(Semaphore::new(FRONT))),
        );
        let mut place = Place {
            state: self,
            flow,
            line,
            permit: None,
        };
        // It is never closed.
        place.permit = Arc::clone(&place.line).acquire_owned().await.ok();
        place
    }

    /// How many flows wait here or ask.
    #[cfg(test)]
    pub(super) fn lines(&self) -> usize {
        lock(&self.lines).len()
    }

    /// A grant without asking anybody, where there are no limits. `Err(true)`: that has run out, and this caller must ask again;
    /// the others need not wait for it.
    pub(super) fn unlimited(&self) -> Result<Grant, bool> {
        let mut local = lock(&self.local);
        let until = local.unlimited_until.ok_or(false)?;
        let now = Instant::now();
        if now >= until {
            local.unlimited_until = Some(now + RENEWED_FOR);
            return Err(true);
        }
        local.unasked = local.unasked.saturating_add(1);
        drop(local);
        self.count_as("granted", UNLIMITED);
        Ok(Grant {
            from: Source::Unlimited,
            in_share: true,
            input: 0.0,
            output: 0.0,
            moved: Moved::default(),
        })
    }

    /// How much longer everybody waits, as far as is known here.
    pub(super) fn blocked(&self) -> Option<Duration> {
        let until = lock(&self.local).blocked_until?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    pub(super) fn take_unasked(&self) -> u32 {
        mem::take(&mut lock(&self.local).unasked)
    }

    /// From now on everybody asks.
    pub(super) fn ask_again(&self) {
        lock(&self.local).unlimited_until = None;
    }

    /// Keeps what an answer of Redis tells.
    pub(super) fn learn(&self, answer: &Answer, known: Known) {
        let mut local = lock(&self.local);
        let unlimited = matches!(answer, Answer::Granted(grant) if grant.from == Source::Unlimited);
        local.unlimited_until = unlimited.then(|| Instant::now() + UNLIMITED_FOR);
        local.blocked_until = match answer {
            Answer::Later {
                after_ms,
                why: Reason::Blocked,
            } => Some(Instant::now() + Duration::from_millis(*after_ms)),
            Answer::Later { .. } | Answer::Granted(_) => None,
        };
        if local.known == Some(known) {
            return;
        }
        local.known = Some(known);
        drop(local);
        let model = self.scope.label();
        gauge!(metric::LIMIT_CAP, "model" => model.to_owned())
            .set(known.cap_per_s.unwrap_or_default());
        let learned = known.learned;
        for (kind, limit) in [
            ("requests", learned.requests),
            ("input", learned.input),
            ("output", learned.output),
        ] {
            if let Some(limit) = limit {
                gauge!(metric::LIMIT_LEARNED, "model" => model.to_owned(), "kind" => kind)
                    .set(limit as f64);
            }
        }
    }

    /// The answer of this process on its own.
    pub(super) fn reserve_alone(&self, flow: &Flow, want: Want) -> Answer {
        self.with_alone(|alone, now| alone.bucket.reserve(now, &alone.settings, flow, want, 0))
    }

    pub(super) fn report_alone(&self, report: &Report) {
        self.with_alone(|alone, now| alone.bucket.report(now, &alone.settings, report));
    }

    pub(super) fn standing_alone(&self) -> Standing {
        self.with_alone(|alone, now| alone.bucket.standing(now, &alone.settings, 1))
    }

    fn with_alone<T>(&self, work: impl FnOnce(&mut Alone, u64) -> T) -> T {
        let mut local = lock(&self.local);
        let known = local.known;
        let kept = local.alone.take().filter(|alone| alone.serves(known));
        let alone = local
            .alone
            .insert(kept.unwrap_or_else(|| Alone::new(self.settings, known)));
        let now = alone.now_ms();
        work(alone, now)
    }

    /// Waits so that this process's use of what is spare comes evenly, not as one burst. Who is within its share need not.
    pub(super) async fn smooth(&self) {
        let Some(limiter) = self.smoother() else {
            return;
        };
        // It ends: cells come in as fast as calls are granted, and the caller's deadline bounds it besides.
        while let Err(early) = limiter.check() {
            let pause = early.wait_time_from(limiter.clock().now());
            sleep(pause.min(SMOOTH_PAUSE_MAX)).await;
        }
    }

    /// Counts an answer in the metrics.
    pub(super) fn count(&self, answer: &Answer) {
        match answer {
            Answer::Granted(grant) => {
                let reason = match (grant.from, grant.in_share) {
                    (Source::Levels, true) => "within_share",
                    (Source::Levels, false) => "spare",
                    (Source::Unknown, _) => "unknown",
                    (Source::Unlimited, _) => UNLIMITED,
                };
                self.count_as("granted", reason);
            }
            Answer::Later { why, .. } => self.count_as("later", why.label()),
        }
    }

    fn count_as(&self, outcome: &'static str, reason: &'static str) {
        let model = self.scope.label().to_owned();
        counter!(metric::LIMIT_ANSWERS, "model" => model, "outcome" => outcome, "reason" => reason)
            .increment(1);
    }

    fn smoother(&self) -> Option<Arc<DefaultDirectRateLimiter>> {
        let mut local = lock(&self.local);
        let learned = local.known.map(|known| known.learned).unwrap_or_default();
        let limit = self.settings.limits(learned).requests?.max(1);
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        if let Some((made_for, limiter)) = &local.smooth
            && *made_for == limit
        {
            return Some(Arc::clone(limiter));
        }
        let second = NonZeroU32::new(limit / 60).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(MINUTE / limit)?.allow_burst(second);
        let limiter = Arc::new(RateLimiter::direct(quota));
        local.smooth = Some((limit, Arc::clone(&limiter)));
        Some(limiter)
    }
}
