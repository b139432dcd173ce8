//! The gateway: events in over HTTP, runs started from them, and what runs do to look at. It holds no secrets and decides
//! nothing: what it accepts is on the stream EVENTS before it says so, and every answer about a run is read from the journal.

mod access;
mod alertmanager;
mod approvals;
mod backlog;
mod blobs;
mod body;
mod ceilings;
mod console;
mod counters;
mod cron;
mod current;
mod dead;
mod definitions;
mod effects;
mod ended;
mod events;
mod explain;
mod fields;
mod fleet;
mod fork;
mod history;
mod hooks;
mod index;
mod intake;
mod large;
mod list;
mod live;
mod openapi;
mod opened;
mod patience;
mod problem;
mod promise;
mod publish;
mod query;
mod raw;
mod resume;
mod routes;
#[cfg(test)]
mod sample;
mod signal;
mod spans;
mod stats;
mod sweep;
mod tally;
mod triggers;
mod turns;
mod usage;
mod verdict;

use std::{sync::Arc, time::Duration};

use flotilla_common::{
    beat::{HttpBeat, Role},
    claude::Models,
    io::{
        beat::{Besides, Heart, Listening, Work},
        bus::Bus,
        definitions::Live,
        http::{self, Health},
        journal::JournalError,
        limiter::{Limiter, LimiterConfig},
        listener::connections_max,
        money::Money,
        room::Room,
        store::Store,
        streams::StreamError,
        tls::Tls,
        tokens,
        usage::Ledger,
        worker::{self, Incoming},
    },
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use crate::{
    access::Access,
    backlog::{Backlog, Lookout},
    blobs::Outlet,
    console::Pulse,
    definitions::Desk,
    fleet::Sampler,
    index::Keeper,
    large::Large,
    live::Hub,
    opened::Opened,
    resume::Resumer,
    routes::App,
    sweep::Sweeper,
    turns::Turns,
    usage::Follower,
};

/// Whether requests must show who they speak for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// By a token.
    Tokens,
    /// Not at all: for loopback addresses, where only this machine's own programs get through.
    Off,
}

/// What a gateway needs.
#[derive(Debug)]
pub struct Config {
    /// NATS, with JetStream.
    pub bus: Bus,
    /// Redis: the index of runs. Events are taken in and runs are started without it too.
    pub store: Store,
    /// The definitions: which events start what.
    pub definitions: Live,
    /// Whether requests must show a token.
    pub auth: Auth,
    /// What HTTP is served by in place of plain text.
    pub tls: Option<Tls>,
    /// Where HTTP is served, bound already.
    pub listener: TcpListener,
    /// What definitions that are applied are checked with.
    pub models: Arc<Models>,
    /// This process's metrics, for `/metrics`.
    pub metrics: PrometheusHandle,
    /// Ack-wait of the intake consumer; all gateways must agree on it.
    pub ack_wait: Duration,
    /// Events turned into runs at once, at least 1.
    pub slots: usize,
    /// How long the stop waits for events in work.
    pub drain: Duration,
    /// Largest event that is taken over HTTP, in bytes.
    pub event_bytes_max: usize,
    /// How long blobs stay after the end of their run.
    pub blobs_keep: Duration,
    /// Who may watch runs live at once, at most; fewer where the limit on open files leaves less room for connections.
    pub watchers_max: usize,
    /// Events that may wait for their runs; near it, no more are taken over HTTP.
    pub pending_max: u64,
}

/// Why a gateway does not run.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A stream or the intake consumer is not as it must be.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The schedules of workflows with a cron expression cannot be set.
    #[error("the schedules of workflows with a cron expression cannot be set: {0}")]
    Schedules(#[from] JournalError),
    /// The tokens cannot be read.
    #[error(transparent)]
    Tokens(#[from] tokens::Unreachable),
}

/// Serves HTTP and turns events into runs until `stop`, then ends what is in work.
///
/// # Errors
/// [`GatewayError`].
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), GatewayError> {
    counters::begin();
    // When HTTP fails, the rest ends too: a gateway that nobody can reach must not look alive.
    let end = stop.child_token();
    // NATS may be away for long.
    let opening = Box::pin(Opened::open(&config, &end));
    let Some(opened) = stop.run_until_cancelled(opening).await else {
        return Ok(());
    };
    let Opened {
        journal,
        ceilings,
        tools,
        definitions,
        blobs,
        leases,
        book,
        keys,
        intake,
        crons,
        post,
        events,
        due,
        letters,
        advisories,
    } = opened?;
    let (keeper, index) = Keeper::new(journal.clone(), config.store.clone());
    let tasks = TaskTracker::new();
    let hub = Hub::new(
        journal.clone(),
        config.store.clone(),
        watchers(config.watchers_max),
        &tasks,
        end.clone(),
    );
    tasks.spawn(keeper.run(end.clone()));
    tasks.spawn(crons.clone().keep_current());
    post.work(&tasks, &end);
    let sweeper = Sweeper {
        blobs: blobs.clone(),
        journal: journal.clone(),
        leases,
        keep: config.blobs_keep,
    };
    tasks.spawn(sweeper.run(end.clone()));
    let backlog = Backlog::default();
    let lookout = Lookout {
        room: Room::new(
            config.bus.clone(),
            events.consumer.clone(),
            config.pending_max,
        ),
        backlog: backlog.clone(),
    };
    tasks.spawn(lookout.run(end.clone()));
    tasks.close();
    let follower = Follower {
        journal: journal.clone(),
        ledger: Ledger::new(&config.store),
        who: config.store.worker().to_owned(),
    };
    tasks.spawn(follower.run(end.clone()));
    let resumer = Resumer::new(
        journal.clone(),
        config.store.clone(),
        index.clone(),
        tasks.clone(),
        end.clone(),
    );

    let telling = (Arc::clone(&book), end.clone());
    tasks.spawn(async move { telling.0.tell(telling.1).await });
    let limiter = Limiter::new(&config.store, LimiterConfig::of(&config.models));
    let app = App {
        by_tls: config.tls.is_some(),
        access: Access::new(config.auth, keys, book),
        journal: journal.clone(),
        store: config.store.clone(),
        current: intake.current.clone(),
        definitions: Desk::new(definitions, config.definitions, config.models),
        ceilings,
        lessons: intake.lessons.clone(),
        tools,
        money: Money::new(config.store.clone(), config.ack_wait),
        resumer,
        index,
        hub,
        post: post.clone(),
        large: Large::new(blobs.clone(), config.event_bytes_max),
        outlet: Outlet::new(blobs, tasks.clone(), end.clone()),
        backlog: backlog.clone(),
        turns: Turns::default(),
        waiting: Semaphore::new(ended::WAITING_MAX),
        histories: Semaphore::new(history::HISTORIES_MAX),
        ledger: Ledger::new(&config.store),
        fleet: Sampler::new(Listening::default(), limiter),
        pulse: Pulse::default(),
    };
    let app = Arc::new(app);
    tasks.spawn(Sampler::run(Arc::clone(&app), end.clone()));
    let work = Work::default();
    let (worker, slots) = (app.store.worker(), Some(config.slots));
    let heart = Heart::new(&config.bus, Role::Gateway, worker, slots, work.clone());
    let health = Health {
        bus: config.bus,
        store: config.store,
        metrics: config.metrics,
        stop: end.clone(),
    };
    info!(address = ?config.listener.local_addr().ok(), types = %intake.current.triggers().known(), "the gateway serves");
    let routes = routes::routes(Arc::clone(&app), health);
    let serving = async {
        match config.tls {
            None => http::serve(config.listener, routes, end.clone()).await,
            Some(tls) => http::serve_tls(config.listener, tls, routes, end.clone()).await,
        }
        end.cancel();
    };

    let handler = move |message: Incoming| {
        let (intake, working) = (intake.clone(), work.begin());
        async move {
            let handled = intake.handle(message).await;
            drop(working);
            handled
        }
    };
    let on_due = move |message: Incoming| crons.clone().handle(message);
    let letters = post.follow(letters, advisories, end.clone());
    let working = async {
        tokio::join!(
            Box::pin(serving),
            Box::pin(worker::run(events, journal.clone(), handler, end.clone())),
            Box::pin(worker::run(due, journal, on_due, end.clone())),
            Box::pin(letters),
            tasks.wait(),
        )
    };
    let beating = heart.beat(&end, || {
        let requests = app.turns.taken();
        Besides::Http(HttpBeat { requests })
    });
    tokio::select! {
        _ = Box::pin(working) => {}
        () = beating => return Ok(()),
    }
    heart.gone().await;
    Ok(())
}

/// Who may watch at once: a quarter of the connections is left to those who ask something.
fn watchers(wanted: usize) -> usize {
    wanted.min(connections_max() / 4 * 3)
}
