//! The gateway: events in over HTTP, runs started from them, and what runs do to look at. It holds no secrets and decides
//! nothing: what it accepts is on the stream EVENTS before it says so, and every answer about a run is read from the journal.

mod alertmanager;
mod approvals;
mod blobs;
mod body;
mod ceilings;
mod cron;
mod current;
mod dead;
mod definitions;
mod effects;
mod events;
mod explain;
mod fields;
mod fork;
mod history;
mod index;
mod intake;
mod large;
mod list;
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
mod sweep;
mod tally;
mod triggers;
mod verdict;

use std::{sync::Arc, time::Duration};

use flotilla_common::{
    claude::Models,
    io::{
        blobs::Blobs,
        bus::Bus,
        ceilings::Ceilings,
        definitions::{Definitions, Live},
        http::{self, Health, HttpError},
        journal::{Journal, JournalError},
        leases::Leases,
        lessons::Lessons,
        money::Money,
        schedules::Schedules,
        store::Store,
        streams::{StreamError, ensure_consumer, ensure_streams},
        tools::ToolStates,
        worker::{self, Gate, HANDLED_MAX, Incoming, Loop},
    },
    names::{consumer, stream, subject},
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use crate::{
    blobs::Outlet, cron::Crons, current::Current, dead::Post, definitions::Desk, index::Keeper,
    intake::Intake, large::Large, resume::Resumer, routes::App, sweep::Sweeper,
};

/// What a gateway needs.
#[derive(Debug)]
pub struct Config {
    /// NATS, with JetStream.
    pub bus: Bus,
    /// Redis: the index of runs. Events are taken in and runs are started without it too.
    pub store: Store,
    /// The definitions: which events start what.
    pub definitions: Live,
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
    /// HTTP cannot be served.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// Serves HTTP and turns events into runs until `stop`, then ends what is in work.
///
/// # Errors
/// [`GatewayError`].
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), GatewayError> {
    ensure_streams(&config.bus).await?;
    let ceilings = Box::pin(Ceilings::open(&config.bus)).await?;
    let lessons = Box::pin(Lessons::open(&config.bus)).await?;
    let tools = Box::pin(ToolStates::open(&config.bus)).await?;
    let definitions = Box::pin(Definitions::open(&config.bus)).await?;
    let blobs = Box::pin(Blobs::open(&config.bus)).await?;
    let (events, due) = loops(&config).await?;
    let (letters, advisories) = Box::pin(dead::loops(&config, &events)).await?;

    // When HTTP fails, the rest ends too: a gateway that nobody can reach must not look alive.
    let end = stop.child_token();
    let journal = Journal::new(config.bus.clone());
    let intake = Intake {
        journal: journal.clone(),
        store: config.store.clone(),
        current: Current::new(config.definitions.clone()),
        lessons: lessons.clone(),
        stop: end.clone(),
    };
    let crons = Crons::new(Schedules::new(journal.clone()), intake.clone());
    crons.ensure().await?;
    let (keeper, index) = Keeper::new(journal.clone(), config.store.clone());
    let tasks = TaskTracker::new();
    tasks.spawn(keeper.run(end.clone()));
    tasks.spawn(crons.clone().keep_current());
    let post = Box::pin(Post::open(journal.clone(), intake.current.clone())).await?;
    post.work(&tasks, &end);
    let sweeper = Sweeper {
        blobs: blobs.clone(),
        journal: journal.clone(),
        leases: Box::pin(Leases::open(&config.bus)).await?,
        keep: config.blobs_keep,
    };
    tasks.spawn(sweeper.run(end.clone()));
    tasks.close();
    let resumer = Resumer::new(
        journal.clone(),
        config.store.clone(),
        index.clone(),
        tasks.clone(),
        end.clone(),
    );

    let app = App {
        journal: journal.clone(),
        store: config.store.clone(),
        current: intake.current.clone(),
        definitions: Desk::new(definitions, config.definitions, config.models),
        ceilings,
        lessons,
        tools,
        money: Money::new(config.store.clone(), config.ack_wait),
        resumer,
        index,
        post: post.clone(),
        large: Large::new(blobs.clone(), config.event_bytes_max),
        outlet: Outlet::new(blobs, tasks.clone(), end.clone()),
        requests: Semaphore::new(routes::REQUESTS_MAX),
        histories: Semaphore::new(history::HISTORIES_MAX),
    };
    let health = Health {
        bus: config.bus,
        store: config.store,
        metrics: config.metrics,
        stop: end.clone(),
    };
    info!(address = ?config.listener.local_addr().ok(), types = %intake.current.triggers().known(), "the gateway serves");
    let routes = routes::routes(Arc::new(app), health);
    let serving = async {
        let served = http::serve(config.listener, routes, end.clone()).await;
        end.cancel();
        served
    };

    let handler = move |message: Incoming| intake.clone().handle(message);
    let on_due = move |message: Incoming| crons.clone().handle(message);
    let letters = post.follow(letters, advisories, end.clone());
    let (served, _, _, (), ()) = tokio::join!(
        Box::pin(serving),
        Box::pin(worker::run(events, journal.clone(), handler, end.clone())),
        Box::pin(worker::run(due, journal, on_due, end.clone())),
        Box::pin(letters),
        tasks.wait(),
    );
    Ok(served?)
}

/// How events that came in, and what falls due by the clock, are pulled.
async fn loops(config: &Config) -> Result<(Loop, Loop), StreamError> {
    let consume = async |stream, name, subjects: &str| {
        let filters = vec![subjects.to_owned()];
        ensure_consumer(&config.bus, stream, name, filters, config.ack_wait).await
    };
    let events = Loop {
        consumer: consume(stream::EVENTS, consumer::INTAKE, subject::ALL_EVENTS).await?,
        role: intake::ROLE,
        name: consumer::INTAKE.to_owned(),
        slots: config.slots,
        ack_wait: config.ack_wait,
        drain: config.drain,
        gate: Gate::default(),
        deliveries_max: HANDLED_MAX,
    };
    let due = Loop {
        consumer: consume(stream::CRON, consumer::CRON, subject::ALL_CRON_DUE).await?,
        name: consumer::CRON.to_owned(),
        slots: cron::SLOTS,
        ..events.clone()
    };
    Ok((events, due))
}
