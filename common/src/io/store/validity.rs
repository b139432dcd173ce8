//! How long a claim certainly lasts, by its holder's own clock: a process that slept may wake up with a claim that is another's.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

/// How often it is looked whether a claim that may be over was extended.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Until when a claim lasts; clones are of the same one.
#[derive(Debug, Clone)]
pub struct Validity(Arc<Mutex<Instant>>);

impl Validity {
    pub(super) fn until(instant: Instant) -> Self {
        Self(Arc::new(Mutex::new(instant)))
    }

    /// It lasts at least until then.
    pub(super) fn extend(&self, until: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    pub(super) fn end(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.end() <= Instant::now()
    }

    /// Waits until the claim certainly lasts: at once, or when whoever holds it beside this has extended it. Never, where it is
    /// another's: who holds it ends this.
    pub async fn holds(&self) {
        while self.is_over() {
            sleep(LOOK_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_claim_that_may_be_over_is_waited_for_until_it_is_extended() {
        let second = Duration::from_secs(1);
        let validity = Validity::until(Instant::now() + second);
        assert!(validity.holds().now_or_never().is_some());
        tokio::time::advance(second).await;
        assert!(validity.holds().now_or_never().is_none());
        let other = validity.clone();
        let waiting = tokio::spawn(async move { other.holds().await });
        tokio::time::advance(second).await;
        assert!(!waiting.is_finished());
        validity.extend(Instant::now() + second);
        waiting.await.unwrap();
    }
}
