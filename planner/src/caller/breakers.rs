//! A breaker per model, shared by all calls of this process.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flotilla_common::{
    beat::ModelBreaker,
    breaker::{Admit, Breaker, Outcome, Pass, Settings, State},
    claude::Model,
    io::telemetry::metric,
};
use metrics::gauge;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::claude::begin_counting;

/// A breaker that lets nothing through.
#[derive(Debug)]
pub(crate) struct Open {
    /// Until a call may be tried again.
    pub(crate) left: Duration,
    /// What the last failure said.
    pub(crate) why: String,
}

/// How soon those look again who wait for somebody else's probe.
const PROBE_LOOK: Duration = Duration::from_secs(1);

/// A call that was let through. Dropped, it was not made, or nobody knows what became of it.
pub(crate) struct Admitted<'a> {
    breakers: &'a Breakers,
    model: &'a Model,
    pass: Option<Pass>,
}

impl Admitted<'_> {
    /// What became of it; `why` of a failure.
    pub(crate) fn ended(mut self, outcome: Outcome, why: Option<&str>) {
        self.record(outcome, why);
    }

    fn record(&mut self, outcome: Outcome, why: Option<&str>) {
        if let Some(pass) = self.pass.take() {
            self.breakers.record(self.model, pass, outcome, why);
        }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.record(Outcome::Neutral, None);
    }
}

struct Guarded {
    breaker: Breaker,
    /// A probe is out.
    probing: bool,
    state: State,
    /// What the last failure said.
    why: String,
}

impl Guarded {
    fn open(&self, left: Duration) -> Open {
        Open {
            left,
            why: format!("its breaker is open: {}", self.why),
        }
    }
}

/// The breakers of all models that were asked.
pub(crate) struct Breakers {
    began: Instant,
    settings: Settings,
    models: Mutex<BTreeMap<String, Guarded>>,
}

impl Breakers {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            began: Instant::now(),
            settings,
            models: Mutex::default(),
        }
    }

    /// Whether the model's breaker would let nothing through now.
    pub(crate) fn open(&self, model: &Model) -> Option<Open> {
        let now = self.began.elapsed();
        self.with(model, |guarded| {
            let status = guarded.breaker.status(now);
            match status.until.filter(|until| *until > now) {
                Some(until) => Some(guarded.open(until - now)),
                None if guarded.probing && status.state == State::HalfOpen => {
                    Some(guarded.open(PROBE_LOOK))
                }
                None => None,
            }
        })
    }

    /// How they stand, by the models' ids.
    pub(crate) fn standing(&self) -> BTreeMap<String, ModelBreaker> {
        let now = self.began.elapsed();
        let mut models = self.lock();
        let standing = models.iter_mut().map(|(id, guarded)| {
            let status = guarded.breaker.status(now);
            let left = status.until.map(|until| until.saturating_sub(now));
            let breaker = ModelBreaker {
                state: status.state,
                left_ms: left.and_then(|left| u64::try_from(left.as_millis()).ok()),
                why: (status.state != State::Closed).then(|| guarded.why.clone()),
            };
            (id.clone(), breaker)
        });
        standing.collect()
    }

    /// Lets a call through, or not.
    pub(crate) fn admit<'a>(&'a self, model: &'a Model) -> Result<Admitted<'a>, Open> {
        let now = self.began.elapsed();
        self.with(model, |guarded| match guarded.breaker.admit(now) {
            Admit::Yes(pass) | Admit::Probe(pass) => {
                guarded.probing |= pass.is_probe();
                Ok(pass)
            }
            Admit::No { until } => Err(guarded.open(until.saturating_sub(now).max(PROBE_LOOK))),
        })
        .map(|pass| Admitted {
            breakers: self,
            model,
            pass: Some(pass),
        })
    }

    fn record(&self, model: &Model, pass: Pass, outcome: Outcome, why: Option<&str>) {
        let now = self.began.elapsed();
        self.with(model, |guarded| {
            if let (Outcome::Failure, Some(why)) = (outcome, why) {
                why.clone_into(&mut guarded.why);
            }
            guarded.probing &= !pass.is_probe();
            guarded.breaker.record(now, pass, outcome, fastrand::f64());
            let state = guarded.breaker.status(now).state;
            if state != guarded.state {
                tell(model, state, &guarded.why);
                guarded.state = state;
            }
        });
    }

    fn with<T>(&self, model: &Model, what: impl FnOnce(&mut Guarded) -> T) -> T {
        let mut models = self.lock();
        let guarded = models.entry(model.id.clone()).or_insert_with(|| {
            gauge!(metric::CLAUDE_BREAKER, "model" => model.id.clone()).set(0.0);
            begin_counting(&model.id);
            Guarded {
                breaker: Breaker::new(self.settings.clone()),
                probing: false,
                state: State::Closed,
                why: String::new(),
            }
        });
        what(guarded)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Guarded>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(model: &Model, state: State, why: &str) {
    let level = match state {
        State::Closed => 0.0,
        State::HalfOpen => 0.5,
        State::Open => 1.0,
    };
    gauge!(metric::CLAUDE_BREAKER, "model" => model.id.clone()).set(level);
    match state {
        State::Open => warn!(model = model.id, why, "breaker open: its calls wait"),
        State::HalfOpen => info!(model = model.id, "breaker half-open: probing"),
        State::Closed => info!(model = model.id, "breaker closed"),
    }
}
