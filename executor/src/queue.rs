//! Waiting for a tool's slot and rate under a claim. That may take long, and whoever dies meanwhile has begun nothing: the claim says
//! so, or a `once` effect would be in doubt that nobody was asked for.

use flotilla_common::{
    definition::Effect,
    io::{store::Lease, worker::HAND_BACK_PAUSE},
};
use futures_util::FutureExt as _;
use tracing::debug;

use crate::{
    handle::{Executor, Stop, retry},
    run::Turn,
    tools::Ready,
};

impl Executor {
    /// Leave to run the tool; `None` when the stop came first. Redis is asked only where there is something to wait for.
    pub(crate) async fn enter(&self, ready: &Ready, lease: &Lease) -> Result<Option<Turn>, Stop> {
        let mut entering = Box::pin(self.turn(ready));
        if let Some(entered) = (&mut entering).now_or_never() {
            return Ok(entered);
        }
        if ready.tool.effect != Effect::Once {
            return Ok(entering.await);
        }
        // If it is not known whether this was noted, it might be noted late: after the tool was begun.
        if let Err(problem) = self.store.waits(lease, true).await {
            debug!(%problem, "a claim cannot be said to wait");
            self.release(lease).await;
            return Err(retry(HAND_BACK_PAUSE, "Redis does not answer"));
        }
        let Some(entered) = entering.await else {
            return Ok(None);
        };
        if self.patient(|| self.store.waits(lease, false)).await? {
            return Ok(Some(entered));
        }
        let why = "another executor has taken over this effect while it waited for its turn";
        Err(retry(HAND_BACK_PAUSE, why))
    }
}
