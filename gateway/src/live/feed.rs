//! The journal, followed while somebody watches.

use std::{sync::Arc, time::Duration};

use flotilla_common::io::journal::{JournalError, Tail};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{debug, info, warn};

use super::hub::Shared;

/// How long the journal is followed on after the last watcher has gone: people go from page to page.
const REST_AFTER: Duration = Duration::from_secs(30);
/// How often it is looked whether anybody is there.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Pause after NATS could not be asked.
const FAILED_PAUSE: Duration = Duration::from_millis(500);

/// Follows the journal whenever somebody watches, until the stop.
pub(super) async fn keep(shared: Arc<Shared>) {
    let stop = shared.stop.clone();
    let following = Box::pin(async {
        loop {
            while !shared.is_watched() {
                shared.came.notified().await;
            }
            follow(&shared).await;
        }
    });
    stop.run_until_cancelled(following).await;
}

/// Follows the journal from now on until nobody watches any more. What is written while NATS cannot be reached comes later.
async fn follow(shared: &Shared) {
    let mut told = Told(false);
    let mut next = loop {
        match shared.journal.last_sequence().await {
            Ok(last) => break last + 1,
            Err(problem) => told.away(&problem).await,
        }
    };
    shared.follows.send_replace(true);
    debug!(next, "the journal is followed");
    loop {
        match shared.journal.tail(next).await {
            Ok(mut tail) => {
                told.back();
                match give(shared, &mut tail, &mut next).await {
                    Ok(()) => return,
                    Err(problem) => told.away(&problem).await,
                }
            }
            Err(problem) => told.away(&problem).await,
        }
        if shared.rest() {
            return;
        }
    }
}

/// Gives out what comes until nobody has been there for a while.
async fn give(shared: &Shared, tail: &mut Tail, next: &mut u64) -> Result<(), JournalError> {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watched_at = Instant::now();
    loop {
        tokio::select! {
            message = tail.next() => {
                let raw = message?;
                *next = raw.seq + 1;
                shared.give(raw);
            }
            _ = looks.tick() => {
                if shared.is_watched() {
                    watched_at = Instant::now();
                } else if watched_at.elapsed() >= REST_AFTER && shared.rest() {
                    debug!("nobody watches any more");
                    return Ok(());
                }
            }
        }
    }
}

/// Whether it was told already that NATS is away.
struct Told(bool);

impl Told {
    async fn away(&mut self, problem: &JournalError) {
        if !self.0 {
            warn!(%problem, "the journal cannot be followed; watchers wait, and trying on");
        }
        self.0 = true;
        sleep(FAILED_PAUSE).await;
    }

    fn back(&mut self) {
        if self.0 {
            info!("the journal is followed again");
        }
        self.0 = false;
    }
}
