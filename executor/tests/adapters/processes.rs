//! Programs: how they end, what they leave behind (nothing), and how much of their output is kept.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use crate::trial::{Result, Trial, gone, script, written};

#[tokio::test]
async fn the_ways_a_program_ends_are_told_apart() -> Result<()> {
    let ok = Trial::new(&script("echo out; echo err >&2", ""))?
        .run(json!({"a": 1}))
        .await?;
    assert_eq!(
        ok.output,
        json!({"exit_code": 0, "stdout": "out\n", "stderr": "err\n"})
    );

    let exit = Trial::new(&script("echo out; echo why >&2; exit 3", ""))?
        .run(json!({"a": 1}))
        .await?;
    assert_eq!(
        (exit.kind.as_str(), exit.message.as_str()),
        ("exit", "`sh` ended with status 3: why")
    );
    assert_eq!(
        exit.output,
        json!({"exit_code": 3, "stdout": "out\n", "stderr": "why\n"})
    );

    let signal = Trial::new(&script("kill -9 $$", ""))?
        .run(json!({"a": 1}))
        .await?;
    assert_eq!(signal.kind, "signal");
    assert_eq!(signal.output["signal"], 9);

    let missing = Trial::new("command: [no-such-program-here]")?
        .run(json!({}))
        .await?;
    assert_eq!(missing.kind, "spawn");
    assert!(missing.message.contains("no-such-program-here") && missing.message.contains("PATH"));

    let place = Trial::new("command: [ls]\ncwd: /no/such/{{ input.a }}")?
        .run(json!({"a": "x"}))
        .await?;
    assert_eq!(place.kind, "spawn");
    assert!(place.message.contains("/no/such/x"), "{}", place.message);
    Ok(())
}

#[tokio::test]
async fn a_program_reads_nothing_and_runs_where_it_is_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("here.txt"), "")?;
    let lines = script("cat; ls", &format!("cwd: {}", folder.path().display()));
    let ended = Trial::new(&lines)?.run(json!({"a": 1})).await?;
    assert_eq!(ended.output["stdout"], "here.txt\n");
    Ok(())
}

#[tokio::test]
async fn a_timeout_kills_the_grandchildren_too() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("grandchild");
    let stubborn = format!(
        "trap '' TERM; echo $$ > {}; while :; do sleep 0.05; done",
        file.display()
    );
    let lines = script(
        &format!("sh -c \"{}\" & wait", stubborn.replace('$', "\\$")),
        "timeout: 1s",
    );
    let ended = Trial::new(&lines)?.run(json!({"a": 1})).await?;
    assert_eq!(ended.kind, "timeout");
    assert!(ended.message.contains("1s"), "{}", ended.message);
    assert!(ended.took < Duration::from_secs(4), "{:?}", ended.took);
    gone(&file).await
}

#[tokio::test]
async fn a_program_may_tidy_up_before_it_is_killed() -> Result<()> {
    let lines = script(
        "trap 'echo tidied; exit 0' TERM; sleep 60 & wait",
        "timeout: 500ms",
    );
    let ended = Trial::new(&lines)?.run(json!({"a": 1})).await?;
    assert_eq!(ended.kind, "timeout");
    assert_eq!(ended.output["stdout"], "tidied\n");
    Ok(())
}

#[tokio::test]
async fn nothing_stays_behind_in_the_background() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("background");
    let lines = script(
        &format!("sleep 60 & echo $! > {}; echo done", file.display()),
        "",
    );
    let ended = Trial::new(&lines)?.run(json!({"a": 1})).await?;
    assert_eq!(ended.output, json!({"exit_code": 0, "stdout": "done\n"}));
    assert!(
        ended.took < Duration::from_secs(10),
        "it waited for the background: {:?}",
        ended.took
    );
    gone(&file).await
}

#[tokio::test]
async fn who_leaves_the_group_and_keeps_the_pipe_is_not_waited_for() -> Result<()> {
    let lines = script("setsid sleep 20 & echo done", "");
    let ended = Trial::new(&lines)?.run(json!({"a": 1})).await?;
    assert_eq!(ended.output["stdout"], "done\n");
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
    Ok(())
}

#[tokio::test]
async fn closed_outputs_are_not_the_end_of_a_program() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("silent");
    let text = format!("echo $$ > {}; exec >&- 2>&-; sleep 60", file.display());
    let ended = Trial::new(&script(&text, "timeout: 500ms"))?
        .run(json!({"a": 1}))
        .await?;
    assert_eq!(ended.kind, "timeout");
    gone(&file).await
}

#[tokio::test]
async fn a_call_that_is_dropped_takes_its_processes_with_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("grandchild");
    let text = format!("sh -c 'echo $$ > {}; sleep 60; :' & wait", file.display());
    let trial = Trial::new(&script(&text, ""))?;
    {
        let call = trial.call(json!({"a": 1}));
        tokio::pin!(call);
        tokio::select! {
            _ = &mut call => return Err("it ended by itself".into()),
            begun = written(&file) => begun?,
        }
    }
    gone(&file).await
}

#[tokio::test]
async fn a_flood_is_read_to_its_end_and_only_its_beginning_kept() -> Result<()> {
    let lines = "output_limit: 1KiB\ncommand: [head, -c, '{{ input.a }}', /dev/zero]";
    let ended = Trial::new(lines)?.run(json!({"a": 50_000_000})).await?;
    assert_eq!(
        (ended.kind.as_str(), &ended.output["truncated"]),
        ("ok", &json!(true))
    );
    assert!(ended.output.to_string().len() < 1_200);

    let endless = Trial::new("output_limit: 1KiB\ntimeout: 500ms\ncommand: ['yes']")?;
    let ended = timeout(Duration::from_secs(10), endless.run(json!({}))).await??;
    assert_eq!(ended.kind, "timeout");
    let kept = ended.output["stdout"].as_str().unwrap_or_default();
    assert!(kept.starts_with("y\ny\n") && kept.len() <= 1_024);
    Ok(())
}

#[tokio::test]
async fn both_outputs_are_read_at_once() -> Result<()> {
    let text = "head -c 1000000 /dev/zero >&2; head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; echo done >&2";
    let ended = Trial::new(&script(text, "output_limit: 10B"))?
        .run(json!({"a": 1}))
        .await?;
    assert_eq!(ended.kind, "ok");
    Ok(())
}

#[tokio::test]
async fn bytes_that_are_no_text_are_shown_as_such() -> Result<()> {
    let ended = Trial::new(r#"command: [printf, '\377\376ok\001']"#)?
        .run(json!({}))
        .await?;
    assert_eq!(ended.output["stdout"], "\u{fffd}\u{fffd}ok\u{1}");
    Ok(())
}
