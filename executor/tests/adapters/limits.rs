//! What programs may use of the machine, by the real launcher.

use flotilla_tests::flotilla;
use serde_json::json;

use crate::trial::{Ended, Result, Trial};

async fn limited(command: &serde_json::Value, limits: &str) -> Result<Ended> {
    let lines = format!("timeout: 60s\ncommand: {command}\nlimits: {{{limits}}}");
    let launcher = tokio::task::spawn_blocking(flotilla).await?;
    let launcher = launcher.to_str().ok_or("a path")?;
    Trial::with_launcher(&lines, launcher)?.run(json!({})).await
}

#[tokio::test]
async fn a_program_gets_no_more_memory_than_its_limit() -> Result<()> {
    let hog = json!(["python3", "-c", "print(len(bytearray(400 << 20)))"]);
    let ended = limited(&hog, "memory: 200MiB").await?;
    assert_eq!(ended.kind, "exit", "{}", ended.message);
    assert!(ended.message.contains("MemoryError"), "{}", ended.message);
    let ended = limited(&hog, "memory: 1GiB").await?;
    assert_eq!(
        ended.output["stdout"],
        format!("{}\n", 400 << 20),
        "{}",
        ended.message
    );
    Ok(())
}

#[tokio::test]
async fn a_program_that_uses_up_its_processor_time_is_killed_and_told() -> Result<()> {
    let busy = json!(["sh", "-c", "while :; do :; done"]);
    let ended = limited(&busy, "cpu: 500ms").await?;
    assert_eq!(ended.kind, "signal", "{}", ended.message);
    assert!(ended.message.contains("`limits.cpu`"), "{}", ended.message);
    Ok(())
}

#[tokio::test]
async fn a_program_writes_no_larger_file_and_opens_no_more_files() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("large");
    let writer = json!([
        "dd",
        "if=/dev/zero",
        format!("of={}", file.display()),
        "bs=1024",
        "count=1000"
    ]);
    let ended = limited(&writer, "file: 10KiB").await?;
    assert_ne!(ended.kind, "ok");
    assert_eq!(file.metadata()?.len(), 10 * 1024);
    let opener = json!([
        "python3",
        "-c",
        "all = [open('/dev/null') for _ in range(60)]"
    ]);
    let ended = limited(&opener, "open_files: 50").await?;
    assert!(
        ended.message.contains("Too many open files"),
        "{}",
        ended.message
    );
    assert_eq!(limited(&opener, "open_files: 100").await?.kind, "ok");
    Ok(())
}

#[tokio::test]
async fn limits_that_nobody_would_hold_are_not_left_out() -> Result<()> {
    let lines = "command: [ls]\nlimits: {memory: 64MiB}";
    let ended = Trial::new(lines)?.run(json!({})).await?;
    assert_eq!(ended.kind, "spawn");
    assert!(ended.message.contains("launcher"), "{}", ended.message);
    Ok(())
}
