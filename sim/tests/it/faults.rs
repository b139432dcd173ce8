//! Faults on demand, as a client meets them.

use crate::harness::{ask, but, claude, client};
use crate::transport::events;
use serde_json::{Value, json};
use std::time::Duration;

fn streamed() -> Value {
    but(ask("go"), json!({"stream": true}))
}

#[tokio::test]
async fn errors_come_with_the_status_the_headers_and_the_body_asked_for() {
    let claude = claude().await;
    claude
        .control(json!({"script": [
            {"status": 429, "retry_after": 2, "retry_after_ms": 1500},
            {"status": 529, "should_retry": false, "message": "Overloaded"},
            {"status": 502, "body": "<html>Bad Gateway</html>"},
            {"status": 429, "details": {"error_code": "enforced_spend_limit_reached"}},
            null]}))
        .await;
    let limited = claude.post(&ask("go")).await;
    assert_eq!(limited.status(), 429);
    assert_eq!(
        (
            &limited.headers()["retry-after"],
            &limited.headers()["retry-after-ms"]
        ),
        (&"2".parse().unwrap(), &"1500".parse().unwrap())
    );
    let overloaded = claude.post(&ask("go")).await;
    assert_eq!(overloaded.headers()["x-should-retry"], "false");
    let body: Value = overloaded.json().await.unwrap();
    assert_eq!(
        body["error"],
        json!({"type": "overloaded_error", "message": "Overloaded"})
    );
    let gateway = claude.post(&ask("go")).await;
    assert_eq!(
        (
            gateway.status().as_u16(),
            &gateway.headers()["content-type"]
        ),
        (502, &"text/html".parse().unwrap())
    );
    assert_eq!(gateway.text().await.unwrap(), "<html>Bad Gateway</html>");
    let spent = claude.post(&ask("go")).await;
    assert!(!spent.headers().contains_key("retry-after"));
    assert_eq!(
        spent.json::<Value>().await.unwrap()["error"]["details"]["error_code"],
        "enforced_spend_limit_reached"
    );
    assert_eq!(claude.send(&ask("go")).await.0, 200);
    let entries = claude.get("/ledger").await;
    assert_eq!(
        (&entries[0]["fault"], &entries[4]["fault"]),
        (&json!("error"), &Value::Null)
    );
    assert_eq!(
        claude.get("/ledger/summary").await["by_fault"],
        json!({"error": 4})
    );
}

#[tokio::test]
async fn a_counted_fault_is_for_one_model_so_many_times() {
    let claude = claude().await;
    claude
        .control(json!({"faults": [{"status": 529, "count": 2, "model": "claude-sonnet"}]}))
        .await;
    let haiku = but(ask("go"), json!({"model": "claude-haiku-4-5"}));
    assert_eq!(claude.send(&haiku).await.0, 200);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(claude.send(&ask("go")).await.0);
    }
    assert_eq!(statuses, [529, 529, 200]);
}

#[tokio::test]
async fn a_rate_befalls_the_same_requests_whenever_they_come() {
    let failing = async || {
        let claude = claude().await;
        claude
            .control(json!({"seed": 5, "faults": [{"status": 503, "rate": 0.3}]}))
            .await;
        let mut failing = Vec::new();
        for n in 0..40 {
            failing.push(claude.send(&ask(&format!("call {n}"))).await.0 == 503);
        }
        failing
    };
    let first = failing().await;
    assert!((4..=22).contains(&first.iter().filter(|failed| **failed).count()));
    assert_eq!(first, failing().await);
}

#[tokio::test]
async fn a_connection_closed_before_any_byte_has_no_status() {
    let claude = claude().await;
    claude.control(json!({"faults": [{"kind": "close"}]})).await;
    for request in [ask("go"), streamed()] {
        let error = claude
            .request(request.to_string())
            .send()
            .await
            .unwrap_err();
        assert!(error.is_request() && !error.is_timeout(), "{error:?}");
    }
    let h2 = client().http2_prior_knowledge().build().unwrap();
    let request = h2
        .post(format!("{}/v1/messages", claude.url))
        .header("x-api-key", "k")
        .header("anthropic-version", "2023-06-01");
    let broken = match request.body(ask("go").to_string()).send().await {
        Ok(response) => response.bytes().await.is_err(),
        Err(_) => true,
    };
    assert!(broken, "over HTTP/2, it is the stream that is reset");
    let entry = claude.get("/ledger").await[0].clone();
    assert_eq!(
        (&entry["delivered"], &entry["fault"]),
        (&json!(false), &json!("close"))
    );
    assert!(
        entry["usd_nano"].as_u64().unwrap() > 0,
        "it was produced, so it is paid"
    );
}

#[tokio::test]
async fn a_body_cut_in_the_middle_breaks_and_a_malformed_one_arrives() {
    let claude = claude().await;
    claude
        .control(json!({"script": [{"kind": "cut_body"}, {"kind": "malformed_json"}]}))
        .await;
    let cut = claude.post(&ask("go")).await;
    assert_eq!(cut.status(), 200);
    assert!(cut.bytes().await.is_err());
    let malformed = claude.post(&ask("go")).await.text().await.unwrap();
    assert!(malformed.starts_with('{') && serde_json::from_str::<Value>(&malformed).is_err());
    assert_eq!(claude.get("/ledger/summary").await["undelivered"], 2);
}

#[tokio::test]
async fn a_stream_is_cut_after_so_many_events_and_pays_for_what_it_had() {
    let claude = claude().await;
    let whole = events(&claude.post(&streamed()).await.text().await.unwrap());
    claude
        .control(json!({"script": [{"kind": "cut_stream", "after_events": 5}]}))
        .await;
    let mut cut = claude.post(&streamed()).await;
    let mut body = Vec::new();
    let broke = loop {
        match cut.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broke);
    let had = events(std::str::from_utf8(&body).unwrap());
    assert_eq!(had.len(), 5);
    assert_eq!(had[1..], whole[1..5]);
    let entries = claude.get("/ledger").await;
    let output = |index: usize| entries[index]["usage"]["output_tokens"].as_u64().unwrap();
    assert!(
        0 < output(1) && output(1) < output(0),
        "{} of {}",
        output(1),
        output(0)
    );
}

#[tokio::test]
async fn a_stream_can_fail_in_the_middle_and_say_things_nobody_knows() {
    let claude = claude().await;
    claude
        .control(json!({"script": [
            {"kind": "error_event", "after_events": 4}, {"kind": "unknown_event"}, {"kind": "malformed_event"},
            {"kind": "unknown_block"}]}))
        .await;
    let body = async || claude.post(&streamed()).await.text().await.unwrap();
    let failed = events(&body().await);
    assert_eq!(failed.len(), 5);
    assert_eq!(failed[4]["error"]["type"], "overloaded_error");
    let strange = events(&body().await);
    assert_eq!(strange[1]["type"], "event_of_tomorrow");
    assert_eq!(strange.last().unwrap()["type"], "message_stop");
    let malformed = body().await;
    let bad = malformed.split("\n\n").filter(|event| {
        let data = event.split_once("data: ").map_or("", |(_, data)| data);
        !data.is_empty() && serde_json::from_str::<Value>(data).is_err()
    });
    assert_eq!(bad.count(), 1);
    let blocks = events(&body().await);
    assert_eq!(blocks[1]["content_block"]["type"], "block_of_tomorrow");
}

#[tokio::test]
async fn a_message_can_end_for_unknown_reasons_and_hold_nothing() {
    let claude = claude().await;
    claude
        .control(json!({"script": [{"kind": "unknown_stop_reason"}, {"kind": "empty_content"}, {"kind": "unknown_block"}, {"kind": "error_event", "status": 500}]}))
        .await;
    assert_eq!(
        claude.send(&ask("go")).await.1["stop_reason"],
        "reason_of_tomorrow"
    );
    assert_eq!(claude.send(&ask("go")).await.1["content"], json!([]));
    assert_eq!(
        claude.send(&ask("go")).await.1["content"][0]["type"],
        "block_of_tomorrow"
    );
    assert_eq!(claude.send(&ask("go")).await.0, 500, "no stream to fail in");
}

#[tokio::test]
async fn a_trickle_and_a_late_first_byte_arrive_whole() {
    let claude = claude().await;
    claude
        .control(json!({"script": [
            {"kind": "trickle", "delay_ms": 1}, {"kind": "trickle", "delay_ms": 1}, {"kind": "slow_first_byte", "delay_ms": 5}]}))
        .await;
    assert_eq!(claude.send(&ask("go")).await.1["type"], "message");
    let slow = claude.post(&streamed()).await.text().await.unwrap();
    assert_eq!(events(&slow).last().unwrap()["type"], "message_stop");
    assert_eq!(claude.send(&ask("go")).await.0, 200);
    assert_eq!(claude.get("/ledger/summary").await["undelivered"], 0);
}

#[tokio::test]
async fn a_hang_of_given_length_ends_with_the_answer() {
    let claude = claude().await;
    claude
        .control(json!({"faults": [{"kind": "hang", "delay_ms": 20}]}))
        .await;
    assert_eq!(claude.send(&ask("go")).await.0, 200);
    claude.control(json!({"faults": [{"kind": "hang"}]})).await;
    let late = claude
        .request(ask("go").to_string())
        .timeout(Duration::from_millis(100));
    assert!(late.send().await.unwrap_err().is_timeout());
}

#[tokio::test]
async fn a_call_that_a_limit_refuses_has_no_other_fault() {
    let claude = claude().await;
    claude
        .control(json!({"limits": [{"requests": 1}], "faults": [{"kind": "cut_body"}]}))
        .await;
    assert!(claude.post(&ask("go")).await.bytes().await.is_err());
    assert_eq!(claude.send(&ask("go")).await.0, 429);
    let entries = claude.get("/ledger").await;
    assert_eq!(
        (&entries[0]["fault"], &entries[1]["fault"]),
        (&json!("cut_body"), &Value::Null)
    );
}

#[tokio::test]
async fn a_setting_that_is_no_fault_is_refused() {
    let claude = claude().await;
    for wrong in [
        json!({"fial": null}),
        json!({"faults": [{"status": 200}]}),
        json!({"faults": [{"kind": "explode"}]}),
    ] {
        let (status, refused) = claude.control(wrong.clone()).await;
        assert_eq!(status, 400, "{wrong}: {refused}");
    }
}
