//! Tools of MCP servers: one with bad manners, and two that nobody here wrote.

use std::{fs, path::Path};

use flotilla_common::definition::pin;
use flotilla_tests::{PATIENCE, Process, eventually, free_port};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::trial::{Result, Trial, repository};

/// As the test's own server says of its tool.
fn own_pin() -> String {
    let schema = json!({"type": "object", "properties": {"text": {"type": "string"}}});
    pin("echo", Some("Says it again."), &schema)
}

fn lines(folder: &TempDir, how: &str, more: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/adapters/mcp_server.py");
    let argv = json!(["python3", script, folder.path(), how]);
    let pin = own_pin();
    format!("mcp: {{server: own, tool: echo, pin: '{pin}', command: {argv}}}\n{more}")
}

fn count(folder: &TempDir, file: &str, line: &str) -> usize {
    let text = fs::read_to_string(folder.path().join(file)).unwrap_or_default();
    text.lines().filter(|of| *of == line).count()
}

#[tokio::test]
async fn a_result_is_its_texts_and_what_is_structured_and_what_else_there_was() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let trial = Trial::new(&lines(&folder, "well", ""))?;
    let image = json!([{"type": "image", "mimeType": "image/png", "bytes": 3}]);
    let ended = trial.run(json!({"text": "hello"})).await?;
    assert_eq!(ended.kind, "ok", "{}", ended.message);
    assert_eq!(ended.output, json!({"text": "hello", "other": image}));
    let ended = trial.run(json!({"text": "structure"})).await?;
    assert_eq!(ended.output["structured"], json!({"a": [1]}));
    let ended = trial.run(json!({"text": "fail"})).await?;
    assert_eq!(ended.kind, "service_error");
    assert!(ended.message.ends_with("failed: fail"), "{}", ended.message);
    assert_eq!(ended.output["text"], "fail");
    let ended = trial.run(json!({"text": "refuse"})).await?;
    assert_eq!(ended.kind, "input");
    assert!(ended.message.contains("not with me"), "{}", ended.message);
    let ended = trial.run(json!({"text": "ask"})).await?;
    let answer: Value = serde_json::from_str(ended.output["text"].as_str().ok_or("a text")?)?;
    assert_eq!(answer, json!({"jsonrpc": "2.0", "id": "q", "result": {}}));
    let ended = trial.run(json!({"text": "meta"})).await?;
    let meta: Value = serde_json::from_str(ended.output["text"].as_str().ok_or("a text")?)?;
    assert_eq!(meta["flotilla/idempotency-key"], trial.idempotency_key());
    assert_eq!(count(&folder, "starts", "x"), 1, "one server for all calls");
    Ok(())
}

#[tokio::test]
async fn many_calls_share_one_server_and_each_has_its_own_answer() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let trial = Trial::new(&lines(&folder, "well", ""))?;
    let texts: Vec<String> = (0..40).map(|n| format!("text {n}")).collect();
    let calls = texts.iter().map(|text| trial.run(json!({"text": text})));
    for (text, ended) in texts
        .iter()
        .zip(futures_util::future::join_all(calls).await)
    {
        assert_eq!(ended?.output["text"], text.as_str());
    }
    assert_eq!(count(&folder, "starts", "x"), 1);
    Ok(())
}

#[tokio::test]
async fn a_tool_that_its_server_describes_otherwise_now_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let trial = Trial::new(&lines(&folder, "well", ""))?;
    assert_eq!(trial.run(json!({"text": "change"})).await?.kind, "ok");
    // It said so before its answer: the very next call knows, and is not made.
    assert_eq!(trial.run(json!({"text": "hello"})).await?.kind, "changed");
    assert_eq!(count(&folder, "heard", "tools/call"), 1);
    // One that was started meanwhile is looked at, too.
    let another = Trial::new(&lines(&folder, "well", ""))?;
    let ended = another.run(json!({"text": "hello"})).await?;
    assert_eq!(ended.kind, "changed");
    assert!(ended.message.contains("sha256:"), "{}", ended.message);
    let other = lines(&folder, "well", "").replace("tool: echo", "tool: ehco");
    let ended = Trial::new(&other)?.run(json!({})).await?;
    assert_eq!(ended.kind, "changed");
    assert!(ended.message.contains("it has: echo"), "{}", ended.message);
    Ok(())
}

#[tokio::test]
async fn a_server_that_ends_is_begun_again_and_its_last_words_are_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let trial = Trial::new(&lines(&folder, "well", ""))?;
    let ended = trial.run(json!({"text": "die"})).await?;
    assert_eq!(ended.kind, "network");
    assert!(ended.message.contains("out of memory"), "{}", ended.message);
    let ended = trial.run(json!({"text": "hello"})).await?;
    assert_eq!(ended.kind, "ok", "{}", ended.message);
    assert_eq!(count(&folder, "starts", "x"), 2);
    let once = Trial::new(&lines(&folder, "well", "effect: once"))?;
    assert_eq!(once.run(json!({"text": "die"})).await?.kind, "unknown");
    Ok(())
}

#[tokio::test]
async fn a_server_that_lives_on_and_hears_nothing_is_begun_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let trial = Trial::new(&lines(&folder, "well", ""))?;
    assert_eq!(trial.run(json!({"text": "deaf"})).await?.kind, "ok");
    assert_eq!(trial.run(json!({"text": "hello"})).await?.kind, "network");
    assert_eq!(trial.run(json!({"text": "hello"})).await?.kind, "ok");
    assert_eq!(count(&folder, "starts", "x"), 2);
    Ok(())
}

#[tokio::test]
async fn a_server_that_never_gets_ready_is_not_begun_in_a_busy_loop() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let trial = Trial::new(&lines(&folder, "dies", "timeout: 4s\neffect: once"))?;
    let calls = (0..8).map(|_| trial.run(json!({})));
    for ended in futures_util::future::join_all(calls).await {
        // Nothing was done, so even what must not be repeated has an end that is known.
        assert_eq!(ended?.kind, "connect");
    }
    let starts = count(&folder, "starts", "x");
    assert!((1..=5).contains(&starts), "{starts} starts in 4 s");
    let old = Trial::new(&lines(&folder, "old", ""))?
        .run(json!({}))
        .await?;
    assert_eq!(old.kind, "connect");
    assert!(old.message.contains("1999-01-01"), "{}", old.message);
    Ok(())
}

#[tokio::test]
async fn silence_ends_at_the_timeout_and_a_flood_ends_the_server() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let trial = Trial::new(&lines(&folder, "well", "timeout: 6s"))?;
    assert_eq!(trial.run(json!({"text": "silence"})).await?.kind, "timeout");
    eventually("the server is told that nobody waits", PATIENCE, || async {
        match count(&folder, "heard", "notifications/cancelled") {
            1 => Ok(()),
            told => Err(told),
        }
    })
    .await;
    let ended = trial.run(json!({"text": "flood"})).await?;
    assert_eq!(ended.kind, "network");
    assert!(ended.message.contains("more than"), "{}", ended.message);
    assert_eq!(trial.run(json!({"text": "hello"})).await?.kind, "ok");
    assert_eq!(count(&folder, "starts", "x"), 2);
    Ok(())
}

/// A program that `deploy/get-tools --sdk` fetches.
fn fetched(program: &str) -> String {
    let program = repository().join(program);
    assert!(
        program.exists(),
        "there is no {}; `deploy/get-tools --sdk` makes it",
        program.display()
    );
    program.display().to_string()
}

async fn offered(trial: &Trial) -> Result<Vec<(String, String)>> {
    let tools = trial.mcp_tools().await?;
    Ok(tools
        .into_iter()
        .map(|tool| (tool.name, tool.pin))
        .collect())
}

/// The lines of a tool of a server, with the pin that the server's list has.
async fn pinned(tool: &str, reach: &str) -> Result<String> {
    let zeros = "0".repeat(64);
    let of = |pin: &str| {
        format!("timeout: 60s\nmcp: {{server: official, tool: {tool}, pin: '{pin}', {reach}}}")
    };
    let first = Trial::new(&of(&format!("sha256:{zeros}")))?;
    assert_eq!(first.run(json!({})).await?.kind, "changed");
    let all = offered(&first).await?;
    let found = all.iter().find(|(name, _)| name == tool);
    let (_, pin) = found.ok_or_else(|| format!("no {tool} among {all:?}"))?;
    Ok(of(pin))
}

#[tokio::test]
async fn the_official_time_server_in_python_is_used_over_stdio() -> Result<()> {
    let argv = json!([
        fetched(".tools/services/run"),
        "-m",
        "mcp_server_time",
        "--local-timezone=UTC"
    ]);
    let trial = Trial::new(&pinned("convert_time", &format!("command: {argv}")).await?)?;
    let with =
        json!({"source_timezone": "Europe/Berlin", "time": "12:00", "target_timezone": "UTC"});
    let ended = trial.run(with).await?;
    assert_eq!(ended.kind, "ok", "{}", ended.message);
    assert_eq!(ended.output["structured"]["target"]["timezone"], "UTC");
    let ended = trial
        .run(json!({"source_timezone": "Mars/Base", "time": "12:00", "target_timezone": "UTC"}))
        .await?;
    assert_eq!(ended.kind, "service_error");
    assert!(ended.message.contains("Mars/Base"), "{}", ended.message);
    Ok(())
}

async fn everything(reach: &str) -> Result<()> {
    let trial = Trial::new(&pinned("echo", reach).await?)?;
    let ended = trial.run(json!({"message": "ahoy"})).await?;
    assert_eq!(
        (ended.kind.as_str(), &ended.output),
        ("ok", &json!({"text": "Echo: ahoy"}))
    );
    let trial = Trial::new(&pinned("get-structured-content", reach).await?)?;
    let ended = trial.run(json!({"location": "Chicago"})).await?;
    assert!(
        ended.output["structured"]["temperature"].is_number(),
        "{:?}",
        ended.output
    );
    let trial = Trial::new(&pinned("get-tiny-image", reach).await?)?;
    let ended = trial.run(json!({})).await?;
    assert_eq!(ended.output["other"][0]["mimeType"], "image/png");
    assert!(ended.output["other"][0]["bytes"].as_u64() > Some(100));
    Ok(())
}

#[tokio::test]
async fn the_official_test_server_is_used_over_stdio() -> Result<()> {
    let argv = json!([fetched(".tools/mcp/run")]);
    everything(&format!("command: {argv}")).await
}

#[tokio::test]
async fn the_official_test_server_is_used_over_streamable_http() -> Result<()> {
    let (program, port) = (fetched(".tools/mcp/run"), free_port());
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let env = [("PORT".to_owned(), port.to_string())];
    let _server = Process::start("mcp", Path::new(&program), &["streamableHttp"], &env, &log);
    let listens = || async {
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .map(drop)
    };
    eventually("the server listens", PATIENCE, listens).await;
    everything(&format!("url: 'http://127.0.0.1:{port}/mcp'")).await
}

#[tokio::test]
async fn a_server_sees_its_own_variables_alone_and_they_do_not_come_back() -> Result<()> {
    let argv = json!([fetched(".tools/mcp/run")]);
    let reach = format!("command: {argv}, env: [API_TOKEN]");
    let zeros = "0".repeat(64);
    let of = |pin: &str| {
        format!("timeout: 60s\nmcp: {{server: official, tool: get-env, pin: '{pin}', {reach}}}")
    };
    let env = [
        ("API_TOKEN", "s3cr3t-token"),
        ("OTHER_TOKEN", "another-one"),
    ];
    let first = Trial::with_env(&of(&format!("sha256:{zeros}")), &env)?;
    let all = offered(&first).await?;
    let (_, pin) = all
        .iter()
        .find(|(name, _)| name == "get-env")
        .ok_or("no get-env")?;
    let ended = Trial::with_env(&of(pin), &env)?.run(json!({})).await?;
    let text = ended.output["text"].as_str().ok_or("a text")?;
    assert!(text.contains("[redacted:API_TOKEN]"), "{text}");
    assert!(
        !text.contains("s3cr3t") && !text.contains("OTHER_TOKEN"),
        "{text}"
    );
    Ok(())
}

#[tokio::test]
async fn a_server_that_nobody_holds_any_more_ends_with_all_that_it_started() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("pid");
    let script = format!("sleep 1000 & echo $! >'{}'; exec cat", file.display());
    let argv = json!(["sh", "-c", script]);
    let pin = own_pin();
    let lines =
        format!("timeout: 1s\nmcp: {{server: own, tool: echo, pin: '{pin}', command: {argv}}}");
    let trial = Trial::new(&lines)?;
    assert_eq!(trial.run(json!({})).await?.kind, "connect");
    crate::trial::written(&file).await?;
    drop(trial);
    crate::trial::gone(&file).await
}

#[tokio::test]
async fn a_server_that_is_stuck_is_begun_again_and_one_that_is_slow_is_not() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let hasty = Trial::new(&lines(&folder, "well", "timeout: 5s"))?;
    assert_eq!(hasty.run(json!({"text": "silence"})).await?.kind, "timeout");
    assert_eq!(hasty.run(json!({"text": "hello"})).await?.kind, "ok");
    assert_eq!(count(&folder, "starts", "x"), 1);
    let folder = tempfile::tempdir()?;
    let patient = Trial::new(&lines(&folder, "well", "timeout: 20s"))?;
    assert_eq!(patient.run(json!({"text": "hang"})).await?.kind, "timeout");
    let ended = patient.run(json!({"text": "hello"})).await?;
    assert_eq!(ended.kind, "ok", "{}", ended.message);
    assert_eq!(count(&folder, "starts", "x"), 2);
    Ok(())
}
