//! Rate limits as the API has them: allowances per minute for requests, input tokens and output tokens.
//!
//! A request takes one request, and its input without what the cache had. Output is taken as it is produced, or
//! reserved from `max_tokens` at the start and settled at the end, as the setting says. A request that is refused takes
//! nothing.

mod bucket;
mod report;

use crate::error::ApiError;
use bucket::{Bucket, Ramp};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The span over which a rise is measured, so what one has to wait for after too sharp a one; seconds.
const RAMP_WAIT: f64 = 5.0;

/// One entry of the setting `limits`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limit {
    /// The beginning of model ids, which share these allowances; without it, each model has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    /// Per minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    requests: Option<u64>,
    /// Per minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input_tokens: Option<u64>,
    /// Per minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output_tokens: Option<u64>,
    /// How many seconds' allowance may be used at once.
    #[serde(default = "a_minute")]
    burst_seconds: f64,
    #[serde(default)]
    output: Output,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acceleration: Option<Acceleration>,
}

fn a_minute() -> f64 {
    60.0
}

/// When output is taken from its bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Output {
    #[default]
    Produced,
    Reserve,
}

/// How sharply a load may rise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Acceleration {
    /// Requests a second that are always allowed.
    floor: f64,
    /// Times the rate of the five seconds before.
    growth: f64,
    /// 429 or 529.
    #[serde(default = "rate_limited")]
    status: u16,
}

fn rate_limited() -> u16 {
    429
}

impl Limit {
    /// What is wrong with it, in the API's way of saying so.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let allowances = [self.requests, self.input_tokens, self.output_tokens];
        if allowances.contains(&Some(0)) {
            return Some("limits: an allowance per minute is at least 1");
        }
        if !(self.burst_seconds > 0.0 && self.burst_seconds <= 60.0) {
            return Some("limits.burst_seconds: Input should be more than 0 and at most 60");
        }
        let acceleration = self.acceleration.as_ref()?;
        if !(acceleration.floor > 0.0 && acceleration.growth >= 1.0) {
            return Some("limits.acceleration: floor is more than 0 and growth at least 1");
        }
        (!matches!(acceleration.status, 429 | 529))
            .then_some("limits.acceleration.status: Input should be 429 or 529")
    }
}

/// All buckets of the server.
#[derive(Debug, Default)]
pub(crate) struct Limiter(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    limits: Vec<Limit>,
    /// Grows with every change of the limits, so that a call is not settled in buckets it never took from.
    version: u64,
    buckets: HashMap<String, Buckets>,
}

/// The buckets that one model, or one family of them, takes from.
#[derive(Debug)]
struct Buckets {
    limit: Limit,
    requests: Option<Bucket>,
    input: Option<Bucket>,
    output: Option<Bucket>,
    ramp: Ramp,
    since: Instant,
    refused: u64,
}

/// What a call that was let in has to settle at its end.
#[derive(Debug)]
pub(crate) struct Ticket {
    version: u64,
    key: String,
    /// Output tokens taken so far.
    taken: u64,
}

impl Limiter {
    pub(crate) fn set(&self, limits: Vec<Limit>) {
        let mut state = self.state();
        *state = State {
            limits,
            version: state.version + 1,
            buckets: HashMap::new(),
        };
    }

    pub(crate) fn limits(&self) -> Vec<Limit> {
        self.state().limits.clone()
    }

    /// Lets a call in, or says when to come back. `input` is in tokens, without what the cache had. `None`: no limit is
    /// set for its model.
    ///
    /// # Errors
    /// 429 with `retry_after`, or the status that the limit on acceleration asks for.
    pub(crate) fn admit(
        &self,
        model: &str,
        input: u64,
        max_tokens: u64,
        now: Instant,
    ) -> Result<Option<Ticket>, ApiError> {
        let mut state = self.state();
        let version = state.version;
        let Some((key, buckets)) = state.of(model, now) else {
            return Ok(None);
        };
        buckets.refill(now);
        let taken = buckets.admit(input, max_tokens, now).inspect_err(|_| {
            buckets.refused += 1;
        })?;
        Ok(Some(Ticket {
            version,
            key,
            taken,
        }))
    }

    /// A call has produced so many output tokens in all; `ended`: and there will be no more.
    pub(crate) fn produced(&self, ticket: &mut Ticket, tokens: u64, ended: bool, now: Instant) {
        let mut state = self.state();
        if state.version != ticket.version {
            return;
        }
        let Some(bucket) = state
            .buckets
            .get_mut(&ticket.key)
            .and_then(|buckets| buckets.output.as_mut())
        else {
            return;
        };
        bucket.refill(now);
        if tokens > ticket.taken {
            bucket.take(tokens - ticket.taken);
            ticket.taken = tokens;
        } else if ended {
            bucket.give_back(ticket.taken - tokens);
            ticket.taken = tokens;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The buckets that a model takes from; made when it first asks.
    fn of(&mut self, model: &str, now: Instant) -> Option<(String, &mut Buckets)> {
        let own = |limit: &&Limit| {
            let family = limit.model.as_deref();
            family.is_some_and(|family| model.starts_with(family))
        };
        let mut limits = self.limits.iter();
        let limit = limits
            .clone()
            .find(own)
            .or_else(|| limits.find(|limit| limit.model.is_none()))?;
        let key = limit.model.as_deref().unwrap_or(model).to_owned();
        let buckets = self
            .buckets
            .entry(key.clone())
            .or_insert_with(|| Buckets::new(limit.clone(), now));
        Some((key, buckets))
    }
}

impl Buckets {
    fn new(limit: Limit, now: Instant) -> Self {
        let bucket = |per_minute: Option<u64>| {
            per_minute.map(|per_minute| Bucket::new(per_minute, limit.burst_seconds, now))
        };
        Self {
            requests: bucket(limit.requests),
            input: bucket(limit.input_tokens),
            output: bucket(limit.output_tokens),
            limit,
            ramp: Ramp::default(),
            since: now,
            refused: 0,
        }
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Bucket> {
        [&mut self.requests, &mut self.input, &mut self.output]
            .into_iter()
            .flatten()
    }

    fn refill(&mut self, now: Instant) {
        for bucket in self.each() {
            bucket.refill(now);
        }
    }

    /// Takes what a call needs at its start; gives the output tokens among it.
    fn admit(&mut self, input: u64, max_tokens: u64, now: Instant) -> Result<u64, ApiError> {
        let (needed, output) = match self.limit.output {
            // Something has to be left, however little: nobody knows yet how much it will be.
            Output::Produced => (1, 0),
            Output::Reserve => (max_tokens, max_tokens),
        };
        let asked = [
            (&self.requests, 1, "requests"),
            (&self.input, input, "input tokens"),
            (&self.output, needed, "output tokens"),
        ];
        for (bucket, amount, what) in asked {
            if let Some(bucket) = bucket
                && let Some(wait) = bucket.wait(amount)
            {
                return Err(over(bucket.per_minute, what, wait));
            }
        }
        if let Some(acceleration) = &self.limit.acceleration
            && !self
                .ramp
                .allows(acceleration.floor, acceleration.growth, now)
        {
            return Err(too_sharp(acceleration.status));
        }
        self.ramp.count(now);
        for (bucket, amount) in [
            (&mut self.requests, 1),
            (&mut self.input, input),
            (&mut self.output, output),
        ] {
            if let Some(bucket) = bucket {
                bucket.take(amount);
            }
        }
        Ok(output)
    }
}

fn over(per_minute: u64, what: &str, wait: Duration) -> ApiError {
    ApiError {
        retry_after: Some(wait.as_secs_f64().ceil().max(1.0)),
        ..ApiError::new(
            429,
            format!(
                "This request would exceed your organization's rate limit of {per_minute} {what} per minute. For details, refer to the rate limits documentation. Try again later, or reduce the prompt length or the maximum tokens requested."
            ),
        )
    }
}

fn too_sharp(status: u16) -> ApiError {
    ApiError {
        retry_after: Some(RAMP_WAIT),
        ..ApiError::new(
            status,
            "This request would exceed your organization's acceleration limit: its usage has increased too sharply. Ramp up your traffic gradually and maintain consistent usage patterns.",
        )
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
