//! What a program writes, on its way to the object store.

use flotilla_common::{
    blob::{BYTES, Blob, TEXT},
    io::blobs::{BlobError, Upload},
};

/// An output that is kept as it comes.
#[derive(Debug)]
pub(super) struct Keeping {
    upload: Option<Upload>,
    problem: Option<BlobError>,
    /// A push was begun, and nobody waited for its end: then some of it may be missing.
    in_hand: bool,
}

impl Keeping {
    pub(super) fn new(upload: Upload) -> Self {
        Self {
            upload: Some(upload),
            problem: None,
            in_hand: false,
        }
    }

    /// Takes the next part; after the first problem, nothing any more.
    pub(super) async fn push(&mut self, chunk: &[u8]) {
        let Some(upload) = &mut self.upload else {
            return;
        };
        self.in_hand = true;
        let pushed = upload.push(chunk).await;
        self.in_hand = false;
        if let Err(problem) = pushed {
            self.problem = Some(problem);
            self.give_up().await;
        }
    }

    /// What became of it.
    pub(super) async fn finish(mut self, is_text: bool) -> Result<Blob, BlobError> {
        if self.in_hand {
            self.give_up().await;
            let problem = "the program had ended, and its output was not taken in time";
            return Err(BlobError::Unavailable(problem.to_owned()));
        }
        let kind = if is_text { TEXT } else { BYTES };
        match (self.upload, self.problem) {
            (Some(upload), _) => Box::pin(upload.finish(kind)).await,
            (None, Some(problem)) => Err(problem),
            (None, None) => Err(BlobError::Source("it was given up".to_owned())),
        }
    }

    /// Drops what was kept.
    pub(super) async fn give_up(&mut self) {
        if let Some(upload) = self.upload.take() {
            upload.abandon().await;
        }
    }
}
