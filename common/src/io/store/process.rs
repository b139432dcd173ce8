//! Since which Redis process a state can lack nothing that was acknowledged. A restart may lose the last writes, and then an old
//! copy stands where a newer one was; within one process that does not happen. What is saved on top of an old copy lacks what the
//! copy lacks, so a state keeps the process that it was read from the journal under, from save to save.

use std::sync::{Arc, Mutex, PoisonError};

use redis::InfoDict;

use super::{Store, StoreError};
use crate::run::Run;

/// What a save compares with: every load of an empty place and every save has its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub(super) last: String,
    pub(super) born: String,
    /// The Redis process since which nothing that was acknowledged can be missing from the state, or one before it.
    pub(super) process: String,
}

/// A run's state as Redis has it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The state, if there is one.
    pub run: Option<Run>,
    /// What a save must bring.
    pub token: Token,
    /// The Redis process, as last seen when this was loaded.
    pub(super) seen: String,
}

impl Loaded {
    /// What a save must bring of a state that is read from the journal after this was loaded: all that was acknowledged before is
    /// in it, where what stands here may be an old copy.
    #[must_use]
    pub fn read_anew(self) -> Token {
        Token {
            process: self.seen,
            ..self.token
        }
    }
}

/// The `run_id` of the Redis process, as last seen. An older one than the true one is safe: states saved under it are doubted.
#[derive(Debug, Default, Clone)]
pub(super) struct Process(Arc<Mutex<String>>);

impl Process {
    pub(super) fn last_seen(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn see(&self, process: &str) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        process.clone_into(&mut last);
    }
}

impl Store {
    /// Whether a state with this token can lack nothing that was acknowledged: Redis has not restarted since.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn is_whole(&self, token: &Token) -> Result<bool, StoreError> {
        let process = self.look_up_process().await?;
        Ok(process.as_ref() == Some(&token.process))
    }

    /// Asks Redis which process it is.
    pub(super) async fn look_up_process(&self) -> Result<Option<String>, StoreError> {
        let mut info = redis::cmd("INFO");
        info.arg("server");
        let info: InfoDict = info.query_async(&mut self.connection.clone()).await?;
        let process: Option<String> = info.get("run_id");
        if let Some(process) = &process {
            self.process.see(process);
        }
        Ok(process)
    }
}
