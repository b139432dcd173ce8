//! The algorithm. The script `io/lua/limit*.lua` does the same, operation by operation: change both, or the test that compares
//! them fails.

use super::{
    Answer, BLOCK_DEFAULT_MS, BLOCK_MAX_MS, Flow, Grant, Kinds, Limits, Observed, Reason, Settings,
    Source, Standing, Want,
    level::{Bound, Weighed, cost},
    ramp::Ramp,
    share::{Place, Shares},
};

/// Calls that may be out before the first reply tells which limits there are.
const UNKNOWN_MAX: f64 = 64.0;
/// The place of reserved output among the levels.
const RESERVED: usize = 3;
/// Over how long the calls allowed while nothing is known come back, in ms: no call takes longer, so one that is never settled
/// is over by then.
const UNKNOWN_REFILL_MS: f64 = 600_000.0;
/// When to ask again while those are all out, in ms.
const UNKNOWN_AFTER_MS: u64 = 250;
/// Longest answer of "later", in ms.
const AFTER_MAX_MS: f64 = 60_000.0;

/// What became of a call that was granted.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// Whose it was.
    pub flow: Flow,
    /// What it wanted.
    pub want: Want,
    /// What it was granted.
    pub grant: Grant,
    /// Input tokens that count and output tokens; `None`: it was never sent, or was refused before any work.
    pub used: Option<(u64, u64)>,
}

/// What happened; any of it may be empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// A call is over.
    pub settled: Option<Settled>,
    /// A reply came, with these headers.
    pub observed: Option<Observed>,
    /// The provider said that it is overloaded.
    pub overloaded: bool,
    /// The provider said that a limit is reached, and perhaps for how many ms.
    pub limited: Option<Option<u64>>,
    /// Calls granted without asking, since the last answer that allowed that.
    pub unasked: u32,
}

/// One scope's limits. `now` is in ms since any fixed point, and the same one always.
#[derive(Debug, Clone)]
pub struct Bucket {
    learned: Limits,
    /// Whether any reply came: until then the limits are not known.
    replied: bool,
    /// When the levels were last filled.
    at: Option<f64>,
    /// Requests, input, output, and the output that calls in flight may still produce.
    pub(super) levels: [Option<f64>; 4],
    unknown: f64,
    blocked: f64,
    pub(super) ramp: Ramp,
    pub(super) shares: Shares,
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            learned: Limits::default(),
            replied: false,
            at: None,
            levels: [None; 4],
            unknown: UNKNOWN_MAX,
            blocked: 0.0,
            ramp: Ramp::default(),
            shares: Shares::default(),
        }
    }
}

impl Bucket {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that knows which limits there are, as a reply told them.
    #[must_use]
    pub fn knowing(learned: Limits) -> Self {
        Self {
            learned,
            replied: true,
            ..Self::default()
        }
    }

    /// The same, in use up to now: it need not warm up.
    #[must_use]
    pub fn in_use(mut self, now_ms: u64) -> Self {
        self.ramp.count(now_ms as f64, 1.0);
        self
    }

    /// Reserves what a call wants, or says when to ask again. `unasked`: see [`Report::unasked`].
    pub fn reserve(
        &mut self,
        now_ms: u64,
        settings: &Settings,
        flow: &Flow,
        want: Want,
        unasked: u32,
    ) -> Answer {
        let now = now_ms as f64;
        let bounds = self.fill(now, settings);
        self.ramp.count(now, f64::from(unasked));
        let place = self.shares.ask(now, flow);
        if now < self.blocked {
            return later((self.blocked - now).min(AFTER_MAX_MS), Reason::Blocked);
        }
        self.ramp.step(now, bounds[0].map(|bound| bound.rate));
        let from = self.from(&bounds);
        if from == Source::Unknown && self.unknown < 1.0 {
            return Answer::Later {
                after_ms: UNKNOWN_AFTER_MS,
                why: Reason::Rate,
            };
        }
        let (input_ratio, output_ratio) = self.shares.ratios(flow);
        let max = want.output_max as f64;
        let (input, output) = (want.input_estimate as f64 * input_ratio, max * output_ratio);
        let costs = [1.0, input, output, max];
        if let Some(refused) = self.weigh(&bounds, costs, place) {
            return refused;
        }
        let request = self.request_cost(&bounds);
        let cost = cost(&bounds, request, input, output);
        self.take(&costs, from);
        self.ramp.count(now, 1.0);
        Answer::Granted(Grant {
            from,
            in_share: place.headroom == 0.0,
            input,
            output,
            moved: self.shares.charge(now, flow, place, request, cost),
        })
    }

    /// Takes in what happened.
    pub fn report(&mut self, now_ms: u64, settings: &Settings, report: &Report) {
        if *report == Report::default() {
            return;
        }
        let now = now_ms as f64;
        let mut bounds = self.fill(now, settings);
        self.ramp.count(now, f64::from(report.unasked));
        if let Some(settled) = &report.settled {
            self.settle(now, &bounds, settled);
            self.learn(settled, report.observed.is_some());
        }
        if let Some(observed) = &report.observed {
            self.observe(observed);
            bounds = self.fill(now, settings);
            self.correct(observed);
        }
        if let Some(after) = report.limited {
            let for_ms = after.unwrap_or(BLOCK_DEFAULT_MS).min(BLOCK_MAX_MS);
            self.blocked = self.blocked.max(now + for_ms as f64);
        }
        if report.overloaded {
            self.ramp.overloaded(now, bounds[0].map(|bound| bound.rate));
        }
    }

    /// Where it stands. `fleet`: how many processes share it, which only its owner knows.
    pub fn standing(&self, now_ms: u64, settings: &Settings, fleet: u64) -> Standing {
        let now = now_ms as f64;
        // Who only looks leaves no trace.
        let mut looked = self.clone();
        let bounds = looked.fill(now, settings);
        let [requests, input, output, _] = looked.levels;
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Standing {
            limits: settings.limits(self.learned),
            learned: looked.learned,
            levels: Kinds {
                requests,
                input,
                output,
            },
            cap_per_s: looked.ramp.cap.map(|cap| cap.rate * 1_000.0),
            blocked_until_ms: (looked.blocked > now).then_some(looked.blocked as u64),
            unlimited: looked.from(&bounds) == Source::Unlimited,
            tenants: count(looked.shares.active_tenants(now)),
            flows: count(looked.shares.active_flows(now)),
            fleet,
        }
    }

    /// Fills the levels up to now, and gives their bounds.
    fn fill(&mut self, now: f64, settings: &Settings) -> [Option<Bound>; 4] {
        let bounds = settings.bounds(self.learned);
        // A clock that was set back fills nothing, and goes on from there.
        let passed = (now - self.at.unwrap_or(now)).max(0.0);
        self.at = Some(now);
        for (level, bound) in self.levels.iter_mut().zip(bounds) {
            *level = bound.map(|bound| {
                level.map_or(bound.capacity, |level| {
                    (level + bound.rate * passed).min(bound.capacity)
                })
            });
        }
        self.unknown = (self.unknown + passed * UNKNOWN_MAX / UNKNOWN_REFILL_MS).min(UNKNOWN_MAX);
        self.ramp.refill(passed);
        bounds
    }

    fn from(&self, bounds: &[Option<Bound>; 4]) -> Source {
        if bounds.iter().any(Option::is_some) || self.ramp.cap.is_some() && self.replied {
            Source::Levels
        } else if self.replied {
            Source::Unlimited
        } else {
            Source::Unknown
        }
    }

    /// Why a call must wait, if it must.
    fn weigh(&self, bounds: &[Option<Bound>; 4], costs: [f64; 4], place: Place) -> Option<Answer> {
        let levels = self.levels.iter().zip(bounds).zip(costs).enumerate();
        let levels = levels.filter_map(|(kind, ((level, bound), cost))| {
            Some(Weighed {
                level: (*level)?,
                bound: (*bound)?,
                cost,
                whole: kind == RESERVED,
                ramp: false,
            })
        });
        let cap = self.ramp.cap.map(|cap| Weighed {
            level: cap.level,
            bound: Bound {
                rate: cap.rate,
                capacity: cap.capacity(),
            },
            cost: 1.0,
            whole: false,
            ramp: true,
        });
        let (mut with_headroom, mut without, mut ramp) = (0.0_f64, 0.0_f64, false);
        for weighed in levels.chain(cap) {
            let wait = weighed.wait(place.headroom);
            ramp = if wait > with_headroom {
                weighed.ramp
            } else {
                ramp
            };
            with_headroom = with_headroom.max(wait);
            without = without.max(weighed.wait(0.0));
        }
        if with_headroom == 0.0 {
            return None;
        }
        let why = if place.headroom > 0.0 && without == 0.0 {
            Reason::Share
        } else if ramp {
            Reason::Ramp
        } else {
            Reason::Rate
        };
        // Either the level rises far enough, or the flow comes to be within its share.
        let in_share = without.max(place.wait_ms.floor() + 1.0);
        Some(later(with_headroom.min(in_share).min(AFTER_MAX_MS), why))
    }

    fn take(&mut self, costs: &[f64; 4], from: Source) {
        for (level, cost) in self.levels.iter_mut().zip(costs) {
            *level = level.map(|level| level - cost);
        }
        if let Some(cap) = &mut self.ramp.cap {
            cap.level -= 1.0;
        }
        if from == Source::Unknown {
            self.unknown -= 1.0;
        }
    }

    /// How long the scope needs for one request at its full rate, in ms.
    fn request_cost(&self, bounds: &[Option<Bound>; 4]) -> f64 {
        let limit = bounds[0].map_or(0.0, |bound| 1.0 / bound.rate);
        self.ramp.cap.map_or(limit, |cap| limit.max(1.0 / cap.rate))
    }

    fn settle(&mut self, now: f64, bounds: &[Option<Bound>; 4], settled: &Settled) {
        let grant = &settled.grant;
        let max = settled.want.output_max as f64;
        if grant.from == Source::Unknown {
            self.unknown = (self.unknown + 1.0).min(UNKNOWN_MAX);
        }
        if grant.from != Source::Levels {
            return;
        }
        let (back, real) = match settled.used {
            None => ([1.0, grant.input, grant.output, max], 0.0),
            Some((input, output)) => {
                let (input, output) = (input as f64, output as f64);
                let back = [
                    0.0,
                    grant.input - input,
                    grant.output - output,
                    max - output,
                ];
                (back, cost(bounds, grant.moved.request, input, output))
            }
        };
        for ((level, bound), back) in self.levels.iter_mut().zip(bounds).zip(back) {
            if let (Some(level), Some(bound)) = (level, bound) {
                *level = (*level + back).min(bound.capacity);
            }
        }
        if let (None, Some(cap)) = (settled.used, &mut self.ramp.cap) {
            cap.level = (cap.level + 1.0).min(cap.capacity());
        }
        self.shares.settle(now, &settled.flow, &grant.moved, real);
    }

    fn learn(&mut self, settled: &Settled, replied: bool) {
        // What a call without a reply is charged with is a guess: nothing to learn from.
        if let (Some((input, output)), true) = (settled.used, replied) {
            let part = |used: u64, of: u64| (of > 0).then(|| used as f64 / of as f64);
            let input = part(input, settled.want.input_estimate);
            let output = part(output, settled.want.output_max);
            self.shares.learn(&settled.flow, input, output);
        }
    }

    fn observe(&mut self, observed: &Observed) {
        self.replied = true;
        self.learned = self
            .learned
            .zip(*observed)
            .map(|(known, seen)| seen.limit.or(known));
    }

    /// Somebody else may use the same key: less may be left than we think, never more.
    fn correct(&mut self, observed: &Observed) {
        let Kinds {
            requests,
            input,
            output,
        } = observed.map(|seen| seen.remaining);
        let remaining = [requests, input, output, output];
        for (level, remaining) in self.levels.iter_mut().zip(remaining) {
            if let (Some(level), Some(remaining)) = (level, remaining) {
                *level = level.min(remaining as f64);
            }
        }
    }
}

fn later(after: f64, why: Reason) -> Answer {
    Answer::Later {
        after_ms: after.max(1.0) as u64,
        why,
    }
}
