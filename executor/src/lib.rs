//! The executor: it does what planners decide. It is the only holder of tools' secrets.
//!
//! One durable consumer per tool, so a slow or broken one is nobody else's trouble. Order of writes, for every action: claim its
//! effect -> run the tool with its idempotency key -> append the result -> mark the claim done with it -> ack. What a crash in
//! between costs is for the tool to say: `read` and `idempotent` are run again with the same key, `once` is not, and its
//! outcome is `unknown`.

mod action;
pub mod adapter;
mod claim;
pub mod guard;
mod handle;
mod result;
mod tools;

use std::{path::PathBuf, sync::Arc, time::Duration};

use flotilla_common::{
    definition::Catalogue,
    io::{
        bus::BusError,
        journal::Journal,
        store::Store,
        streams::ensure_consumer,
        worker::{self, Loop},
    },
    names::{consumer, stream, subject},
};
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use adapter::{Adapters, Environment, HttpClient, HttpClientError};
use handle::Executor;

/// How long abandoned tools may take to end and to hand their messages back.
const ABANDON_GRACE: Duration = Duration::from_secs(3);

/// What an executor needs.
#[derive(Debug)]
pub struct Config {
    /// The journal; its streams have been ensured.
    pub journal: Journal,
    /// Redis.
    pub store: Store,
    /// The definitions.
    pub catalogue: Arc<Catalogue>,
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
}

/// Runs tools until `stop`, then drains.
///
/// # Errors
/// [`ExecutorError`]; only at the start.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), ExecutorError> {
    let adapters = Adapters::new(config.environment.clone(), HttpClient::new()?)
        .with_launcher(config.launcher.clone());
    let executor = Arc::new(Executor::new(&config, adapters, stop.clone()));
    let mut loops = Vec::new();
    for (tool, slots) in executor.tools.consumers() {
        let name = consumer::tool(&tool);
        let filters = vec![subject::decided(&tool)];
        let bus = config.journal.bus();
        let consumer = ensure_consumer(bus, stream::RUNS, &name, filters, config.ack_wait)
            .await
            .map_err(BusError::from)?;
        let pulling = Loop {
            consumer,
            role: handle::ROLE,
            name,
            slots,
            ack_wait: config.ack_wait,
            drain: config.drain + ABANDON_GRACE,
        };
        let executor = Arc::clone(&executor);
        let handler = move |incoming| {
            let executor = Arc::clone(&executor);
            async move { executor.handle(incoming).await }
        };
        loops.push(worker::run(
            pulling,
            config.journal.clone(),
            handler,
            stop.clone(),
        ));
    }
    if loops.is_empty() {
        warn!("no tool is defined: this executor has nothing to do");
        stop.cancelled().await;
        return Ok(());
    }
    info!(tools = loops.len(), "executor ready");
    let abandoning = async {
        executor.abandon_after(config.drain).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = join_all(loops) => {}
        () = abandoning => {}
    }
    Ok(())
}
