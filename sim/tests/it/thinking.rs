//! Thinking, and what the API wants back of it.

use crate::harness::{ask, but, claude};
use crate::transport::events;
use serde_json::{Value, json};

fn thoughtful() -> Value {
    let schema = json!({"type": "object", "properties": {}});
    but(
        ask("Is the disk full?"),
        json!({"thinking": {"type": "adaptive"}, "tools": [{"name": "look", "input_schema": schema}]}),
    )
}

#[tokio::test]
async fn a_thought_comes_first_with_its_signature_whole_and_streamed() {
    let claude = claude().await;
    let (_, message) = claude.send(&thoughtful()).await;
    let thought = &message["content"][0];
    assert_eq!(thought["type"], "thinking");
    assert!(
        thought["thinking"]
            .as_str()
            .unwrap()
            .contains("Is the disk full?")
    );
    assert_eq!(message["content"][1]["type"], "text");
    let stream = claude
        .post(&but(thoughtful(), json!({"stream": true})))
        .await;
    let events = events(&stream.text().await.unwrap());
    let joined = |key: &str| -> String {
        let deltas = events.iter().filter(|event| event["index"] == 0);
        deltas
            .filter_map(|event| event["delta"][key].as_str())
            .collect()
    };
    assert_eq!(joined("thinking"), thought["thinking"].as_str().unwrap());
    assert_eq!(joined("signature"), thought["signature"].as_str().unwrap());
    let omitted = but(
        thoughtful(),
        json!({"thinking": {"type": "adaptive", "display": "omitted"}}),
    );
    let (_, message) = claude.send(&omitted).await;
    assert_eq!(message["content"][0]["thinking"], "");
    let (_, message) = claude
        .send(&but(
            thoughtful(),
            json!({"thinking": {"type": "disabled"}}),
        ))
        .await;
    assert_eq!(message["content"][0]["type"], "text");
}

#[tokio::test]
async fn a_thought_is_taken_back_only_as_it_was_given() {
    let claude = claude().await;
    let (_, message) = claude.send(&thoughtful()).await;
    let mut next = thoughtful();
    next["messages"] = json!([
        {"role": "user", "content": "Is the disk full?"},
        {"role": "assistant", "content": message["content"]},
        {"role": "user", "content": "Look again."}]);
    let (status, answer) = claude.send(&next).await;
    assert_eq!(status, 200, "{answer}");
    for (key, changed) in [("thinking", "It is full."), ("signature", "c2ln")] {
        let mut altered = next.clone();
        altered["messages"][1]["content"][0][key] = changed.into();
        assert_eq!(
            claude.refused(&altered).await,
            "messages.1.content.0: Invalid `signature` in `thinking` block"
        );
    }
}

#[tokio::test]
async fn with_a_budget_a_turn_that_used_tools_comes_back_with_its_thought() {
    let claude = claude().await;
    let used = json!([
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "done"}]}]);
    let budget = json!({"type": "enabled", "budget_tokens": 1024});
    let request = but(thoughtful(), json!({"messages": used, "max_tokens": 2000}));
    assert_eq!(
        claude.send(&request).await.0,
        200,
        "adaptive thinking asks for none"
    );
    let refused = claude
        .refused(&but(request, json!({"thinking": budget})))
        .await;
    assert!(
        refused.contains("must start with a thinking block"),
        "{refused}"
    );
}

#[tokio::test]
async fn options_have_the_values_that_the_api_knows() {
    let claude = claude().await;
    for (wrong, place) in [
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 100}}),
            "budget_tokens",
        ),
        (json!({"service_tier": "gold"}), "service_tier"),
        (json!({"speed": "ludicrous"}), "speed"),
        (json!({"inference_geo": 7}), "inference_geo"),
        (json!({"output_config": {"effort": "some"}}), "effort"),
        (json!({"stop_sequences": [" "]}), "stop_sequences"),
        (json!({"metadata": {"user_id": 5}}), "metadata.user_id"),
    ] {
        let refused = claude.refused(&but(ask("go"), wrong)).await;
        assert!(refused.contains(place), "{refused}");
    }
    let right = json!({"service_tier": "auto", "inference_geo": "us", "output_config": {"effort": "low"}, "metadata": {"user_id": "u"}});
    assert_eq!(claude.send(&but(ask("go"), right)).await.0, 200);
}
