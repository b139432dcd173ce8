//! Which Redis process a state was saved in. A restart may lose the last writes, and then an old copy stands where a newer one
//! was; within one process that does not happen.

use std::sync::{Arc, Mutex, PoisonError};

use redis::InfoDict;

use super::{Store, StoreError};

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

/// The `run_id` of the Redis process that a state was saved in, or of one before it; none where nothing was saved.
#[derive(Debug, Clone)]
pub struct SavedBy(pub(super) Option<String>);

impl Store {
    /// Whether a state that was loaded is the last one that was saved: Redis has not restarted since.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn is_the_last(&self, saved_by: &SavedBy) -> Result<bool, StoreError> {
        let process = self.look_up_process().await?;
        Ok(process.is_some() && process == saved_by.0)
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
