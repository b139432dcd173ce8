//! Reading the journal: batched direct gets, no consumer.

use std::{collections::BTreeMap, time::Duration};

use async_nats::{StatusCode, jetstream::response::Response};
use backon::Retryable as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::warn;

use super::{HISTORY_MAX, Journal, JournalError, Raw, patience};
use crate::{
    entry::{Address, Entry, EntryError, Kind},
    ids::{Name, RunId},
    names::{self, subject},
};

/// Longest wait for the next message of a history.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages asked for at once.
const READ_BATCH: usize = 512;
/// Subjects of one history being read at once.
const SUBJECTS_AT_ONCE: usize = 8;

#[derive(Serialize)]
struct DirectGet<'a> {
    #[serde(flatten)]
    from: From,
    batch: usize,
    next_by_subj: &'a str,
}

/// What is wanted of what the server tells of a stream.
#[derive(Deserialize)]
struct Counted {
    state: CountedState,
}

#[derive(Deserialize)]
struct CountedState {
    subjects: Option<BTreeMap<String, u64>>,
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
        Ok(entries(&self.raw(&subject::run(run)).await?)?)
    }

    /// All messages under a subject (wildcards allowed) at this moment, in order, schedules left out.
    ///
    /// The server counts them by subject, and each subject is read for itself: it finds a plain subject by its index, but goes
    /// through a block of the stream, thousands of messages, for a wildcard (1 to 3 ms of its time, seen on 2.15.1, instead of 0.1).
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn raw(&self, subjects: &str) -> Result<Vec<Raw>, JournalError> {
        let read = || self.counted(subjects);
        read.retry(patience()).when(is_unavailable).await
    }

    /// The last sequence of all of the journal.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    pub async fn last_sequence(&self) -> Result<u64, JournalError> {
        let stream = self.bus.jetstream.get_stream(names::stream::RUNS);
        let stream = stream
            .await
            .map_err(|error| JournalError::Unavailable(error.to_string()))?;
        Ok(stream.cached_info().state.last_sequence)
    }

    async fn counted(&self, subjects: &str) -> Result<Vec<Raw>, JournalError> {
        let counts = self.counts(subjects).await?;
        let total: u64 = counts.iter().map(|(_, count)| count).sum();
        if total > HISTORY_MAX {
            return Err(too_long(subjects));
        }
        let reads = counts
            .into_iter()
            .map(|(subject, count)| self.first_of(subject, count));
        let mut found = stream::iter(reads)
            .buffer_unordered(SUBJECTS_AT_ONCE)
            .try_concat()
            .await?;
        found.sort_unstable_by_key(|raw| raw.seq);
        Ok(found)
    }

    /// How many messages there are under each subject.
    async fn counts(&self, subjects: &str) -> Result<Vec<(String, u64)>, JournalError> {
        let ask = json!({"subjects_filter": subjects});
        let api = format!("STREAM.INFO.{}", names::stream::RUNS);
        let asked = {
            let _permit = self.reads.acquire().await;
            self.bus.jetstream.request(api, &ask).await
        };
        let answer: Response<Counted> = asked.map_err(unavailable)?;
        let counted = match answer {
            Response::Ok(counted) => counted.state.subjects.unwrap_or_default(),
            Response::Err { error } => return Err(unavailable(error)),
        };
        let is_entry = |subject: &String| !matches!(Address::parse(subject), Ok(None));
        let counts = counted.into_iter();
        Ok(counts.filter(|(subject, _)| is_entry(subject)).collect())
    }

    /// The first so many messages of one subject.
    async fn first_of(&self, subject: String, count: u64) -> Result<Vec<Raw>, JournalError> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut found: Vec<Raw> = Vec::with_capacity(count);
        while found.len() < count {
            let from = found.last().map_or(1, |last| last.seq + 1);
            let batch = (count - found.len()).min(READ_BATCH);
            let _permit = self.reads.acquire().await;
            let (messages, _) = self.page(&subject, From::Seq(from), batch).await?;
            if messages.is_empty() {
                // Purged in between, or a replica that is behind answered: what there is now is counted again.
                return Err(unavailable(format!(
                    "{subject} has fewer messages than it had"
                )));
            }
            found.extend(messages);
        }
        Ok(found)
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
        page.retry(patience()).when(is_unavailable).await
    }

    /// Messages, and how many more there are under this subject.
    async fn page(
        &self,
        subjects: &str,
        from: From,
        batch: usize,
    ) -> Result<(Vec<Raw>, u64), JournalError> {
        let inbox = self.bus.client.new_inbox();
        let mut replies = self
            .bus
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(unavailable)?;
        let ask = DirectGet {
            from,
            batch,
            next_by_subj: subjects,
        };
        let ask = serde_json::to_vec(&ask).map_err(unavailable)?;
        let api = format!("$JS.API.DIRECT.GET.{}", names::stream::RUNS);
        let sent = self
            .bus
            .client
            .publish_with_reply(api, inbox, ask.into())
            .await;
        sent.map_err(unavailable)?;
        let mut messages = Vec::new();
        loop {
            let reply = tokio::time::timeout(READ_TIMEOUT, replies.next()).await;
            let message = match reply {
                Ok(Some(message)) => message,
                Ok(None) => return Err(unavailable("the connection closed while reading")),
                Err(_) => return Err(unavailable("no answer to a read in time")),
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

    /// Gives `take` all messages under a subject (wildcards allowed), oldest first.
    ///
    /// # Errors
    /// [`JournalError`], and what `take` says.
    pub async fn each_raw<E: std::convert::From<JournalError>>(
        &self,
        subjects: &str,
        mut take: impl FnMut(Raw) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut next = Some(1);
        while let Some(from) = next {
            let page = self.raw_page(subjects, from).await?;
            page.messages.into_iter().try_for_each(&mut take)?;
            next = page.next;
        }
        Ok(())
    }

    /// The same page from the first message on that was stored at that time or later.
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
        let subject = subject::entry(run, Kind::Started, workflow);
        Ok(self.last_at(subject).await?.is_some())
    }

    /// Whether there is anything of a run.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    pub async fn is_there(&self, run: &RunId) -> Result<bool, JournalError> {
        Ok(self.last_at(subject::run(run)).await?.is_some())
    }

    /// When a run's end was stored; `None`: it has not ended, or is not there.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    pub async fn ended_at(&self, run: &RunId) -> Result<Option<Timestamp>, JournalError> {
        self.last_at(subject::end(run)).await
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

/// The entries among the messages of a run, in their order.
///
/// # Errors
/// [`EntryError`] of what a run cannot do without: its beginning, its decisions.
pub fn entries(messages: &[Raw]) -> Result<Vec<Entry>, EntryError> {
    let mut entries = Vec::with_capacity(messages.len());
    for raw in messages {
        match decode(raw) {
            Ok(entry) => entries.extend(entry),
            // Anyone may have written rubbish there. What no decision rests on counts nowhere; if one does, the
            // rebuild says so.
            Err(problem) if !is_chain(&raw.subject) => {
                warn!(subject = raw.subject, seq = raw.seq, %problem, "skipped on the journal");
            }
            Err(problem) => return Err(problem),
        }
    }
    Ok(entries)
}

fn is_unavailable(error: &JournalError) -> bool {
    matches!(error, JournalError::Unavailable(_))
}

pub(in crate::io) fn unavailable(problem: impl std::fmt::Display) -> JournalError {
    JournalError::Unavailable(problem.to_string())
}

fn too_long(subjects: &str) -> JournalError {
    let run = subjects.split('.').nth(1).and_then(|run| run.parse().ok());
    match run {
        Some(run) => JournalError::TooLong { run },
        None => unavailable(format!("more than {HISTORY_MAX} messages under {subjects}")),
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
