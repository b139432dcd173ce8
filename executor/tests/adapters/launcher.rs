//! Programs that a launcher starts.

use serde_json::json;

use crate::trial::{Result, Trial};

/// What a launcher is told, before it becomes the program. `sh launch PID -- PROGRAM` reads this file in the tool's folder.
const LAUNCH: &str =
    "[ \"$1\" = \"$PPID\" ] && [ \"$2\" = -- ] || exit 99\nshift 2\necho launched\nexec \"$@\"\n";

#[tokio::test]
async fn a_launcher_becomes_the_program_and_is_told_whose_child_it_is() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("launch"), LAUNCH)?;
    let cwd = format!("cwd: {}", folder.path().display());
    let trial =
        |command: &str| Trial::with_launcher(&format!("command: {command}\n{cwd}"), "/bin/sh");
    let ended = trial("[printf, '%s|', --help, '{{ input.a }}', '--']")?
        .run(json!({"a": "a b"}))
        .await?;
    assert_eq!(
        ended.output,
        json!({"exit_code": 0, "stdout": "launched\n--help|a b|--|"})
    );
    // Known before the launcher is asked, and said as without one.
    let missing = trial("[no-such-program-here]")?.run(json!({})).await?;
    assert_eq!(missing.kind, "spawn");
    assert!(missing.message.contains("PATH"), "{}", missing.message);
    let not_runnable = trial("[./launch]")?.run(json!({})).await?;
    assert_eq!(not_runnable.kind, "spawn");
    Ok(())
}
