//! The cap on calls a second: while a scope warms up, and while it recovers from an overload.

/// Without a call for so long, a scope has gone cold, in ms.
const IDLE_MS: f64 = 60_000.0;
/// Where a cold scope begins, as part of its limit on requests.
const COLD_PART: f64 = 0.25;
/// How often the cap doubles while it is used, in ms.
const STEP_MS: f64 = 5_000.0;
/// Smallest cap, in calls per ms: one in two seconds.
const CAP_MIN: f64 = 0.0005;
/// How much may go at once under a cap, in ms of it.
const BURST_MS: f64 = 500.0;
/// From this many times the rate at which the scope was overloaded on, the cap is gone as soon as it does not bind any more: what
/// waited behind it must not come all at once.
const RECOVERED: f64 = 4.0;
/// Least time between two halvings, in ms: calls that were out together fail together.
const HALVE_EVERY_MS: f64 = 1_000.0;
/// Over how long the rate is measured, in ms.
const WINDOW_MS: f64 = 2_000.0;

/// A cap that is in force. Rates are calls per ms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cap {
    pub(super) rate: f64,
    /// The rate from which on it may be gone.
    end: f64,
    /// When it last grew.
    grown: f64,
    pub(super) level: f64,
    /// Whether an overload set it, rather than a cold start.
    overload: bool,
}

impl Cap {
    pub(super) fn capacity(&self) -> f64 {
        (self.rate * BURST_MS).max(1.0)
    }
}

#[derive(Debug, Default, Clone)]
pub(super) struct Ramp {
    pub(super) cap: Option<Cap>,
    /// When a call was last granted.
    used: Option<f64>,
    /// When the cap was last halved.
    halved: Option<f64>,
    /// Number of the present window, what was granted in it, and in the one before.
    window: f64,
    granted: f64,
    granted_before: f64,
}

impl Ramp {
    pub(super) fn refill(&mut self, passed: f64) {
        if let Some(cap) = &mut self.cap {
            cap.level = (cap.level + cap.rate * passed).min(cap.capacity());
        }
    }

    /// Before a call is weighed: begins, grows and ends the cap. `limit` is the limit on requests, per ms.
    pub(super) fn step(&mut self, now: f64, limit: Option<f64>) {
        // A clock that was set back must not keep a cap for ever.
        let stale = |cap: Cap| now - cap.grown > IDLE_MS || now < cap.grown;
        if self.cap.is_some_and(stale) {
            self.cap = None;
        }
        if let Some(limit) = limit
            && self.used.is_none_or(|used| now - used > IDLE_MS)
        {
            self.begin(now, limit);
        }
        if let Some(cap) = &mut self.cap
            && now - cap.grown >= STEP_MS
        {
            let before = cap.capacity();
            cap.rate *= 2.0;
            cap.grown = now;
            // What may go at once grows with it: nobody waits longer because more is allowed.
            cap.level += cap.capacity() - before;
            let (rate, end) = (cap.rate, cap.end);
            // Less than half of what it allowed until now was asked for.
            let free = self.measured(now) * 4.0 < rate;
            if (rate >= end && free) || limit.is_some_and(|limit| rate >= limit) {
                self.cap = None;
            }
        }
    }

    fn begin(&mut self, now: f64, limit: f64) {
        let rate = (limit * COLD_PART).max(CAP_MIN);
        if rate < limit && self.cap.is_none() {
            let empty = Cap {
                rate,
                end: limit,
                grown: now,
                level: 0.0,
                overload: false,
            };
            self.cap = Some(Cap {
                level: empty.capacity(),
                ..empty
            });
        }
    }

    /// Notes calls that were granted.
    pub(super) fn count(&mut self, now: f64, calls: f64) {
        self.roll(now);
        self.granted += calls;
        if calls > 0.0 {
            self.used = Some(now);
        }
    }

    fn roll(&mut self, now: f64) {
        let window = (now / WINDOW_MS).floor();
        if window != self.window {
            self.granted_before = if window == self.window + 1.0 {
                self.granted
            } else {
                0.0
            };
            self.granted = 0.0;
            self.window = window;
        }
    }

    /// What was granted lately, in calls per ms.
    fn measured(&mut self, now: f64) -> f64 {
        self.roll(now);
        let part = 1.0 - (now % WINDOW_MS) / WINDOW_MS;
        (self.granted + self.granted_before * part) / WINDOW_MS
    }

    /// The provider is overloaded: half the rate for everybody.
    pub(super) fn overloaded(&mut self, now: f64, limit: Option<f64>) {
        if self
            .halved
            .is_some_and(|halved| (0.0..HALVE_EVERY_MS).contains(&(now - halved)))
        {
            return;
        }
        let measured = self.measured(now);
        let rate = self.cap.map_or(measured, |cap| cap.rate.min(measured));
        let recovered = (measured * RECOVERED).max(CAP_MIN * RECOVERED);
        let end = match self.cap {
            // What it was overloaded at first says more than what the cap left of it since.
            Some(cap) if cap.overload => cap.end,
            Some(_) | None => limit.map_or(recovered, |limit| recovered.min(limit)),
        };
        self.cap = Some(Cap {
            rate: (rate / 2.0).max(CAP_MIN),
            end,
            grown: now,
            level: self.cap.map_or(0.0, |cap| cap.level.min(0.0)),
            overload: true,
        });
        self.halved = Some(now);
    }
}
