//! Looks for an item that was sent, or was about to be, by somebody who did not live to say which batch has it.

use std::{sync::Arc, time::Duration};

use flotilla_common::{
    claude::Batch,
    entry::Item,
    io::{batches::Slips, clock, store::StoreError},
};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;
use tracing::{debug, info};

use super::shelf::Shelf;
use crate::claude::Claude;

/// By how much the provider's clock may be off from a planner's.
const SKEW: SignedDuration = SignedDuration::from_secs(60);
/// How long a list is good for all who look.
const FRESH: SignedDuration = SignedDuration::from_secs(1);
/// Pages of the list that are read, at most: more batches than that in the time in question are not looked through.
const PAGES_MAX: usize = 50;

/// What became of a search.
pub(super) enum Found {
    /// It is in this batch.
    In(String),
    /// It is in none, and none can come that has it.
    Nowhere,
    /// It cannot be known yet, and why.
    NotYet(String),
}

/// The list of batches, as it was read last.
struct List {
    /// When the reading began.
    at: Timestamp,
    /// Batches created since then are on it.
    from: Timestamp,
    batches: Vec<Batch>,
}

/// Finds items.
pub(super) struct Finder {
    claude: Arc<Claude>,
    slips: Slips,
    shelf: Arc<Shelf>,
    last: Mutex<Option<Arc<List>>>,
}

impl Finder {
    pub(super) fn new(claude: Arc<Claude>, slips: Slips, shelf: Arc<Shelf>) -> Self {
        Self {
            claude,
            slips,
            shelf,
            last: Mutex::default(),
        }
    }

    /// Looks for an item. A creation that was begun at the end of its time may take so much longer to be seen.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn find(
        &self,
        claim: &str,
        item: &Item,
        settles: Duration,
    ) -> Result<Found, StoreError> {
        // In this order: an item that knows no batch now is in none of those whose items all knew theirs before.
        let saved = self.slips.saved().await?;
        let slip = self.slips.read(claim).await?;
        let slip = slip.filter(|slip| slip.custom_id == item.custom_id);
        if let Some(batch) = slip.and_then(|slip| slip.batch) {
            return Ok(Found::In(batch));
        }
        let from = earlier(item.from, SKEW);
        let list = match self.list(from).await {
            Ok(list) => list,
            Err(why) => return Ok(Found::NotYet(why)),
        };
        let mut not_yet = None;
        let settled = SignedDuration::try_from(settles).unwrap_or(SignedDuration::MAX);
        if list.at.duration_since(item.to) < settled {
            not_yet = Some("it may be on its way still".to_owned());
        }
        let in_time =
            |batch: &&Batch| batch.created_at >= from && earlier(batch.created_at, SKEW) <= item.to;
        let unknown = list.batches.iter().filter(in_time);
        for batch in unknown.filter(|batch| !saved.contains(&batch.id)) {
            if !batch.has_ended() {
                not_yet = Some(format!("it may be in {}, which has not ended", batch.id));
                continue;
            }
            match self.shelf.has(&batch.id, &item.custom_id).await {
                Ok(true) => {
                    info!(batch = batch.id, item = item.custom_id, "found again");
                    return Ok(Found::In(batch.id.clone()));
                }
                Ok(false) => {}
                Err(error) if error.is_not_found() => {
                    debug!(batch = batch.id, "its results are gone");
                }
                Err(error) => not_yet = Some(error.why),
            }
        }
        Ok(not_yet.map_or(Found::Nowhere, Found::NotYet))
    }

    /// The batches created since then; those who ask at once share an answer.
    async fn list(&self, from: Timestamp) -> Result<Arc<List>, String> {
        let mut last = self.last.lock().await;
        let at = clock::now();
        if let Some(list) = &*last
            && list.from <= from
            && at.duration_since(list.at) < FRESH
        {
            return Ok(Arc::clone(list));
        }
        let mut batches: Vec<Batch> = Vec::new();
        let mut whole = false;
        for _ in 0..PAGES_MAX {
            let after = batches.last().map(|batch| batch.id.as_str());
            let page = self
                .claude
                .batches(after)
                .await
                .map_err(|error| error.why)?;
            let more = page.has_more && !page.data.is_empty();
            batches.extend(page.data);
            whole = !more || batches.last().is_some_and(|last| last.created_at < from);
            if whole {
                break;
            }
        }
        if !whole {
            // What was not read may have it.
            return Err(format!("there are more than {} batches", batches.len()));
        }
        let list = Arc::new(List { at, from, batches });
        *last = Some(Arc::clone(&list));
        Ok(list)
    }
}

fn earlier(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}
