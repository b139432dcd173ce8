//! `POST /v1/messages/batches` and what belongs to it: many messages for half the price, later.

mod read;
mod routes;
mod work;

pub(crate) use routes::routes;

use crate::error::ApiError;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use read::Item;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// Batches kept; the oldest that has ended makes room.
const MAX_BATCHES: usize = 1000;

/// Bytes of results kept, for the same price.
const MAX_RESULT_BYTES: usize = 1 << 30;

/// After this a batch expires.
const LIFE: SignedDuration = SignedDuration::from_hours(24);

/// All batches, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Batches(Mutex<VecDeque<Batch>>);

#[derive(Debug)]
struct Batch {
    id: String,
    created: Timestamp,
    cancelled: Option<Timestamp>,
    ended: Option<Timestamp>,
    requests: usize,
    counts: Counts,
    /// JSON lines; empty until the end.
    results: Bytes,
    cancel: CancellationToken,
}

/// How the requests of an ended batch came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    succeeded: usize,
    errored: usize,
    canceled: usize,
    expired: usize,
}

/// Which part of the list is asked for.
#[derive(Debug, Default)]
struct Page {
    limit: usize,
    after: Option<String>,
    before: Option<String>,
}

impl Batches {
    /// A new batch in progress: its body, its id, and what cancels it.
    fn create(
        &self,
        items: &[Item],
        now: Timestamp,
        base: &str,
    ) -> Result<(Value, String, CancellationToken), ApiError> {
        let mut batches = self.batches();
        if batches.len() >= MAX_BATCHES {
            let ended = batches.iter().position(|batch| batch.ended.is_some());
            let oldest = ended.ok_or_else(|| {
                ApiError::new(
                    429,
                    "Too many batches are in progress. Please try again later.",
                )
            })?;
            batches.remove(oldest);
        }
        let batch = Batch {
            id: crate::answer::id("msgbatch_01"),
            created: now,
            cancelled: None,
            ended: None,
            requests: items.len(),
            counts: Counts::default(),
            results: Bytes::new(),
            cancel: CancellationToken::new(),
        };
        let made = (batch.json(base), batch.id.clone(), batch.cancel.clone());
        batches.push_back(batch);
        Ok(made)
    }

    /// A batch has ended, and came out like this. One deleted meanwhile has not.
    fn end(&self, id: &str, counts: Counts, results: Bytes, now: Timestamp) {
        let mut batches = self.batches();
        if let Some(batch) = batches.iter_mut().find(|batch| batch.id == id) {
            batch.ended = Some(now);
            batch.counts = counts;
            batch.results = results;
        }
        let mut kept: usize = batches.iter().map(|batch| batch.results.len()).sum();
        while kept > MAX_RESULT_BYTES {
            let oldest = batches
                .iter()
                .position(|batch| batch.ended.is_some() && batch.id != id);
            let Some(gone) = oldest.and_then(|oldest| batches.remove(oldest)) else {
                break;
            };
            kept -= gone.results.len();
        }
    }

    fn get(&self, id: &str, base: &str) -> Result<Value, ApiError> {
        self.with(id, |batch| batch.json(base))
    }

    /// Begins to cancel a batch; one that has ended stays as it is.
    fn cancel(&self, id: &str, now: Timestamp, base: &str) -> Result<Value, ApiError> {
        self.with(id, |batch| {
            if batch.ended.is_none() {
                batch.cancelled.get_or_insert(now);
                batch.cancel.cancel();
            }
            batch.json(base)
        })
    }

    /// The results of a batch that has ended.
    fn results(&self, id: &str) -> Result<Bytes, ApiError> {
        let results = self.with(id, |batch| batch.ended.map(|_| batch.results.clone()))?;
        results.ok_or_else(|| {
            ApiError::new(
                404,
                format!("Batch {id} has no available results: it has not finished processing."),
            )
        })
    }

    fn delete(&self, id: &str) -> Result<Value, ApiError> {
        if self.with(id, |batch| batch.ended.is_none())? {
            return Err(ApiError::invalid(format!(
                "Batch {id} is still in progress. Cancel it before you delete it."
            )));
        }
        self.batches().retain(|batch| batch.id != id);
        Ok(json!({"id": id, "type": "message_batch_deleted"}))
    }

    /// The newest first.
    fn list(&self, page: &Page, base: &str) -> Value {
        let batches = self.batches();
        let all: Vec<&Batch> = batches.iter().rev().collect();
        let at = |id: &Option<String>| {
            let id = id.as_deref()?;
            all.iter().position(|batch| batch.id == id)
        };
        let (from, to) = match (at(&page.after), at(&page.before)) {
            (Some(after), _) => (after + 1, all.len().min(after + 1 + page.limit)),
            (None, Some(before)) => (before.saturating_sub(page.limit), before),
            (None, None) => (0, all.len().min(page.limit)),
        };
        let shown = all.get(from..to).unwrap_or_default();
        let has_more = if page.before.is_some() && page.after.is_none() {
            from > 0
        } else {
            to < all.len()
        };
        json!({
            "data": shown.iter().map(|batch| batch.json(base)).collect::<Vec<_>>(),
            "has_more": has_more,
            "first_id": shown.first().map(|batch| &batch.id),
            "last_id": shown.last().map(|batch| &batch.id),
        })
    }

    fn with<T>(&self, id: &str, look: impl FnOnce(&mut Batch) -> T) -> Result<T, ApiError> {
        let mut batches = self.batches();
        let found = batches.iter_mut().find(|batch| batch.id == id);
        found
            .map(look)
            .ok_or_else(|| ApiError::new(404, format!("Batch {id} not found")))
    }

    fn batches(&self) -> MutexGuard<'_, VecDeque<Batch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    /// The object as the API shows it; `base` is where the server is reached.
    fn json(&self, base: &str) -> Value {
        let status = match (self.ended, self.cancelled) {
            (Some(_), _) => "ended",
            (None, Some(_)) => "canceling",
            (None, None) => "in_progress",
        };
        let processing = if self.ended.is_some() {
            0
        } else {
            self.requests
        };
        let url = format!("{base}/v1/messages/batches/{}/results", self.id);
        json!({
            "id": self.id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": {
                "processing": processing,
                "succeeded": self.counts.succeeded,
                "errored": self.counts.errored,
                "canceled": self.counts.canceled,
                "expired": self.counts.expired,
            },
            "created_at": self.created,
            "expires_at": self.created.checked_add(LIFE).unwrap_or(self.created),
            "cancel_initiated_at": self.cancelled,
            "ended_at": self.ended,
            "archived_at": null,
            "results_url": self.ended.map(|_| url),
        })
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
