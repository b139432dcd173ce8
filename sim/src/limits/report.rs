//! What the limits tell: the headers of every reply, and how much of each allowance was used.

use super::Limiter;
use super::bucket::Bucket;
use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// From this allowance on, what remains of tokens is told to the nearest thousand.
const ROUNDED_FROM: u64 = 100_000;

/// A reply's headers: names and values.
pub(crate) type Headers = Vec<(&'static str, String)>;

impl Limiter {
    /// `anthropic-ratelimit-*` for a reply by this model; none where no limit is set.
    pub(crate) fn headers(&self, model: &str, now: Instant, clock: Timestamp) -> Headers {
        let mut state = self.state();
        let Some((_, buckets)) = state.of(model, now) else {
            return Vec::new();
        };
        buckets.refill(now);
        let told = |bucket: &Option<Bucket>| {
            bucket.as_ref().map(|bucket| {
                let (left, full_in) = bucket.left();
                (bucket.per_minute, left, full_in)
            })
        };
        let (requests, input, output) = (
            told(&buckets.requests),
            told(&buckets.input),
            told(&buckets.output),
        );
        let both = match (input, output) {
            (Some(input), Some(output)) => Some((
                input.0 + output.0,
                input.1 + output.1,
                input.2.max(output.2),
            )),
            (one, other) => one.or(other),
        };
        let mut headers = Vec::with_capacity(12);
        if let Some((limit, left, full_in)) = requests {
            headers.extend(three(NAMES_OF_REQUESTS, limit, left, clock, full_in));
        }
        for (names, told) in [
            (NAMES_OF_TOKENS, both),
            (NAMES_OF_INPUT, input),
            (NAMES_OF_OUTPUT, output),
        ] {
            if let Some((limit, left, full_in)) = told {
                let left = if limit >= ROUNDED_FROM {
                    (left + 500) / 1000 * 1000
                } else {
                    left
                };
                headers.extend(three(names, limit, left, clock, full_in));
            }
        }
        headers
    }

    /// Forgets what was used, not what is owed.
    pub(crate) fn forget_use(&self, now: Instant) {
        for buckets in self.state().buckets.values_mut() {
            buckets.since = now;
            buckets.refused = 0;
            for bucket in buckets.each() {
                bucket.granted = 0.0;
            }
        }
    }

    /// By model, or by family where a limit names one: what was granted, and its share of the allowance since the
    /// first call. The share is above 1 for as long as the first minute's allowance counts.
    pub(crate) fn used(&self, now: Instant) -> Value {
        let state = self.state();
        let of = |bucket: &Option<Bucket>, since: Instant| {
            bucket.as_ref().map(|bucket| {
                let minutes = now.saturating_duration_since(since).as_secs_f64() / 60.0;
                let allowed = minutes * bucket.per_minute as f64;
                let share = if allowed > 0.0 { bucket.granted / allowed } else { 0.0 };
                json!({"granted": bucket.granted as u64, "per_minute": bucket.per_minute, "share": share})
            })
        };
        let models = state.buckets.iter().map(|(key, buckets)| {
            let since = buckets.since;
            let used = json!({
                "requests": of(&buckets.requests, since),
                "input_tokens": of(&buckets.input, since),
                "output_tokens": of(&buckets.output, since),
                "refused": buckets.refused,
                "elapsed_ms": now.saturating_duration_since(since).as_millis() as u64,
            });
            (key.clone(), used)
        });
        Value::Object(models.collect())
    }
}

type Names = [&'static str; 3];
const NAMES_OF_REQUESTS: Names = [
    "anthropic-ratelimit-requests-limit",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
];
const NAMES_OF_TOKENS: Names = [
    "anthropic-ratelimit-tokens-limit",
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-tokens-reset",
];
const NAMES_OF_INPUT: Names = [
    "anthropic-ratelimit-input-tokens-limit",
    "anthropic-ratelimit-input-tokens-remaining",
    "anthropic-ratelimit-input-tokens-reset",
];
const NAMES_OF_OUTPUT: Names = [
    "anthropic-ratelimit-output-tokens-limit",
    "anthropic-ratelimit-output-tokens-remaining",
    "anthropic-ratelimit-output-tokens-reset",
];

fn three(
    names: Names,
    limit: u64,
    left: u64,
    clock: Timestamp,
    full_in: Duration,
) -> [(&'static str, String); 3] {
    let [of_limit, of_left, of_reset] = names;
    let full_at = SignedDuration::try_from(full_in)
        .ok()
        .and_then(|full_in| clock.checked_add(full_in).ok())
        .unwrap_or(clock);
    let whole = TimestampRound::new()
        .smallest(Unit::Second)
        .mode(RoundMode::Ceil);
    [
        (of_limit, limit.to_string()),
        (of_left, left.to_string()),
        (
            of_reset,
            full_at.round(whole).unwrap_or(full_at).to_string(),
        ),
    ]
}
