//! How much each token may send: in this process, so a fleet of gateways takes as many times more.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use axum::http::StatusCode;
use flotilla_common::{
    access::{
        Scope,
        token::{ALLOWANCE, Allowance, Token, TokenId},
    },
    io::http::{Problem, RETRY_AFTER},
};
use governor::{
    DefaultDirectRateLimiter, Quota,
    clock::{Clock as _, DefaultClock},
};

/// Limits of tokens that were used; at most as many as there are tokens.
#[derive(Debug, Default)]
pub(super) struct Limits(Mutex<HashMap<TokenId, (Allowance, DefaultDirectRateLimiter)>>);

impl Limits {
    /// Counts a request. What a token may send in is always bounded; the rest where the token says so.
    ///
    /// # Errors
    /// A 429 that says when there is room again.
    pub(super) fn take(&self, token: &Token, scope: Scope) -> Result<(), Problem> {
        let allowance = match (token.rate, scope) {
            (Some(rate), _) => rate,
            (None, Scope::Ingest) => ALLOWANCE,
            (None, Scope::Read | Scope::Approve | Scope::Admin) => return Ok(()),
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || (allowance, limiter(allowance));
        let (known, limiter) = all.entry(token.id()).or_insert_with(fresh);
        if *known != allowance {
            (*known, *limiter) = fresh();
        }
        let Err(later) = limiter.check() else {
            return Ok(());
        };
        let wait = later.wait_time_from(DefaultClock::default().now());
        // Whole seconds, and never at once.
        let seconds = wait.as_secs() + 1;
        let detail = format!(
            "this token may send {} requests a second, {} at once; try again in {seconds} s",
            allowance.per_second, allowance.burst
        );
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail);
        Err(problem.with(RETRY_AFTER, seconds.into()))
    }
}

fn limiter(allowance: Allowance) -> DefaultDirectRateLimiter {
    let quota = Quota::per_second(allowance.per_second).allow_burst(allowance.burst);
    DefaultDirectRateLimiter::direct(quota)
}
