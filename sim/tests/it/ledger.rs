//! The ledger and the controls: what a test can see and change from outside.

use crate::harness::{PATIENCE, ask, but, claude, fixture, with};
use flotilla_sim::Config;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

#[tokio::test]
async fn an_answered_call_is_in_the_ledger_before_its_reader_has_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.jsonl");
    let claude = with(Config {
        policies: vec![fixture("disk-triage.yaml")],
        ledger: Some(file.clone()),
        ..Config::default()
    })
    .await;
    let request = but(
        ask("fault: costly"),
        json!({"system": [{"type": "text", "text": "You run a fleet."}, {"type": "text", "text": "Step: x"}], "metadata": {"user_id": "run_1"}}),
    );
    let response = claude.post(&request).await;
    let id = response.headers()["request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    response.bytes().await.unwrap();
    let entry = claude.get("/ledger").await[0].clone();
    let line: Value = serde_json::from_str(fs::read_to_string(file).unwrap().trim_end()).unwrap();
    assert_eq!(line, entry, "the file has the same");
    assert_eq!(entry["request_id"], id);
    for (key, value) in [
        ("n", json!(1)),
        ("model", json!("claude-sonnet-5")),
        ("policy", json!("faults")),
        ("rule", json!(7)),
        ("user_id", json!("run_1")),
        ("system_tail", json!("You run a fleet.\nStep: x")),
        ("turns", json!(0)),
        ("status", json!(200)),
        ("stop_reason", json!("end_turn")),
        ("tools_used", json!([])),
        ("delivered", json!(true)),
    ] {
        assert_eq!(entry[key], value, "{key}");
    }
    assert_eq!(entry["usage"]["output_tokens"], 12345);
    assert_eq!(entry["body_sha256"].as_str().unwrap().len(), 64);
    assert!(entry["started_ms"].as_i64().unwrap() <= entry["finished_ms"].as_i64().unwrap());
}

#[tokio::test]
async fn a_client_that_left_is_seen_and_its_call_still_counts() {
    let claude = claude().await;
    claude.control(json!({"faults": [{"kind": "hang"}]})).await;
    let gone = claude
        .request(ask("go").to_string())
        .timeout(Duration::from_millis(50))
        .send()
        .await;
    assert!(gone.unwrap_err().is_timeout());
    claude.until("undelivered", 1).await;
    let entry = claude.get("/ledger").await[0].clone();
    assert_eq!(
        (&entry["delivered"], &entry["status"]),
        (&json!(false), &json!(200))
    );
    assert!(
        entry["usage"]["output_tokens"].as_u64().unwrap() > 0,
        "the model had its answer: it is paid"
    );
    assert_eq!(claude.get("/ledger/summary").await["in_flight"], 0);
}

#[tokio::test]
async fn held_calls_go_on_when_they_are_let_go() {
    let claude = claude().await;
    let (_, settings) = claude.control(json!({"faults": [{"kind": "hang"}]})).await;
    assert_eq!(settings["faults"], json!([{"kind": "hang"}]));
    let calls: Vec<_> = (0..5)
        .map(|_| claude.request(ask("go").to_string()).send())
        .collect();
    let calls = tokio::spawn(futures_util::future::join_all(calls));
    claude.until("in_flight", 5).await;
    assert_eq!(claude.get("/ledger").await, json!([]));
    claude.control(json!({"faults": null})).await;
    let answers = tokio::time::timeout(PATIENCE, calls)
        .await
        .unwrap()
        .unwrap();
    assert!(
        answers
            .into_iter()
            .all(|answer| answer.unwrap().status() == 200)
    );
    let summary = claude.get("/ledger/summary").await;
    assert_eq!(
        (&summary["calls"], &summary["max_in_flight"]),
        (&json!(5), &json!(5))
    );
}

#[tokio::test]
async fn refused_calls_are_in_the_ledger_too() {
    let claude = claude().await;
    let response = claude
        .client
        .post(format!("{}/v1/messages", claude.url))
        .body("{")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 401);
    claude
        .refused(&but(ask("go"), json!({"max_tokens": "many"})))
        .await;
    let entries = claude.get("/ledger").await;
    assert_eq!(
        (&entries[0]["status"], &entries[0]["model"]),
        (&json!(401), &Value::Null)
    );
    assert_eq!(
        (&entries[1]["status"], &entries[1]["model"]),
        (&json!(400), &json!("claude-sonnet-5"))
    );
    assert_eq!(
        (&entries[1]["error"], &entries[1]["usage"]),
        (&json!("invalid_request_error"), &Value::Null)
    );
}

#[tokio::test]
async fn bodies_are_kept_on_demand_and_the_ledger_can_be_cleared() {
    let claude = with(Config {
        keep_bodies: true,
        ..Config::default()
    })
    .await;
    claude.send(&ask("go")).await;
    assert_eq!(claude.get("/ledger?bodies=1").await[0]["body"], ask("go"));
    assert_eq!(claude.get("/ledger").await[0].get("body"), None);
    claude
        .client
        .delete(format!("{}/ledger", claude.url))
        .send()
        .await
        .unwrap();
    assert_eq!(claude.get("/ledger").await, json!([]));
    assert_eq!(claude.get("/ledger/summary").await["calls"], 0);
}

#[tokio::test]
async fn a_call_is_priced_and_the_summary_adds_up_by_model() {
    let claude = claude().await;
    let (_, small) = claude.send(&but(ask("go"), json!({"model": "claude-haiku-4-5", "metadata": {"user_id": "run_1", "tenant": "acme"}}))).await;
    let usage = &small["usage"];
    let figure = |key: &str| usage[key].as_u64().unwrap();
    let cost = figure("input_tokens") * 1000 + figure("output_tokens") * 5000;
    let entry = claude.get("/ledger").await[0].clone();
    assert_eq!(entry["usd_nano"], cost);
    assert_eq!(
        entry["metadata"],
        json!({"user_id": "run_1", "tenant": "acme"})
    );
    claude.send(&ask("go")).await;
    let summary = claude.get("/ledger/summary").await;
    let of = |model: &str| summary["by_model"][model]["usd_nano"].as_u64().unwrap();
    assert_eq!(of("claude-haiku-4-5"), cost);
    assert_eq!(
        summary["usd_nano"],
        of("claude-haiku-4-5") + of("claude-sonnet-5")
    );
    assert_eq!(summary["usd_nano_undelivered"], 0);
}

#[tokio::test]
async fn an_hours_cache_is_written_at_twice_the_price_and_read_at_a_tenth() {
    let claude = claude().await;
    let system = json!([{"type": "text", "text": "rules ".repeat(1000), "cache_control": {"type": "ephemeral", "ttl": "1h"}}]);
    let request = but(ask("go"), json!({"system": system}));
    for _ in 0..2 {
        claude.send(&request).await;
    }
    let entries = claude.get("/ledger").await;
    let (first, second) = (&entries[0], &entries[1]);
    let written = first["usage"]["cache_creation"]["ephemeral_1h_input_tokens"]
        .as_u64()
        .unwrap();
    assert!(written > 1024);
    let saved = first["usd_nano"].as_u64().unwrap() - second["usd_nano"].as_u64().unwrap();
    assert_eq!(saved, written * 4000 - written * 200);
}

#[tokio::test]
async fn a_call_lost_before_its_first_token_pays_for_its_input_alone() {
    let claude = claude().await;
    claude
        .control(json!({"latency_ms": {"total": 60_000, "first": 50_000}}))
        .await;
    let gone = claude
        .request(ask("go").to_string())
        .timeout(Duration::from_millis(50))
        .send()
        .await;
    assert!(gone.unwrap_err().is_timeout());
    claude.until("undelivered", 1).await;
    let entry = claude.get("/ledger").await[0].clone();
    assert_eq!(entry["usage"]["output_tokens"], 0);
    assert_eq!(
        entry["usd_nano"],
        2000 * entry["usage"]["input_tokens"].as_u64().unwrap()
    );
    let summary = claude.get("/ledger/summary").await;
    assert_eq!(summary["usd_nano_undelivered"], entry["usd_nano"]);
}

#[tokio::test]
async fn the_rate_tells_calls_and_errors_by_time() {
    let claude = claude().await;
    claude
        .control(json!({"faults": [{"status": 429, "count": 2}]}))
        .await;
    for _ in 0..5 {
        claude.send(&ask("go")).await;
    }
    let rate = claude.get("/ledger/rate?bucket_ms=60000").await;
    let sum = |key: &str| -> u64 {
        let rows = rate.as_array().unwrap();
        rows.iter().map(|row| row[key].as_u64().unwrap()).sum()
    };
    assert_eq!((sum("calls"), sum("errors")), (5, 2));
    assert_eq!(rate[0]["at_ms"].as_i64().unwrap() % 60_000, 0);
    assert_eq!(claude.get("/ledger/summary").await["share_429"], 0.4);
}
