//! Levels: how much of each limit may be used at once, and what that says to a call.

use super::{Limits, Settings};

const MINUTE_MS: f64 = 60_000.0;
/// Part of a level that flows beyond their share leave to the others; where their tenant is beyond its own too, twice as much.
const HEADROOM: f64 = 0.2;

/// A level's rate per ms, and where it is full.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    pub(super) rate: f64,
    pub(super) capacity: f64,
}

/// What a level says to a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weighed {
    pub(super) level: f64,
    pub(super) bound: Bound,
    pub(super) cost: f64,
    /// Whether it may not run into debt: its level is all that the provider has.
    pub(super) whole: bool,
    /// Whether it is the cap's.
    pub(super) ramp: bool,
}

impl Weighed {
    /// How long until a call fits that leaves `headroom` of the level, in ms. One within its share leaves none, and may run into
    /// debt: it would never fit if it had to wait for its whole cost while smaller ones take what comes in.
    pub(super) fn wait(&self, headroom: f64) -> f64 {
        if headroom == 0.0 && !self.whole {
            if self.level > 0.0 {
                return 0.0;
            }
            return (-self.level / self.bound.rate).floor() + 1.0;
        }
        let need = (self.cost + headroom * HEADROOM * self.bound.capacity).min(self.bound.capacity);
        if self.level >= need {
            0.0
        } else {
            ((need - self.level) / self.bound.rate).floor() + 1.0
        }
    }
}

impl Settings {
    /// The limits in force: the smaller of learned and configured.
    #[must_use]
    pub fn limits(&self, learned: Limits) -> Limits {
        learned.zip(self.configured).map(|pair| match pair {
            (Some(learned), Some(configured)) => Some(learned.min(configured)),
            (learned, configured) => learned.or(configured),
        })
    }

    pub(super) fn bounds(&self, learned: Limits) -> [Option<Bound>; 4] {
        // A limit of nothing counts as one a minute: it says when to look again.
        let limits = self
            .limits(learned)
            .map(|limit| limit.map(|limit| limit.max(1) as f64 * self.fraction));
        let bound = |capacity_ms: f64| {
            move |limit: f64| Bound {
                rate: limit / MINUTE_MS,
                capacity: limit * capacity_ms / MINUTE_MS,
            }
        };
        let burst = bound(self.burst_ms as f64);
        let minute = limits.output.filter(|_| self.output_reserved);
        [
            limits.requests.map(burst),
            limits.input.map(burst),
            limits.output.map(burst),
            minute.map(bound(MINUTE_MS)),
        ]
    }
}

/// How long the scope needs for a call at its full rate, in ms: by what it takes most of.
pub(super) fn cost(bounds: &[Option<Bound>; 4], request: f64, input: f64, output: f64) -> f64 {
    let [_, by_input, by_output, _] = bounds;
    let part = |bound: &Option<Bound>, used: f64| bound.map_or(0.0, |bound| used / bound.rate);
    request
        .max(part(by_input, input))
        .max(part(by_output, output))
}
