//! Single messages of the journal: the last under a subject.

use async_nats::jetstream::{message::StreamMessage, stream::DirectGetErrorKind};
use jiff::Timestamp;

use super::{Journal, JournalError, unavailable};
use crate::{
    entry::Kind,
    ids::{Name, RunId},
    names::{self, header, subject},
    trace::TraceContext,
};

impl Journal {
    /// Who sent the event of a run, where that was kept.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    pub async fn sender(
        &self,
        run: &RunId,
        workflow: &Name,
    ) -> Result<Option<TraceContext>, JournalError> {
        let started = subject::entry(run, Kind::Started, workflow);
        let message = self.last_message(started).await?;
        let sender = message.and_then(|message| {
            let text = message.headers.get(header::SENDER)?;
            text.as_str().parse().ok()
        });
        Ok(sender)
    }

    /// When the last message under a subject was stored.
    pub(super) async fn last_at(&self, subject: String) -> Result<Option<Timestamp>, JournalError> {
        let message = self.last_message(subject).await?;
        let stored = message.map(|message| Timestamp::from_second(message.time.unix_timestamp()));
        stored.transpose().map_err(unavailable)
    }

    async fn last_message(&self, subject: String) -> Result<Option<StreamMessage>, JournalError> {
        let runs = names::stream::RUNS;
        let stream = self.bus.jetstream.get_stream_no_info(runs).await;
        let stream = stream.map_err(unavailable)?;
        match stream.direct_get_last_for_subject(subject).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if matches!(error.kind(), DirectGetErrorKind::NotFound) => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }
}
