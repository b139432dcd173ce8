//! One allowance per minute, and the limit on how sharply a load may rise. Both are told what time it is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The span whose requests are compared with those of the span before.
const RAMP_SPAN: Duration = Duration::from_secs(5);

/// Requests are counted together for so long.
const RAMP_STEP: Duration = Duration::from_millis(100);

/// An allowance per minute that comes back continuously.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) per_minute: u64,
    /// What it holds when full.
    capacity: f64,
    /// What can be taken now; below 0 after more was taken than was there.
    level: f64,
    at: Instant,
    /// All that was ever taken and kept.
    pub(super) granted: f64,
}

impl Bucket {
    /// A full bucket that holds the allowance of `burst_seconds`, at most a minute's and at least 1.
    pub(super) fn new(per_minute: u64, burst_seconds: f64, now: Instant) -> Self {
        let capacity = (per_minute as f64 * burst_seconds.min(60.0) / 60.0).max(1.0);
        Self {
            per_minute,
            capacity,
            level: capacity,
            at: now,
            granted: 0.0,
        }
    }

    /// Lets in what came back since the last time.
    pub(super) fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * self.per_second()).min(self.capacity);
        self.at = self.at.max(now);
    }

    /// How long until `amount` can be taken; `None`: now. What is more than the bucket holds can be taken from a full
    /// one, which then owes; what is more than a minute's allowance never.
    pub(super) fn wait(&self, amount: u64) -> Option<Duration> {
        if amount > self.per_minute {
            return Some(Duration::from_secs(60));
        }
        let lacking = (amount as f64).min(self.capacity) - self.level;
        // Less than what a clock's rounding makes of a refill.
        if lacking < 1e-6 {
            return None;
        }
        Some(Duration::from_secs_f64(lacking / self.per_second()))
    }

    pub(super) fn take(&mut self, amount: u64) {
        self.level -= amount as f64;
        self.granted += amount as f64;
    }

    pub(super) fn give_back(&mut self, amount: u64) {
        self.level = (self.level + amount as f64).min(self.capacity);
        self.granted -= amount as f64;
    }

    /// What is left, and how long until the bucket is full.
    pub(super) fn left(&self) -> (u64, Duration) {
        let missing = (self.capacity - self.level).max(0.0);
        (
            self.level.max(0.0) as u64,
            Duration::from_secs_f64(missing / self.per_second()),
        )
    }

    fn per_second(&self) -> f64 {
        self.per_minute as f64 / 60.0
    }
}

/// Requests of the last two spans, by when they came.
#[derive(Debug, Default)]
pub(super) struct Ramp {
    steps: VecDeque<(Instant, u32)>,
}

impl Ramp {
    /// Whether one more request stays within `max(floor, growth x the rate of the span before)`, in requests a second.
    pub(super) fn allows(&mut self, floor: f64, growth: f64, now: Instant) -> bool {
        let age = |at: Instant| now.saturating_duration_since(at);
        while self
            .steps
            .front()
            .is_some_and(|(at, _)| age(*at) >= 2 * RAMP_SPAN)
        {
            self.steps.pop_front();
        }
        let (mut recent, mut before) = (1.0, 0.0);
        for (at, requests) in &self.steps {
            if age(*at) < RAMP_SPAN {
                recent += f64::from(*requests);
            } else {
                before += f64::from(*requests);
            }
        }
        recent <= (floor * RAMP_SPAN.as_secs_f64()).max(growth * before)
    }

    pub(super) fn count(&mut self, now: Instant) {
        match self.steps.back_mut() {
            Some((at, requests)) if now.saturating_duration_since(*at) < RAMP_STEP => {
                *requests += 1;
            }
            Some(_) | None => self.steps.push_back((now, 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_bucket_comes_back_continuously_and_never_holds_more_than_a_minute() {
        let start = Instant::now();
        let mut bucket = Bucket::new(60, 60.0, start);
        bucket.take(60);
        assert_eq!(bucket.wait(1), Some(Duration::from_secs(1)));
        bucket.refill(after(start, 0.5));
        assert_eq!(bucket.wait(1), Some(Duration::from_millis(500)));
        bucket.refill(after(start, 1.0));
        assert_eq!(bucket.wait(1), None);
        bucket.refill(after(start, 600.0));
        assert_eq!(bucket.left(), (60, Duration::ZERO));
    }

    #[test]
    fn a_burst_of_one_second_makes_sixty_a_minute_one_a_second() {
        let start = Instant::now();
        let mut bucket = Bucket::new(60, 1.0, start);
        bucket.take(1);
        assert_eq!(bucket.wait(1), Some(Duration::from_secs(1)));
        bucket.refill(after(start, 30.0));
        bucket.take(1);
        assert_eq!(bucket.wait(1), Some(Duration::from_secs(1)));
    }

    #[test]
    fn more_than_it_holds_is_owed_and_more_than_a_minute_is_never_given() {
        let start = Instant::now();
        let mut bucket = Bucket::new(600, 1.0, start);
        assert_eq!(bucket.wait(601), Some(Duration::from_secs(60)));
        assert_eq!(bucket.wait(100), None);
        bucket.take(100);
        assert_eq!(bucket.left().0, 0);
        // It owes 90, and 10 come back a second.
        bucket.refill(after(start, 5.0));
        assert_eq!(bucket.wait(1), Some(Duration::from_millis(4100)));
    }

    #[test]
    fn what_was_reserved_and_not_used_comes_back_at_once() {
        let mut bucket = Bucket::new(1000, 60.0, Instant::now());
        bucket.take(900);
        bucket.give_back(850);
        assert_eq!((bucket.left().0, bucket.granted), (950, 50.0));
    }

    #[test]
    fn a_load_may_grow_by_its_factor_and_no_faster() {
        let start = Instant::now();
        let mut ramp = Ramp::default();
        let mut granted = |seconds: f64, tries: usize| {
            let now = after(start, seconds);
            let mut granted = 0;
            for _ in 0..tries {
                if ramp.allows(2.0, 2.0, now) {
                    ramp.count(now);
                    granted += 1;
                }
            }
            granted
        };
        assert_eq!(granted(0.0, 100), 10, "the floor: 2 a second for 5 s");
        assert_eq!(granted(5.0, 100), 20, "twice the span before");
        assert_eq!(granted(10.0, 100), 40);
        assert_eq!(granted(100.0, 100), 10, "a pause begins again");
    }
}
