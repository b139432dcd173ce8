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
    claude.control(json!({"hang": true})).await;
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
    let (_, settings) = claude.control(json!({"hang": true})).await;
    assert_eq!(
        settings,
        json!({"latency_ms": 0, "fail": null, "hang": true})
    );
    let calls: Vec<_> = (0..5)
        .map(|_| claude.request(ask("go").to_string()).send())
        .collect();
    let calls = tokio::spawn(futures_util::future::join_all(calls));
    claude.until("in_flight", 5).await;
    assert_eq!(claude.get("/ledger").await, json!([]));
    claude.control(json!({"hang": false})).await;
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
async fn a_counted_failure_is_given_so_many_times() {
    let claude = claude().await;
    claude
        .control(json!({"fail": {"status": 529, "count": 2}}))
        .await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(
            claude
                .send(&but(ask("go"), json!({"metadata": {"user_id": "run_1"}})))
                .await
                .0,
        );
    }
    assert_eq!(statuses, [529, 529, 200]);
    let entries = claude.get("/ledger?since=1").await;
    assert_eq!(entries.as_array().unwrap().len(), 2);
    assert_eq!(
        (&entries[0]["error"], &entries[0]["user_id"]),
        (&json!("overloaded_error"), &json!("run_1"))
    );
    assert_eq!(
        claude.get("/ledger/summary").await["by_status"],
        json!({"200": 1, "529": 2})
    );
    let (status, refused) = claude.control(json!({"fial": null})).await;
    assert_eq!(status, 400, "{refused}");
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
