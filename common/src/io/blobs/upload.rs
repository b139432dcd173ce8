//! One upload: chunks on their way in, and the blob that they become.

use async_nats::{HeaderMap, header::NATS_MESSAGE_ID};
use sha2::{Digest as _, Sha256};
use tracing::debug;

use super::{BlobError, Blobs, CHUNK_BYTES, Meta, Told};
use crate::{
    blob::Blob,
    ids::RunId,
    io::{
        clock,
        journal::{JournalError, expecting},
    },
    names::object,
};

/// Something that is being kept for a run. Dropped in the middle, what was sent of it stays until its run's blobs are removed.
#[derive(Debug)]
pub struct Upload {
    blobs: Blobs,
    run: RunId,
    name: String,
    limit: u64,
    buffer: Vec<u8>,
    digest: Sha256,
    bytes: u64,
    chunks: usize,
}

impl Upload {
    pub(super) fn new(blobs: Blobs, run: &RunId, limit: u64) -> Self {
        Self {
            blobs,
            run: run.clone(),
            name: object::upload(run, fastrand::u128(..)),
            limit,
            buffer: Vec::new(),
            digest: Sha256::new(),
            bytes: 0,
            chunks: 0,
        }
    }

    /// Takes the next bytes; at most a chunk of them stays in memory.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`], and [`BlobError::Unavailable`] after half a minute of patience.
    pub async fn push(&mut self, mut bytes: &[u8]) -> Result<(), BlobError> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.limit {
            return Err(BlobError::TooLarge { limit: self.limit });
        }
        self.digest.update(bytes);
        while !bytes.is_empty() {
            let room = CHUNK_BYTES - self.buffer.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == CHUNK_BYTES {
                self.send().await?;
            }
        }
        Ok(())
    }

    /// One chunk after the other: a message id each, so that one that is sent again is there once, and in its place.
    async fn send(&mut self) -> Result<(), BlobError> {
        let chunk = std::mem::take(&mut self.buffer);
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, format!("{}.{}", self.name, self.chunks));
        let subject = object::chunks(&self.name);
        let journal = &self.blobs.journal;
        Box::pin(journal.publish(subject, headers, chunk.into())).await?;
        self.chunks += 1;
        Ok(())
    }

    /// Says that it is a blob. Where the run has one with the same content and type already, that one is given and this upload goes.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`].
    pub async fn finish(mut self, kind: &str) -> Result<Blob, BlobError> {
        // What is empty has a chunk, too, so that its run is found by it.
        if !self.buffer.is_empty() || self.chunks == 0 {
            self.send().await?;
        }
        let digest = self.digest.clone().finalize();
        let blob = Blob::new(self.bytes, &digest, kind);
        let meta = Meta {
            name: object::name(&self.run, &blob.id),
            bucket: object::BLOBS.into(),
            nuid: self.name.clone(),
            size: self.bytes,
            chunks: self.chunks,
            mtime: clock::now(),
            digest: format!("SHA-256={}", object::base64(&digest)),
            metadata: Told {
                kind: blob.kind.clone(),
                sha256: blob.sha256.clone(),
            },
            deleted: false,
        };
        let payload = serde_json::to_vec(&meta).map_err(super::unavailable)?;
        let subject = object::meta(&self.run, &blob.id);
        let headers = expecting(0, &subject);
        let journal = &self.blobs.journal;
        let published = journal.publish(subject.clone(), headers, payload.clone().into());
        match Box::pin(published).await {
            Ok(_) => return Ok(blob),
            Err(JournalError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
        match Box::pin(self.blobs.find(&self.run, &blob.id)).await? {
            // It is this very upload, whose ack was lost.
            Some(there) if there.upload == self.name => {}
            Some(_) => self.abandon().await,
            // Somebody has deleted it by hand, which leaves a mark.
            None => {
                self.blobs.purge(subject.clone()).await?;
                let headers = expecting(0, &subject);
                Box::pin(journal.publish(subject, headers, payload.into())).await?;
            }
        }
        Ok(blob)
    }

    /// Gives it up; what was sent of it goes now, or with its run.
    pub async fn abandon(self) {
        if self.chunks > 0
            && let Err(problem) = self.blobs.purge(object::chunks(&self.name)).await
        {
            debug!(%problem, "an upload that was given up stays until its run's blobs go");
        }
    }
}
