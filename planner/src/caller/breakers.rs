//! A breaker per model, shared by all calls of this process.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flotilla_common::{
    breaker::{Admit, Breaker, Outcome, Pass, Settings, State},
    claude::Model,
    io::telemetry::metric,
};
use metrics::gauge;
use tokio::time::Instant;
use tracing::{info, warn};

/// A breaker that lets nothing through.
#[derive(Debug)]
pub(crate) struct Open {
    /// Until a call may be tried again.
    pub(crate) left: Duration,
    /// What the last failure said.
    pub(crate) why: String,
}

struct Guarded {
    breaker: Breaker,
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
            let until = guarded.breaker.status(now).until?;
            (until > now).then(|| guarded.open(until - now))
        })
    }

    /// Lets a call through, or not.
    pub(crate) fn admit(&self, model: &Model) -> Result<Pass, Open> {
        let now = self.began.elapsed();
        self.with(model, |guarded| match guarded.breaker.admit(now) {
            Admit::Yes(pass) | Admit::Probe(pass) => Ok(pass),
            Admit::No { until } => Err(guarded.open(until.saturating_sub(now))),
        })
    }

    /// What became of a call that was let through.
    pub(crate) fn record(&self, model: &Model, pass: Pass, outcome: Outcome, why: Option<&str>) {
        let now = self.began.elapsed();
        self.with(model, |guarded| {
            if let (Outcome::Failure, Some(why)) = (outcome, why) {
                why.clone_into(&mut guarded.why);
            }
            guarded.breaker.record(now, pass, outcome, fastrand::f64());
            let state = guarded.breaker.status(now).state;
            if state != guarded.state {
                tell(model, state, &guarded.why);
                guarded.state = state;
            }
        });
    }

    /// A call that was let through and not made.
    pub(crate) fn cancelled(&self, model: &Model, pass: Pass) {
        self.record(model, pass, Outcome::Neutral, None);
    }

    fn with<T>(&self, model: &Model, what: impl FnOnce(&mut Guarded) -> T) -> T {
        let mut models = self.lock();
        let guarded = models.entry(model.id.clone()).or_insert_with(|| Guarded {
            breaker: Breaker::new(self.settings.clone()),
            state: State::Closed,
            why: String::new(),
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
