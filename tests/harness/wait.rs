//! Waiting for conditions, never for time.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// How long a condition may take. Far more than it needs: two slow cores run several fleets at once.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long between two looks at a condition: short at first, then longer, as looking costs those who work something.
const LOOK_AFTER: Duration = Duration::from_millis(10);
const LOOK_AFTER_AT_MOST: Duration = Duration::from_millis(250);

/// Looks until `probe` says `Ok`, and gives what it found. `Err` carries what was seen instead.
///
/// # Panics
/// After `limit`, with `what` and what was last seen.
pub async fn eventually<T, S, F>(what: &str, limit: Duration, mut probe: impl FnMut() -> F) -> T
where
    S: Debug,
    F: Future<Output = Result<T, S>>,
{
    let deadline = Instant::now() + limit;
    let mut seen = None;
    let mut pause = LOOK_AFTER;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // A probe that hangs must not outlive the limit; what the one before it saw is still told.
        match timeout(left, probe()).await {
            Ok(Ok(found)) => return found,
            Ok(Err(instead)) => seen = Some(instead),
            Err(_) => {}
        }
        if Instant::now() >= deadline {
            match seen {
                Some(seen) => panic!("not within {limit:?}: {what}; last seen: {seen:?}"),
                None => panic!("not within {limit:?}: {what}; nothing was seen at all"),
            }
        }
        sleep(pause).await;
        pause = LOOK_AFTER_AT_MOST.min(pause.mul_f64(1.5));
    }
}

/// Waits for one thing to finish.
///
/// # Panics
/// After `limit`, with `what`.
pub async fn within<F: Future>(what: &str, limit: Duration, work: F) -> F::Output {
    match timeout(limit, work).await {
        Ok(output) => output,
        Err(_) => panic!("not within {limit:?}: {what}"),
    }
}
