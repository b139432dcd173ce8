//! What the API refuses, and in which words.

use crate::harness::{ask, but, claude};
use serde_json::{Value, json};

fn tool(name: &str) -> Value {
    json!({"name": name, "input_schema": {"type": "object"}})
}

fn user(content: Value) -> Value {
    json!({"role": "user", "content": content})
}

#[tokio::test]
async fn a_valid_request_gets_a_whole_message() {
    let claude = claude().await;
    let response = claude
        .post(&but(ask("go"), json!({"a_field_of_tomorrow": 1})))
        .await;
    assert!(
        response.headers()["request-id"]
            .to_str()
            .unwrap()
            .starts_with("req_")
    );
    let message: Value = response.json().await.unwrap();
    assert!(message["id"].as_str().unwrap().starts_with("msg_"));
    assert_eq!(
        (&message["type"], &message["role"]),
        (&json!("message"), &json!("assistant"))
    );
    assert_eq!(
        (&message["model"], &message["stop_reason"]),
        (&json!("claude-sonnet-5"), &json!("end_turn"))
    );
    assert_eq!(message["content"][0]["type"], "text");
    assert_eq!(message["usage"]["input_tokens"], 1);
}

#[tokio::test]
async fn the_headers_are_needed() {
    let claude = claude().await;
    let post = |headers: &[(&'static str, &'static str)]| {
        let mut request = claude
            .client
            .post(format!("{}/v1/messages", claude.url))
            .body(ask("go").to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        async move {
            let response = request.send().await.unwrap();
            let (status, id) = (
                response.status().as_u16(),
                response.headers()["request-id"].clone(),
            );
            let body: Value = response.json().await.unwrap();
            assert_eq!(body["request_id"], id.to_str().unwrap());
            (
                status,
                body["error"]["type"].as_str().unwrap().to_owned(),
                body["error"]["message"].clone(),
            )
        }
    };
    let (status, kind, _) = post(&[("anthropic-version", "2023-06-01")]).await;
    assert_eq!((status, kind.as_str()), (401, "authentication_error"));
    let (status, _, _) = post(&[("x-api-key", ""), ("anthropic-version", "2023-06-01")]).await;
    assert_eq!(status, 401);
    let (status, _, message) = post(&[("authorization", "Bearer k")]).await;
    assert_eq!(
        (status, message),
        (400, json!("anthropic-version: header is required")),
        "a bearer token is a key too"
    );
    let (status, _, message) = post(&[("x-api-key", "k")]).await;
    assert_eq!(
        (status, message),
        (400, json!("anthropic-version: header is required"))
    );
    let (status, _, _) = post(&[("x-api-key", "k"), ("anthropic-version", "2099-01-01")]).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn the_first_fault_is_named_with_its_place() {
    let claude = claude().await;
    let cases = [
        (
            json!({"model": null}),
            "model: Input should be a valid string",
        ),
        (
            json!({"max_tokens": -1}),
            "max_tokens: Input should be a valid integer",
        ),
        (
            json!({"max_tokens": "9"}),
            "max_tokens: Input should be a valid integer",
        ),
        (
            json!({"messages": []}),
            "messages: at least one message is required",
        ),
        (
            json!({"messages": [{"role": "owner", "content": "x"}]}),
            "messages.0.role: Input should be 'user', 'assistant' or 'system'",
        ),
        (
            json!({"messages": [{"role": "user"}]}),
            "messages.0.content: Field required",
        ),
        (
            json!({"messages": [user(json!([{"type": "text"}]))]}),
            "messages.0.content.0.text.text: Field required",
        ),
        (
            json!({"messages": [user(json!([{"type": "text", "text": ""}]))]}),
            "messages.0.content.0: text content blocks must be non-empty",
        ),
        (
            json!({"system": [{"type": "image"}]}),
            "system.0.type: Input should be 'text'",
        ),
        (
            json!({"cache_control": {"type": "ephemeral", "ttl": "2h"}}),
            "cache_control.ttl: Input should be '5m' or '1h'",
        ),
        (
            json!({"metadata": {"user_id": "x".repeat(257)}}),
            "metadata.user_id: String should have at most 256 characters",
        ),
        (
            json!({"output_config": {"effort": "extreme"}}),
            "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'",
        ),
    ];
    for (change, message) in cases {
        assert_eq!(claude.refused(&but(ask("go"), change)).await, message);
    }
}

#[tokio::test]
async fn three_fields_are_required() {
    let claude = claude().await;
    for field in ["model", "max_tokens", "messages"] {
        let mut request = ask("go");
        request.as_object_mut().unwrap().remove(field);
        assert_eq!(
            claude.refused(&request).await,
            format!("{field}: Field required")
        );
    }
}

#[tokio::test]
async fn tools_and_their_choice_are_checked() {
    let claude = claude().await;
    let cases = [
        (
            json!({"tools": [{"name": "a b", "input_schema": {"type": "object"}}]}),
            "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
        ),
        (
            json!({"tools": [{"name": "a"}]}),
            "tools.0.custom.input_schema: Field required",
        ),
        (
            json!({"tools": [{"name": "a", "input_schema": {"type": "string"}}]}),
            "tools.0.custom.input_schema.type: Input should be 'object'",
        ),
        (
            json!({"tools": [tool("a"), tool("a")]}),
            "tools: Tool names must be unique.",
        ),
        (
            json!({"tools": [tool("a")], "tool_choice": {"type": "tool", "name": "b"}}),
            "Tool 'b' not found in provided tools",
        ),
        (
            json!({"tool_choice": {"type": "any"}}),
            "tool_choice may only be specified while providing tools.",
        ),
        (
            json!({"tools": [tool("a")], "tool_choice": {"type": "any"}, "thinking": {"type": "adaptive"}}),
            "Thinking may not be enabled when tool_choice forces tool use.",
        ),
        (
            json!({"tools": [{"name": "a", "strict": true, "input_schema": {"type": "object"}}]}),
            "tools.0.custom: For 'object' type, 'additionalProperties' must be explicitly set to false",
        ),
    ];
    for (change, message) in cases {
        assert_eq!(claude.refused(&but(ask("go"), change)).await, message);
    }
}

#[tokio::test]
async fn cache_breakpoints_are_at_most_four_and_long_ones_come_first() {
    let claude = claude().await;
    let text = |ttl: &str| json!({"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": ttl}});
    let with = |ttls: &[&str]| {
        but(
            ask("go"),
            json!({"system": ttls.iter().map(|ttl| text(ttl)).collect::<Vec<_>>()}),
        )
    };
    assert_eq!(claude.send(&with(&["1h", "1h", "5m", "5m"])).await.0, 200);
    let five = but(
        with(&["5m"; 4]),
        json!({"cache_control": {"type": "ephemeral"}}),
    );
    assert_eq!(
        claude.refused(&five).await,
        "A maximum of 4 blocks with cache_control may be provided. Found 5."
    );
    assert!(
        claude
            .refused(&with(&["5m", "1h"]))
            .await
            .contains("must not come after a ttl='5m'")
    );
}

#[tokio::test]
async fn an_unknown_model_is_not_found() {
    let claude = claude().await;
    let (status, body) = claude
        .send(&but(ask("go"), json!({"model": "claude-sonnet-99"})))
        .await;
    assert_eq!(
        (status, &body["error"]["type"]),
        (404, &json!("not_found_error"))
    );
    assert_eq!(body["error"]["message"], "model: claude-sonnet-99");
    let models = claude.get("/v1/models").await;
    assert!(
        models["data"]
            .as_array()
            .unwrap()
            .iter()
            .any(|model| model["id"] == "claude-haiku-5-5")
    );
    assert_eq!(models["has_more"], false);
}

#[tokio::test]
async fn a_body_over_32_megabytes_is_too_large_and_a_broken_one_is_invalid() {
    let claude = claude().await;
    let large = ask(&"x".repeat(33 << 20));
    let (status, body) = claude.send(&large).await;
    assert_eq!(
        (status, &body["error"]["type"]),
        (413, &json!("request_too_large"))
    );
    let response = claude.request("{\"model\": ").send().await.unwrap();
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn unknown_paths_and_methods_answer_in_the_same_shape() {
    let claude = claude().await;
    for (request, status) in [
        (
            claude.client.post(format!("{}/v1/complete", claude.url)),
            404,
        ),
        (
            claude.client.get(format!("{}/v1/messages", claude.url)),
            405,
        ),
        (claude.client.get(format!("{}/v1/models", claude.url)), 401),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status);
        assert!(response.headers().contains_key("request-id"));
        assert_eq!(response.json::<Value>().await.unwrap()["type"], "error");
    }
}

#[tokio::test]
async fn no_tokens_at_all_warm_the_cache_and_say_nothing() {
    let claude = claude().await;
    let long = json!({"system": "x".repeat(9000), "cache_control": {"type": "ephemeral"}});
    let (_, warm) = claude
        .send(&but(but(ask("go"), long.clone()), json!({"max_tokens": 0})))
        .await;
    assert_eq!(
        (&warm["content"], &warm["usage"]["output_tokens"]),
        (&json!([]), &json!(0))
    );
    let (_, read) = claude.send(&but(ask("go"), long)).await;
    let written = &warm["usage"]["cache_creation_input_tokens"];
    assert_eq!(&read["usage"]["cache_read_input_tokens"], written);
    assert!(written.as_u64().unwrap() > 2000);
}

#[tokio::test]
async fn counting_tokens_says_what_the_message_is_billed_for_and_costs_nothing() {
    let claude = claude().await;
    let request = but(
        ask("how much is this?"),
        json!({"system": "Be short.", "tools": [tool("a")]}),
    );
    let mut prompt = request.clone();
    prompt.as_object_mut().unwrap().remove("max_tokens");
    let count = async |body: &Value| {
        let request = claude
            .client
            .post(format!("{}/v1/messages/count_tokens", claude.url))
            .header("x-api-key", "test")
            .header("anthropic-version", "2023-06-01");
        let response = request.body(body.to_string()).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json::<Value>().await.unwrap())
    };
    let (status, counted) = count(&prompt).await;
    assert_eq!(status, 200, "{counted}");
    let (_, message) = claude.send(&request).await;
    assert_eq!(
        counted,
        json!({"input_tokens": message["usage"]["input_tokens"]})
    );
    assert_eq!(count(&json!({"model": "claude-sonnet-5"})).await.0, 400);
    assert_eq!(count(&but(prompt, json!({"model": "none"}))).await.0, 404);
    let summary = claude.get("/ledger/summary").await;
    assert_eq!(
        (&summary["count_tokens"], &summary["calls"]),
        (&json!(1), &json!(1))
    );
}

#[tokio::test]
async fn a_model_can_be_looked_up_and_an_unknown_one_is_not_found() {
    let claude = claude().await;
    let listed = claude.get("/v1/models").await["data"][0].clone();
    let id = listed["id"].as_str().unwrap();
    assert_eq!(claude.get(&format!("/v1/models/{id}")).await, listed);
    let unknown = claude.get("/v1/models/claude-of-tomorrow").await;
    assert_eq!(
        unknown["error"],
        json!({"type": "not_found_error", "message": "model: claude-of-tomorrow"})
    );
}
