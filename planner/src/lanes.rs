//! One entry of a run at a time within this process, so that conflicts on its chain are rare. Between processes the chain
//! itself decides.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use flotilla_common::ids::RunId;
use tokio::sync::OwnedMutexGuard;

type Lane = Arc<tokio::sync::Mutex<()>>;

/// The lanes in use; as many as there are runs in work.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: Arc<Mutex<HashMap<RunId, Lane>>>,
}

/// The right to work on a run.
#[derive(Debug)]
pub(crate) struct Turn {
    lanes: Arc<Mutex<HashMap<RunId, Lane>>>,
    run: RunId,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Lanes {
    /// Waits until nobody else in this process works on the run.
    pub(crate) async fn enter(&self, run: &RunId) -> Turn {
        let lane = {
            let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(lanes.entry(run.clone()).or_default())
        };
        let guard = lane.lock_owned().await;
        Turn {
            lanes: Arc::clone(&self.lanes),
            run: run.clone(),
            guard: Some(guard),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        self.guard = None;
        // The map's own reference is the last one: nobody waits. Waiters take theirs under the same lock.
        if lanes
            .get(&self.run)
            .is_some_and(|lane| Arc::strong_count(lane) == 1)
        {
            lanes.remove(&self.run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_per_run_and_nothing_is_kept() -> Result<(), Box<dyn std::error::Error>> {
        let lanes = Lanes::default();
        let run = RunId::derive(&"w".parse()?, "s", "1");
        let other = RunId::derive(&"w".parse()?, "s", "2");
        let turn = lanes.enter(&run).await;
        let _beside = lanes.enter(&other).await;
        let mut waiting = Box::pin(lanes.enter(&run));
        assert!(futures_lite_poll(&mut waiting).await.is_none());
        drop(turn);
        drop(waiting.await);
        assert_eq!(lanes.lanes.lock().map_err(|_| "poisoned")?.len(), 1);
        Ok(())
    }

    /// Polls once.
    async fn futures_lite_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = std::future::ready(()) => None,
        }
    }
}
