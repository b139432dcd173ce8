//! Batches: created once, worked through later, for half the price.

use crate::harness::{Claude, PATIENCE, ask, but, claude};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

async fn call(claude: &Claude, method: Method, url: &str, body: String) -> (u16, String) {
    let request = claude
        .client
        .request(method, url)
        .header("x-api-key", "test")
        .header("anthropic-version", "2023-06-01");
    let response = request.body(body).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

fn read((status, body): (u16, String)) -> (u16, Value) {
    (status, serde_json::from_str(&body).unwrap())
}

fn url(claude: &Claude, rest: &str) -> String {
    format!("{}/v1/messages/batches{rest}", claude.url)
}

async fn create(claude: &Claude, requests: Value) -> (u16, Value) {
    let body = json!({"requests": requests}).to_string();
    read(call(claude, Method::POST, &url(claude, ""), body).await)
}

async fn get(claude: &Claude, rest: &str) -> (u16, Value) {
    read(call(claude, Method::GET, &url(claude, rest), String::new()).await)
}

/// Waits for its end.
async fn ended(claude: &Claude, id: &str) -> Value {
    let ended = async {
        loop {
            let (_, batch) = get(claude, &format!("/{id}")).await;
            if batch["processing_status"] == "ended" {
                return batch;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap()
}

async fn results(claude: &Claude, batch: &Value) -> Vec<Value> {
    let url = batch["results_url"].as_str().unwrap();
    let (status, lines) = call(claude, Method::GET, url, String::new()).await;
    assert_eq!(status, 200, "{lines}");
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn three() -> Value {
    json!([
        {"custom_id": "run-1", "params": ask("one")},
        {"custom_id": "run-2", "params": but(ask("two"), json!({"max_tokens": "many"}))},
        {"custom_id": "run-3", "params": ask("three")}])
}

#[tokio::test]
async fn a_batch_is_answered_in_another_order_for_half_the_price() {
    let claude = claude().await;
    // What limits messages does not limit batches.
    claude.control(json!({"limits": [{"requests": 1}]})).await;
    claude.send(&ask("one")).await;
    let (status, batch) = create(&claude, three()).await;
    assert_eq!((status, &batch["type"]), (200, &json!("message_batch")));
    assert_eq!(
        (&batch["ended_at"], &batch["results_url"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(batch["request_counts"]["processing"], 3);
    let batch = ended(&claude, batch["id"].as_str().unwrap()).await;
    assert_eq!(
        batch["request_counts"],
        json!({"processing": 0, "succeeded": 2, "errored": 1, "canceled": 0, "expired": 0})
    );
    let results = results(&claude, &batch).await;
    let order: Vec<&str> = results
        .iter()
        .map(|result| result["custom_id"].as_str().unwrap())
        .collect();
    assert_eq!(order, ["run-3", "run-2", "run-1"]);
    let message = &results[2]["result"]["message"];
    assert_eq!(
        (
            &results[2]["result"]["type"],
            &message["usage"]["service_tier"]
        ),
        (&json!("succeeded"), &json!("batch"))
    );
    assert_eq!(
        results[1]["result"]["error"]["error"]["type"],
        "invalid_request_error"
    );
    let entries = claude.get("/ledger").await;
    let entries: BTreeMap<&str, &Value> = entries
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["custom_id"].as_str().unwrap_or("direct"), entry))
        .collect();
    assert_eq!(
        (&entries["run-1"]["batch"], &entries["run-2"]["status"]),
        (&json!(true), &json!(400))
    );
    let cost = |name: &str| entries[name]["usd_nano"].as_u64().unwrap();
    assert_eq!(2 * cost("run-1"), cost("direct"));
}

#[tokio::test]
async fn a_batch_takes_its_time_and_can_be_cancelled_and_deleted() {
    let claude = claude().await;
    claude.control(json!({"batch_ms": 600_000})).await;
    let (_, batch) = create(&claude, three()).await;
    let id = batch["id"].as_str().unwrap();
    assert_eq!(batch["processing_status"], "in_progress");
    assert_eq!(get(&claude, &format!("/{id}/results")).await.0, 404);
    let delete = async || {
        read(
            call(
                &claude,
                Method::DELETE,
                &url(&claude, &format!("/{id}")),
                String::new(),
            )
            .await,
        )
    };
    assert_eq!(delete().await.0, 400);
    let cancel = url(&claude, &format!("/{id}/cancel"));
    let (_, cancelled) = read(call(&claude, Method::POST, &cancel, String::new()).await);
    assert_ne!(cancelled["processing_status"], "in_progress");
    assert!(cancelled["cancel_initiated_at"].is_string());
    let batch = ended(&claude, id).await;
    assert_eq!(batch["request_counts"]["canceled"], 3);
    let results = results(&claude, &batch).await;
    assert!(
        results
            .iter()
            .all(|result| result["result"] == json!({"type": "canceled"}))
    );
    assert_eq!(claude.get("/ledger").await, json!([]), "none was processed");
    assert_eq!(
        delete().await,
        (200, json!({"id": id, "type": "message_batch_deleted"}))
    );
    assert_eq!(get(&claude, &format!("/{id}")).await.0, 404);
}

#[tokio::test]
async fn requests_of_a_batch_can_expire_and_fail_while_others_do_not() {
    let claude = claude().await;
    claude
        .control(json!({"faults": [{"kind": "expire", "count": 1}, {"status": 529, "batch": true, "count": 1}]}))
        .await;
    assert_eq!(claude.send(&ask("direct")).await.0, 200);
    let requests: Value = (0..3)
        .map(|n| json!({"custom_id": format!("r{n}"), "params": ask("go")}))
        .collect();
    let (_, batch) = create(&claude, requests).await;
    let batch = ended(&claude, batch["id"].as_str().unwrap()).await;
    let counts = &batch["request_counts"];
    assert_eq!(
        [&counts["expired"], &counts["errored"], &counts["succeeded"]],
        [1, 1, 1]
    );
    let results = results(&claude, &batch).await;
    assert_eq!(results[0]["result"], json!({"type": "expired"}));
    assert_eq!(
        results[1]["result"]["error"]["error"]["type"],
        "overloaded_error"
    );
}

#[tokio::test]
async fn names_in_a_batch_are_checked_and_the_same_batch_twice_is_two() {
    let claude = claude().await;
    let item = |id: &str| json!({"custom_id": id, "params": ask("go")});
    for wrong in [
        json!([]),
        json!("none"),
        json!([item("")]),
        json!([item("a b")]),
        json!([item(&"x".repeat(65))]),
        json!([item("same"), item("same")]),
        json!([{"custom_id": "a"}]),
    ] {
        let (status, refused) = create(&claude, wrong.clone()).await;
        assert_eq!(
            (status, &refused["error"]["type"]),
            (400, &json!("invalid_request_error")),
            "{wrong}"
        );
    }
    for _ in 0..2 {
        let (_, batch) = create(&claude, json!([item("same")])).await;
        ended(&claude, batch["id"].as_str().unwrap()).await;
    }
    assert_eq!(claude.get("/ledger").await.as_array().unwrap().len(), 2);
    let (_, page) = get(&claude, "?limit=1").await;
    assert_eq!(
        (page["data"].as_array().unwrap().len(), &page["has_more"]),
        (1, &json!(true))
    );
    let last = page["last_id"].as_str().unwrap();
    let (_, rest) = get(&claude, &format!("?after_id={last}")).await;
    assert_eq!(
        (rest["data"].as_array().unwrap().len(), &rest["has_more"]),
        (1, &json!(false))
    );
    assert_eq!(get(&claude, "?limit=0").await.0, 400);
}
