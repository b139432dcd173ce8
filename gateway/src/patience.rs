//! Waiting for the journal while it cannot be written.

use std::{future::Future, time::Duration};

use flotilla_common::io::journal::JournalError;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::intake::Stop;

/// Pauses between tries while the journal cannot be written, from the first to the longest; the journal has had its own patience
/// before each.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long a try that is under way may go on after the stop.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Tries until the journal can be written or the stop. An event waits here rather than being handed back: every time it is handed
/// out counts, and after so many it would be a dead letter though its runs were promised.
pub(crate) async fn patiently<T, F>(
    stop: &CancellationToken,
    mut attempt: impl FnMut() -> F,
) -> Result<Result<T, JournalError>, Stop>
where
    F: Future<Output = Result<T, JournalError>>,
{
    let stopped = async {
        stop.cancelled().await;
        sleep(STOP_GRACE).await;
    };
    tokio::pin!(stopped);
    let (mut pause, longest) = PAUSES;
    let mut told = false;
    loop {
        let problem = tokio::select! {
            biased;
            outcome = attempt() => match outcome {
                Err(JournalError::Unavailable(problem)) => problem,
                settled => return Ok(settled),
            },
            () = &mut stopped => return Err(Stop::Wait("the journal could not be written before the stop".into())),
        };
        if !told {
            warn!(problem, "an event waits for the journal");
            told = true;
        }
        tokio::select! {
            () = stop.cancelled() => return Err(Stop::Wait(problem)),
            () = sleep(pause) => pause = (pause * 2).min(longest),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::timeout;

    use super::*;

    fn away() -> JournalError {
        JournalError::Unavailable("no space left on device".into())
    }

    #[tokio::test]
    async fn an_event_waits_in_place_until_the_journal_takes_it() {
        let tries = AtomicU32::new(0);
        let attempt = || async {
            match tries.fetch_add(1, Ordering::Relaxed) {
                0..3 => Err(away()),
                last => Ok(last),
            }
        };
        let outcome = patiently(&CancellationToken::new(), attempt).await;
        assert!(matches!(outcome, Ok(Ok(3))), "{outcome:?}");
        // What waiting does not mend is not waited for.
        let conflict = || async { Err::<(), _>(JournalError::Conflict("runs".into())) };
        let outcome = patiently(&CancellationToken::new(), conflict).await;
        assert!(matches!(outcome, Ok(Err(JournalError::Conflict(_)))));
    }

    #[tokio::test]
    async fn the_stop_ends_the_waiting_but_not_a_try_that_succeeds() {
        let stop = CancellationToken::new();
        stop.cancel();
        let outcome = patiently(&stop, || async { Err::<(), _>(away()) }).await;
        assert!(matches!(outcome, Err(Stop::Wait(why)) if why.contains("no space")));
        let stuck = patiently(&stop, std::future::pending::<Result<(), JournalError>>);
        let stuck = timeout(2 * STOP_GRACE, stuck).await.unwrap();
        assert!(matches!(stuck, Err(Stop::Wait(_))));
        let quick = patiently(&stop, || async { Ok(1) }).await;
        assert!(matches!(quick, Ok(Ok(1))));
    }
}
