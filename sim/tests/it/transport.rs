//! Streams, HTTP/2, many calls at once, and the end of the server.

use crate::harness::{PATIENCE, ask, but, claude, client, with};
use flotilla_sim::Config;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The events of a stream: their names, checked against their data.
pub(crate) fn events(body: &str) -> Vec<Value> {
    let read = |event: &str| {
        let (name, data) = event.split_once("\ndata: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(name, format!("event: {}", data["type"].as_str().unwrap()));
        data
    };
    body.split_terminator("\n\n").map(read).collect()
}

#[tokio::test]
async fn a_stream_puts_together_to_the_same_message() {
    let claude = claude().await;
    let schema = json!({"type": "object", "required": ["path", "note"], "properties": {"path": {"type": "string"}, "note": {"const": "ünïcode"}}});
    let request = but(
        ask("go"),
        json!({"tools": [{"name": "look", "input_schema": schema}], "tool_choice": {"type": "any"}}),
    );
    let (_, whole) = claude.send(&request).await;
    let response = claude.post(&but(request, json!({"stream": true}))).await;
    assert!(
        response.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/event-stream")
    );
    let events = events(&response.text().await.unwrap());
    let names: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        names[..4],
        [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta"
        ]
    );
    assert_eq!(
        names[names.len() - 3..],
        ["content_block_stop", "message_delta", "message_stop"]
    );
    let start = &events[0]["message"];
    assert_eq!(
        (&start["content"], &start["stop_reason"]),
        (&json!([]), &Value::Null)
    );
    assert_eq!(
        start["usage"]["input_tokens"],
        whole["usage"]["input_tokens"]
    );
    let input: String = events
        .iter()
        .filter_map(|event| event["delta"]["partial_json"].as_str())
        .collect();
    assert_eq!(
        serde_json::from_str::<Value>(&input).unwrap(),
        whole["content"][0]["input"]
    );
    let delta = &events[events.len() - 2];
    assert_eq!(
        (
            &delta["delta"]["stop_reason"],
            &delta["usage"]["output_tokens"]
        ),
        (&json!("tool_use"), &whole["usage"]["output_tokens"])
    );
    assert_eq!(claude.get("/ledger?since=1").await[0]["stream"], true);
}

#[tokio::test]
async fn one_http2_connection_carries_hundreds_of_calls_at_once() {
    let claude = with(Config {
        latency: Duration::from_millis(500),
        ..Config::default()
    })
    .await;
    let h2 = client().http2_prior_knowledge().build().unwrap();
    let calls = (0..600).map(|_| {
        let request = h2
            .post(format!("{}/v1/messages", claude.url))
            .header("x-api-key", "k")
            .header("anthropic-version", "2023-06-01");
        request.body(ask("go").to_string()).send()
    });
    let started = Instant::now();
    for answer in join_all(calls).await {
        let answer = answer.unwrap();
        assert_eq!(
            (answer.version(), answer.status().as_u16()),
            (reqwest::Version::HTTP_2, 200)
        );
    }
    assert!(started.elapsed() < PATIENCE / 2);
    assert_eq!(
        claude.get("/ledger/summary").await["max_in_flight"],
        600,
        "none waited for another"
    );
}

#[tokio::test]
async fn a_cancelled_http2_call_is_seen_at_once_and_its_neighbours_live() {
    let claude = claude().await;
    claude.control(json!({"faults": [{"kind": "hang"}]})).await;
    let h2 = client().http2_prior_knowledge().build().unwrap();
    let call = || {
        let request = h2
            .post(format!("{}/v1/messages", claude.url))
            .header("x-api-key", "k")
            .header("anthropic-version", "2023-06-01");
        request.body(ask("go").to_string()).send()
    };
    let (first, second) = (tokio::spawn(call()), tokio::spawn(call()));
    claude.until("in_flight", 2).await;
    first.abort();
    claude.until("undelivered", 1).await;
    claude.control(json!({"faults": null})).await;
    assert_eq!(second.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_stop_answers_what_is_in_flight_and_ends() {
    let server = flotilla_sim::bind(Config {
        latency: Duration::from_secs(600),
        quiet: true,
        ..Config::default()
    })
    .await
    .unwrap();
    let url = format!("http://{}/v1/messages", server.addr());
    let stop = tokio_util::sync::CancellationToken::new();
    let serving = tokio::spawn(server.serve(stop.clone()));
    let client = client().build().unwrap();
    let request = client
        .post(url)
        .header("x-api-key", "k")
        .header("anthropic-version", "2023-06-01");
    let call = tokio::spawn(request.body(ask("go").to_string()).send());
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.cancel();
    assert_eq!(call.await.unwrap().unwrap().status(), 500);
    tokio::time::timeout(PATIENCE, serving)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_slow_stream_begins_with_its_first_token_and_pings_while_it_lasts() {
    let claude = claude().await;
    claude
        .control(json!({"latency_ms": {"total": 600, "first": 10}}))
        .await;
    let schema = json!({"type": "object", "required": ["note"], "properties": {"note": {"type": "string", "minLength": 3000}}});
    let request = but(
        ask("go"),
        json!({"stream": true, "max_tokens": 4000, "tools": [{"name": "look", "input_schema": schema}], "tool_choice": {"type": "any"}}),
    );
    let mut response = claude.post(&request).await;
    let first = response.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"event: message_start"));
    assert_eq!(
        claude.get("/ledger/summary").await["in_flight"],
        1,
        "the rest is still being written"
    );
    let mut body = first.to_vec();
    while let Some(chunk) = response.chunk().await.unwrap() {
        body.extend_from_slice(&chunk);
    }
    let events = events(std::str::from_utf8(&body).unwrap());
    let pings = events.iter().filter(|event| event["type"] == "ping");
    assert!(pings.count() > 2);
    assert_eq!(events.last().unwrap()["type"], "message_stop");
}

#[tokio::test]
async fn a_stream_left_in_its_beginning_pays_for_its_beginning() {
    let claude = claude().await;
    claude
        .control(json!({"latency_ms": {"total": 600_000, "first": 1}}))
        .await;
    let mut response = claude.post(&but(ask("go"), json!({"stream": true}))).await;
    let first = response.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"event: message_start"));
    drop(response);
    claude.until("undelivered", 1).await;
    let usage = claude.get("/ledger").await[0]["usage"].clone();
    assert_eq!(usage["output_tokens"], 0);
    assert!(usage["input_tokens"].as_u64().unwrap() > 0);
}
