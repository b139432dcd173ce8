//! A circuit breaker: it stops calls to what keeps failing, and lets one through now and then to see whether it is well again.
//!
//! Closed: calls pass. Open: calls are refused until the cool-down is over. Half-open: one call at a time is let through as a
//! probe; enough successes close, one failure opens for twice as long. It trips on failures in a row (broken outright) or on
//! their part of the calls in a sliding window (half broken), the latter only with enough calls to tell.
//!
//! Pure: `now` is an argument, the time since any fixed point of the caller's, and so is the jitter. Every method does a handful
//! of steps, so it can sit behind a mutex that many tasks share.

mod window;

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use window::Window;

/// How long at most a cool-down is stretched by jitter, as a part of itself: processes that tripped together do not probe together.
const STRETCH: f64 = 0.25;
/// How soon a call that a probe in flight kept out should ask again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// When it trips and how it recovers.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Failures in a row that open it; 0: they never do.
    pub consecutive: u32,
    /// How far back the failure rate looks.
    pub window: Duration,
    /// Calls in the window below which the rate says nothing.
    pub calls_min: u32,
    /// Part of the window's calls (0 to 1) that must have failed to open it.
    pub failure_rate: f64,
    /// The first cool-down; each failed probe doubles it.
    pub cool_min: Duration,
    /// The longest cool-down, before jitter (at most a quarter more).
    pub cool_max: Duration,
    /// Successful probes that close it; 0 counts as 1.
    pub probes: u32,
    /// A probe that was not recorded for so long has lost its place: its task died.
    pub probe_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            consecutive: 5,
            window: Duration::from_secs(30),
            calls_min: 20,
            failure_rate: 0.5,
            cool_min: Duration::from_secs(5),
            cool_max: Duration::from_secs(120),
            probes: 2,
            probe_max: Duration::from_secs(600),
        }
    }
}

/// What an admitted call hands to [`Breaker::record`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a call that is admitted must be recorded, as neutral if it came to nothing"]
pub struct Pass {
    /// Which stretch of closed, open or half-open it was given in.
    epoch: u64,
    /// A probe's number.
    probe: Option<u64>,
}

impl Pass {
    /// Whether it is the one call that tells whether all is well again.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.probe.is_some()
    }
}

/// Whether a call may go ahead.
#[derive(Debug, PartialEq, Eq)]
pub enum Admit {
    /// It may.
    Yes(Pass),
    /// It may, and what comes of it decides.
    Probe(Pass),
    /// It may not.
    No {
        /// When to ask again. While the breaker is open, asking earlier is in vain.
        until: Duration,
    },
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is well.
    Success,
    /// It is not.
    Failure,
    /// It says nothing: a limit was reached, the call was cancelled. A probe gives its place back.
    Neutral,
}

/// What a person decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forced {
    /// Refuse all calls.
    Open,
    /// Let all calls pass, whatever comes of them.
    Closed,
}

/// Where the breaker stands, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Calls pass.
    Closed,
    /// Probes pass, one at a time.
    HalfOpen,
    /// Calls are refused.
    Open,
}

impl State {
    /// For metric labels.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// What a status page shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Where it stands.
    pub state: State,
    /// While open: until when, on the caller's clock.
    pub until: Option<Duration>,
    /// What a person decided, if anything.
    pub forced: Option<Forced>,
    /// Calls in the window that succeeded or failed.
    pub calls: u32,
    /// Of them, those that failed.
    pub failures: u32,
}

/// The data of each state in its variant.
#[derive(Debug)]
enum Phase {
    Closed,
    Open {
        until: Duration,
    },
    HalfOpen {
        successes: u32,
        /// The probe in flight: its number, and when it has lost its place.
        probe: Option<(u64, Duration)>,
    },
}

/// One breaker, of one thing that can fail.
#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    phase: Phase,
    forced: Option<Forced>,
    window: Window,
    in_a_row: u32,
    /// The cool-down of the next trip, before jitter.
    cool: Duration,
    epoch: u64,
    probes: u64,
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            window: Window::new(settings.window),
            cool: settings.cool_min,
            settings,
            phase: Phase::Closed,
            forced: None,
            in_a_row: 0,
            epoch: 0,
            probes: 0,
        }
    }

    /// Whether a call may go ahead.
    pub fn admit(&mut self, now: Duration) -> Admit {
        match self.forced {
            Some(Forced::Open) => {
                return Admit::No {
                    until: now + self.settings.cool_min,
                };
            }
            Some(Forced::Closed) => return Admit::Yes(self.pass(None)),
            None => {}
        }
        self.cool_down(now);
        match &mut self.phase {
            Phase::Closed => Admit::Yes(self.pass(None)),
            Phase::Open { until } => Admit::No { until: *until },
            Phase::HalfOpen { probe, .. } => match probe {
                Some((_, lost)) if now < *lost => Admit::No {
                    until: (now + ASK_AGAIN).min(*lost),
                },
                Some(_) | None => {
                    self.probes += 1;
                    *probe = Some((self.probes, now + self.settings.probe_max));
                    Admit::Probe(self.pass(Some(self.probes)))
                }
            },
        }
    }

    /// Takes in what came of an admitted call. `jitter` (0 to 1, drawn by the caller) stretches the cool-down if this opens it.
    /// What was admitted before the breaker last changed its state, or as a probe that lost its place, changes nothing.
    pub fn record(&mut self, now: Duration, pass: Pass, outcome: Outcome, jitter: f64) {
        if pass.epoch != self.epoch {
            return;
        }
        match &mut self.phase {
            Phase::Closed => self.record_closed(now, outcome, jitter),
            Phase::Open { .. } => {}
            Phase::HalfOpen { successes, probe } => {
                if pass.probe.is_none() || probe.map(|(number, _)| number) != pass.probe {
                    return;
                }
                *probe = None;
                match outcome {
                    Outcome::Success => {
                        *successes += 1;
                        if *successes >= self.settings.probes.max(1) {
                            self.close();
                        }
                    }
                    Outcome::Failure => self.open(now, jitter),
                    Outcome::Neutral => {}
                }
            }
        }
    }

    /// A person's decision, which holds until it is taken back with `None`. Then the breaker is closed and knows nothing.
    pub fn force(&mut self, forced: Option<Forced>) {
        if self.forced != forced {
            self.forced = forced;
            self.close();
        }
    }

    /// Where it stands.
    pub fn status(&mut self, now: Duration) -> Status {
        self.cool_down(now);
        let (calls, failures) = self.window.totals(now);
        let (state, until) = match (self.forced, &self.phase) {
            (Some(Forced::Open), _) => (State::Open, None),
            (Some(Forced::Closed), _) | (None, Phase::Closed) => (State::Closed, None),
            (None, Phase::Open { until }) => (State::Open, Some(*until)),
            (None, Phase::HalfOpen { .. }) => (State::HalfOpen, None),
        };
        Status {
            state,
            until,
            forced: self.forced,
            calls,
            failures,
        }
    }

    fn pass(&self, probe: Option<u64>) -> Pass {
        Pass {
            epoch: self.epoch,
            probe,
        }
    }

    fn cool_down(&mut self, now: Duration) {
        if matches!(self.phase, Phase::Open { until } if now >= until) {
            self.phase = Phase::HalfOpen {
                successes: 0,
                probe: None,
            };
            self.epoch += 1;
        }
    }

    fn record_closed(&mut self, now: Duration, outcome: Outcome, jitter: f64) {
        match outcome {
            Outcome::Success => self.in_a_row = 0,
            Outcome::Failure => self.in_a_row = self.in_a_row.saturating_add(1),
            Outcome::Neutral => return,
        }
        let failed = outcome == Outcome::Failure;
        self.window.add(now, failed);
        // A success never trips, even while the window is bad: only a failure says that it still is.
        if failed && self.forced.is_none() && self.is_bad(now) {
            self.open(now, jitter);
        }
    }

    fn is_bad(&mut self, now: Duration) -> bool {
        let (calls, failures) = self.window.totals(now);
        let in_a_row = self.settings.consecutive > 0 && self.in_a_row >= self.settings.consecutive;
        let rate = calls > 0
            && calls >= self.settings.calls_min
            && f64::from(failures) >= self.settings.failure_rate * f64::from(calls);
        in_a_row || rate
    }

    fn open(&mut self, now: Duration, jitter: f64) {
        let stretch = 1.0 + STRETCH * jitter.clamp(0.0, 1.0);
        self.phase = Phase::Open {
            until: now + self.cool.mul_f64(stretch),
        };
        self.cool = (self.cool * 2).min(self.settings.cool_max);
        self.epoch += 1;
    }

    fn close(&mut self) {
        self.phase = Phase::Closed;
        self.window = Window::new(self.settings.window);
        self.in_a_row = 0;
        self.cool = self.settings.cool_min;
        self.epoch += 1;
    }
}
