//! Reading a little of the journal: a page of what must not be in memory all at once, or whether something is there.

use async_nats::jetstream::stream::DirectGetErrorKind;
use backon::Retryable as _;

use super::{Journal, JournalError, Raw, patience};
use crate::{
    entry::Kind,
    ids::{Name, RunId},
    names::{stream, subject},
};

/// Some messages, in order.
#[derive(Debug, Clone)]
pub struct RawPage {
    /// The messages.
    pub messages: Vec<Raw>,
    /// Where the next page begins; `None` when there is none.
    pub next: Option<u64>,
}

impl Journal {
    /// The first messages under a subject (wildcards allowed) from a sequence on: as many as one request gives.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn raw_page(&self, subjects: &str, from: u64) -> Result<RawPage, JournalError> {
        let page = || self.page(subjects, from.max(1));
        let unavailable = |error: &JournalError| matches!(error, JournalError::Unavailable(_));
        let (messages, more) = page.retry(patience()).when(unavailable).await?;
        let next = messages.last().filter(|_| more).map(|last| last.seq + 1);
        Ok(RawPage { messages, next })
    }

    /// Whether a run of this workflow was started.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    pub async fn is_started(&self, run: &RunId, workflow: &Name) -> Result<bool, JournalError> {
        let unavailable = |problem: String| JournalError::Unavailable(problem);
        let stream = self.bus.jetstream.get_stream_no_info(stream::RUNS).await;
        let stream = stream.map_err(|e| unavailable(e.to_string()))?;
        let subject = subject::entry(run, Kind::Started, workflow);
        match stream.direct_get_last_for_subject(subject).await {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), DirectGetErrorKind::NotFound) => Ok(false),
            Err(error) => Err(unavailable(error.to_string())),
        }
    }
}
