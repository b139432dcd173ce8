//! The scene of wrong clocks.

use super::{
    super::{inject::now_ms, load::Workload, schedule::Kind},
    stage::{RUNS, Stage},
};

/// How far ahead, in seconds.
const AHEAD: i64 = 3_600;
const NAMES: [&str; 2] = ["planner-1", "planner-2"];
/// A key that Claude does not know: a run waits at once, and looks again after a second.
const CLAUDE_REFUSES: &str = r#"[{"status": 401}]"#;

/// Both planners' clocks are ahead: one was set while it runs, one was so when it started. Runs wait, for a second; then all is well.
/// Whoever counted that second from its own clock has them wait for an hour.
pub(super) async fn wrong_clock(stage: &Stage) -> anyhow::Result<()> {
    let injector = &stage.injector;
    let clocks = stage.fleet.clocks()?;
    stage.take_down("planner-2").await?;
    let begun_ms = now_ms();
    for name in NAMES {
        clocks.set_and_see(name, AHEAD).await?;
    }
    stage.bring_up("planner-2").await?;
    let refuses = serde_json::from_str(CLAUDE_REFUSES)?;
    injector.outside.claude.faults(refuses).await?;
    let runs = stage.runs(Workload::Short, "wrong-clock", RUNS).await?;
    stage.written(&runs, "decided.park", 1).await?;
    stage.let_claude_speak().await?;
    for name in NAMES {
        injector.note(Kind::ClockAhead, name, begun_ms, None);
    }
    Ok(())
}
