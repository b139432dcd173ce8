//! What an item of a batch that ended came to.

use flotilla_common::{
    claude::{Batch, BatchLine, BatchResult, Reply, Tier},
    entry::Answered,
    io::telemetry::metric,
    money::Usd,
};
use metrics::{counter, histogram};
use tracing::warn;

use super::{money::worst, way::Way};
use crate::{
    caller::Outcome,
    claude::{ErrorKind, kind_of_error},
    handle::Planner,
    stop::Stop,
};

impl Planner {
    /// Takes the item's result. `None`: it came to nothing, and another one may be sent.
    pub(super) async fn collect(
        &self,
        way: &mut Way<'_>,
        batch: &Batch,
    ) -> Result<Option<Outcome>, Stop> {
        let item = way.batched.item.as_ref();
        let custom_id = item.map_or_else(String::new, |item| item.custom_id.clone());
        let line = self.batches.shelf.line(&batch.id, &custom_id);
        let Some(line) = way.unwanted.run_until_cancelled(line).await else {
            return Ok(Some(way.left()));
        };
        let line = match line {
            Ok(Some(line)) => line,
            Ok(None) => {
                let why = format!("batch {} has no item {custom_id}", batch.id);
                return Ok(self.gone(way, &why).await);
            }
            Err(error) if error.is_not_found() => return Ok(self.gone(way, &error.why).await),
            Err(error) => return Ok(Some(self.wait(way, &error.why, None).await)),
        };
        let id = &batch.id;
        let (outcome, kind, why) = match serde_json::from_slice::<BatchLine>(&line) {
            Err(error) => {
                let why = format!("its result in batch {id} cannot be read: {error}");
                self.count(way, "unreadable");
                return Ok(self.paid_for_nothing(way, &why).await);
            }
            Ok(line) => match line.result {
                BatchResult::Succeeded { message } => {
                    let answered = self.answered(way, batch, *message).await;
                    return Ok(Some(Outcome::Answered(Box::new(answered))));
                }
                BatchResult::Errored { error } => {
                    let error = error.error;
                    let why = format!("{}: {}", error.kind, error.message);
                    ("errored", kind_of_error(&error.kind), why)
                }
                BatchResult::Expired => {
                    let why = format!("batch {id} expired before its turn came");
                    ("expired", ErrorKind::Server, why)
                }
                BatchResult::Canceled => {
                    let why = format!("batch {id} was cancelled before its turn came");
                    ("canceled", ErrorKind::Server, why)
                }
            },
        };
        self.count(way, outcome);
        self.settle_item(way, Usd::default()).await;
        way.batched.drop_item();
        Ok(self.after_failure(way, kind, &why, None))
    }

    async fn answered(&self, way: &Way<'_>, batch: &Batch, reply: Reply) -> Answered {
        self.count(way, "succeeded");
        let took = batch
            .ended_at
            .map(|ended| ended.duration_since(batch.created_at));
        let took_ms = took.and_then(|took| u64::try_from(took.as_millis()).ok());
        let cost = way
            .model()
            .map_or_else(Usd::default, |model| model.cost(&reply.usage, Tier::Batch));
        if let (Some(model), Some(took)) = (way.model(), took) {
            histogram!(metric::BATCH_WAIT, "model" => model.id.clone())
                .record(took.as_secs_f64().max(0.0));
        }
        self.settle_item(way, cost).await;
        let wasted = way.question.tally.wasted();
        Answered {
            heard: 0,
            reply,
            usd_nano: cost,
            fallbacks: way.batched.passed.clone(),
            request_id: way.batched.item.as_ref().map(|item| item.custom_id.clone()),
            batch: Some(batch.id.clone()),
            took_ms: took_ms.unwrap_or_default(),
            wasted: wasted.calls,
            wasted_usd_nano: wasted.usd,
        }
    }

    /// Batch or results are not there any more: what came out may have been paid.
    pub(super) async fn gone(&self, way: &mut Way<'_>, why: &str) -> Option<Outcome> {
        warn!(why, "the answer in a batch is gone");
        self.count(way, "gone");
        self.paid_for_nothing(way, why).await
    }

    async fn paid_for_nothing(&self, way: &mut Way<'_>, why: &str) -> Option<Outcome> {
        self.waste(way).await;
        way.batched.drop_item();
        self.after_failure(way, ErrorKind::Unreadable, why, None)
    }

    /// The item is left to its batch.
    pub(super) async fn give_up_on(&self, way: &mut Way<'_>, why: String) -> Outcome {
        self.count(way, "left");
        self.waste(way).await;
        Outcome::GivenUp(why)
    }

    /// The item may cost all that it can, for nothing.
    async fn waste(&self, way: &mut Way<'_>) {
        let held = way
            .batched
            .item
            .as_ref()
            .and_then(|item| item.held.as_ref());
        let cost = held.map_or_else(|| worst(way), |held| held.usd_nano);
        self.settle_item(way, cost).await;
        way.question.tally.add(cost);
    }

    fn count(&self, way: &Way<'_>, outcome: &'static str) {
        let model = way.model().map(|model| model.id.clone());
        counter!(metric::BATCH_ITEMS, "model" => model.unwrap_or_default(), "outcome" => outcome)
            .increment(1);
    }
}
