//! Rate limits: what is let in, what is refused, and what the headers say of it.

use crate::harness::{Claude, ask, but, claude, with};
use flotilla_sim::Config;
use serde_json::{Value, json};

fn header(response: &reqwest::Response, name: &str) -> Option<String> {
    let value = response.headers().get(name)?;
    Some(value.to_str().unwrap().to_owned())
}

async fn statuses(claude: &Claude, request: &Value, calls: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..calls {
        statuses.push(claude.send(request).await.0);
    }
    statuses
}

#[tokio::test]
async fn over_the_requests_a_minute_comes_a_429_that_says_when_to_come_back() {
    let claude = claude().await;
    claude.control(json!({"limits": [{"requests": 3}]})).await;
    assert_eq!(statuses(&claude, &ask("go"), 3).await, [200, 200, 200]);
    let refused = claude.post(&ask("go")).await;
    assert_eq!(refused.status(), 429);
    let wait: u64 = header(&refused, "retry-after").unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert_eq!(
        header(&refused, "anthropic-ratelimit-requests-remaining").as_deref(),
        Some("0")
    );
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["error"]["type"], "rate_limit_error");
    let summary = claude.get("/ledger/summary").await;
    assert_eq!(summary["share_429"], 0.25);
    let used = &summary["limits"]["claude-sonnet-5"];
    assert_eq!(
        (&used["requests"]["granted"], &used["refused"]),
        (&json!(3), &json!(1))
    );
}

#[tokio::test]
async fn the_headers_are_on_every_reply_and_only_where_a_limit_is() {
    let claude = claude().await;
    let name = "anthropic-ratelimit-requests-limit";
    assert_eq!(header(&claude.post(&ask("go")).await, name), None);
    claude
        .control(json!({"limits": [{"model": "claude-opus", "requests": 9}, {"requests": 50}], "script": [{"status": 500}]}))
        .await;
    let failed = claude.post(&ask("go")).await;
    assert_eq!(
        (failed.status().as_u16(), header(&failed, name).as_deref()),
        (500, Some("50"))
    );
    let wrong = claude
        .post(&but(ask("go"), json!({"max_tokens": "many"})))
        .await;
    assert_eq!(
        (wrong.status().as_u16(), header(&wrong, name).as_deref()),
        (400, Some("50"))
    );
    let opus = claude
        .post(&but(
            ask("go"),
            json!({"model": "claude-opus-5", "stream": true}),
        ))
        .await;
    assert_eq!(header(&opus, name).as_deref(), Some("9"));
}

#[tokio::test]
async fn what_the_cache_has_does_not_count_as_input() {
    let claude = claude().await;
    let system = json!([{"type": "text", "text": "rules ".repeat(1000), "cache_control": {"type": "ephemeral"}}]);
    let request = but(ask("go"), json!({"system": system}));
    claude
        .control(json!({"limits": [{"input_tokens": 2000}]}))
        .await;
    assert_eq!(statuses(&claude, &request, 5).await, [200; 5]);
    let other = but(request, json!({"system": "rules ".repeat(1000)}));
    let (status, refused) = claude.send(&other).await;
    assert_eq!(status, 429);
    assert!(
        refused["error"]["message"]
            .as_str()
            .unwrap()
            .contains("2000 input tokens per minute")
    );
}

#[tokio::test]
async fn output_reserved_for_a_call_comes_back_when_it_ends() {
    let claude = claude().await;
    claude
        .control(json!({"limits": [{"output_tokens": 700, "output": "reserve"}], "faults": [{"kind": "hang"}]}))
        .await;
    let first = tokio::spawn(claude.request(ask("go").to_string()).send());
    claude.until("in_flight", 1).await;
    let (status, refused) = claude.send(&ask("another")).await;
    assert_eq!(status, 429, "{refused}");
    claude.control(json!({"faults": null})).await;
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    assert_eq!(statuses(&claude, &ask("go"), 3).await, [200; 3]);
}

#[tokio::test]
async fn a_settings_file_sets_limits_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sim.yaml");
    std::fs::write(&file, "limits:\n- {requests: 60, burst_seconds: 1}\n").unwrap();
    let claude = with(Config {
        control: Some(file),
        ..Config::default()
    })
    .await;
    assert_eq!(statuses(&claude, &ask("go"), 2).await, [200, 429]);
}
