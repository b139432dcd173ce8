//! Whether traces are on, which are sampled, and the way out for spans: by the environment variables of OpenTelemetry's
//! specification. Nothing here ever waits for a collector but the end of the process, and that not for long.

use std::{
    env,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use metrics::counter;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{
    OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL, OTEL_EXPORTER_OTLP_TIMEOUT,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_PROTOCOL,
    OTEL_EXPORTER_OTLP_TRACES_TIMEOUT, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter as _},
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    client::Client,
    metric,
    sampling::{SAMPLER, SAMPLER_ARG, Sampling},
    sender::Sender,
};

const SDK_DISABLED: &str = "OTEL_SDK_DISABLED";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const QUEUE_SIZE: &str = "OTEL_BSP_MAX_QUEUE_SIZE";
const BATCH_SIZE: &str = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";
const SCHEDULE_DELAY: &str = "OTEL_BSP_SCHEDULE_DELAY";
/// The one protocol that is spoken.
const PROTOCOL: &str = "http/protobuf";
/// How long the end of the process waits for the last spans to go out.
const FLUSH_MAX: Duration = Duration::from_secs(2);

static TRACER: OnceLock<Tracer> = OnceLock::new();

/// The tracer, where traces are on.
pub(super) fn tracer() -> Option<&'static Tracer> {
    TRACER.get()
}

/// Why traces cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// A variable is wrong.
    #[error("{variable} is `{value}`; it must be {expected}")]
    Setting {
        /// Which.
        variable: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The exporter does not take the settings.
    #[error("traces cannot be exported: {0}")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
    /// The HTTP client.
    #[error("the HTTP client for traces cannot be built")]
    Client(#[source] reqwest::Error),
    /// Set up twice in one process.
    #[error("traces are set up already")]
    Twice,
}

/// What makes spans of what is done.
#[derive(Debug)]
pub(super) struct Tracer {
    sampling: Sampling,
    pub(super) scope: InstrumentationScope,
    queue: mpsc::Sender<Vec<SpanData>>,
    waiting: AtomicUsize,
    queue_max: usize,
}

impl Tracer {
    /// Whether a trace is recorded; `asked`: what its caller says, where it has one.
    pub(super) fn samples(&self, trace: [u8; 16], asked: Option<bool>) -> bool {
        self.sampling.takes(trace, asked)
    }

    /// Hands spans out, all or none; never waits.
    pub(super) fn export(&self, spans: Vec<SpanData>) {
        let count = spans.len();
        let before = self.waiting.fetch_add(count, Ordering::Relaxed);
        if before + count > self.queue_max || self.queue.try_send(spans).is_err() {
            self.waiting.fetch_sub(count, Ordering::Relaxed);
            self.dropped(count);
        }
    }

    /// So many have left the queue.
    pub(super) fn sent(&self, count: usize) {
        self.waiting.fetch_sub(count, Ordering::Relaxed);
    }

    /// Counts spans that nobody will see.
    pub(super) fn dropped(&self, count: usize) {
        counted("dropped", count);
    }
}

/// What becomes of spans.
const OUTCOMES: [&str; 3] = ["exported", "failed", "dropped"];

/// Begins to count, so that the first of each is seen as more than none.
pub(super) fn begin_counting() {
    for outcome in OUTCOMES {
        counted(outcome, 0);
    }
}

pub(super) fn counted(outcome: &'static str, count: usize) {
    counter!(metric::TRACE_SPANS, "outcome" => outcome).increment(count as u64);
}

pub(super) fn wrong(variable: &'static str, value: &str, expected: &'static str) -> TracesError {
    TracesError::Setting {
        variable,
        value: value.to_owned(),
        expected,
    }
}

/// A variable; blank is unset.
fn set(variable: &str) -> Option<String> {
    let text = env::var(variable).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn number(variable: &'static str, otherwise: u64) -> Result<u64, TracesError> {
    let Some(text) = set(variable) else {
        return Ok(otherwise);
    };
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| wrong(variable, &text, "a whole number above 0"))
}

/// Whether the environment asks for traces.
fn is_asked() -> bool {
    let endpoint = set(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT).or(set(OTEL_EXPORTER_OTLP_ENDPOINT));
    let disabled = set(SDK_DISABLED).is_some_and(|text| text.eq_ignore_ascii_case("true"));
    endpoint.is_some() && !disabled && set(EXPORTER).is_none_or(|text| text != "none")
}

/// The traces of this process. Where they are off, nothing.
#[derive(Debug, Default)]
#[must_use]
pub struct Traces(Option<Running>);

#[derive(Debug)]
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Traces {
    /// Sets them up where the environment names a collector. `service`: what this process is called where `OTEL_SERVICE_NAME` does
    /// not say; `instance`: which of them it is.
    ///
    /// # Errors
    /// [`TracesError`]: a setting is wrong. A collector that is away is no error.
    pub fn begin(
        service: &str,
        instance: &str,
        version: &'static str,
    ) -> Result<Self, TracesError> {
        if !is_asked() {
            return Ok(Self::default());
        }
        for variable in [
            OTEL_EXPORTER_OTLP_TRACES_PROTOCOL,
            OTEL_EXPORTER_OTLP_PROTOCOL,
        ] {
            if let Some(other) = set(variable).filter(|text| text != PROTOCOL) {
                return Err(wrong(variable, &other, PROTOCOL));
            }
        }
        let sampling = Sampling::read(set(SAMPLER).as_deref(), set(SAMPLER_ARG).as_deref())?;
        let limit = number(OTEL_EXPORTER_OTLP_TIMEOUT, 10_000)?;
        let limit = Duration::from_millis(number(OTEL_EXPORTER_OTLP_TRACES_TIMEOUT, limit)?);
        let queue_max = usize::try_from(number(QUEUE_SIZE, 2_048)?).unwrap_or(usize::MAX);
        let batch_max = usize::try_from(number(BATCH_SIZE, 512)?).unwrap_or(usize::MAX);
        let delay = Duration::from_millis(number(SCHEDULE_DELAY, 5_000)?);
        let client = Client::new(limit).map_err(TracesError::Client)?;
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_timeout(limit)
            .with_http_client(client)
            .build()
            .map_err(TracesError::Exporter)?;
        exporter.set_resource(&resource(service, instance, version));
        let (queue, units) = mpsc::channel(queue_max.min(1 << 16));
        let tracer = Tracer {
            sampling,
            scope: InstrumentationScope::builder("flotilla")
                .with_version(version)
                .build(),
            queue,
            waiting: AtomicUsize::new(0),
            queue_max,
        };
        TRACER.set(tracer).map_err(|_| TracesError::Twice)?;
        let stop = CancellationToken::new();
        let sender = Sender {
            exporter,
            units,
            limit,
            batch_max,
            delay,
            healthy: true,
        };
        let task = tokio::spawn(sender.run(stop.clone()));
        Ok(Self(Some(Running { stop, task })))
    }

    /// Sends what is left, for two seconds at most.
    pub async fn finish(self) {
        let Some(Running { stop, mut task }) = self.0 else {
            return;
        };
        stop.cancel();
        if timeout(FLUSH_MAX, &mut task).await.is_err() {
            task.abort();
            debug!("the last spans did not go out in time");
        }
    }
}

/// Who this process is, to whoever looks at its spans. What the environment says wins.
fn resource(service: &str, instance: &str, version: &'static str) -> Resource {
    let builder = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", service.to_owned()),
            KeyValue::new("service.instance.id", instance.to_owned()),
            KeyValue::new("service.version", version),
        ])
        .with_detector(Box::new(
            opentelemetry_sdk::resource::EnvResourceDetector::new(),
        ))
        .with_detector(Box::new(
            opentelemetry_sdk::resource::TelemetryResourceDetector,
        ));
    match set(SERVICE_NAME) {
        Some(name) => builder.with_service_name(name).build(),
        None => builder.build(),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status};

    use super::*;

    fn span() -> SpanData {
        SpanData {
            span_context: SpanContext::NONE,
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: "one".into(),
            start_time: std::time::UNIX_EPOCH,
            end_time: std::time::UNIX_EPOCH,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::default(),
        }
    }

    #[test]
    fn a_full_queue_takes_no_more_and_keeps_together_what_it_takes() {
        let (queue, mut units) = mpsc::channel(8);
        let tracer = Tracer {
            sampling: Sampling::read(None, None).unwrap(),
            scope: InstrumentationScope::default(),
            queue,
            waiting: AtomicUsize::new(0),
            queue_max: 3,
        };
        tracer.export(vec![span(), span()]);
        tracer.export(vec![span(), span()]);
        tracer.export(vec![span()]);
        let mut taken = Vec::new();
        while let Ok(unit) = units.try_recv() {
            taken.push(unit.len());
        }
        assert_eq!(taken, [2, 1]);
        tracer.sent(3);
        tracer.export(vec![span(), span(), span()]);
        assert_eq!(units.try_recv().unwrap().len(), 3);
    }
}
