//! Answers as streams, and servers that do as they like about it.

use flotilla_common::claude::{Usage, text_block};
use serde_json::json;

use super::*;

const EVENTS: &[(&str, &str)] = &[
    ("content-type", "text/event-stream; charset=utf-8"),
    ("request-id", "req_s"),
];

/// A stream of these events.
pub(super) fn stream(events: &[Value]) -> String {
    let line = |event: &Value| {
        format!(
            "event: {}\ndata: {event}\n\n",
            event["type"].as_str().unwrap()
        )
    };
    events.iter().map(line).collect()
}

pub(super) fn begun() -> Value {
    let usage = json!({"input_tokens": 40, "cache_creation_input_tokens": 5, "output_tokens": 2});
    json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "model": "x",
        "content": [], "stop_reason": null, "usage": usage}})
}

/// What [`begun`] says is billed.
pub(super) fn begun_usage() -> Usage {
    Usage {
        input_tokens: 40,
        cache_creation_input_tokens: 5,
        output_tokens: 2,
        ..Usage::default()
    }
}

pub(super) fn middle() -> Vec<Value> {
    vec![
        begun(),
        json!({"type": "ping"}),
        json!({"type": "content_block_start", "index": 0, "content_block": text_block("")}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "yes"}}),
    ]
}

fn whole() -> Vec<Value> {
    let end = [
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}),
        json!({"type": "message_stop"}),
    ];
    middle().into_iter().chain(end).collect()
}

#[tokio::test]
async fn a_stream_gives_the_reply_that_it_spells() {
    let (server, base_url) = Server::start(vec![said(200, EVENTS, &stream(&whole()))]).await;
    let answer = once(&claude(config(&base_url)), &request()).await.unwrap();
    assert_eq!(answer.reply.text(), "yes");
    assert_eq!(answer.reply.usage.output_tokens, 9);
    assert_eq!(answer.reply.usage.input_tokens, 40);
    assert_eq!(answer.request_id.as_deref(), Some("req_s"));
    let asked = server.last().1;
    let plain = serde_json::to_value(request()).unwrap();
    assert_eq!(asked["stream"], true);
    assert_eq!(asked["messages"], plain["messages"]);
}

#[tokio::test]
async fn a_plain_answer_can_be_asked_for_and_is_also_taken_where_a_stream_was() {
    let (server, base_url) = Server::start(vec![said(200, &[], GOOD)]).await;
    let streaming = config(&base_url);
    let plain = ClaudeConfig {
        stream: false,
        ..config(&base_url)
    };
    once(&claude(streaming), &request()).await.unwrap();
    assert_eq!(server.last().1["stream"], true);
    once(&claude(plain), &request()).await.unwrap();
    assert_eq!(server.last().1, serde_json::to_value(request()).unwrap());
}

#[tokio::test]
async fn a_stream_without_its_end_is_unreadable_and_billed_for_what_it_told() {
    let failed = call(said(200, EVENTS, &stream(&middle())))
        .await
        .unwrap_err();
    assert_eq!(failed.kind, ErrorKind::Unreadable);
    assert_eq!(failed.billed, Billed::AtLeast(begun_usage()));
    assert_eq!(failed.request_id.as_deref(), Some("req_s"));
    let until_delta = &whole()[..6];
    let failed = call(said(200, EVENTS, &stream(until_delta)))
        .await
        .unwrap_err();
    let told = Usage {
        output_tokens: 9,
        ..begun_usage()
    };
    assert_eq!(failed.billed, Billed::AtLeast(told));
    let failed = call(said(200, EVENTS, "")).await.unwrap_err();
    assert_eq!(
        (failed.kind, failed.billed),
        (ErrorKind::Unreadable, Billed::Unknown)
    );
}

#[tokio::test]
async fn an_error_event_after_a_200_is_of_the_kind_it_names() {
    let kinds = [
        ("overloaded_error", ErrorKind::Overloaded),
        ("rate_limit_error", ErrorKind::RateLimited),
        ("api_error", ErrorKind::Server),
        ("timeout_error", ErrorKind::Server),
        ("brand_new_error", ErrorKind::Server),
        ("conflict_error", ErrorKind::Conflict),
        ("permission_error", ErrorKind::Blocked),
        ("billing_error", ErrorKind::Blocked),
        ("invalid_request_error", ErrorKind::Invalid),
    ];
    for (name, kind) in kinds {
        let error = json!({"type": "error", "error": {"type": name, "message": "so it is"}});
        let after: Vec<Value> = middle().into_iter().chain([error.clone()]).collect();
        let failed = call(said(200, EVENTS, &stream(&after))).await.unwrap_err();
        assert_eq!(failed.kind, kind, "{name}");
        assert_eq!(failed.billed, Billed::AtLeast(begun_usage()), "{name}");
        assert!(failed.why.contains("so it is"), "{failed}");
        let failed = call(said(200, EVENTS, &stream(&[error])))
            .await
            .unwrap_err();
        assert_eq!(
            (failed.kind, failed.billed),
            (kind, Billed::Nothing),
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_is_no_message_is_unreadable_and_may_have_been_billed() {
    let half = &GOOD[..GOOD.len() / 2];
    for said in [
        said(200, &[], "{\"not\": \"a message\"}"),
        said(200, &[], "<html>"),
        said(200, &[], half),
        said(200, EVENTS, "event: message_start\ndata: {]\n\n"),
        said(204, &[], ""),
    ] {
        let failed = call(said).await.unwrap_err();
        assert_eq!(
            (failed.kind, failed.billed),
            (ErrorKind::Unreadable, Billed::Unknown)
        );
    }
    let garbage = stream(&[begun()]) + "event: content_block_delta\ndata: {]\n\n";
    let failed = call(said(200, EVENTS, &garbage)).await.unwrap_err();
    assert_eq!(failed.kind, ErrorKind::Unreadable);
    assert_eq!(failed.billed, Billed::AtLeast(begun_usage()));
}
