//! Signals, as soon as they are written: whichever planner is given the entry, the one that waits for Claude on behalf of the run
//! learns that it should look. What is missed here is only seen later, when the chain has grown.

use std::{sync::Arc, time::Duration};

use flotilla_common::{io::bus::Bus, names::subject};
use futures_util::StreamExt as _;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::handle::Planner;

/// The pause before a subscription that ended is made anew.
const PAUSE: Duration = Duration::from_secs(1);

/// Listens until `stop`.
pub(crate) async fn listen(bus: &Bus, planner: &Arc<Planner>, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        tokio::select! {
            () = follow(bus, planner) => {}
            () = stop.cancelled() => return,
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn follow(bus: &Bus, planner: &Arc<Planner>) {
    let mut signals = match bus.client.subscribe(subject::ALL_NUDGES).await {
        Ok(signals) => signals,
        Err(problem) => {
            debug!(%problem, "signals are not listened to");
            return;
        }
    };
    while let Some(signal) = signals.next().await {
        if let Some(run) = subject::nudged(&signal.subject) {
            planner.nudge(&run);
        }
    }
}
