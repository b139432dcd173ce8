//! Logs, metrics and traces: the names of every metric are in [`metric`], those of what spans tell in [`attribute`].

pub mod attribute;
mod client;
mod logs;
pub mod metric;
mod notes;
mod sampling;
mod sender;
pub mod span;
mod tracer;

use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::usage::SECONDS;

pub use logs::{LogFormat, init_logs};
pub use tracer::{Traces, TracesError};

/// Buckets of [`metric::BATCH_WAIT`], in seconds: up to a day.
const LONG_SECONDS: [f64; 10] = [
    1.0, 10.0, 60.0, 300.0, 900.0, 3_600.0, 10_800.0, 21_600.0, 43_200.0, 86_400.0,
];
/// Buckets of how long runs take, in seconds: from those that only decide to those that wait for people.
const RUN_SECONDS: [f64; 16] = [
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0,
    43_200.0, 86_400.0,
];

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `RUST_LOG` is wrong.
    #[error("RUST_LOG is not a filter: {0}")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// The metrics recorder.
    #[error("metrics cannot be set up: {0}")]
    Metrics(#[source] metrics_exporter_prometheus::BuildError),
    /// Set up twice in one process.
    #[error("logging is set up already")]
    Logging,
}

/// Sets up metrics for this process; the handle renders them as Prometheus text.
///
/// # Errors
/// [`TelemetryError`].
pub fn init_metrics(version: &str) -> Result<PrometheusHandle, TelemetryError> {
    let buckets = [
        (Matcher::Suffix("_seconds".into()), &SECONDS[..]),
        (Matcher::Full(metric::BATCH_WAIT.into()), &LONG_SECONDS),
        (Matcher::Full(metric::RUN_DURATION.into()), &RUN_SECONDS),
        (Matcher::Full(metric::RUN_END_TO_END.into()), &RUN_SECONDS),
        (Matcher::Full(metric::FIRST_DECISION.into()), &RUN_SECONDS),
    ];
    let handle = buckets
        .into_iter()
        .try_fold(PrometheusBuilder::new(), |builder, (which, ends)| {
            builder.set_buckets_for_metric(which, ends)
        })
        .map_err(TelemetryError::Metrics)?
        .install_recorder()
        .map_err(TelemetryError::Metrics)?;
    metric::begin();
    tracer::begin_counting();
    metrics::gauge!(metric::BUILD_INFO, "version" => version.to_owned()).set(1.0);
    Ok(handle)
}

/// Keeps histograms small; call it every few seconds.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(5);
