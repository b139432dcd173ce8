//! What a policy can answer besides a tool use, and how its mistakes are told.

use crate::harness::{PATIENCE, ask, but, claude, with};
use flotilla_sim::{Config, SimError, bind};
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_refusal_is_a_message_that_says_why() {
    let (status, message) = claude().await.send(&ask("fault: refuse")).await;
    assert_eq!((status, &message["stop_reason"]), (200, &json!("refusal")));
    let details = json!({"type": "refusal", "category": null, "explanation": "This is not something to help with."});
    assert_eq!(
        (&message["stop_details"], &message["content"]),
        (&details, &json!([]))
    );
}

#[tokio::test]
async fn errors_carry_their_type_and_when_to_come_back() {
    let claude = claude().await;
    let (status, body) = claude.send(&ask("fault: overloaded")).await;
    assert_eq!(
        (status, &body["error"]),
        (
            529,
            &json!({"type": "overloaded_error", "message": "Overloaded"})
        )
    );
    let limited = claude
        .post(&but(
            ask("fault: limited"),
            json!({"metadata": {"user_id": "run_7"}}),
        ))
        .await;
    assert_eq!(
        (limited.status().as_u16(), &limited.headers()["retry-after"]),
        (429, &"1".parse().unwrap())
    );
    assert!(
        limited
            .text()
            .await
            .unwrap()
            .contains("Too many requests of run_7")
    );
}

#[tokio::test]
async fn a_spend_limit_is_told_by_its_code_and_says_no_time_to_come_back() {
    let spent = claude().await.post(&ask("fault: spent")).await;
    assert_eq!(spent.headers().get("retry-after"), None);
    let body: serde_json::Value = spent.json().await.unwrap();
    assert_eq!(body["error"]["type"], "rate_limit_error");
    assert_eq!(
        body["error"]["details"]["error_code"],
        "enforced_spend_limit_reached"
    );
}

#[tokio::test]
async fn a_scripted_cut_and_scripted_usage_reach_the_client() {
    let claude = claude().await;
    let (_, cut) = claude.send(&ask("fault: cut")).await;
    assert_eq!(
        (&cut["stop_reason"], &cut["usage"]["output_tokens"]),
        (&json!("max_tokens"), &json!(500))
    );
    let (_, costly) = claude.send(&ask("fault: costly")).await;
    assert_eq!(costly["usage"]["output_tokens"], 12345);
}

#[tokio::test]
async fn a_slow_rule_answers_late_and_a_hanging_one_gives_up() {
    let claude = claude().await;
    let started = Instant::now();
    let (_, slow) = claude.send(&ask("fault: slow")).await;
    assert_eq!(slow["content"][0]["text"], "At last.");
    assert!(started.elapsed() >= Duration::from_millis(300));
    let (status, body) = claude.send(&ask("fault: hang")).await;
    assert_eq!(
        (status, &body["error"]["type"]),
        (504, &json!("timeout_error"))
    );
    assert!(started.elapsed() >= Duration::from_millis(550));
}

#[tokio::test]
async fn several_tools_can_be_used_at_once_unless_that_is_disabled() {
    let claude = claude().await;
    let tools = json!([{"name": "disk_usage", "input_schema": {"type": "object"}},
        {"name": "largest_files", "input_schema": {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 2}}}}]);
    let (_, both) = claude
        .send(&but(ask("fault: two"), json!({"tools": tools})))
        .await;
    assert_eq!(
        both["content"][1]["input"],
        json!({"n": 2}),
        "without `with`, the input fits the schema"
    );
    let one =
        json!({"tools": tools, "tool_choice": {"type": "any", "disable_parallel_tool_use": true}});
    let (_, one) = claude.send(&but(ask("fault: two"), one)).await;
    assert_eq!(one["content"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_policys_mistake_while_it_runs_is_a_400_that_names_its_place() {
    let message = claude().await.refused(&ask("fault: script")).await;
    assert!(
        message.starts_with("simulated Claude, policy `faults` at "),
        "{message}"
    );
    assert!(message.contains("disk-triage.yaml:"), "{message}");
    assert!(
        message.ends_with("`last.json.nothing` is undefined"),
        "{message}"
    );
}

async fn mistakes(files: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let config = Config {
        policies: vec![folder.path().to_owned()],
        ..Config::default()
    };
    match bind(config).await {
        Ok(_) => Vec::new(),
        Err(SimError::Policies { problems }) => problems
            .iter()
            .map(|problem| {
                problem
                    .to_string()
                    .replace(&format!("{}/", folder.path().display()), "")
            })
            .collect(),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn every_mistake_in_a_policy_file_is_told_with_line_and_column_at_the_start() {
    let found = mistakes(&[(
        "deep/er/p.yaml",
        "policies:\n  - policy: a\n    when: lst.error\n    rules:\n      - when: text | nope\n        say: hi\n      - when: 'true'\n      - use: x\n        with: {a: {b: ['{{ 1 + }}']}}\n      - hang: 5\n      - {say: a, refuse: b}\n      - error: {status: 200}\n",
    )])
    .await;
    let expected = [
        "deep/er/p.yaml:3:11: unknown name `lst`; there are system, model, tools, tool_choice, user, turns, calls, last, text, user_id",
        "deep/er/p.yaml:5:15: unknown filter `nope`",
        "deep/er/p.yaml:7:9: a rule needs an action: use, uses, say, refuse, error, stop, hang or latency",
        "deep/er/p.yaml:9:24: syntax error: unexpected end of variable block",
        "deep/er/p.yaml:10:15: `5` is no duration; write 200ms, 5s or 2m",
        "deep/er/p.yaml:11:9: a rule has one action: use with say, refuse, or error",
        "deep/er/p.yaml:12:25: an error's status is between 400 and 599",
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn an_unknown_key_and_bad_yaml_are_told_too() {
    let unknown = mistakes(&[(
        "p.yaml",
        "policies:\n  - policy: a\n    rules:\n      - wen: x\n        say: y\n",
    )])
    .await;
    assert!(unknown[0].starts_with("p.yaml:4:9: "), "{unknown:?}");
    assert!(unknown[0].contains("wen"), "{unknown:?}");
    let broken = mistakes(&[("p.yaml", "policies:\n  - policy: [\n")]).await;
    assert!(broken[0].starts_with("p.yaml:"), "{broken:?}");
    let twice = "policies:\n  - {policy: a, rules: []}\n";
    let found = mistakes(&[("one.yaml", twice), ("two.yaml", twice)]).await;
    assert!(found[0].contains("policy `a` is also in"), "{found:?}");
}

#[tokio::test]
async fn other_yaml_in_a_folder_is_left_alone_and_a_file_named_must_be_a_policy() {
    assert!(
        mistakes(&[
            ("workflow.yaml", "workflow: x\nsteps: [oh: no"),
            ("notes.txt", "policies:")
        ])
        .await
        .is_empty()
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tools.yaml");
    fs::write(&path, "tools: []").unwrap();
    let named = bind(Config {
        policies: vec![path],
        ..Config::default()
    })
    .await
    .unwrap_err();
    assert!(
        named
            .to_string()
            .contains("a policy file has a list `policies:` at its top level")
    );
    let missing = bind(Config {
        policies: vec![folder.path().join("none.yaml")],
        ..Config::default()
    })
    .await;
    assert!(matches!(missing, Err(SimError::Policies { .. })));
}

#[tokio::test]
async fn a_policy_without_a_matching_rule_lets_the_next_one_try() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("1.yaml"), "policies:\n  - policy: storm\n    rules:\n      - when: turns > 5\n        error: {status: 529}\n").unwrap();
    fs::write(
        folder.path().join("2.yaml"),
        "policies:\n  - policy: calm\n    rules:\n      - say: '{{ model }} at {{ turns }}'\n",
    )
    .unwrap();
    let claude = with(Config {
        policies: vec![folder.path().to_owned()],
        ..Config::default()
    })
    .await;
    let (_, message) = tokio::time::timeout(PATIENCE, claude.send(&ask("go")))
        .await
        .unwrap();
    assert_eq!(message["content"][0]["text"], "claude-sonnet-5 at 0");
    assert_eq!(claude.get("/ledger").await[0]["policy"], "calm");
}
