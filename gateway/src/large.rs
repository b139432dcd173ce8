//! Events whose data is too large for the journal: it goes to the object store before the event is published, once for each run
//! that starts from it. What a crash in between leaves there belongs to no run, and goes after a day.

use std::{borrow::Cow, time::Duration};

use axum::http::StatusCode;
use bytes::Bytes;
use flotilla_common::{
    blob::{BEGINS_BYTES_MAX, Blob, INLINE_BYTES_MAX, JSON},
    event::Event,
    ids::RunId,
    io::{
        blobs::{BlobError, Blobs},
        http::Problem,
    },
};
use futures_util::stream;
use serde_json::Value;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::{problem::unavailable, triggers::Verdict};

/// Bodies up to this size are read as they come; JSON takes several times its size in memory.
const SMALL_BYTES_MAX: usize = 1 << 20;
/// Larger ones in memory at once.
const AT_ONCE: usize = 2;
/// How long an event's data may take to the object store: less than its request has.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is needed to take in large events.
#[derive(Debug)]
pub(crate) struct Large {
    blobs: Blobs,
    turns: Semaphore,
    /// Largest event, in bytes.
    pub(crate) bytes_max: usize,
}

impl Large {
    pub(crate) fn new(blobs: Blobs, bytes_max: usize) -> Self {
        Self {
            blobs,
            turns: Semaphore::new(AT_ONCE),
            bytes_max,
        }
    }

    /// Waits until a body of this size (as its client says; `None`: it does not) may be read. Whoever keeps the event keeps the turn.
    pub(crate) async fn turn(
        &self,
        length: Option<usize>,
    ) -> Result<Option<SemaphorePermit<'_>>, Problem> {
        if length.unwrap_or(self.bytes_max) <= SMALL_BYTES_MAX {
            return Ok(None);
        }
        let turn = timeout(PATIENCE, self.turns.acquire()).await;
        match turn {
            Ok(Ok(turn)) => Ok(Some(turn)),
            Ok(Err(_)) | Err(_) => Err(unavailable("too many large events at once; try again")),
        }
    }

    /// The event as it is published: what is too large of it is kept for the runs that it starts, and referred to. One that some
    /// condition does not fit stays whole, for it becomes a dead letter that is judged again.
    pub(crate) async fn moved<'e>(
        &self,
        event: &'e Event,
        verdict: &Verdict,
    ) -> Result<Cow<'e, Event>, Problem> {
        let data = Bytes::from(event.data.to_string());
        if data.len() <= INLINE_BYTES_MAX || !verdict.faults.is_empty() {
            return Ok(Cow::Borrowed(event));
        }
        let runs = verdict.starts.iter().map(|start| &start.run);
        let kept = timeout(PATIENCE, self.keep(runs, &data)).await;
        let kept =
            kept.map_err(|_| unavailable("NATS does not take its data in time; try again"))?;
        let blob = kept.map_err(|error| problem(&error))?;
        let data = match blob {
            Some(blob) => blob.reference(Some(&begins(&data))),
            // Nothing starts from it, so nobody will ask.
            None => Value::Null,
        };
        Ok(Cow::Owned(Event {
            data,
            ..without_data(event)
        }))
    }

    async fn keep(
        &self,
        runs: impl Iterator<Item = &RunId>,
        data: &Bytes,
    ) -> Result<Option<Blob>, BlobError> {
        let mut blob = None;
        for run in runs {
            let source = stream::iter([Ok(data.clone())]);
            let put = self.blobs.put(run, JSON, source, data.len() as u64);
            blob = Some(put.await?);
        }
        Ok(blob)
    }
}

fn begins(data: &[u8]) -> String {
    let head = data.get(..BEGINS_BYTES_MAX).unwrap_or(data);
    let text = String::from_utf8_lossy(head);
    // A character that was cut in two.
    text.trim_end_matches(char::REPLACEMENT_CHARACTER)
        .to_owned()
}

/// All of an event but what is large.
fn without_data(event: &Event) -> Event {
    Event {
        specversion: event.specversion.clone(),
        time: event.time,
        subject: event.subject.clone(),
        extensions: event.extensions.clone(),
        ..Event::new(
            event.kind.clone(),
            event.source.clone(),
            event.id.clone(),
            Value::Null,
        )
    }
}

fn problem(error: &BlobError) -> Problem {
    match error {
        BlobError::Unavailable(_) => unavailable(error.to_string()),
        BlobError::TooLarge { .. } | BlobError::Damaged { .. } | BlobError::Source(_) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        }
    }
}
