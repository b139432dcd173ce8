//! What Claude and the tools say in these tests.

use super::*;

pub(super) fn answered(reply: Reply) -> Answered {
    Answered {
        reply,
        usd_nano: Usd::from_nano(15_000),
        fallbacks: Vec::new(),
        request_id: Some("req_1".into()),
        batch: None,
        took_ms: 10,
        heard: 0,
        wasted: 0,
        wasted_usd_nano: Usd::default(),
    }
}

pub(super) fn reply(content: Value, stop_reason: StopReason) -> Reply {
    let Value::Array(content) = content else {
        panic!("content is a list of blocks");
    };
    let usage = Usage {
        input_tokens: 100,
        output_tokens: 10,
        ..Usage::default()
    };
    Reply {
        id: "msg".into(),
        model: "claude-haiku-5-5".into(),
        content,
        stop_reason,
        stop_details: None,
        usage,
    }
}

/// A text and no tool.
pub(super) fn says(text: &str) -> Reply {
    reply(json!([{"type": "text", "text": text}]), StopReason::EndTurn)
}

/// One tool use, with a word before it as models do.
pub(super) fn uses(id: &str, name: &str, input: Value) -> Reply {
    let content = json!([{"type": "text", "text": "Let me see."}, {"type": "tool_use", "id": id, "name": name, "input": input}]);
    reply(content, StopReason::ToolUse)
}

/// A tool use as it should be.
pub(super) fn picks(name: &str, with: Value, confidence: f64) -> Reply {
    let inside = if ["resolve", "escalate"].contains(&name) {
        "summary"
    } else {
        "with"
    };
    uses(
        "toolu_1",
        name,
        json!({"reasoning": "It looks like it.", "confidence": confidence, inside: with}),
    )
}

pub(super) fn ok(output: Value) -> ToolOutcome {
    ToolOutcome::Ok { output }
}

pub(super) fn failed(message: &str) -> ToolOutcome {
    let error = "exit".parse().expect("a name");
    ToolOutcome::Failed {
        error,
        message: message.into(),
        output: None,
    }
}

pub(super) fn unknown(message: &str) -> ToolOutcome {
    let message = message.into();
    ToolOutcome::Unknown { message }
}
