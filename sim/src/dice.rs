//! Chance that can be repeated: every throw follows from the seed, the request's bytes and how often they came.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Bodies counted at least; twice as many at most. The oldest half is forgotten, and then counts from 0 again.
const MAX_BODIES: usize = 250_000;

/// The throws of one call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dice(u64);

impl Dice {
    /// `attempt` is how often these bytes came before.
    pub(crate) fn new(seed: u64, digest: &[u8; 32], attempt: u32) -> Self {
        Self(mix(mix(seed ^ head(digest)) ^ u64::from(attempt)))
    }

    /// A number from 0 up to but without 1, for one question about the call.
    pub(crate) fn throw(self, question: &str) -> f64 {
        let asked = question
            .bytes()
            .fold(self.0, |sum, byte| mix(sum ^ u64::from(byte)));
        // The highest 53 bits are what an f64 holds exactly.
        (mix(asked) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// How often each body came. Bounded; see [`MAX_BODIES`].
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<[HashMap<u64, u32>; 2]>);

impl Attempts {
    /// How often these bytes came before this time.
    pub(crate) fn next(&self, digest: &[u8; 32]) -> u32 {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [young, old] = &mut *counts;
        let key = head(digest);
        let before = young
            .get(&key)
            .or_else(|| old.get(&key))
            .copied()
            .unwrap_or(0);
        if young.len() >= MAX_BODIES {
            *old = std::mem::take(young);
        }
        young.insert(key, before.saturating_add(1));
        before
    }
}

/// The first eight bytes of a digest, which are as good as random.
fn head(digest: &[u8; 32]) -> u64 {
    digest
        .iter()
        .take(8)
        .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

/// The finalizer of SplitMix64: each bit of the input changes half of the output's.
fn mix(value: u64) -> u64 {
    let mut value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_call_throws_the_same_and_its_retry_something_else() {
        let dice = |seed, attempt| Dice::new(seed, &[7; 32], attempt).throw("fault 0");
        assert_eq!(dice(1, 0).to_bits(), dice(1, 0).to_bits());
        assert_ne!(dice(1, 0).to_bits(), dice(1, 1).to_bits());
        assert_ne!(dice(1, 0).to_bits(), dice(2, 0).to_bits());
    }

    #[test]
    fn throws_are_even() {
        let below = |limit: f64| {
            (0..10_000)
                .filter(|attempt| Dice::new(0, &[1; 32], *attempt).throw("x") < limit)
                .count()
        };
        assert!((800..1200).contains(&below(0.1)), "{}", below(0.1));
        assert!((4700..5300).contains(&below(0.5)), "{}", below(0.5));
    }

    #[test]
    fn attempts_are_counted_by_body_and_old_bodies_are_forgotten() {
        let attempts = Attempts::default();
        let digest = |n: u64| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&n.to_be_bytes());
            digest
        };
        assert_eq!(
            [1, 1, 2, 1].map(|n| attempts.next(&digest(n))),
            [0, 1, 0, 2]
        );
        for n in 10..10 + 2 * MAX_BODIES as u64 {
            attempts.next(&digest(n));
        }
        assert_eq!(attempts.next(&digest(1)), 0);
        let counts = attempts.0.lock().unwrap();
        assert!(counts.iter().all(|half| half.len() <= MAX_BODIES));
    }
}
