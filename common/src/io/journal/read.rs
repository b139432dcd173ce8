//! Reading the journal: batched direct gets, no consumer.

use std::time::Duration;

use async_nats::{StatusCode, jetstream::stream::DirectGetErrorKind};
use backon::Retryable as _;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde::Serialize;
use tracing::warn;

use super::{HISTORY_MAX, Journal, JournalError, Raw, patience};
use crate::{
    entry::{Address, Entry, EntryError, Kind},
    ids::{Name, RunId},
    names::{stream, subject},
};

/// Longest wait for the next message of a history.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages asked for at once when a history is read.
const READ_BATCH: usize = 512;

#[derive(Serialize)]
struct DirectGet<'a> {
    #[serde(flatten)]
    from: From,
    batch: usize,
    next_by_subj: &'a str,
}

/// Where a read begins.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum From {
    /// At a sequence.
    Seq(u64),
    /// At the first message that was stored at that time or later.
    StartTime(Timestamp),
}

/// Some messages, in order.
#[derive(Debug, Clone)]
pub struct RawPage {
    /// The messages.
    pub messages: Vec<Raw>,
    /// Where the next page begins; `None` when there is none.
    pub next: Option<u64>,
}

impl Journal {
    /// All entries of a run, in order; none if there is no such run.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn read(&self, run: &RunId) -> Result<Vec<Entry>, JournalError> {
        let mut entries = Vec::new();
        for raw in self.raw(&subject::run(run), 1).await? {
            match decode(&raw) {
                Ok(entry) => entries.extend(entry),
                // Anyone may have written rubbish there. What no decision rests on counts nowhere; if one does, the
                // rebuild says so.
                Err(problem) if !is_chain(&raw.subject) => {
                    warn!(subject = raw.subject, seq = raw.seq, %problem, "skipped on the journal");
                }
                Err(problem) => return Err(problem.into()),
            }
        }
        Ok(entries)
    }

    /// All messages under a subject (wildcards allowed) from a sequence on, in order: batched direct gets, no consumer
    /// (which takes 33 ms to create once the stream holds hundreds of thousands of subjects).
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn raw(&self, subjects: &str, from: u64) -> Result<Vec<Raw>, JournalError> {
        let mut found: Vec<Raw> = Vec::new();
        // One first: its reply says how many more there are. Asked for more than there are, the server would search the whole
        // stream behind the last one (2 to 30 ms of its time, seen on 2.15.1, instead of less than one).
        let (mut next, mut wanted) = (from.max(1), 1);
        loop {
            let (messages, pending) = self
                .page_patiently(subjects, From::Seq(next), wanted)
                .await?;
            match messages.last() {
                Some(last) if pending > 0 => next = last.seq + 1,
                Some(_) | None => {
                    found.extend(messages);
                    return Ok(found);
                }
            }
            found.extend(messages);
            wanted = usize::try_from(pending)
                .unwrap_or(READ_BATCH)
                .min(READ_BATCH);
            if found.len() > HISTORY_MAX {
                let run = found
                    .first()
                    .and_then(|raw| Address::parse(&raw.subject).ok().flatten());
                return Err(run.map_or_else(
                    || {
                        JournalError::Unavailable(format!(
                            "more than {HISTORY_MAX} messages under {subjects}"
                        ))
                    },
                    |address| JournalError::TooLong { run: address.run },
                ));
            }
        }
    }

    async fn page_patiently(
        &self,
        subjects: &str,
        from: From,
        batch: usize,
    ) -> Result<(Vec<Raw>, u64), JournalError> {
        // Reads cost the server more than writes, and they share the connection with acks: a few at a time.
        let _permit = self.reads.acquire().await;
        let page = || self.page(subjects, from, batch);
        let unavailable = |error: &JournalError| matches!(error, JournalError::Unavailable(_));
        page.retry(patience()).when(unavailable).await
    }

    /// Messages, and how many more there are under this subject.
    async fn page(
        &self,
        subjects: &str,
        from: From,
        batch: usize,
    ) -> Result<(Vec<Raw>, u64), JournalError> {
        let unavailable = |problem: String| JournalError::Unavailable(problem);
        let inbox = self.bus.client.new_inbox();
        let mut replies = self
            .bus
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|e| unavailable(e.to_string()))?;
        let ask = DirectGet {
            from,
            batch,
            next_by_subj: subjects,
        };
        let ask = serde_json::to_vec(&ask).map_err(|e| unavailable(e.to_string()))?;
        let api = format!("$JS.API.DIRECT.GET.{}", stream::RUNS);
        let sent = self
            .bus
            .client
            .publish_with_reply(api, inbox, ask.into())
            .await;
        sent.map_err(|e| unavailable(e.to_string()))?;
        let mut messages = Vec::new();
        loop {
            let reply = tokio::time::timeout(READ_TIMEOUT, replies.next()).await;
            let message = match reply {
                Ok(Some(message)) => message,
                Ok(None) => return Err(unavailable("the connection closed while reading".into())),
                Err(_) => return Err(unavailable("no answer to a read in time".into())),
            };
            match message.status {
                None => messages.push(direct_message(&message)?),
                Some(StatusCode::NOT_FOUND) => return Ok((messages, 0)),
                // End of batch: how many are left under this subject.
                Some(status) if status.as_u16() == 204 => {
                    let pending = header_number(&message, "Nats-Num-Pending").unwrap_or(0);
                    return Ok((messages, pending));
                }
                Some(status) => {
                    return Err(unavailable(format!(
                        "a read was answered with status {status}"
                    )));
                }
            }
        }
    }

    /// The first messages under a subject (wildcards allowed) from a sequence on: as many as one request gives.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn raw_page(&self, subjects: &str, from: u64) -> Result<RawPage, JournalError> {
        self.first_page(subjects, From::Seq(from.max(1))).await
    }

    /// The same from the first message on that was stored at that time or later.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn raw_page_since(
        &self,
        subjects: &str,
        since: Timestamp,
    ) -> Result<RawPage, JournalError> {
        self.first_page(subjects, From::StartTime(since)).await
    }

    async fn first_page(&self, subjects: &str, from: From) -> Result<RawPage, JournalError> {
        let (messages, pending) = self.page_patiently(subjects, from, READ_BATCH).await?;
        let last = messages.last().filter(|_| pending > 0);
        let next = last.map(|last| last.seq + 1);
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

/// Reads a message as an entry; `None` for a message schedule.
///
/// # Errors
/// [`EntryError`].
pub fn decode(raw: &Raw) -> Result<Option<Entry>, EntryError> {
    match Address::parse(&raw.subject)? {
        None => Ok(None),
        Some(address) => Entry::decode(raw.seq, address, &raw.payload).map(Some),
    }
}

fn is_chain(subject: &str) -> bool {
    subject
        .split('.')
        .nth(2)
        .is_some_and(|kind| kind == "decided" || kind == "started")
}

fn header_number(message: &async_nats::Message, name: &str) -> Option<u64> {
    message.headers.as_ref()?.get(name)?.as_str().parse().ok()
}

fn direct_message(message: &async_nats::Message) -> Result<Raw, JournalError> {
    let subject = message
        .headers
        .as_ref()
        .and_then(|headers| headers.get("Nats-Subject"))
        .map(ToString::to_string);
    match (header_number(message, "Nats-Sequence"), subject) {
        (Some(seq), Some(subject)) => Ok(Raw {
            seq,
            subject,
            payload: message.payload.clone(),
        }),
        _ => Err(JournalError::Unavailable(
            "a read was answered without subject and sequence".into(),
        )),
    }
}
