//! What runs taught, in a key-value bucket: gateways add what people say, planners how runs ended that went wrong, and runs that
//! begin are told the newest. A courtesy to later runs: where it cannot be had, they go without.

use std::{fmt, time::Duration};

use async_nats::jetstream::kv::{Operation, Store, UpdateErrorKind};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::{
    bus::Bus,
    streams::{StreamError, ensure_lessons},
};
use crate::{entry::Pin, ids::RunId, names::bucket};

/// Lessons kept of each version of a workflow: the newest.
pub const KEPT_MAX: usize = 20;
/// Longest text of a lesson, in bytes.
pub const TEXT_BYTES_MAX: usize = 400;
/// How long a run waits for its lessons, and an entry for its lesson to be noted, before it goes on without.
const PATIENCE: Duration = Duration::from_secs(2);
/// Times a lesson is put in anew because another one came in between.
const TRIES_MAX: u32 = 20;
/// Longest pause before such a new try.
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// What one run taught.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lesson {
    /// Which run.
    pub run: RunId,
    /// When, by the journal.
    pub at: Timestamp,
    /// What, in at most [`TEXT_BYTES_MAX`] bytes.
    pub text: String,
}

impl Lesson {
    /// A lesson; a text that is too long is cut.
    #[must_use]
    pub fn new(run: &RunId, at: Timestamp, text: &str) -> Self {
        Self {
            run: run.clone(),
            at,
            text: cut(text, TEXT_BYTES_MAX).to_owned(),
        }
    }

    /// What a person thinks of a run.
    #[must_use]
    pub fn said(run: &RunId, at: Timestamp, good: Option<bool>, text: &str) -> Self {
        let verdict = match good {
            Some(true) => " (good)",
            Some(false) => " (bad)",
            None => "",
        };
        Self::new(run, at, &format!("a person said{verdict}: {text}"))
    }
}

/// What the bucket holds under one key.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Book {
    /// Oldest first.
    lessons: Vec<Lesson>,
}

impl Book {
    /// Puts a lesson where its time is. `false`: it changes nothing, for it is there, or older than all that is kept.
    fn add(&mut self, lesson: Lesson) -> bool {
        let same = |other: &Lesson| other.run == lesson.run && other.text == lesson.text;
        if self.lessons.iter().any(same) {
            return false;
        }
        let before = self.lessons.clone();
        let at = self.lessons.partition_point(|other| other.at <= lesson.at);
        self.lessons.insert(at, lesson);
        let over = self.lessons.len().saturating_sub(KEPT_MAX);
        self.lessons.drain(..over);
        self.lessons != before
    }

    fn newest(self, count: usize) -> Vec<String> {
        let over = self.lessons.len().saturating_sub(count);
        let newest = self.lessons.into_iter().skip(over);
        newest.map(|lesson| lesson.text).collect()
    }
}

/// Why the lessons cannot be had now.
#[derive(Debug, thiserror::Error)]
#[error("the lessons cannot be reached: {0}")]
pub struct Unreachable(String);

impl Unreachable {
    fn of(problem: impl fmt::Display) -> Self {
        Self(problem.to_string())
    }
}

/// The bucket. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Lessons {
    store: Store,
}

impl Lessons {
    /// Opens the bucket: created when missing, checked when there.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn open(bus: &Bus) -> Result<Self, StreamError> {
        let store = ensure_lessons(bus).await?;
        Ok(Self { store })
    }

    /// The newest of a workflow's version, oldest first; none where they cannot be had soon.
    pub async fn newest(&self, workflow: &Pin, count: u32) -> Vec<String> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count == 0 {
            return Vec::new();
        }
        let key = bucket::lessons(&workflow.name, workflow.version);
        match patiently(self.read(&key)).await {
            Ok((book, _)) => book.newest(count),
            Err(problem) => {
                warn!(%problem, workflow = %workflow.name, "a run begins without its lessons");
                Vec::new()
            }
        }
    }

    /// Notes a lesson of a workflow's version; says whether it is noted. A second time, or one older than all that is kept,
    /// changes nothing.
    pub async fn add(&self, workflow: &Pin, lesson: Lesson) -> bool {
        let run = lesson.run.clone();
        match patiently(self.put(workflow, lesson)).await {
            Ok(()) => true,
            Err(problem) => {
                warn!(%problem, %run, "a lesson is not noted");
                false
            }
        }
    }

    async fn put(&self, workflow: &Pin, lesson: Lesson) -> Result<(), Unreachable> {
        let key = bucket::lessons(&workflow.name, workflow.version);
        for _ in 0..TRIES_MAX {
            let (mut book, revision) = self.read(&key).await?;
            if !book.add(lesson.clone()) {
                return Ok(());
            }
            let value = serde_json::to_vec(&book).map_err(Unreachable::of)?;
            match self.store.update(&key, value.into(), revision).await {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                    debug!(key, "another lesson came in between");
                    sleep(PAUSE_MAX.mul_f64(fastrand::f64())).await;
                }
                Err(error) => return Err(Unreachable::of(error)),
            }
        }
        Err(Unreachable::of("too many others write at once"))
    }

    /// What is there, and what an update must expect. What cannot be read is as good as nothing: it is written anew.
    async fn read(&self, key: &str) -> Result<(Book, u64), Unreachable> {
        let entry = self.store.entry(key).await.map_err(Unreachable::of)?;
        let Some(entry) = entry else {
            return Ok((Book::default(), 0));
        };
        let book = match entry.operation {
            Operation::Delete | Operation::Purge => Book::default(),
            Operation::Put => serde_json::from_slice(&entry.value).unwrap_or_else(|problem| {
                warn!(%problem, key, "these lessons cannot be read");
                Book::default()
            }),
        };
        Ok((book, entry.revision))
    }
}

async fn patiently<T>(
    question: impl Future<Output = Result<T, Unreachable>>,
) -> Result<T, Unreachable> {
    match timeout(PATIENCE, Box::pin(question)).await {
        Ok(answer) => answer,
        Err(_) => Err(Unreachable::of("NATS does not answer in time")),
    }
}

/// The beginning of a text, of at most so many bytes.
fn cut(text: &str, bytes_max: usize) -> &str {
    let end = text.floor_char_boundary(bytes_max);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lesson(run: &str, second: i64, text: &str) -> Lesson {
        let run = RunId::derive(&"w".parse().unwrap(), "test", run);
        Lesson::new(&run, Timestamp::from_second(second).unwrap(), text)
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        let long = "é".repeat(TEXT_BYTES_MAX);
        assert_eq!(lesson("1", 0, &long).text.len(), TEXT_BYTES_MAX);
        let odd = format!("x{long}");
        assert_eq!(lesson("1", 0, &odd).text.len(), TEXT_BYTES_MAX - 1);
        assert_eq!(lesson("1", 0, "short").text, "short");
    }

    #[test]
    fn the_newest_are_kept_by_the_journals_time_and_each_once() {
        let mut book = Book::default();
        assert!(book.add(lesson("late", 5_000, "late")));
        for number in 0..25 {
            book.add(lesson(&number.to_string(), number, "x"));
        }
        assert_eq!(book.lessons.len(), KEPT_MAX);
        assert_eq!(book.lessons[0].at.as_second(), 6);
        let kept = book.clone();
        assert!(!book.add(lesson("late", 5_000, "late")), "it is there");
        assert!(!book.add(lesson("old", 1, "x")), "it is too old");
        assert_eq!(book, kept);
        assert!(
            book.add(lesson("late", 5_001, "more")),
            "a run may teach more"
        );
        assert_eq!(book.newest(2), ["late", "more"]);
    }

    #[test]
    fn what_a_person_said_says_so_with_the_verdict() {
        let run = RunId::derive(&"w".parse().unwrap(), "test", "1");
        let said = |good| Lesson::said(&run, Timestamp::UNIX_EPOCH, good, "too late").text;
        assert_eq!(said(Some(false)), "a person said (bad): too late");
        assert_eq!(said(Some(true)), "a person said (good): too late");
        assert_eq!(said(None), "a person said: too late");
    }
}
