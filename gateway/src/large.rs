//! Events whose data is too large for the journal: it goes to the object store before the event is published, once for each run
//! that starts from it. What a crash in between leaves there belongs to no run, and goes after a day.

use std::{borrow::Cow, time::Duration};

use axum::{body::Body, http::StatusCode};
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
use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::{body, problem::unavailable, triggers::Verdict};

/// Bodies up to this size are read as they come; JSON takes several times its size in memory.
const SMALL_BYTES_MAX: usize = 1 << 20;
/// Larger ones in memory at once.
const AT_ONCE: usize = 2;
/// Those of which so much is there and that wait to be among them. They keep their turns of [`crate::turns::Turns`], so that these are
/// few; more are refused.
const WAITING_MAX: usize = 32;
/// How long an event's data may take to the object store: less than its request has.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is needed to take in large events.
#[derive(Debug)]
pub(crate) struct Large {
    blobs: Blobs,
    few: Few,
    /// Largest event, in bytes.
    pub(crate) bytes_max: usize,
}

impl Large {
    pub(crate) fn new(blobs: Blobs, bytes_max: usize) -> Self {
        Self {
            blobs,
            few: Few::of(AT_ONCE, WAITING_MAX),
            bytes_max,
        }
    }

    /// The whole body, of at most `bytes_max`, as soon as it may be read. Whoever keeps the event keeps the turn.
    ///
    /// # Errors
    /// A 413; a 400 where it breaks off; a 503 where it is large, and so are too many others.
    pub(crate) async fn read(&self, body: Body, bytes_max: usize) -> Result<Read<'_>, Problem> {
        self.few.read(body, bytes_max).await
    }

    /// The event as it is published: what is too large of it is kept for the runs that it starts, and referred to. One that some
    /// condition does not fit stays whole, for it becomes a dead letter that is judged again.
    pub(crate) async fn moved<'e>(
        &self,
        event: &'e Event,
        verdict: &'e Verdict,
    ) -> Result<Cow<'e, Event>, Problem> {
        // What is put aside is not looked at again before a workflow sees it.
        let event = verdict.adapted.as_ref().unwrap_or(event);
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

/// A body that was read.
#[derive(Debug)]
pub(crate) struct Read<'f> {
    pub(crate) bytes: Bytes,
    /// One for which there is room among the large ones; small ones need none.
    pub(crate) turn: Option<SemaphorePermit<'f>>,
}

impl AsRef<[u8]> for Read<'_> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Large bodies, and who waits to be read as one.
#[derive(Debug)]
struct Few {
    turns: Semaphore,
    waiting: Semaphore,
}

impl Few {
    fn of(turns: usize, waiting: usize) -> Self {
        Self {
            turns: Semaphore::new(turns),
            waiting: Semaphore::new(waiting),
        }
    }

    async fn read(&self, body: Body, bytes_max: usize) -> Result<Read<'_>, Problem> {
        let (bytes, rest) = body::begin(body, SMALL_BYTES_MAX.min(bytes_max)).await?;
        let Some(rest) = rest else {
            return Ok(Read { bytes, turn: None });
        };
        // Not before it is seen to be large, whatever its client says: who only begins to send stands in nobody's way. Where no large
        // ones are taken, it is only thrown away.
        let turn = if bytes_max > SMALL_BYTES_MAX {
            Some(self.turn().await?)
        } else {
            None
        };
        let whole = stream::iter([Ok(bytes)]).chain(rest);
        let bytes = body::read(Body::from_stream(whole), bytes_max).await?;
        Ok(Read { bytes, turn })
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, Problem> {
        let crowded = || unavailable("too many large events at once; try again");
        if let Ok(turn) = self.turns.try_acquire() {
            return Ok(turn);
        }
        let _waits = self.waiting.try_acquire().map_err(|_| crowded())?;
        match timeout(PATIENCE, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(crowded()),
        }
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

#[cfg(test)]
mod tests {
    use axum::BoxError;

    use super::*;

    const MOST: usize = 8 << 20;

    /// A body that brings so many bytes, and then nothing more, or its end.
    fn body(bytes: usize, ends: bool) -> Body {
        let first = stream::iter([Ok::<_, BoxError>(Bytes::from(vec![b'x'; bytes]))]);
        if ends {
            return Body::from_stream(first);
        }
        Body::from_stream(first.chain(stream::pending()))
    }

    #[tokio::test(start_paused = true)]
    async fn who_only_begins_to_send_takes_no_turn_from_a_large_body() {
        let few = Few::of(1, 1);
        let begins = few.read(body(SMALL_BYTES_MAX, false), MOST);
        assert!(timeout(PATIENCE, begins).await.is_err());
        let mut begins = Box::pin(few.read(body(1, false), MOST));
        let large = tokio::select! {
            biased;
            _ = &mut begins => panic!("it never ends"),
            large = few.read(body(SMALL_BYTES_MAX + 1, true), MOST) => large.unwrap(),
        };
        assert_eq!(large.bytes.len(), SMALL_BYTES_MAX + 1);
        assert!(large.turn.is_some());
        let small = few.read(body(SMALL_BYTES_MAX, true), MOST).await.unwrap();
        assert_eq!(small.bytes.len(), SMALL_BYTES_MAX);
        assert!(small.turn.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_large_bodies_a_few_wait_for_their_turn_and_more_are_refused() {
        let few = Few::of(1, 1);
        let large = || few.read(body(2 << 20, true), MOST);
        let first = large().await.unwrap();
        let mut waits = Box::pin(large());
        let refused = tokio::select! {
            biased;
            _ = &mut waits => panic!("there is no turn"),
            refused = large() => refused.unwrap_err(),
        };
        assert_eq!(refused.status, 503);
        drop(first);
        assert!(waits.await.unwrap().turn.is_some());
        // Nobody waits for ever, and who gave up is not in the way.
        let kept = large().await.unwrap();
        assert_eq!(large().await.unwrap_err().status, 503);
        drop(kept);
        assert!(large().await.is_ok());
    }

    #[tokio::test]
    async fn no_body_is_larger_than_it_may_be_whichever_way_it_is_read() {
        let few = Few::of(1, 1);
        for (bytes, most, status) in [
            (10, 10, None),
            (11, 10, Some(413)),
            (2 << 20, 2 << 20, None),
            ((2 << 20) + 1, 2 << 20, Some(413)),
            (2 << 20, 10, Some(413)),
        ] {
            let read = few.read(body(bytes, true), most).await;
            let told = read.as_ref().err().map(|problem| problem.status);
            assert_eq!(told, status, "{bytes} of {most}");
            let length = read.ok().map(|read| read.bytes.len());
            assert_eq!(
                length,
                status.is_none().then_some(bytes),
                "{bytes} of {most}"
            );
        }
    }
}
