//! Money, exact: whole billionths of a US dollar, because prices go down to a few of them per token.

use std::{fmt, iter::Sum, ops::Add};

use serde::{Deserialize, Serialize};

/// An amount in nano-dollars (1e-9 USD). Sums saturate: a ceiling check must never wrap around to "cheap".
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Usd(u64);

/// The largest amount that people may write.
const DOLLARS_MAX: f64 = 1e6;

impl Usd {
    /// From nano-dollars.
    #[must_use]
    pub const fn from_nano(nano: u64) -> Self {
        Self(nano)
    }

    /// In nano-dollars.
    #[must_use]
    pub const fn nano(self) -> u64 {
        self.0
    }

    /// From dollars, as people write them: up to a million, rounded to the nano-dollar.
    #[must_use]
    pub fn from_dollars(dollars: f64) -> Option<Self> {
        if !(0.0..=DOLLARS_MAX).contains(&dollars) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 1e15, checked just above"
        )]
        Some(Self((dollars * 1e9).round() as u64))
    }

    /// What is left of this after `other`; nothing, if that is more.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// In dollars, for metrics and people; rounded, so never for sums.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "exact up to 9 million dollars, and only shown"
    )]
    pub fn dollars(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl Add for Usd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Small amounts keep their first figures: $0.00042 says more than $0.00.
        let decimals = if self.0 == 0 || self.0 >= 100_000_000 {
            2
        } else {
            5
        };
        f.pad(&format!("${:.decimals$}", self.dollars()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_amounts_are_legible_and_sums_do_not_wrap() {
        assert_eq!(Usd::from_nano(420_000).to_string(), "$0.00042");
        assert_eq!(Usd::from_nano(1_500_000_000).to_string(), "$1.50");
        assert_eq!(Usd::from_dollars(0.5), Some(Usd::from_nano(500_000_000)));
        assert_eq!(Usd::from_dollars(1e-9), Some(Usd::from_nano(1)));
        for wrong in [-0.1, f64::NAN, f64::INFINITY, 1e6 + 1.0] {
            assert_eq!(Usd::from_dollars(wrong), None);
        }
        assert_eq!(
            Usd::from_nano(u64::MAX) + Usd::from_nano(1),
            Usd::from_nano(u64::MAX)
        );
    }
}
