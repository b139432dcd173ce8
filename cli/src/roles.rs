//! Each role as a process of its own, and what all of them need at the start.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use flotilla_common::io::{
    bus::Bus,
    clock,
    definitions::{self, Definitions, Live},
    http::{self, Health},
    journal::Journal,
    limiter::LimiterConfig,
    store::Store,
    streams::ensure_streams,
    telemetry::{self, LogFormat, Traces},
    tokens::Tokens,
};
use flotilla_executor::adapter::Environment;
use flotilla_gateway::Auth;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use crate::{
    folder::{Bringing, Folder},
    settings::{LogKind, Settings, unknown},
    token,
};

/// All roles in one process.
pub(crate) const UP: &str = "up";
const GATEWAY: &str = "gateway";
const GATEWAY_SLOTS: usize = 256;
const PLANNER_SLOTS: usize = 4_096;
const LOG_FILTER: &str = "info,async_nats=warn";

/// What every role stands on.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    pub(crate) settings: Settings,
    pub(crate) journal: Journal,
    pub(crate) store: Store,
    /// What the fleet runs, kept current for as long as this is there.
    pub(crate) definitions: Live,
    _following: Arc<DropGuard>,
    pub(crate) metrics: PrometheusHandle,
    /// This process's name in claims and results.
    pub(crate) worker: String,
}

/// Sets up logs and metrics for this process.
pub(crate) fn telemetry(settings: &Settings, default: &str) -> anyhow::Result<PrometheusHandle> {
    logs(settings, default)?;
    Ok(telemetry::init_metrics(env!("CARGO_PKG_VERSION"))?)
}

/// Sets up traces for this process, where the environment asks for them.
pub(crate) fn traces(base: &Base, role: &str) -> anyhow::Result<Traces> {
    let service = if role == UP {
        "flotilla".to_owned()
    } else {
        format!("flotilla-{role}")
    };
    let version = env!("CARGO_PKG_VERSION");
    Ok(Traces::begin(&service, &base.worker, version)?)
}

/// Sets up logs alone.
pub(crate) fn logs(settings: &Settings, default: &str) -> anyhow::Result<()> {
    use std::io::IsTerminal as _;
    let terminal = std::io::stderr().is_terminal();
    let format = match settings.log {
        Some(LogKind::Json) => LogFormat::Json,
        None if !terminal => LogFormat::Json,
        Some(LogKind::Text) | None => LogFormat::Text {
            colour: terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        },
    };
    let filter = std::env::var("RUST_LOG")
        .ok()
        .filter(|filter| !filter.is_empty());
    telemetry::init_logs(filter.as_deref(), default, format)?;
    unknown().iter().for_each(|one| warn!("{one}"));
    Ok(())
}

/// NATS as the settings say: where it is, and how many servers keep a stream that is made.
///
/// # Errors
/// A setting is wrong, or NATS does not answer.
pub(crate) async fn bus(settings: &Settings, name: &str) -> anyhow::Result<Bus> {
    let replicas = settings.replicas()?;
    let bus = Box::pin(Bus::connect(settings.nats_url(), name)).await?;
    Ok(Bus { replicas, ..bus })
}

/// Limits that the table of models sets.
fn limits(settings: &Settings) -> anyhow::Result<LimiterConfig> {
    let models = definitions::load_models(settings.models.as_deref())?;
    Ok(LimiterConfig::of(&models))
}

impl Base {
    /// Connects to NATS and Redis and checks both.
    pub(crate) async fn connect(
        settings: Settings,
        role: &str,
        folder: Option<&Folder>,
        metrics: PrometheusHandle,
    ) -> anyhow::Result<Self> {
        let worker = format!("{role}-{:08x}", fastrand::u32(..));
        let bus = bus(&settings, &worker).await?;
        ensure_streams(&bus).await?;
        let following = CancellationToken::new();
        clock::follow(&bus, following.clone()).await;
        let bucket = Box::pin(Definitions::open(&bus)).await?;
        let store = Store::connect(settings.redis_url(), &worker).await?;
        let definitions = Bringing {
            bucket: &bucket,
            folder,
            who: &worker,
            // Who starts everything at once edits, and starts again.
            replace: role == UP,
        };
        let definitions = Box::pin(definitions.bring(&settings, following.clone())).await?;
        Ok(Self {
            settings,
            journal: Journal::new(bus),
            store,
            definitions,
            _following: Arc::new(following.drop_guard()),
            metrics,
            worker,
        })
    }

    pub(crate) fn planner(&self) -> anyhow::Result<flotilla_planner::Config> {
        let settings = &self.settings;
        Ok(flotilla_planner::Config {
            journal: self.journal.clone(),
            store: self.store.clone(),
            definitions: self.definitions.clone(),
            claude: settings.claude()?,
            limits: limits(settings)?,
            park_pause: settings.park_pause(),
            batch: settings.batch(),
            worker: self.worker.clone(),
            slots: settings.slots.unwrap_or(PLANNER_SLOTS),
            ack_wait: settings.ack_wait(),
            drain: settings.drain(),
        })
    }

    pub(crate) fn gateway(
        &self,
        listener: TcpListener,
    ) -> anyhow::Result<flotilla_gateway::Config> {
        let models = definitions::load_models(self.settings.models.as_deref())?;
        Ok(flotilla_gateway::Config {
            bus: self.journal.bus().clone(),
            store: self.store.clone(),
            definitions: self.definitions.clone(),
            auth: self.settings.auth()?,
            tls: self.settings.tls()?,
            listener,
            models: Arc::new(models),
            metrics: self.metrics.clone(),
            ack_wait: self.settings.ack_wait(),
            slots: self.settings.slots.unwrap_or(GATEWAY_SLOTS),
            drain: self.settings.drain(),
            event_bytes_max: self.settings.event_bytes_max()?,
            blobs_keep: self.settings.blobs_keep(),
            watchers_max: self.settings.watchers_max(),
            pending_max: self.settings.pending_max(),
        })
    }

    pub(crate) fn executor(&self) -> flotilla_executor::Config {
        flotilla_executor::Config {
            journal: self.journal.clone(),
            store: self.store.clone(),
            definitions: self.definitions.clone(),
            worker: self.worker.clone(),
            // This very program, also when a deploy has put another file in its place.
            launcher: Some("/proc/self/exe".into()),
            environment: Environment::of_process(),
            slots: self.settings.slots,
            ack_wait: self.settings.ack_wait(),
            drain: self.settings.drain(),
        }
    }

    /// The tokens of the fleet.
    pub(crate) async fn tokens(&self) -> anyhow::Result<Tokens> {
        Ok(Box::pin(Tokens::open(self.journal.bus())).await?)
    }

    fn health(&self, stop: &CancellationToken) -> Health {
        Health {
            bus: self.journal.bus().clone(),
            store: self.store.clone(),
            metrics: self.metrics.clone(),
            stop: stop.clone(),
        }
    }
}

/// The gateway as a process.
pub(crate) async fn gateway(settings: Settings) -> anyhow::Result<()> {
    let auth = settings.auth()?;
    let (folder, metrics) = (Folder::read(&settings)?, telemetry(&settings, LOG_FILTER)?);
    let listener = http::bind(settings.http()).await?;
    let address = listener.local_addr()?;
    let base = Base::connect(settings, GATEWAY, folder.as_ref(), metrics).await?;
    if auth == Auth::Tokens {
        Box::pin(token::first(&base.tokens().await?, GATEWAY)).await?;
    }
    let stop = stop_on_signals()?;
    upkeep(&base, &stop);
    let traces = traces(&base, GATEWAY)?;
    info!(%address, "gateway ready");
    let ended = Box::pin(flotilla_gateway::run(base.gateway(listener)?, stop)).await;
    traces.finish().await;
    Ok(ended?)
}

/// A planner as a process.
pub(crate) async fn planner(settings: Settings) -> anyhow::Result<()> {
    let (folder, metrics) = (Folder::read(&settings)?, telemetry(&settings, LOG_FILTER)?);
    let listener = optional_http(&settings).await?;
    let base = Base::connect(settings, "planner", folder.as_ref(), metrics).await?;
    let config = base.planner()?;
    let stop = stop_on_signals()?;
    upkeep(&base, &stop);
    let traces = traces(&base, "planner")?;
    let ended = beside(
        &base,
        listener,
        &stop,
        Box::pin(flotilla_planner::run(config, stop.clone())),
    )
    .await;
    traces.finish().await;
    ended
}

/// An executor as a process.
pub(crate) async fn executor(settings: Settings) -> anyhow::Result<()> {
    let (folder, metrics) = (Folder::read(&settings)?, telemetry(&settings, LOG_FILTER)?);
    let listener = optional_http(&settings).await?;
    let base = Base::connect(settings, "executor", folder.as_ref(), metrics).await?;
    let config = base.executor();
    let stop = stop_on_signals()?;
    upkeep(&base, &stop);
    let traces = traces(&base, "executor")?;
    let ended = beside(
        &base,
        listener,
        &stop,
        Box::pin(flotilla_executor::run(config, stop.clone())),
    )
    .await;
    traces.finish().await;
    ended
}

async fn optional_http(settings: &Settings) -> anyhow::Result<Option<TcpListener>> {
    match settings.http {
        None => Ok(None),
        Some(address) => Ok(Some(http::bind(address).await?)),
    }
}

/// Runs a role, and health and metrics beside it if there is an address for them.
async fn beside<E: std::error::Error + Send + Sync + 'static>(
    base: &Base,
    listener: Option<TcpListener>,
    stop: &CancellationToken,
    role: impl Future<Output = Result<(), E>>,
) -> anyhow::Result<()> {
    // Health is served until the role has drained: whoever watches sees "shutting down", not "gone".
    let served = CancellationToken::new();
    let serving = async {
        if let Some(listener) = listener {
            let routes = http::health_routes(base.health(stop));
            http::serve(listener, routes, served.clone()).await;
        }
    };
    let role = async {
        let ended = role.await;
        served.cancel();
        ended
    };
    let (role, ()) = tokio::join!(role, serving);
    Ok(role?)
}

/// Keeps the metrics of this process small.
pub(crate) fn upkeep(base: &Base, stop: &CancellationToken) {
    let (metrics, stop) = (base.metrics.clone(), stop.clone());
    tokio::spawn(async move {
        while tokio::time::timeout(telemetry::UPKEEP_EVERY, stop.cancelled())
            .await
            .is_err()
        {
            metrics.run_upkeep();
        }
    });
}

/// A token that is cancelled by SIGTERM or SIGINT; a second one ends the process at once.
pub(crate) fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping: no new work is taken, what is in hand is finished");
        told.cancel();
        // Some shells and supervisors send the same signal to the group and to the process.
        tokio::time::sleep(Duration::from_millis(300)).await;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        warn!("stopping at once; what was in hand will be redelivered");
        std::process::exit(130);
    });
    Ok(stop)
}
