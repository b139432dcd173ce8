//! What this executor says of its tools' breakers to others, and what people say of them to it.

use std::{sync::Arc, time::Duration};

use flotilla_common::io::tools::{ForcedTools, TELL_EVERY, ToolStates};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::handle::Executor;

/// Changes that come together are told together.
const GATHER: Duration = Duration::from_millis(100);

/// Tells how the tools stand, when that changes and every few seconds, and does what people say, until `stop`.
pub(crate) async fn exchange(
    executor: Arc<Executor>,
    states: ToolStates,
    mut forced: watch::Receiver<ForcedTools>,
    stop: CancellationToken,
) {
    let mut changes = executor.breakers.changes();
    let mut next = Instant::now();
    loop {
        let all = Instant::now() >= next;
        if all {
            next = Instant::now() + TELL_EVERY;
        }
        for state in executor.breakers.states(&executor.worker, all) {
            states.tell(&state).await;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            Ok(()) = forced.changed() => {
                let said = Arc::clone(&forced.borrow_and_update());
                executor.breakers.force(&said);
            }
            _ = changes.changed() => sleep(GATHER).await,
            () = sleep_until(next) => {}
        }
    }
}
