//! What no honest client sends.

use serde_json::{Value, json};

use super::{apply, gateway};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_is_refused_with_what_is_wrong_and_the_gateway_serves_on() {
    let mut fleet = gateway().await;
    let path = "/v1/definitions";
    let html = fleet.api().post(path, "text/html", "<html><form>").await;
    assert_eq!(html.status, 415, "{}", html.text);
    for (body, status) in [
        ("", 400),
        ("<html>", 400),
        ("[]", 400),
        ("{\"files\": {\"a.yaml\": \"x\"", 400),
        (r#"{"files": {"a.yaml": "\ud800"}}"#, 400),
        (r#"{"files": {"../../etc/passwd": "x"}}"#, 400),
        (r#"{"files": {}}"#, 422),
        (r#"{"files": {"a.yaml": "<html><body>"}}"#, 422),
        (r#"{"files": {"a.yaml": "\u0000\u001b[2J"}}"#, 422),
        (r#"{"files": {"a.yaml": "workflow: &a [*a, *a]"}}"#, 422),
    ] {
        let answer = fleet.api().post(path, "application/json", body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
        assert_eq!(answer.content_type, "application/problem+json");
        let problem: Value = answer.json();
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
    let large = json!({"files": {"a.md": "x".repeat(9 << 20)}});
    let answer = apply(&fleet, &large).await;
    assert_eq!(answer.status, 413, "{}", answer.text);
    fleet.wait_ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_nested_without_end_or_grows_without_end_brings_no_gateway_down() {
    let mut fleet = gateway().await;
    let deep =
        |open: &str, close: &str| format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
    let top = "workflow: w\nversion: 1\non: {event: a.b}\nsteps:\n";
    let tool =
        "tools:\n- {tool: t, version: 1, description: d, effect: read, command: [ls], input: ";
    let level = |below: &str| format!("{{type: object, properties: {{a: {below}}}}}");
    let schema = (0..3_000).fold("{}".to_owned(), |below, _| level(&below));
    let bomb: String = (0..40).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
        format!("{text}a{}: &a{} [*a{n}, *a{n}]\n", n + 1, n + 1)
    });
    for text in [
        deep("[", "]"),
        deep("{a: ", "}"),
        format!("workflow: {}", deep("[", "]")),
        "- ".repeat(100_000),
        format!(
            "{top}  - {{id: a, claude: {{model: haiku, prompt: '{{{{ {} }}}}'}}}}\n",
            deep("(", ")")
        ),
        format!(
            "{top}  - {{id: a, sleep: 1s, when: '{}'}}\n",
            "not ".repeat(100_000)
        ),
        format!("{tool}{schema}}}\n"),
        format!("{bomb}workflow: [*a40]\n"),
    ] {
        let start: String = text.chars().take(60).collect();
        let answer = apply(&fleet, &json!({"files": {"a.yaml": text}})).await;
        assert_eq!(answer.status, 422, "{start}: {:.500}", answer.text);
    }
    let files = json!({
        "w.yaml": format!("{top}  - {{id: a, claude: {{model: haiku, prompt: p.md, output: {{$ref: s.json}}}}}}\n"),
        "p.md": "Hm?",
        "s.json": deep("{\"properties\":{\"a\":", "}}"),
    });
    let answer = apply(&fleet, &json!({"files": files})).await;
    assert_eq!(answer.status, 422, "{:.500}", answer.text);
    fleet.wait_ready().await;
}
