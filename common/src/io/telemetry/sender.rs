//! The way of spans to the collector: in batches, beside all work.

use std::{mem, time::Duration};

use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::tracer::{counted, tracer};

/// Sends batches, one after the other.
pub(super) struct Sender {
    pub(super) exporter: SpanExporter,
    pub(super) units: mpsc::Receiver<Vec<SpanData>>,
    /// How long one batch may take.
    pub(super) limit: Duration,
    /// Spans of a batch that do not wait for more.
    pub(super) batch_max: usize,
    /// Longest time that a span waits for more.
    pub(super) delay: Duration,
    /// Whether the last one came through.
    pub(super) healthy: bool,
}

impl Sender {
    /// Sends every so often, or when there is enough, and what is left at the stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::new();
        let mut due = Instant::now() + self.delay;
        loop {
            let next = async {
                tokio::select! {
                    unit = self.units.recv() => unit,
                    () = stop.cancelled() => None,
                }
            };
            match timeout_at(due, next).await {
                Ok(Some(unit)) => {
                    batch.extend(unit);
                    if batch.len() < self.batch_max {
                        continue;
                    }
                }
                Err(_) => {}
                Ok(None) => break,
            }
            self.send(mem::take(&mut batch)).await;
            due = Instant::now() + self.delay;
        }
        self.units.close();
        while let Some(unit) = self.units.recv().await {
            batch.extend(unit);
            if batch.len() >= self.batch_max {
                self.send(mem::take(&mut batch)).await;
            }
        }
        self.send(batch).await;
    }

    /// Sends a batch. One that cannot be sent is gone: the spans after it matter more than an ever longer queue.
    async fn send(&mut self, batch: Vec<SpanData>) {
        let count = batch.len();
        if count == 0 {
            return;
        }
        // The exporter has the limit too; this one holds whatever it does.
        let sent = timeout(self.limit * 2, self.exporter.export(batch)).await;
        if let Some(tracer) = tracer() {
            tracer.sent(count);
        }
        let problem = match sent {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("no answer in time".to_owned()),
        };
        counted(
            if problem.is_none() {
                "exported"
            } else {
                "failed"
            },
            count,
        );
        match problem {
            Some(problem) if self.healthy => {
                warn!(
                    problem,
                    "traces cannot be exported; nothing else is held up by that"
                );
                self.healthy = false;
            }
            Some(problem) => debug!(problem, "traces cannot be exported"),
            None if !self.healthy => {
                info!("traces are exported again");
                self.healthy = true;
            }
            None => {}
        }
    }
}
