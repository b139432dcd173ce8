//! How many tokens a text is: an estimate that never changes, so that tests can count on it.

/// Bytes divided by 3.5, rounded up: close to what English and JSON come to, and the same on every run.
pub(crate) fn of_bytes(bytes: u64) -> u64 {
    bytes.saturating_mul(2).div_ceil(7)
}

/// The most bytes that are at most that many tokens.
pub(crate) fn bytes_within(tokens: u64) -> u64 {
    tokens.saturating_mul(7) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_directions_agree() {
        for tokens in 0..1000 {
            assert_eq!(of_bytes(bytes_within(tokens)), tokens);
            assert_eq!(of_bytes(bytes_within(tokens) + 1), tokens + 1);
        }
    }
}
