//! Whole conversations, driven by a policy that reads what the tools returned.

use crate::harness::{Claude, ask, but, claude, with};
use flotilla_sim::Config;
use serde_json::{Value, json};

const DF_FULL: &str = "Filesystem  Size  Used Avail Use% Mounted on\n/dev/sdb1    50G   48G  2.0G  96% /var\ntmpfs  1G 0 1G 0% /tmp";
const DF_FINE: &str =
    "Filesystem  Size  Used Avail Use% Mounted on\n/dev/sdb1    50G   10G   40G  20% /var";

fn tool(name: &str, with: Value) -> Value {
    json!({"name": name, "description": name, "input_schema": {
        "type": "object",
        "properties": {"reasoning": {"type": "string"}, "confidence": {"type": "number", "minimum": 0, "maximum": 1}, "with": with},
        "required": ["reasoning", "confidence", "with"]}})
}

fn end(name: &str) -> Value {
    json!({"name": name, "input_schema": {
        "type": "object",
        "properties": {"reasoning": {"type": "string"}, "confidence": {"type": "number"}, "summary": {"type": "string"}},
        "required": ["reasoning", "confidence", "summary"]}})
}

fn triage() -> Value {
    let path =
        json!({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]});
    but(
        ask("An alert came in.\nsummary: Disk of web-1 is nearly full. Act."),
        json!({
            "system": [{"type": "text", "text": "You run a fleet.\nWorkflow: disk-triage\nStep: triage"}],
            "tools": [tool("disk_usage", path.clone()), tool("largest_files", path), end("resolve"), end("escalate")],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
            "metadata": {"user_id": "run_1"},
        }),
    )
}

/// Sends the request, checks that exactly one tool is used, and adds the turn and its result to the conversation.
async fn step(claude: &Claude, request: &mut Value, result: &str, error: bool) -> Value {
    let (status, answer) = claude.send(request).await;
    assert_eq!(
        (status, answer["stop_reason"].as_str()),
        (200, Some("tool_use")),
        "{answer}"
    );
    assert_eq!(answer["content"].as_array().unwrap().len(), 1);
    let used = answer["content"][0].clone();
    let messages = request["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": answer["content"]}));
    messages.push(json!({"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": used["id"], "content": result, "is_error": error}]}));
    used
}

#[tokio::test]
async fn an_agent_is_led_by_what_its_tools_return() {
    let claude = claude().await;
    let mut request = triage();
    let first = step(&claude, &mut request, DF_FULL, false).await;
    assert_eq!(first["name"], "disk_usage");
    assert!(first["id"].as_str().unwrap().starts_with("toolu_"));
    let reasoning = "The alert says: Disk of web-1 is nearly full";
    assert_eq!(
        first["input"],
        json!({"reasoning": reasoning, "confidence": 0.9, "with": {"path": "/var"}})
    );
    let files = r#"{"files": [{"name": "/var/log/debug.log", "bytes": 41000000000}, {"name": "/var/x", "bytes": 5}]}"#;
    let second = step(&claude, &mut request, files, false).await;
    assert_eq!(second["name"], "largest_files");
    assert_eq!(second["input"]["reasoning"], "96% of /var is used");
    assert_eq!(second["input"]["with"], json!({"path": "/var", "limit": 3}));
    let third = step(&claude, &mut request, "", false).await;
    assert_eq!(third["name"], "resolve");
    assert_eq!(third["input"]["summary"], "/var/log/debug.log is 41000 MB");
    assert_eq!(third["input"]["confidence"], 0.9);
    assert_eq!(third["input"]["reasoning"], "One file of 2 holds the space");
}

#[tokio::test]
async fn another_result_leads_another_way() {
    let claude = claude().await;
    let mut fine = triage();
    step(&claude, &mut fine, DF_FINE, false).await;
    assert_eq!(
        step(&claude, &mut fine, "", false).await["name"],
        "escalate"
    );
    let mut broken = triage();
    step(&claude, &mut broken, "df: /var: no such file\nmore", true).await;
    let escalated = step(&claude, &mut broken, "", false).await;
    assert_eq!(escalated["input"]["summary"], "df: /var: no such file");
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_again() {
    let claude = claude().await;
    let mut request = triage();
    step(&claude, &mut request, DF_FULL, false).await;
    let (_, once) = claude.send(&request).await;
    let (_, again) = claude.send(&request).await;
    assert_eq!(once["content"][0]["input"], again["content"][0]["input"]);
    assert_ne!(once["id"], again["id"]);
}

#[tokio::test]
async fn a_conversation_reads_from_the_cache_what_the_turn_before_wrote() {
    let claude = claude().await;
    let long = format!(
        "{}\nWorkflow: disk-triage\nStep: triage",
        "You run a fleet. ".repeat(400)
    );
    let mut request = but(
        triage(),
        json!({"system": long, "cache_control": {"type": "ephemeral"}}),
    );
    let mut usages = Vec::new();
    for result in [
        DF_FULL,
        r#"{"files": [{"name": "a.log", "bytes": 9000000}]}"#,
        "",
    ] {
        let (_, answer) = claude.send(&request).await;
        usages.push(answer["usage"].clone());
        step(&claude, &mut request, result, false).await;
    }
    let figure = |turn: usize, key: &str| usages[turn][key].as_u64().unwrap();
    assert_eq!(figure(0, "cache_read_input_tokens"), 0);
    for turn in 1..3 {
        let before = figure(turn - 1, "cache_read_input_tokens")
            + figure(turn - 1, "cache_creation_input_tokens");
        assert_eq!(
            figure(turn, "cache_read_input_tokens"),
            before,
            "turn {turn} reads all that stood before it"
        );
        assert!(figure(turn, "cache_creation_input_tokens") > 0);
        assert_eq!(figure(turn, "input_tokens"), 0);
    }
    let written = &usages[1]["cache_creation_input_tokens"];
    assert_eq!(
        &usages[1]["cache_creation"]["ephemeral_5m_input_tokens"],
        written
    );
    assert_eq!(usages[1]["service_tier"], "standard");
}

#[tokio::test]
async fn a_cache_that_was_cleared_is_written_again() {
    let claude = claude().await;
    let request = but(
        ask("go"),
        json!({"system": "You run a fleet. ".repeat(400), "cache_control": {"type": "ephemeral"}}),
    );
    let written = async || {
        let (_, answer) = claude.send(&request).await;
        answer["usage"]["cache_creation_input_tokens"].as_u64()
    };
    let first = written().await;
    assert!(first > Some(1_000));
    assert_eq!(written().await, Some(0));
    let url = format!("{}/cache", claude.url);
    let cleared = claude.client.delete(url).send().await.unwrap();
    assert_eq!(cleared.status(), 204);
    assert_eq!(written().await, first);
}

#[tokio::test]
async fn without_a_policy_a_whole_run_still_comes_to_an_end() {
    let claude = with(Config::default()).await;
    let mut request = triage();
    let mut used = Vec::new();
    for _ in 0..4 {
        used.push(
            step(&claude, &mut request, "done", false).await["name"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    used.sort();
    assert_eq!(used, ["disk_usage", "escalate", "largest_files", "resolve"]);
}

#[tokio::test]
async fn policies_that_are_set_while_it_runs_come_first_and_go_again() {
    let claude = claude().await;
    let answered = async || claude.send(&ask("Hello.")).await.1["content"][0]["text"].clone();
    let before = answered().await;
    let text =
        "policies:\n  - policy: set/greeting\n    rules:\n      - {say: Set while it runs.}\n";
    claude.control(json!({"policies": text})).await;
    assert_eq!(answered().await, "Set while it runs.");
    claude.control(json!({"policies": ""})).await;
    assert_eq!(answered().await, before);
}
