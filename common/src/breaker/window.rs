//! Successes and failures of the last while, in slices: exact counts would need a list as long as the traffic.

use std::time::Duration;

/// Slices of a window; a call is forgotten between nine tenths and the whole of the window after it.
const SLICES: u64 = 10;

#[derive(Debug, Clone, Copy, Default)]
struct Slice {
    /// Which slice of time it counts.
    number: u64,
    calls: u32,
    failures: u32,
}

/// Counts over a sliding window.
#[derive(Debug)]
pub(super) struct Window {
    /// Length of a slice, at least 1 ns.
    slice_ns: u128,
    slices: [Slice; SLICES as usize],
}

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        Self {
            slice_ns: (length.as_nanos() / u128::from(SLICES)).max(1),
            slices: [Slice::default(); SLICES as usize],
        }
    }

    fn number(&self, now: Duration) -> u64 {
        u64::try_from(now.as_nanos() / self.slice_ns).unwrap_or(u64::MAX)
    }

    pub(super) fn add(&mut self, now: Duration, failed: bool) {
        let number = self.number(now);
        let place = usize::try_from(number % SLICES).unwrap_or_default();
        let Some(slice) = self.slices.get_mut(place) else {
            return;
        };
        if slice.number != number {
            *slice = Slice {
                number,
                ..Slice::default()
            };
        }
        slice.calls = slice.calls.saturating_add(1);
        slice.failures = slice.failures.saturating_add(u32::from(failed));
    }

    /// Calls and failures.
    pub(super) fn totals(&self, now: Duration) -> (u32, u32) {
        let number = self.number(now);
        let recent = |slice: &&Slice| number.saturating_sub(slice.number) < SLICES;
        let add = |(calls, failures): (u32, u32), slice: &Slice| {
            (
                calls.saturating_add(slice.calls),
                failures.saturating_add(slice.failures),
            )
        };
        self.slices.iter().filter(recent).fold((0, 0), add)
    }
}
