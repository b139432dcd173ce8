//! The gateway: events in over HTTP, runs started from them, and what runs do to look at. It holds no secrets and decides
//! nothing: what it accepts is on the stream EVENTS before it says so, and every answer about a run is read from the journal.

mod alertmanager;
mod body;
mod ceilings;
mod events;
mod explain;
mod fields;
mod history;
mod index;
mod intake;
mod list;
mod problem;
mod promise;
mod publish;
mod query;
mod resume;
mod routes;
mod signal;
mod tally;
mod triggers;

use std::{sync::Arc, time::Duration};

use flotilla_common::{
    definition::Catalogue,
    io::{
        bus::Bus,
        ceilings::Ceilings,
        http::{self, Health, HttpError},
        journal::Journal,
        money::Money,
        store::Store,
        streams::{StreamError, ensure_consumer, ensure_streams},
        worker::{self, Incoming, Loop},
    },
    names::{consumer, stream, subject},
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use crate::{index::Keeper, intake::Intake, resume::Resumer, routes::App, triggers::Triggers};

/// What a gateway needs.
#[derive(Debug)]
pub struct Config {
    /// NATS, with JetStream.
    pub bus: Bus,
    /// Redis: the index of runs. Events are taken in and runs are started without it too.
    pub store: Store,
    /// The definitions: which events start what.
    pub catalogue: Arc<Catalogue>,
    /// Where HTTP is served, bound already.
    pub listener: TcpListener,
    /// This process's metrics, for `/metrics`.
    pub metrics: PrometheusHandle,
    /// Ack-wait of the intake consumer; all gateways must agree on it.
    pub ack_wait: Duration,
    /// Events turned into runs at once, at least 1.
    pub slots: usize,
    /// How long the stop waits for events in work.
    pub drain: Duration,
}

/// Why a gateway does not run.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A stream or the intake consumer is not as it must be.
    #[error(transparent)]
    Stream(#[from] StreamError),
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
    let filters = vec![subject::ALL_EVENTS.to_owned()];
    let consumer = ensure_consumer(
        &config.bus,
        stream::EVENTS,
        consumer::INTAKE,
        filters,
        config.ack_wait,
    )
    .await?;

    // When HTTP fails, the rest ends too: a gateway that nobody can reach must not look alive.
    let end = stop.child_token();
    let journal = Journal::new(config.bus.clone());
    let triggers = Arc::new(Triggers::new(&config.catalogue));
    let (keeper, index) = Keeper::new(journal.clone(), config.store.clone());
    let tasks = TaskTracker::new();
    tasks.spawn(keeper.run(end.clone()));
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
        triggers: Arc::clone(&triggers),
        catalogue: config.catalogue,
        ceilings,
        money: Money::new(config.store.clone(), config.ack_wait),
        resumer,
        index,
        requests: Semaphore::new(routes::REQUESTS_MAX),
        histories: Semaphore::new(history::HISTORIES_MAX),
    };
    let store = config.store.clone();
    let health = Health {
        bus: config.bus,
        store: config.store,
        metrics: config.metrics,
        stop: end.clone(),
    };
    info!(address = ?config.listener.local_addr().ok(), types = %triggers.known(), "the gateway serves");
    let routes = routes::routes(Arc::new(app), health);
    let serving = async {
        let served = http::serve(config.listener, routes, end.clone()).await;
        end.cancel();
        served
    };

    let settings = Loop {
        consumer,
        role: intake::ROLE,
        name: consumer::INTAKE.to_owned(),
        slots: config.slots,
        ack_wait: config.ack_wait,
        drain: config.drain,
    };
    let intake = Intake {
        journal: journal.clone(),
        store,
        triggers,
        stop: end.clone(),
    };
    let handler = move |message: Incoming| intake.clone().handle(message);
    let (served, _, ()) = tokio::join!(
        Box::pin(serving),
        Box::pin(worker::run(settings, journal, handler, end.clone())),
        tasks.wait(),
    );
    Ok(served?)
}
