//! The provider's rate limits, as every reply's headers tell them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The headers' names are this, a kind, and one of `limit`, `remaining` and `reset`.
const PREFIX: &str = "anthropic-ratelimit-";

/// What is left of the limits that the headers named.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimits {
    /// Requests per minute.
    pub requests: Option<RateLimit>,
    /// Input tokens per minute; cache reads do not count.
    pub input_tokens: Option<RateLimit>,
    /// Output tokens per minute.
    pub output_tokens: Option<RateLimit>,
    /// All tokens per minute, or the most restrictive limit in effect.
    pub tokens: Option<RateLimit>,
}

/// One limit. A bucket of `limit`, refilled all the time, so that it is full again after a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// So many per minute.
    pub limit: u64,
    /// So many are left; of tokens, rounded to the nearest thousand.
    pub remaining: u64,
    /// When all of it will be there again.
    pub reset: Option<Timestamp>,
}

impl RateLimits {
    /// Reads headers, as pairs of a lower-case name and a value; others are passed over. `None`: they name no limit. A limit
    /// without a readable `limit` or `remaining` is none.
    #[must_use]
    pub fn parse<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let mut read = [Partial::default(); 4];
        let [requests, input_tokens, output_tokens, tokens] = &mut read;
        for (name, value) in headers {
            let Some((kind, field)) = name
                .strip_prefix(PREFIX)
                .and_then(|rest| rest.rsplit_once('-'))
            else {
                continue;
            };
            let partial = match kind {
                "requests" => &mut *requests,
                "input-tokens" => &mut *input_tokens,
                "output-tokens" => &mut *output_tokens,
                "tokens" => &mut *tokens,
                _ => continue,
            };
            let value = value.trim();
            match field {
                "limit" => partial.limit = value.parse().ok(),
                "remaining" => partial.remaining = value.parse().ok(),
                "reset" => partial.reset = value.parse().ok(),
                _ => {}
            }
        }
        let [requests, input_tokens, output_tokens, tokens] = read.map(Partial::whole);
        let limits = Self {
            requests,
            input_tokens,
            output_tokens,
            tokens,
        };
        (limits != Self::default()).then_some(limits)
    }
}

/// One limit while its headers are read.
#[derive(Default, Clone, Copy)]
struct Partial {
    limit: Option<u64>,
    remaining: Option<u64>,
    reset: Option<Timestamp>,
}

impl Partial {
    fn whole(self) -> Option<RateLimit> {
        Some(RateLimit {
            limit: self.limit?,
            remaining: self.remaining?,
            reset: self.reset,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_read_and_what_is_not_whole_is_none() {
        let limits = RateLimits::parse([
            ("anthropic-ratelimit-requests-limit", "50"),
            ("anthropic-ratelimit-requests-remaining", " 49 "),
            ("anthropic-ratelimit-requests-reset", "2026-11-21T10:00:01Z"),
            ("anthropic-ratelimit-input-tokens-limit", "50000"),
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
            ("anthropic-ratelimit-input-tokens-reset", "soon"),
            ("anthropic-ratelimit-output-tokens-limit", "10000"),
            ("anthropic-ratelimit-tokens-limit", "many"),
            ("anthropic-ratelimit-tokens-remaining", "1"),
            ("anthropic-ratelimit-unified-5h-reset", "1"),
            ("content-type", "application/json"),
        ]);
        let expected = RateLimits {
            requests: Some(RateLimit {
                limit: 50,
                remaining: 49,
                reset: "2026-11-21T10:00:01Z".parse().ok(),
            }),
            input_tokens: Some(RateLimit {
                limit: 50_000,
                remaining: 0,
                reset: None,
            }),
            output_tokens: None,
            tokens: None,
        };
        assert_eq!(limits, Some(expected));
        assert!(
            expected
                .requests
                .is_some_and(|requests| requests.reset.is_some())
        );
        assert_eq!(RateLimits::parse([("retry-after", "1")]), None);
    }
}
