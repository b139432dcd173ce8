//! Processing a batch: each request as a message of its own, but for half the price.

use super::Counts;
use super::read::Item;
use crate::answer::id;
use crate::call::Call;
use crate::error::ApiError;
use crate::messages;
use crate::plan::{self, Asked, Planned};
use crate::server::Sim;
use crate::validate;
use crate::wire::{Object, Request};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Requests processed before others get their turn.
const AT_ONCE: usize = 32;

/// A batch to be processed.
pub(super) struct Job {
    pub(super) id: String,
    pub(super) items: Vec<Item>,
    pub(super) owner: String,
    pub(super) takes: Duration,
    pub(super) cancel: CancellationToken,
}

/// Lets the time pass that the batch takes, then processes it. Ends early when it is cancelled; ends nothing when the
/// server stops.
pub(super) async fn run(sim: Arc<Sim>, job: Job) {
    tokio::select! {
        () = sleep(job.takes) => {}
        () = job.cancel.cancelled() => {}
        () = sim.stop.cancelled() => return,
    }
    let mut counts = Counts::default();
    let mut results = Vec::new();
    // From the last to the first: nobody may count on the order.
    for (done, item) in job.items.into_iter().rev().enumerate() {
        if done % AT_ONCE == AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        if sim.stop.is_cancelled() {
            return;
        }
        let result = if job.cancel.is_cancelled() {
            counts.canceled += 1;
            json!({"type": "canceled"})
        } else {
            process(&sim, &job.owner, &item.custom_id, item.params, &mut counts)
        };
        let line = json!({"custom_id": item.custom_id, "result": result});
        results.extend_from_slice(line.to_string().as_bytes());
        results.push(b'\n');
    }
    sim.batches
        .end(&job.id, counts, Bytes::from(results), Timestamp::now());
}

fn process(
    sim: &Arc<Sim>,
    owner: &str,
    custom_id: &str,
    params: Object,
    counts: &mut Counts,
) -> Value {
    let request_id = id("req_01");
    let body = Bytes::from(Value::Object(params.clone()).to_string());
    let mut call = Call::begin(sim, request_id.clone(), &body);
    call.describe(&params);
    call.note(|entry| {
        entry.batch = true;
        entry.custom_id = Some(custom_id.to_owned());
    });
    let asked = Asked { owner, batch: true };
    let planned = match read(params) {
        Ok(request) => plan::plan(sim, asked, &request, &mut call),
        Err(error) => Planned::refusal(error),
    };
    messages::note(&mut call, &planned.answer);
    call.end(true);
    match planned.answer {
        Ok(ready) => {
            sim.cache.commit(&ready.used, Instant::now());
            counts.succeeded += 1;
            let message = ready
                .reply
                .message(&id("msg_01"), ready.model, &ready.usage);
            json!({"type": "succeeded", "message": message})
        }
        Err(error) if error.kind == "expired" => {
            counts.expired += 1;
            json!({"type": "expired"})
        }
        Err(error) => {
            counts.errored += 1;
            json!({"type": "errored", "error": error.json(&request_id)})
        }
    }
}

fn read(params: Object) -> Result<Request, ApiError> {
    let request = Request::read(params)?;
    validate::check(&request)?;
    if request.stream {
        return Err(ApiError::invalid(
            "stream: Streaming is not supported in message batches",
        ));
    }
    Ok(request)
}
