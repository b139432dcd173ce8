//! The order of a conversation's turns, and what must answer what.

use crate::harness::{ask, but, claude};
use serde_json::{Value, json};

fn tool(name: &str) -> Value {
    json!({"name": name, "input_schema": {"type": "object"}})
}

fn used(id: &str) -> Value {
    json!({"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": "look", "input": {}}]})
}

fn result(id: &str) -> Value {
    json!({"type": "tool_result", "tool_use_id": id, "content": "seen"})
}

fn talk(messages: Value) -> Value {
    but(
        ask("go"),
        json!({"messages": messages, "tools": [tool("look")]}),
    )
}

fn user(content: Value) -> Value {
    json!({"role": "user", "content": content})
}

#[tokio::test]
async fn every_tool_use_is_answered_first_thing_in_the_next_turn() {
    let claude = claude().await;
    let go = || user(json!("go"));
    let (status, _) = claude
        .send(&talk(json!([
            go(),
            used("t1"),
            user(json!([result("t1"), {"type": "text", "text": "and?"}]))
        ])))
        .await;
    assert_eq!(status, 200);
    let unanswered =
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t1.";
    for messages in [
        json!([go(), used("t1"), user(json!("well?"))]),
        json!([
            go(),
            used("t1"),
            user(json!([{"type": "text", "text": "and?"}, result("t1")]))
        ]),
        json!([go(), used("t1")]),
    ] {
        assert!(
            claude
                .refused(&talk(messages))
                .await
                .starts_with(unanswered)
        );
    }
}

#[tokio::test]
async fn a_result_answers_one_tool_use_of_the_turn_before() {
    let claude = claude().await;
    let go = || user(json!("go"));
    let unasked = claude
        .refused(&talk(json!([
            go(),
            used("t1"),
            user(json!([result("t1"), result("t2")]))
        ])))
        .await;
    assert!(unasked.starts_with(
        "messages.2.content.1: unexpected `tool_use_id` found in `tool_result` blocks: t2."
    ));
    let twice = claude
        .refused(&talk(json!([
            go(),
            used("t1"),
            user(json!([result("t1"), result("t1")]))
        ])))
        .await;
    assert!(twice.contains("each tool_use must have a single result"));
    let same = json!([
        go(),
        used("t1"),
        user(json!([result("t1")])),
        used("t1"),
        user(json!([result("t1")]))
    ]);
    assert_eq!(
        claude.refused(&talk(same)).await,
        "messages.3: `tool_use` ids must be unique"
    );
    let no_tools = but(
        ask("go"),
        json!({"messages": [go(), used("t1"), user(json!([result("t1")]))]}),
    );
    assert!(
        claude
            .refused(&no_tools)
            .await
            .contains("must define tools")
    );
}

#[tokio::test]
async fn results_split_over_two_user_messages_are_one_turn() {
    let claude = claude().await;
    let two = json!({"role": "assistant", "content": [
        {"type": "tool_use", "id": "t1", "name": "look", "input": {}},
        {"type": "tool_use", "id": "t2", "name": "look", "input": {}}]});
    let messages = json!([
        user(json!("go")),
        two,
        user(json!([result("t1")])),
        user(json!([result("t2")]))
    ]);
    assert_eq!(claude.send(&talk(messages)).await.0, 200);
}

#[tokio::test]
async fn the_conversation_begins_and_ends_with_the_user() {
    let claude = claude().await;
    let assistant = json!({"role": "assistant", "content": "Sure:"});
    let first = claude.refused(&talk(json!([assistant]))).await;
    assert_eq!(first, "messages: first message must use the \"user\" role");
    let prefill = talk(json!([user(json!("go")), assistant]));
    assert!(
        claude
            .refused(&prefill)
            .await
            .contains("does not support assistant message prefill")
    );
    assert_eq!(
        claude
            .send(&but(prefill, json!({"model": "claude-haiku-4-5"})))
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn instructions_can_come_in_the_middle_of_a_conversation() {
    let claude = claude().await;
    let system = json!({"role": "system", "content": "Be brief."});
    let middle = talk(json!([user(json!("go")), system, user(json!("on"))]));
    assert_eq!(claude.send(&middle).await.0, 200);
    claude
        .refused(&talk(json!([system, user(json!("go"))])))
        .await;
}
