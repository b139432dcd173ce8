//! Bytes on the wire.

use super::*;

fn plain() -> Request {
    Request {
        model: "m".into(),
        max_tokens: 10,
        messages: vec![Message {
            role: Role::User,
            content: vec![text_block("hi")],
        }],
        ..Request::default()
    }
}

#[test]
fn what_is_not_set_is_not_sent() -> Result<(), serde_json::Error> {
    let text = serde_json::to_string(&plain())?;
    assert_eq!(
        text,
        r#"{"model":"m","max_tokens":10,"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]}"#
    );
    assert_eq!(plain().bytes(), text.len() as u64);
    assert_eq!(serde_json::from_str::<Request>(&text)?, plain());
    Ok(())
}

#[test]
fn what_is_set_has_the_providers_names_and_comes_before_the_messages()
-> Result<(), serde_json::Error> {
    let request = Request {
        metadata: Some(Metadata {
            user_id: "run".into(),
        }),
        cache_control: Some(CacheControl::ONE_HOUR),
        tool_choice: Some(ToolChoice::Auto {
            disable_parallel_tool_use: true,
        }),
        thinking: Some(Thinking::Enabled {
            budget_tokens: 1_024,
        }),
        output_config: Some(OutputConfig {
            effort: Some(Effort::XHigh),
            format: Some(OutputFormat::JsonSchema {
                schema: json!({"type": "object"}),
            }),
        }),
        stop_sequences: vec!["END".into()],
        service_tier: Some(ServiceTier::StandardOnly),
        inference_geo: Some("us".into()),
        stream: true,
        tools: vec![Tool {
            name: "t".into(),
            description: "d".into(),
            input_schema: json!({"type": "object"}),
            strict: true,
            cache_control: Some(CacheControl::FIVE_MINUTES),
        }],
        system: vec![SystemBlock::Text {
            text: "s".into(),
            cache_control: Some(CacheControl::Ephemeral {
                ttl: Some(CacheTtl::FiveMinutes),
            }),
        }],
        ..plain()
    };
    let wire = serde_json::to_value(&request)?;
    let expected = json!({
        "model": "m", "max_tokens": 10, "metadata": {"user_id": "run"},
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
        "thinking": {"type": "enabled", "budget_tokens": 1_024},
        "output_config": {"effort": "xhigh", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        "stop_sequences": ["END"], "service_tier": "standard_only", "inference_geo": "us", "stream": true,
        "tools": [{"name": "t", "description": "d", "input_schema": {"type": "object"}, "strict": true,
            "cache_control": {"type": "ephemeral"}}],
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "5m"}}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    });
    // As text, because the order counts.
    assert_eq!(wire.to_string(), expected.to_string());
    assert_eq!(serde_json::from_value::<Request>(wire)?, request);
    let word = |value: &Thinking| serde_json::to_string(value);
    assert_eq!(word(&Thinking::Adaptive)?, r#"{"type":"adaptive"}"#);
    assert_eq!(word(&Thinking::Disabled)?, r#"{"type":"disabled"}"#);
    assert_eq!(
        serde_json::to_string(&ToolChoice::None)?,
        r#"{"type":"none"}"#
    );
    Ok(())
}

#[test]
fn a_token_is_at_least_a_byte_and_about_three_and_a_half() {
    assert_eq!(request_tokens_max(7_000), 9_000);
    assert_eq!(request_tokens_max(u64::MAX), u64::MAX);
    assert_eq!(tokens_estimate(7_000), 2_000);
    assert_eq!(tokens_estimate(1), 1);
}
