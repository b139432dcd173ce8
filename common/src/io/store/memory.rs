//! Since when Redis remembers every claim of an effect. That a claim was never made says nothing where Redis could have forgotten
//! it: it was emptied, or has restarted with an older copy, after the action was decided.
//!
//! No clocks are compared. Whoever finds that a memory has just begun reads the journal's last sequence and leaves it there: what
//! has a higher one was decided later, so whatever was claimed for it is remembered.

use std::sync::LazyLock;

use redis::Script;

use super::{Store, StoreError};
use crate::{
    io::journal::{Journal, JournalError},
    names::key::EFFECTS_MEMORY,
};

static RECALLED: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        include_str!("../lua/recall.lua"),
        include_str!("../lua/recalled.lua")
    ))
});
static REMEMBER: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("../lua/remember.lua")));

/// What Redis remembers, as a claim or a look found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// Which memory: every flush and every restart begins another.
    pub(super) token: String,
    /// The journal's last sequence when somebody looked after it had begun; `None`: nobody has yet.
    pub since: Option<u64>,
    /// Whether the claim was made before, under this very memory: then all of its past is known.
    pub is_known: bool,
}

impl Memory {
    /// Whether Redis knows everything that was ever claimed for the decision at `seq`; `None`: nobody has told it yet where the
    /// journal was when it began, see [`Store::remember`].
    #[must_use]
    pub fn has_all_of(&self, seq: u64) -> Option<bool> {
        if self.is_known {
            return Some(true);
        }
        self.since.map(|since| seq > since)
    }
}

/// Why a memory could not be begun.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// Redis.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Store {
    /// Sees to it that what is decided from now on is remembered from its beginning. Every role that decides or acts does that when
    /// it starts; after a loss of Redis on a running fleet the first claim does.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub async fn begin_memory(&self, journal: &Journal) -> Result<(), MemoryError> {
        let memory = self.memory().await?;
        if memory.since.is_none() {
            let last = journal.last_sequence().await?;
            self.remember(&memory, last).await?;
        }
        Ok(())
    }

    /// What Redis remembers; it begins to, where it did not.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn memory(&self) -> Result<Memory, StoreError> {
        let (token, since): (String, Option<u64>) = RECALLED
            .key(EFFECTS_MEMORY)
            .invoke_async(&mut self.connection.clone())
            .await?;
        Ok(Memory {
            token,
            since,
            is_known: false,
        })
    }

    /// Tells a memory where the journal was after it had begun; the first to tell counts. `false`: it has ended meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn remember(&self, memory: &Memory, last: u64) -> Result<bool, StoreError> {
        let told: u8 = REMEMBER
            .key(EFFECTS_MEMORY)
            .arg(&memory.token)
            .arg(last)
            .invoke_async(&mut self.connection.clone())
            .await?;
        Ok(told == 1)
    }
}
