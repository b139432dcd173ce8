//! A blob on its way out: checked as it goes.

use async_nats::jetstream::stream::DirectGetErrorKind;
use backon::Retryable as _;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{BlobError, Blobs, Found, is_unavailable};
use crate::{ids::hex, io::journal::patience, names::object};

/// How far a blob has been read.
pub(super) struct Reading {
    blobs: Blobs,
    found: Found,
    /// From this sequence on is the next chunk.
    next: u64,
    chunks: usize,
    bytes: u64,
    digest: Sha256,
}

impl Reading {
    pub(super) fn new(blobs: Blobs, found: Found) -> Self {
        Self {
            blobs,
            found,
            next: 1,
            chunks: 0,
            bytes: 0,
            digest: Sha256::new(),
        }
    }

    /// The next chunk; `None`: that was all of it, and it is right.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        if self.chunks == self.found.chunks {
            return self.check().map(|()| None);
        }
        let subject = object::chunks(&self.found.upload);
        let stream = &self.blobs.stream;
        let get = || async {
            let got = stream.direct_get_next_for_subject(subject.as_str(), Some(self.next));
            got.await.map_err(|error| match error.kind() {
                DirectGetErrorKind::NotFound => self.damaged("a part of it is missing"),
                DirectGetErrorKind::InvalidSubject
                | DirectGetErrorKind::TimedOut
                | DirectGetErrorKind::Request
                | DirectGetErrorKind::ErrorResponse(..)
                | DirectGetErrorKind::Other => BlobError::Unavailable(error.to_string()),
            })
        };
        let message = get.retry(patience()).when(is_unavailable).await?;
        self.next = message.sequence + 1;
        self.chunks += 1;
        self.bytes += message.payload.len() as u64;
        self.digest.update(&message.payload);
        // The last chunk is given only when all of it is right.
        if self.chunks == self.found.chunks {
            self.check()?;
        }
        Ok(Some(message.payload))
    }

    fn check(&self) -> Result<(), BlobError> {
        let blob = &self.found.blob;
        if self.bytes != blob.bytes {
            let problem = format!("it has {} bytes instead of {}", self.bytes, blob.bytes);
            return Err(self.damaged(&problem));
        }
        if hex(&self.digest.clone().finalize()) != blob.sha256 {
            return Err(self.damaged("its digest is another"));
        }
        Ok(())
    }

    fn damaged(&self, problem: &str) -> BlobError {
        BlobError::Damaged {
            id: self.found.blob.id.clone(),
            problem: problem.to_owned(),
        }
    }
}
