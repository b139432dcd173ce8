//! Workflows and tools in a key-value bucket: every version that was ever applied, which of them new runs get, and what is switched
//! off. Roles live from a view of it that is kept current; folders of definitions are applied to it.
//!
//! One bucket holds all of it, for a watch of one stream tells of changes in the order in which they were made: whoever learns that a
//! version is active has been told its texts and its tools before.

mod apply;
mod change;
mod folder;
mod inlets;
mod live;
mod read;
mod view;

use std::{collections::BTreeMap, fmt};

use async_nats::{
    HeaderMap,
    jetstream::kv::{Entry, Operation, Store, Watch},
};
use futures_util::StreamExt as _;
use jiff::Timestamp;

pub use apply::{Activate, Applied, Apply, ApplyError, Outcome};
pub use change::{ChangeError, Said};
pub use folder::{DefinitionsError, load, load_models, read};
pub use inlets::InletChange;
pub use live::Live;
pub use read::Kept;

use super::{
    bus::Bus,
    entries::{Silent, next, patiently},
    journal::{Journal, JournalError},
    streams::{StreamError, ensure_definitions},
};
use crate::{
    definition::{Active, Bundle, Switch, Switched, ValueError, VersionRef},
    ids::Name,
    names::bucket,
};

/// Why the definitions can be neither read nor changed now.
#[derive(Debug, thiserror::Error)]
#[error("the definitions cannot be reached: {0}")]
pub struct Unreachable(String);

impl Unreachable {
    fn of(problem: impl fmt::Display) -> Self {
        Self(problem.to_string())
    }
}

impl From<Silent> for Unreachable {
    fn from(silent: Silent) -> Self {
        Self::of(silent)
    }
}

/// The bucket. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Definitions {
    store: Store,
    journal: Journal,
}

/// A workflow as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Every version that was applied and when, oldest first.
    pub versions: Vec<(VersionRef, Timestamp)>,
    /// Which of them new runs get; `None` where that was never said, or is written by a newer flotilla.
    pub active: Option<Active>,
}

impl Definitions {
    /// Opens the bucket: created when missing, checked when there.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn open(bus: &Bus) -> Result<Self, StreamError> {
        Ok(Self {
            store: ensure_definitions(bus).await?,
            journal: Journal::new(bus.clone()),
        })
    }

    /// The texts of a version; where several took each other's place, those that came last. `None`: it was never applied.
    ///
    /// # Errors
    /// [`Unreachable`]: also where the texts were written by another flotilla.
    pub async fn get(&self, name: &Name, version: u32) -> Result<Option<Bundle>, Unreachable> {
        let mut last: Option<Entry> = None;
        for key in self.keys(&bucket::workflow_version(name, version)).await? {
            let found = self.entry(&key).await?;
            let later = found.filter(|entry| {
                let last = last.as_ref();
                last.is_none_or(|last| last.revision < entry.revision)
            });
            last = later.or(last);
        }
        let bundle = last.map(|entry| Bundle::read(&entry.value));
        bundle.transpose().map_err(Unreachable::of)
    }

    /// All workflows that were ever applied. It reads all of the bucket.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub async fn list(&self) -> Result<BTreeMap<Name, Listed>, Unreachable> {
        let mut listed: BTreeMap<Name, Listed> = BTreeMap::new();
        let blank = || Listed {
            versions: Vec::new(),
            active: None,
        };
        let take = |entry: &Entry| {
            let Some(text) = value(entry) else {
                return;
            };
            match bucket::definition(&entry.key) {
                Some(bucket::Definition::Workflow) => {
                    if let Ok(bundle) = Bundle::read(text) {
                        let listed = listed.entry(bundle.workflow.clone());
                        let versions = &mut listed.or_insert_with(blank).versions;
                        versions.push((bundle.version(), written(entry)));
                    }
                }
                Some(bucket::Definition::Active(name)) => {
                    listed.entry(name).or_insert_with(blank).active = Active::read(text).ok();
                }
                Some(
                    bucket::Definition::Tool
                    | bucket::Definition::Switch(_)
                    | bucket::Definition::Inlet(_),
                )
                | None => {}
            }
        };
        Box::pin(self.load(take)).await?;
        for one in listed.values_mut() {
            one.versions.sort_by(|one, other| one.0.cmp(&other.0));
        }
        Ok(listed)
    }

    /// What is switched off.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub async fn switched_off(&self) -> Result<Vec<(Switched, Switch)>, Unreachable> {
        let mut off = Vec::new();
        for key in self.keys(bucket::ALL_SWITCHES).await? {
            let Some(bucket::Definition::Switch(what)) = bucket::definition(&key) else {
                continue;
            };
            if let Some(entry) = self.entry(&key).await?
                && let Some(text) = value(&entry)
            {
                let switch = Switch::read(text);
                off.push((
                    what,
                    switch.unwrap_or_else(|_| Switch::unreadable(written(&entry))),
                ));
            }
        }
        Ok(off)
    }

    /// The keys that a pattern has, those of what was deleted too.
    async fn keys(&self, pattern: &str) -> Result<Vec<String>, Unreachable> {
        let subjects = bucket::subject(bucket::DEFINITIONS, pattern);
        let question = async {
            let found = self.store.stream.info_with_subjects(subjects).await;
            let mut found = std::pin::pin!(found.map_err(Silent::of)?);
            let mut keys = Vec::new();
            while let Some(subject) = found.next().await {
                let (subject, _) = subject.map_err(Silent::of)?;
                keys.extend(bucket::key(bucket::DEFINITIONS, &subject).map(str::to_owned));
            }
            Ok::<_, Silent>(keys)
        };
        Ok(patiently(question).await?)
    }

    async fn entry(&self, key: &str) -> Result<Option<Entry>, Unreachable> {
        Ok(patiently(self.store.entry(key)).await?)
    }

    /// Writes a value, where the last one under a pattern of keys has this sequence (0: where there is none). `None`: it has another.
    async fn write(
        &self,
        key: &str,
        value: Vec<u8>,
        expecting: Option<(u64, &str)>,
    ) -> Result<Option<u64>, Unreachable> {
        let on = |key: &str| bucket::subject(bucket::DEFINITIONS, key);
        let headers = expecting.map_or_else(HeaderMap::new, |(seq, under)| {
            super::journal::expecting(seq, &on(under))
        });
        match self.journal.publish(on(key), headers, value.into()).await {
            Ok(accepted) => Ok(Some(accepted.seq)),
            Err(JournalError::Conflict(_)) => Ok(None),
            Err(problem) => Err(Unreachable::of(problem)),
        }
    }

    /// Gives all there is to `take`, the last value of each key in the order they were written; and what comes after it, and the
    /// sequence up to which that was all.
    async fn load(&self, mut take: impl FnMut(&Entry)) -> Result<(Watch, u64), Unreachable> {
        let mut changes = patiently(self.store.watch_with_history(">")).await?;
        // The watch does not tell an empty bucket from a slow server; what is set after this question comes as a change.
        let info = patiently(self.store.stream.get_info()).await?;
        if info.state.messages == 0 {
            return Ok((changes, info.state.last_sequence));
        }
        loop {
            let entry = patiently(next(&mut changes)).await?;
            take(&entry);
            if entry.delta == 0 {
                return Ok((changes, entry.revision));
            }
            // A text takes milliseconds to compile, and there may be thousands.
            tokio::task::yield_now().await;
        }
    }
}

/// What a key holds; `None` where it was deleted.
fn value(entry: &Entry) -> Option<&[u8]> {
    match entry.operation {
        Operation::Put => Some(&entry.value),
        Operation::Delete | Operation::Purge => None,
    }
}

/// When a value was written, by nats-server's clock.
fn written(entry: &Entry) -> Timestamp {
    let at = Timestamp::from_nanosecond(entry.created.unix_timestamp_nanos());
    at.unwrap_or(Timestamp::UNIX_EPOCH)
}

/// What is active by an entry of the bucket; `None` where nothing is said.
fn active(entry: &Entry) -> Result<Option<Active>, ValueError> {
    value(entry).map(Active::read).transpose()
}
