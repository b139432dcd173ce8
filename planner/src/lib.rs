//! The planner: the only holder of the Claude key. It folds a run's journal, asks the core what must happen next, asks Claude
//! where that is the answer, and appends the decision.
//!
//! Order of writes, for every Claude call: claim -> call -> **save the reply in the claim** -> check -> append the decision,
//! expecting the chain's last sequence -> save the state -> ack. A crash before the save costs one call, which is counted as
//! wasted; a crash after it costs nothing.

mod alone;
mod ask;
mod batch;
mod caller;
mod claude;
mod dead;
mod family;
mod handle;
mod lanes;
mod nudge;
mod observe;
mod questions;
mod session;
mod spans;
mod stop;
mod work;

use std::{sync::Arc, time::Duration};

use flotilla_common::{
    beat::{ClaudeBeat, Role},
    breaker,
    entry::Kind,
    io::{
        beat::{Besides, Heart, Work},
        bus::BusError,
        ceilings::Ceilings,
        definitions::Live,
        journal::Journal,
        lessons::Lessons,
        limiter::{Limiter, LimiterConfig},
        money::Money,
        store::Store,
        streams::ensure_consumer,
        worker::{self, Gate, HANDLED_MAX, Loop},
    },
    names::{consumer, stream, subject},
};
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

pub use alone::{Alone, AskedAlone, Purse};
pub use batch::BatchConfig;
pub use claude::{
    Answer, Billed, CallError, Claude, ClaudeConfig, ClaudeError, ErrorKind, Key, ModelsError,
};

use batch::Batches;
use caller::{Breakers, Caller, Waiting};
use handle::Planner;

/// How long what is cut off at the end of draining may take to be handed back.
const HAND_BACK_GRACE: Duration = Duration::from_secs(3);

/// How long the end waits for calls to be settled.
const BEHIND_MAX: Duration = Duration::from_secs(3);
/// When a model's breaker opens, and for how long: a probe every half minute at least, so that the end of a storm is seen soon.
const BREAKER: breaker::Settings = breaker::Settings {
    consecutive: 8,
    window: Duration::from_secs(30),
    calls_min: 20,
    failure_rate: 0.6,
    cool_min: Duration::from_secs(2),
    cool_max: Duration::from_secs(30),
    probes: 2,
    probe_max: Duration::from_secs(600),
};

/// What a planner needs.
#[derive(Debug)]
pub struct Config {
    /// The journal; its streams have been ensured.
    pub journal: Journal,
    /// Redis.
    pub store: Store,
    /// The definitions.
    pub definitions: Live,
    /// Claude.
    pub claude: ClaudeConfig,
    /// Limits that are set, in place of or below those that Claude's answers tell.
    pub limits: LimiterConfig,
    /// First pause of a run that waits because Claude does not answer; later ones are longer.
    pub park_pause: Duration,
    /// How batches are made and looked at.
    pub batch: BatchConfig,
    /// This process, for people who look into Redis.
    pub worker: String,
    /// Runs in work at once, which is also Claude calls in flight at most.
    pub slots: usize,
    /// Ack-wait of the consumer, and length of a claim's lease.
    pub ack_wait: Duration,
    /// How long a shutdown waits for calls in flight.
    pub drain: Duration,
}

/// Why a planner cannot start.
#[derive(Debug, thiserror::Error)]
pub enum PlannerError {
    /// NATS or a consumer.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// Claude's settings.
    #[error(transparent)]
    Claude(#[from] ClaudeError),
}

/// Plans until `stop`, then drains.
///
/// # Errors
/// [`PlannerError`]; only at the start.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), PlannerError> {
    // NATS or Redis may be away for long.
    let opening = Box::pin(open(&config));
    let Some(opened) = stop.run_until_cancelled(opening).await else {
        return Ok(());
    };
    let Opened {
        pulling,
        ceilings,
        lessons,
    } = opened?;
    let limiter = Limiter::new(&config.store, config.limits);
    let money = Money::new(config.store.clone(), config.ack_wait);
    let behind = TaskTracker::new();
    let patience = config.claude.patience;
    let claude = Arc::new(Claude::new(config.claude, config.slots)?);
    let breakers = Arc::new(Breakers::new(BREAKER));
    let work = Work::default();
    let heart = {
        let (bus, slots) = (config.journal.bus(), Some(config.slots));
        Heart::new(bus, Role::Planner, &config.worker, slots, work.clone())
    };
    let of_claude = of_claude(&claude, &breakers, &limiter);
    let (batches, collecting) = Batches::begin(
        Arc::clone(&claude),
        Arc::clone(&breakers),
        &config.store,
        config.worker,
        config.batch,
        stop.clone(),
    );
    let caller = Caller {
        patience,
        claude,
        breakers,
        limiter: limiter.clone(),
        money: money.clone(),
        ceilings: ceilings.watch(stop.clone()),
        journal: config.journal.clone(),
        park_pause: config.park_pause,
        lease: config.ack_wait,
        stop: stop.clone(),
        waiting: Waiting::new(config.slots),
        summing: Mutex::default(),
        behind: behind.clone(),
    };
    let abandon = CancellationToken::new();
    let counting = observe::keep_counters(config.definitions.clone());
    let planner = Arc::new(Planner::new(
        config.journal.clone(),
        config.store,
        config.definitions,
        caller,
        batches,
        lessons,
        abandon.clone(),
    ));
    info!(slots = config.slots, "planner ready");
    let listening = Arc::clone(&planner);
    let handler = move |incoming| {
        let (planner, working) = (Arc::clone(&planner), work.begin());
        async move {
            let handled = planner.handle(incoming).await;
            drop(working);
            handled
        }
    };
    let bus = config.journal.bus().clone();
    let listening = async {
        nudge::listen(&bus, &listening, &stop).await;
        std::future::pending::<()>().await;
    };
    let abandoning = async {
        stop.cancelled().await;
        sleep(config.drain).await;
        abandon.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = worker::run(pulling, config.journal, handler, stop.clone()) => {}
        () = abandoning => {}
        () = listening => {}
        () = counting => {}
        () = heart.beat(&stop, of_claude) => {}
    }
    heart.gone().await;
    collecting.finish(HAND_BACK_GRACE).await;
    settle(&behind, &money, &limiter).await;
    Ok(())
}

/// What is there before anything is pulled.
struct Opened {
    pulling: Loop,
    ceilings: Ceilings,
    lessons: Lessons,
}

async fn open(config: &Config) -> Result<Opened, PlannerError> {
    let bus = config.journal.bus();
    let pulling = pulling(config).await?;
    // So that executors can tell what is decided from now on from what Redis may have forgotten.
    if let Err(problem) = config.store.begin_memory(&config.journal).await {
        warn!(%problem, "what Redis remembers is not known yet; executors will find out");
    }
    Ok(Opened {
        pulling,
        ceilings: Ceilings::open(bus).await.map_err(BusError::from)?,
        lessons: Lessons::open(bus).await.map_err(BusError::from)?,
    })
}

/// What this planner's beats say of Claude.
fn of_claude(
    claude: &Arc<Claude>,
    breakers: &Arc<Breakers>,
    limiter: &Limiter,
) -> impl Fn() -> Besides + use<> {
    let (claude, breakers) = (Arc::clone(claude), Arc::clone(breakers));
    let limiter = limiter.clone();
    move || {
        Besides::Claude(ClaudeBeat {
            in_flight: claude.in_flight(),
            limiter_degraded: limiter.is_degraded(),
            breakers: breakers.standing(),
        })
    }
}

/// How entries are pulled, from the consumer of all planners.
async fn pulling(config: &Config) -> Result<Loop, PlannerError> {
    let kinds = [Kind::Started, Kind::Resulted, Kind::Signalled, Kind::Fired];
    let filters = kinds.into_iter().map(subject::every).collect();
    let consumer = ensure_consumer(
        config.journal.bus(),
        stream::RUNS,
        consumer::PLANNER,
        filters,
        config.ack_wait,
    );
    Ok(Loop {
        consumer: consumer.await.map_err(BusError::from)?,
        role: "planner",
        name: consumer::PLANNER.to_owned(),
        slots: config.slots,
        ack_wait: config.ack_wait,
        drain: config.drain + HAND_BACK_GRACE,
        gate: Gate::default(),
        deliveries_max: HANDLED_MAX,
    })
}

/// Tells what is not told yet of calls that ended.
async fn settle(behind: &TaskTracker, money: &Money, limiter: &Limiter) {
    behind.close();
    if timeout(BEHIND_MAX, behind.wait()).await.is_err() {
        debug!("not every call was settled; what is held lapses");
    }
    if let Err(problem) = money.finish().await {
        debug!(%problem, "the last calls were not charged to the day");
    }
    limiter.finish().await;
}
