//! The executor: it does what planners decide. It is the only holder of tools' secrets.
//!
//! One durable consumer per tool, so a slow or broken one is nobody else's trouble. Order of writes, for every action: claim its
//! effect -> run the tool with its idempotency key -> append the result -> mark the claim done with it -> ack. What a crash in
//! between costs is for the tool to say: `read` and `idempotent` are run again with the same key, `once` is not: its `reconcile` is
//! asked, or its outcome is `unknown`.

mod action;
pub mod adapter;
mod breakers;
mod claim;
mod decline;
pub mod guard;
mod handle;
mod health;
mod memory;
mod pulling;
mod queue;
mod rates;
mod reconcile;
mod redrive;
mod result;
mod retry;
mod run;
mod spans;
mod states;
mod tools;

use std::{future::Future, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use flotilla_common::{
    beat::Role,
    io::{
        beat::{Besides, Heart},
        blobs::Blobs,
        bus::BusError,
        definitions::Live,
        journal::Journal,
        store::Store,
        tools::{ForcedTools, ToolStates, Unreachable},
    },
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use adapter::{Adapters, Environment, HttpClient, HttpClientError};
use handle::Executor;
use pulling::Pulling;
use states::exchange;

/// How long abandoned tools may take to end and to hand their messages back.
const ABANDON_GRACE: Duration = Duration::from_secs(3);

/// What an executor needs.
#[derive(Debug)]
pub struct Config {
    /// The journal; its streams have been ensured.
    pub journal: Journal,
    /// Redis.
    pub store: Store,
    /// The definitions: tools of all versions, and what is switched off.
    pub definitions: Live,
    /// What this process is called in results.
    pub worker: String,
    /// Tools running at once, all together; `None`: as many as their concurrencies allow.
    pub slots: Option<usize>,
    /// Ack-wait of the consumers, and length of a claim's lease.
    pub ack_wait: Duration,
    /// How long a shutdown waits for tools that run. Those that take longer are killed.
    pub drain: Duration,
    /// Where the variables come from that tools name in `env`.
    pub environment: Environment,
    /// A program that tools' commands are started by, so that they end with this process even when it is killed: it is run as
    /// `LAUNCHER launch PID -- PROGRAM ARGS…`, asks the kernel to be killed when its parent `PID` ends, and becomes the program.
    /// `flotilla` is one. An absolute path; `None`: commands are started directly.
    ///
    /// A killed executor takes only the programs themselves with it, not what they have started: that lives on, if it does not
    /// notice (by a closed pipe, say). An executor that ends by itself kills the whole group.
    pub launcher: Option<PathBuf>,
}

/// Why an executor cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// NATS or a consumer.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The tools' HTTP client.
    #[error(transparent)]
    Http(#[from] HttpClientError),
    /// What people said of tools is not known.
    #[error(transparent)]
    Tools(#[from] Unreachable),
}

/// What is there before anything is pulled for tools.
struct Opened {
    executor: Arc<Executor>,
    /// The loop over what is redriven.
    redrives: Pin<Box<dyn Future<Output = ()> + Send>>,
    states: ToolStates,
    forced: watch::Receiver<ForcedTools>,
}

async fn open(config: &Config, stop: &CancellationToken) -> Result<Opened, ExecutorError> {
    let bus = config.journal.bus();
    let blobs = Box::pin(Blobs::open(bus)).await;
    let adapters = Adapters::new(config.environment.clone(), HttpClient::new()?)
        .with_blobs(blobs.map_err(BusError::from)?)
        .with_launcher(config.launcher.clone())
        .with_bus(bus.clone());
    let executor = Arc::new(Executor::new(config, adapters, stop.clone()));
    memory::begin(&executor.counting, &config.store, &config.journal).await;
    let redrives = redrive::prepare(Arc::clone(&executor), config, stop.clone());
    let redrives = Box::pin(redrives).await.map_err(BusError::from)?;
    let states = Box::pin(ToolStates::open(bus)).await;
    let states = states.map_err(BusError::from)?;
    Ok(Opened {
        executor,
        redrives: Box::pin(redrives),
        forced: Box::pin(states.watch(stop.clone())).await?,
        states,
    })
}

/// Runs tools until `stop`, then drains.
///
/// # Errors
/// [`ExecutorError`]; only at the start.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), ExecutorError> {
    // NATS or Redis may be away for long.
    let opening = Box::pin(open(&config, &stop));
    let Some(opened) = stop.run_until_cancelled(opening).await else {
        return Ok(());
    };
    let Opened {
        executor,
        redrives,
        states,
        forced,
    } = opened?;
    claim::begin_counting();
    let (definitions, drain) = (config.definitions.clone(), config.drain);
    executor.breakers.update(&definitions.current());
    executor.breakers.force(&forced.borrow());
    let beside = {
        let (executor, stop) = (Arc::clone(&executor), stop.clone());
        async move {
            let cooling = executor.breakers.keep(stop.clone());
            let exchanging = exchange(Arc::clone(&executor), states, forced, stop);
            tokio::join!(cooling, exchanging);
        }
    };
    let heart = {
        let (bus, work) = (config.journal.bus(), executor.work.clone());
        Heart::new(bus, Role::Executor, &config.worker, config.slots, work)
    };
    let mut pulling = Pulling::new(Arc::clone(&executor), &config, stop.clone());
    {
        let current = definitions.current();
        let following = Box::pin(pulling.follow(&current));
        // What was pulled until a stop is handed back below.
        if let Some(tools) = stop.run_until_cancelled(following).await {
            info!(tools = tools.map_err(BusError::from)?, "executor ready");
        }
    }
    let abandoning = async {
        executor.abandon_after(drain).await;
        std::future::pending::<()>().await;
    };
    let working = Box::pin(async {
        tokio::join!(pulling.go_on(definitions), redrives, beside);
    });
    tokio::select! {
        () = working => {}
        () = abandoning => {}
        () = heart.beat(&stop, || Besides::Nothing) => {}
    }
    heart.gone().await;
    Ok(())
}
