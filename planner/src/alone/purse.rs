//! A ceiling over all calls of one process: the most that a try can cost is held before it is made.

use std::sync::{Mutex, MutexGuard, PoisonError};

use flotilla_common::money::Usd;
use tokio::sync::Notify;

/// Money for calls, up to a ceiling.
#[derive(Debug)]
pub struct Purse {
    limit: Usd,
    sums: Mutex<Sums>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Sums {
    spent: Usd,
    held: Usd,
}

/// What is held for one try; dropped unpaid, it counts as spent, because the call may have been made.
#[derive(Debug)]
pub(super) struct Held<'a> {
    purse: &'a Purse,
    amount: Usd,
    cost: Usd,
}

/// There is no room for another try.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ceiling is {limit}: {spent} are spent, and the next call may cost up to {amount}")]
pub(super) struct Full {
    limit: Usd,
    spent: Usd,
    amount: Usd,
}

impl Purse {
    /// With so much in it.
    #[must_use]
    pub fn new(limit: Usd) -> Self {
        Self {
            limit,
            sums: Mutex::default(),
            freed: Notify::new(),
        }
    }

    /// What is spent.
    #[must_use]
    pub fn spent(&self) -> Usd {
        self.sums().spent
    }

    /// Holds an amount; waits while other calls hold what they may not need. Each of those ends by its own timeouts.
    pub(super) async fn hold(&self, amount: Usd) -> Result<Held<'_>, Full> {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Registered before the look, so that nothing that is freed in between is missed.
            freed.as_mut().enable();
            {
                let mut sums = self.sums();
                if sums.spent + sums.held + amount <= self.limit {
                    sums.held = sums.held + amount;
                    return Ok(Held {
                        purse: self,
                        amount,
                        cost: amount,
                    });
                }
                if sums.spent + amount > self.limit || sums.held == Usd::default() {
                    return Err(Full {
                        limit: self.limit,
                        spent: sums.spent,
                        amount,
                    });
                }
            }
            freed.await;
        }
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held<'_> {
    /// It cost this.
    pub(super) fn pay(mut self, cost: Usd) {
        self.cost = cost;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        {
            let mut sums = self.purse.sums();
            sums.held = sums.held.less(self.amount);
            sums.spent = sums.spent + self.cost;
        }
        self.purse.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use super::*;

    fn usd(nano: u64) -> Usd {
        Usd::from_nano(nano)
    }

    #[tokio::test]
    async fn who_finds_the_rest_held_waits_until_it_is_known_and_then_there_may_be_room() {
        let purse = Purse::new(usd(10));
        let first = purse.hold(usd(8)).await.unwrap();
        let mut second = Box::pin(purse.hold(usd(8)));
        let waits = poll_fn(|context| Poll::Ready(second.as_mut().poll(context).is_pending()));
        assert!(waits.await);
        first.pay(usd(2));
        second.await.unwrap().pay(usd(3));
        assert_eq!(purse.spent(), usd(5));
        let full = purse.hold(usd(6)).await.unwrap_err();
        assert_eq!((full.spent, full.amount), (usd(5), usd(6)));
        assert!(purse.hold(usd(5)).await.is_ok(), "to the last of it");
    }

    #[tokio::test]
    async fn what_was_held_for_a_call_that_nobody_waited_for_is_spent() {
        let purse = Purse::new(usd(10));
        drop(purse.hold(usd(8)).await.unwrap());
        assert_eq!(purse.spent(), usd(8));
        assert!(purse.hold(usd(3)).await.is_err());
    }
}
