//! How many runs in this planner's hands wait for the rate limits.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts those that wait.
pub(crate) struct Waiting {
    now: AtomicUsize,
    slots: usize,
}

/// One that waits, for as long as this lives.
pub(crate) struct Here<'a>(&'a AtomicUsize);

impl Waiting {
    /// Of a planner with so many slots.
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            now: AtomicUsize::new(0),
            slots,
        }
    }

    pub(crate) fn count(&self) -> Here<'_> {
        self.now.fetch_add(1, Ordering::Relaxed);
        Here(&self.now)
    }

    /// Whether they hold more than half of the slots.
    pub(crate) fn are_many(&self) -> bool {
        self.now.load(Ordering::Relaxed) * 2 > self.slots
    }
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_is_more_than_half_of_the_slots_and_leaving_counts() {
        let waiting = Waiting::new(4);
        let _two = (waiting.count(), waiting.count());
        assert!(!waiting.are_many());
        let third = waiting.count();
        assert!(waiting.are_many());
        drop(third);
        assert!(!waiting.are_many());
    }
}
