//! What each status means.

use flotilla_common::claude::RateLimit;
use reqwest::header::HeaderMap;

use super::*;
use crate::claude::answer::{RETRY_AFTER_MAX, retry_after};

fn error(kind: &str) -> String {
    format!(
        r#"{{"type":"error","error":{{"type":"{kind}","message":"so it is"}},"request_id":"req_b"}}"#
    )
}

#[tokio::test]
async fn every_status_is_of_the_kind_that_says_what_helps_and_cost_nothing() {
    let kinds = [
        (301, ErrorKind::Blocked, "parked"),
        (307, ErrorKind::Blocked, "parked"),
        (400, ErrorKind::Invalid, "refused"),
        (401, ErrorKind::Blocked, "parked"),
        (402, ErrorKind::Blocked, "parked"),
        (403, ErrorKind::Blocked, "parked"),
        (404, ErrorKind::Blocked, "parked"),
        (405, ErrorKind::Invalid, "refused"),
        (408, ErrorKind::Server, "error"),
        (409, ErrorKind::Conflict, "error"),
        (413, ErrorKind::Invalid, "refused"),
        (422, ErrorKind::Invalid, "refused"),
        (429, ErrorKind::RateLimited, "rate_limited"),
        (500, ErrorKind::Server, "error"),
        (502, ErrorKind::Server, "error"),
        (503, ErrorKind::Server, "error"),
        (504, ErrorKind::Server, "error"),
        (529, ErrorKind::Overloaded, "overloaded"),
    ];
    for (status, kind, label) in kinds {
        let headers = [("request-id", "req_1"), ("retry-after-ms", "1500")];
        let failed = call(said(status, &headers, &error("some_error")))
            .await
            .unwrap_err();
        assert_eq!(
            (failed.kind, failed.kind.label()),
            (kind, label),
            "{status}"
        );
        assert_eq!(failed.billed, Billed::Nothing, "{status}");
        assert_eq!(failed.request_id.as_deref(), Some("req_1"), "{status}");
        assert_eq!(failed.after, Some(Duration::from_millis(1_500)), "{status}");
        assert!(failed.why.contains("some_error: so it is"), "{failed}");
    }
}

#[tokio::test]
async fn the_servers_word_makes_a_refusal_pass_but_overload_stays_overload() {
    let told = async |status, told| {
        let said = said(status, &[("x-should-retry", told)], &error("x"));
        call(said).await.unwrap_err().kind
    };
    assert_eq!(told(500, "false").await, ErrorKind::Server);
    assert_eq!(told(429, "false").await, ErrorKind::RateLimited);
    assert_eq!(told(400, "true").await, ErrorKind::Server);
    assert_eq!(told(429, "true").await, ErrorKind::RateLimited);
    assert_eq!(told(401, "false").await, ErrorKind::Blocked);
}

#[tokio::test]
async fn a_limit_on_money_is_for_a_person_whatever_the_status() {
    let spent = r#"{"type":"error","error":{"type":"rate_limit_error","message":"limit","details":{"error_code":"enforced_spend_limit_reached"}}}"#;
    for said in [
        said(429, &[], spent),
        said(400, &[], &error("billing_error")),
    ] {
        assert_eq!(call(said).await.unwrap_err().kind, ErrorKind::Blocked);
    }
}

#[tokio::test]
async fn an_error_page_that_is_no_json_is_read_by_its_status() {
    let page = format!("<html>{}</html>", "x".repeat(1 << 20));
    let failed = call(said(502, &[], &page)).await.unwrap_err();
    assert_eq!(failed.kind, ErrorKind::Server);
    assert!(failed.why.len() < 100, "{failed}");
}

#[tokio::test]
async fn an_answer_tells_its_limits_and_its_id_also_when_it_is_a_refusal() {
    let headers = [
        ("request-id", "req_9"),
        ("anthropic-ratelimit-requests-limit", "50"),
        ("anthropic-ratelimit-requests-remaining", "7"),
    ];
    let limit = RateLimit {
        limit: 50,
        remaining: 7,
        reset: None,
    };
    let answer = call(said(200, &headers, GOOD)).await.unwrap();
    assert_eq!(answer.request_id.as_deref(), Some("req_9"));
    assert_eq!(
        answer.limits.and_then(|limits| limits.requests),
        Some(limit)
    );
    assert!(answer.first_byte <= answer.took);
    let failed = call(said(429, &headers, &error("rate_limit_error")))
        .await
        .unwrap_err();
    assert_eq!(
        failed.limits.and_then(|limits| limits.requests),
        Some(limit)
    );
    assert_eq!(failed.after, None);
}

#[test]
fn retry_after_is_read_in_all_its_forms() {
    let headers = |name: &'static str, value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    };
    assert_eq!(
        retry_after(&headers("retry-after-ms", "1500")),
        Some(Duration::from_millis(1_500))
    );
    assert_eq!(
        retry_after(&headers("retry-after", "2")),
        Some(Duration::from_secs(2))
    );
    assert_eq!(
        retry_after(&headers("retry-after", "-2")),
        Some(Duration::ZERO)
    );
    assert_eq!(
        retry_after(&headers("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")),
        Some(Duration::ZERO)
    );
    assert_eq!(
        retry_after(&headers("retry-after", "999999")),
        Some(RETRY_AFTER_MAX)
    );
    assert_eq!(retry_after(&headers("retry-after", "soon")), None);
}
