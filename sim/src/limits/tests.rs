use super::*;
use jiff::Timestamp;
use serde_json::{Value, json};

const SONNET: &str = "claude-sonnet-5";

fn limiter(limits: Value) -> Limiter {
    let limiter = Limiter::default();
    limiter.set(serde_json::from_value(limits).unwrap());
    limiter
}

fn header(limiter: &Limiter, model: &str, name: &str, now: Instant) -> Option<String> {
    let clock: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    let headers = limiter.headers(model, now, clock);
    let found = headers.into_iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| value)
}

#[test]
fn the_request_over_the_allowance_is_told_when_to_come_back() {
    let now = Instant::now();
    let limiter = limiter(json!([{"requests": 4}]));
    for _ in 0..4 {
        assert!(limiter.admit(SONNET, 10, 10, now).unwrap().is_some());
    }
    let error = limiter.admit(SONNET, 10, 10, now).unwrap_err();
    assert_eq!(
        (error.status, error.kind.as_str(), error.retry_after),
        (429, "rate_limit_error", Some(15.0))
    );
    assert!(error.message.contains("4 requests per minute"));
    let later = now + Duration::from_secs(15);
    assert!(limiter.admit(SONNET, 10, 10, later).is_ok());
    assert!(
        limiter.admit("claude-opus-5", 10, 10, now).is_ok(),
        "another model has its own"
    );
}

#[test]
fn a_family_shares_one_allowance() {
    let now = Instant::now();
    let limiter = limiter(json!([{"requests": 100}, {"model": "claude-opus-4", "requests": 1}]));
    assert!(limiter.admit("claude-opus-4-5", 1, 1, now).is_ok());
    assert!(limiter.admit("claude-opus-4-6", 1, 1, now).is_err());
    assert!(limiter.admit("claude-opus-5", 1, 1, now).is_ok());
}

#[test]
fn a_refused_request_takes_nothing() {
    let now = Instant::now();
    let limiter = limiter(json!([{"requests": 10, "input_tokens": 100}]));
    assert!(limiter.admit(SONNET, 90, 1, now).is_ok());
    for _ in 0..20 {
        let error = limiter.admit(SONNET, 11, 1, now).unwrap_err();
        assert!(error.message.contains("input tokens"));
    }
    let left = header(
        &limiter,
        SONNET,
        "anthropic-ratelimit-requests-remaining",
        now,
    );
    assert_eq!(left.as_deref(), Some("9"));
    assert!(limiter.admit(SONNET, 10, 1, now).is_ok());
    assert_eq!(limiter.used(now)[SONNET]["refused"], 20);
}

#[test]
fn reserved_output_is_settled_at_the_end() {
    let now = Instant::now();
    let limiter = limiter(json!([{"output_tokens": 1000, "output": "reserve"}]));
    let mut first = limiter.admit(SONNET, 1, 800, now).unwrap().unwrap();
    assert!(limiter.admit(SONNET, 1, 800, now).is_err());
    limiter.produced(&mut first, 50, false, now);
    assert!(limiter.admit(SONNET, 1, 800, now).is_err());
    limiter.produced(&mut first, 50, true, now);
    assert!(limiter.admit(SONNET, 1, 800, now).is_ok());
}

#[test]
fn produced_output_is_taken_as_it_comes_and_may_be_owed() {
    let now = Instant::now();
    let limiter = limiter(json!([{"output_tokens": 600}]));
    let mut first = limiter.admit(SONNET, 1, 8000, now).unwrap().unwrap();
    limiter.produced(&mut first, 500, false, now);
    assert!(limiter.admit(SONNET, 1, 8000, now).is_ok());
    limiter.produced(&mut first, 700, true, now);
    let error = limiter.admit(SONNET, 1, 1, now).unwrap_err();
    assert_eq!(
        error.retry_after,
        Some(11.0),
        "100 owed and 1 asked, 10 a second"
    );
    assert_eq!(limiter.used(now)[SONNET]["output_tokens"]["granted"], 700);
}

#[test]
fn a_call_from_before_a_change_is_not_settled_in_the_new_buckets() {
    let now = Instant::now();
    let limiter = limiter(json!([{"output_tokens": 600}]));
    let mut old = limiter.admit(SONNET, 1, 1, now).unwrap().unwrap();
    limiter.set(serde_json::from_value(json!([{"output_tokens": 600}])).unwrap());
    assert!(limiter.admit(SONNET, 1, 1, now).is_ok());
    limiter.produced(&mut old, 600, true, now);
    assert!(limiter.admit(SONNET, 1, 1, now).is_ok());
}

#[test]
fn headers_tell_limit_rest_and_reset_and_round_large_rests() {
    let now = Instant::now();
    let limiter = limiter(json!([
        {"model": "claude-opus", "requests": 60, "input_tokens": 200_000, "output_tokens": 6000}]));
    let opus = "claude-opus-5-5";
    limiter.admit(opus, 1234, 1, now).unwrap();
    for (name, value) in [
        ("requests-limit", "60"),
        ("requests-remaining", "59"),
        ("requests-reset", "2026-11-21T10:00:01Z"),
        ("input-tokens-remaining", "199000"),
        ("output-tokens-remaining", "6000"),
        ("output-tokens-reset", "2026-11-21T10:00:00Z"),
        ("tokens-limit", "206000"),
        ("tokens-remaining", "205000"),
        ("tokens-reset", "2026-11-21T10:00:01Z"),
    ] {
        let name = format!("anthropic-ratelimit-{name}");
        assert_eq!(
            header(&limiter, opus, &name, now).as_deref(),
            Some(value),
            "{name}"
        );
    }
    assert_eq!(
        header(&limiter, SONNET, "anthropic-ratelimit-requests-limit", now),
        None,
        "no limit, no header"
    );
}

#[test]
fn the_share_used_is_of_the_time_since_the_first_call() {
    let now = Instant::now();
    let limiter = limiter(json!([{"requests": 60}]));
    for _ in 0..30 {
        limiter.admit(SONNET, 1, 1, now).unwrap();
    }
    let used = limiter.used(now + Duration::from_secs(60));
    assert_eq!(used[SONNET]["requests"]["share"], 0.5);
    limiter.forget_use(now);
    assert_eq!(limiter.used(now)[SONNET]["requests"]["granted"], 0);
}

#[test]
fn too_sharp_a_rise_is_refused_with_the_status_set() {
    let now = Instant::now();
    let sharp = |status: u16| {
        let limiter =
            limiter(json!([{"acceleration": {"floor": 1, "growth": 2, "status": status}}]));
        for _ in 0..5 {
            limiter.admit(SONNET, 1, 1, now).unwrap();
        }
        limiter.admit(SONNET, 1, 1, now).unwrap_err()
    };
    assert!(sharp(429).message.contains("increased too sharply"));
    assert_eq!(sharp(529).kind, "overloaded_error");
}

#[test]
fn limits_that_mean_nothing_are_refused() {
    for wrong in [
        json!({"requests": 0}),
        json!({"requests": 1, "burst_seconds": 0}),
        json!({"acceleration": {"floor": 0, "growth": 2}}),
        json!({"acceleration": {"floor": 1, "growth": 2, "status": 500}}),
    ] {
        let limit: Limit = serde_json::from_value(wrong.clone()).unwrap();
        assert!(limit.problem().is_some(), "{wrong}");
    }
}
