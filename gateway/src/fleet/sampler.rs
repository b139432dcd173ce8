//! One look at the fleet for all who ask: every two seconds while somebody does, more seldom for the metrics otherwise.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use flotilla_common::{
    beat::Role,
    io::{beat::Listening, ceilings::Payer, limiter::Limiter, telemetry::metric},
};
use metrics::gauge;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{sources, view::Fleet};
use crate::{
    ceilings::{Line, Listed},
    routes::App,
};

/// From one look to the next while somebody asks.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// From one look to the next otherwise.
const IDLE_EVERY: Duration = Duration::from_secs(15);
/// After the last question, nobody asks any more.
const IDLE_AFTER: Duration = Duration::from_secs(60);
/// A look that is older is not shown without another.
const FRESH: Duration = Duration::from_secs(4);
/// How long a question waits for a look.
const LOOK_PATIENCE: Duration = Duration::from_secs(8);

/// What was seen last, and when.
type Seen = Option<(Instant, Arc<Fleet>)>;

/// Looks at the fleet.
#[derive(Debug)]
pub(crate) struct Sampler {
    /// What processes say of themselves.
    pub(super) heard: Listening,
    /// Where the fleet's rate limits stand.
    pub(super) limiter: Limiter,
    seen: watch::Sender<Seen>,
    asked: Mutex<Option<Instant>>,
    nudge: Notify,
    /// Workflows whose ceiling was told.
    budgeted: Mutex<BTreeSet<String>>,
}

impl Sampler {
    /// One that has not looked yet.
    pub(crate) fn new(heard: Listening, limiter: Limiter) -> Self {
        Self {
            heard,
            limiter,
            seen: watch::Sender::new(None),
            asked: Mutex::default(),
            nudge: Notify::new(),
            budgeted: Mutex::default(),
        }
    }

    /// Tells what workflows may spend today, and what is left of it. Tenants are not told of: their names come with events.
    pub(super) fn show_budgets(&self, listed: &Listed) {
        let mut gone = self.budgeted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut there = BTreeSet::new();
        let of_workflows = |line: &&Line| line.scope == Payer::Workflow && line.known;
        for line in listed.ceilings.iter().filter(of_workflows) {
            let Some(limit) = line.usd_nano.map(|limit| float(limit.nano())) else {
                continue;
            };
            gone.remove(&line.name);
            there.insert(line.name.clone());
            // Redis does not always say what is spent; then what was told last stands.
            if let Some(spent) = line.spent_usd_nano {
                tell_budget(&line.name, limit, limit - float(spent.nano()));
            }
        }
        for name in std::mem::replace(&mut *gone, there) {
            tell_budget(&name, 0.0, 0.0);
        }
    }

    /// How the fleet stands, a few seconds ago at most. Where nobody can look in time, what was seen last.
    pub(crate) async fn latest(&self) -> Arc<Fleet> {
        let mut seen = self.seen.subscribe();
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        if !is_fresh(&seen.borrow_and_update()) {
            self.nudge.notify_one();
            drop(timeout(LOOK_PATIENCE, seen.wait_for(is_fresh)).await);
        }
        let seen = seen.borrow();
        seen.as_ref()
            .map_or_else(Arc::default, |(_, fleet)| Arc::clone(fleet))
    }

    /// Looks until `stop`.
    pub(crate) async fn run(app: Arc<App>, stop: CancellationToken) {
        let bus = app.journal.bus().clone();
        let heard = app.fleet.heard.clone();
        let work = async {
            tokio::join!(Box::pin(app.fleet.keep(&app)), heard.listen(&bus));
        };
        stop.run_until_cancelled(work).await;
    }

    async fn keep(&self, app: &App) {
        loop {
            let began = Instant::now();
            let fleet = Box::pin(sources::look(app)).await;
            show(&fleet);
            self.seen
                .send_replace(Some((Instant::now(), Arc::new(fleet))));
            let next = began + self.pause();
            tokio::select! {
                () = sleep_until(next) => {}
                // Asked after a while: at once, but never as soon as the one before.
                () = self.nudge.notified() => sleep_until(began + LOOK_EVERY / 2).await,
            }
        }
    }

    fn pause(&self) -> Duration {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.is_some_and(|asked| asked.elapsed() < IDLE_AFTER) {
            LOOK_EVERY
        } else {
            IDLE_EVERY
        }
    }
}

fn is_fresh(seen: &Seen) -> bool {
    seen.as_ref().is_some_and(|(at, _)| at.elapsed() < FRESH)
}

fn tell_budget(workflow: &str, limit: f64, left: f64) {
    gauge!(metric::BUDGET_LIMIT, "workflow" => workflow.to_owned()).set(limit);
    gauge!(metric::BUDGET_REMAINING, "workflow" => workflow.to_owned()).set(left);
}

/// What of it is a metric.
fn show(fleet: &Fleet) {
    for queue in &fleet.queues {
        let consumer = &queue.consumer;
        gauge!(metric::CONSUMER_PENDING, "consumer" => consumer.clone()).set(float(queue.pending));
        gauge!(metric::CONSUMER_ACK_PENDING, "consumer" => consumer.clone())
            .set(float(queue.in_flight));
        gauge!(metric::CONSUMER_OLDEST, "consumer" => consumer.clone())
            .set(float(queue.oldest_seconds.unwrap_or(0)));
    }
    for role in Role::ALL {
        let there = |one: &&super::view::Worker| one.role == role && one.state.is_there();
        let count = fleet.workers.iter().filter(there).count();
        gauge!(metric::WORKERS, "role" => role.as_str()).set(float(count as u64));
    }
    for snapshot in &fleet.limits {
        let family = snapshot.scope.strip_prefix("claude:");
        let family = family.unwrap_or(&snapshot.scope);
        let levels = snapshot.standing.levels;
        let kinds = [
            ("requests", levels.requests),
            ("input", levels.input),
            ("output", levels.output),
        ];
        for (kind, level) in kinds {
            if let Some(level) = level {
                gauge!(metric::LIMIT_REMAINING, "model" => family.to_owned(), "kind" => kind)
                    .set(level);
            }
        }
    }
    if let Some(active) = &fleet.active {
        for (status, runs) in [
            ("running", active.running),
            ("waiting", active.waiting),
            ("parked", active.parked),
            ("paused", active.paused),
        ] {
            gauge!(metric::RUNS_ACTIVE, "status" => status).set(float(runs));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts, for dashboards")]
fn float(count: u64) -> f64 {
    count as f64
}
