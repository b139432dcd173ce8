//! Blobs in the object store: streamed in and out in chunks, found by run and id, removed with their run.
//!
//! Chunks first, then what says that they are a blob: an upload that nobody lived to finish is none, and goes with its run. The name
//! of a blob is made of its content, so an effect that is repeated finds what was kept before.

mod reading;
mod upload;

use std::{collections::BTreeSet, time::Duration};

use async_nats::jetstream::stream::{
    Config, DirectGetErrorKind, DiscardPolicy, RetentionPolicy, StorageType, Stream,
};
use backon::Retryable as _;
use bytes::Bytes;
use futures_util::{TryStreamExt as _, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{
    bus::Bus,
    journal::{Journal, JournalError, decode, patience},
    streams::{StreamError, ensure_stream, unlimited},
};
use crate::{
    blob::Blob,
    entry::{Body, Entry},
    ids::{BlobId, RunId},
    names::{object, subject},
};

use reading::Reading;
pub use upload::Upload;

/// Bytes in one message, as NATS object stores have it unless told otherwise.
const CHUNK_BYTES: usize = 128 * 1024;
/// One request about the bucket as a whole.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A list of all subjects of the bucket.
const LIST_TIMEOUT: Duration = Duration::from_secs(60);
/// Runs that are listed, and blobs that are removed, in one go.
const PICKED_MAX: usize = 100_000;

/// Why a blob cannot be kept or given.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// There is more of it than may be kept.
    #[error("it is longer than {limit} bytes, which is the limit for it")]
    TooLarge {
        /// In bytes.
        limit: u64,
    },
    /// The object store does not answer.
    #[error("the object store does not answer: {0}")]
    Unavailable(String),
    /// What it has is not what was put in.
    #[error("what the object store has of {id} is damaged: {problem}")]
    Damaged {
        /// Which blob.
        id: BlobId,
        /// What is wrong.
        problem: String,
    },
    /// Whoever gives it broke off.
    #[error("it broke off: {0}")]
    Source(String),
}

impl From<JournalError> for BlobError {
    fn from(error: JournalError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// A blob that is there.
#[derive(Debug, Clone)]
pub struct Found {
    /// What it is.
    pub blob: Blob,
    upload: String,
    chunks: usize,
}

/// What the object store says of an object, in its own format (ADR-20).
#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    name: String,
    bucket: String,
    nuid: String,
    size: u64,
    chunks: usize,
    mtime: Timestamp,
    digest: String,
    metadata: Told,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
}

/// What we say of it besides.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Told {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    sha256: String,
}

/// The blobs. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Blobs {
    journal: Journal,
    stream: Stream,
}

/// The settings of the stream that the bucket is.
pub(super) fn settings() -> Config {
    Config {
        name: object::STREAM.into(),
        description: Some("What is too large for Flotilla's journal".into()),
        subjects: vec![object::ALL_CHUNKS.into(), object::ALL_METAS.into()],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        allow_direct: true,
        ..unlimited()
    }
}

impl Blobs {
    /// The bucket of blobs: created when missing, checked when there.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn open(bus: &Bus) -> Result<Self, StreamError> {
        ensure_stream(bus, settings()).await?;
        let opened = bus.jetstream.get_stream(object::STREAM).await;
        let stream = opened.map_err(|error| StreamError::Refused {
            what: format!("bucket {}", object::BLOBS),
            problem: error.to_string(),
        })?;
        Ok(Self {
            journal: Journal::new(bus.clone()),
            stream,
        })
    }

    /// Begins to keep something of a run, of at most `limit` bytes.
    #[must_use]
    pub fn upload(&self, run: &RunId, limit: u64) -> Upload {
        Upload::new(self.clone(), run, limit)
    }

    /// Keeps what comes, as it comes; never more than a chunk of it is in memory. The same content of a run is kept once.
    ///
    /// # Errors
    /// [`BlobError`]; nothing is kept, then.
    pub async fn put(
        &self,
        run: &RunId,
        kind: &str,
        source: impl stream::Stream<Item = Result<Bytes, BlobError>>,
        limit: u64,
    ) -> Result<Blob, BlobError> {
        let mut source = std::pin::pin!(source);
        let mut upload = self.upload(run, limit);
        let pushed = async {
            while let Some(bytes) = source.try_next().await? {
                upload.push(&bytes).await?;
            }
            Ok(())
        };
        match pushed.await {
            Ok(()) => Box::pin(upload.finish(kind)).await,
            Err(error) => {
                upload.abandon().await;
                Err(error)
            }
        }
    }

    /// The blob of a run with this id; `None`: the run has none.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn find(&self, run: &RunId, id: &BlobId) -> Result<Option<Found>, BlobError> {
        let subject = object::meta(run, id);
        let look = || async {
            let answer = self.stream.direct_get_last_for_subject(subject.as_str());
            match answer.await {
                Ok(message) => Ok(Some(message.payload)),
                Err(error) if matches!(error.kind(), DirectGetErrorKind::NotFound) => Ok(None),
                Err(error) => Err(BlobError::Unavailable(error.to_string())),
            }
        };
        let Some(payload) = look.retry(patience()).when(is_unavailable).await? else {
            return Ok(None);
        };
        let damaged = |problem: String| BlobError::Damaged {
            id: id.clone(),
            problem,
        };
        let meta: Meta =
            serde_json::from_slice(&payload).map_err(|error| damaged(error.to_string()))?;
        if meta.deleted {
            return Ok(None);
        }
        let blob = Blob {
            id: id.clone(),
            bytes: meta.size,
            sha256: meta.metadata.sha256,
            kind: meta.metadata.kind,
        };
        Ok(Some(Found {
            blob,
            upload: meta.nuid,
            chunks: meta.chunks,
        }))
    }

    /// The blob with this id that a run may use: its own, or one of the run that it is a step of or goes on from, for that is where
    /// its data comes from.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn find_for(&self, run: &RunId, id: &BlobId) -> Result<Option<Found>, BlobError> {
        if let Some(found) = Box::pin(self.find(run, id)).await? {
            return Ok(Some(found));
        }
        for message in Box::pin(self.journal.raw(&subject::started(run))).await? {
            let Ok(Some(Entry {
                body: Body::Started(started),
                ..
            })) = decode(&message)
            else {
                continue;
            };
            let parent = started.parent.map(|parent| parent.run);
            let forked = started.forked.map(|forked| forked.run);
            for other in parent.into_iter().chain(forked) {
                if let Some(found) = Box::pin(self.find(&other, id)).await? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// The content, chunk by chunk. What is not what was put in ends with [`BlobError::Damaged`]: nobody may use what came before
    /// such an end.
    pub fn read(
        &self,
        found: &Found,
    ) -> impl stream::Stream<Item = Result<Bytes, BlobError>> + Send + 'static {
        let reading = Reading::new(self.clone(), found.clone());
        stream::try_unfold(reading, |mut reading| async move {
            Ok(reading.next().await?.map(|bytes| (bytes, reading)))
        })
    }

    /// Removes all that is kept for these runs, uploads that nobody finished among it.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`]; some of it may be gone.
    pub async fn remove_of(&self, runs: &BTreeSet<RunId>) -> Result<(), BlobError> {
        let theirs: BTreeSet<String> = runs.iter().map(object::metas_begin).collect();
        let metas = self.subjects(object::ALL_METAS, |subject| {
            let begin = object::meta_begin(&subject)?;
            theirs.contains(begin).then_some(subject)
        });
        // What refers to nothing would be found and damaged, so it goes first.
        for subject in metas.await? {
            self.purge(subject).await?;
        }
        for run in runs {
            self.purge(object::chunks_of(run)).await?;
        }
        Ok(())
    }

    /// The runs that something is kept for.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`].
    pub async fn runs(&self) -> Result<BTreeSet<RunId>, BlobError> {
        let run = |subject: String| object::run_of_chunks(&subject);
        self.subjects(object::ALL_CHUNKS, run).await
    }

    /// When something was kept for a run last.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`].
    pub async fn last_of(&self, run: &RunId) -> Result<Option<Timestamp>, BlobError> {
        let subject = object::chunks_of(run);
        match self.stream.direct_get_last_for_subject(subject).await {
            Ok(message) => Ok(Timestamp::from_second(message.time.unix_timestamp()).ok()),
            Err(error) if matches!(error.kind(), DirectGetErrorKind::NotFound) => Ok(None),
            Err(error) => Err(BlobError::Unavailable(error.to_string())),
        }
    }

    /// What is picked from the subjects that there are, a page of them in memory at a time.
    async fn subjects<T: Ord>(
        &self,
        filter: &str,
        pick: impl Fn(String) -> Option<T>,
    ) -> Result<BTreeSet<T>, BlobError> {
        let listing = async {
            let listed = self.stream.info_with_subjects(filter).await;
            let mut listed = listed.map_err(unavailable)?;
            let mut picked = BTreeSet::new();
            while let Some((subject, _)) = listed.try_next().await.map_err(unavailable)? {
                picked.extend(pick(subject));
                if picked.len() == PICKED_MAX {
                    break;
                }
            }
            Ok(picked)
        };
        timeout(LIST_TIMEOUT, listing).await.map_err(unavailable)?
    }

    async fn purge(&self, subject: String) -> Result<(), BlobError> {
        let purged = self.stream.purge().filter(subject);
        let purged = timeout(REQUEST_TIMEOUT, Box::pin(purged.into_future())).await;
        purged.map_err(unavailable)?.map_err(unavailable)?;
        Ok(())
    }
}

fn unavailable(error: impl std::fmt::Display) -> BlobError {
    BlobError::Unavailable(error.to_string())
}

fn is_unavailable(error: &BlobError) -> bool {
    matches!(error, BlobError::Unavailable(_))
}
