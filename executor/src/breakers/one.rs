//! One breaker, with what people want to know of it.

use std::time::Duration;

use flotilla_common::{
    breaker::{Admit, Breaker, Outcome, Pass, Settings, State, Status},
    io::clock,
};
use jiff::Timestamp;

use super::Open;

/// How soon an action comes again that somebody else's probe kept out.
const PROBE_LOOK: Duration = Duration::from_secs(1);

/// A breaker.
#[derive(Debug)]
pub(super) struct One {
    pub(super) breaker: Breaker,
    /// A probe is out.
    pub(super) probing: bool,
    /// As it was seen last.
    pub(super) state: State,
    pub(super) since: Timestamp,
    /// What the last failure said.
    pub(super) why: String,
}

impl One {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            breaker: Breaker::new(settings),
            probing: false,
            state: State::Closed,
            since: clock::now(),
            why: String::new(),
        }
    }

    pub(super) fn admit(&mut self, now: Duration) -> Result<Pass, Open> {
        match self.breaker.admit(now) {
            Admit::Yes(pass) | Admit::Probe(pass) => {
                self.probing |= pass.is_probe();
                Ok(pass)
            }
            Admit::No { until } => Err(self.refusal(until.saturating_sub(now))),
        }
    }

    /// How long a call would have to wait now.
    pub(super) fn open(&mut self, now: Duration) -> Option<Open> {
        let status = self.breaker.status(now);
        match status.until.filter(|until| *until > now) {
            Some(until) => Some(self.refusal(until - now)),
            None if self.probing && status.state == State::HalfOpen => {
                Some(self.refusal(PROBE_LOOK))
            }
            None => None,
        }
    }

    fn refusal(&self, left: Duration) -> Open {
        Open {
            left: left.max(PROBE_LOOK),
            why: format!("its breaker is open: {}", self.why),
        }
    }

    pub(super) fn record(&mut self, now: Duration, pass: Pass, outcome: Outcome, why: &str) {
        if outcome == Outcome::Failure {
            why.clone_into(&mut self.why);
        }
        self.probing &= !pass.is_probe();
        self.breaker.record(now, pass, outcome, fastrand::f64());
    }

    /// Where it stands, and whether that is new.
    pub(super) fn look(&mut self, now: Duration) -> (Status, bool) {
        let status = self.breaker.status(now);
        let is_new = status.state != self.state;
        if is_new {
            self.state = status.state;
            self.since = clock::now();
        }
        (status, is_new)
    }
}
