//! Scenes of workers that die, or are cut off.

use tokio::time::sleep;

use super::{
    super::{inject::now_ms, load::Workload, schedule::Kind},
    stage::{GIVEN_AWAY, RUNS, SAVED_WITHIN, Stage},
};

/// The one planner dies with calls in flight.
pub(super) async fn early_death(stage: &Stage) -> anyhow::Result<()> {
    stage.take_down("planner-2").await?;
    stage.silence_claude().await?;
    stage.runs(Workload::Short, "early-death", RUNS).await?;
    stage.calls_in_flight(RUNS).await?;
    stage.take_down("planner-1").await?;
    stage.let_claude_speak().await?;
    stage.bring_up("planner-1").await?;
    stage.bring_up("planner-2").await
}

/// The one planner is cut off from NATS, has its replies, and dies.
pub(super) async fn saved_reply(stage: &Stage) -> anyhow::Result<()> {
    let claude = &stage.injector.outside.claude;
    let nats = stage.fleet.links.get("planner-1/nats")?;
    stage.take_down("planner-2").await?;
    stage.silence_claude().await?;
    let runs = stage.runs(Workload::Short, "saved-reply", RUNS).await?;
    stage.calls_in_flight(RUNS).await?;
    let cut_ms = now_ms();
    nats.pause_upstream().await?;
    stage.let_claude_speak().await?;
    let answered = || async { Ok(claude.fewest_replies(&runs).await? > 0) };
    stage.until("Claude has answered", answered).await?;
    // Longer than the save may take: from here on nobody may pay for these replies again.
    sleep(SAVED_WITHIN * 2).await;
    stage.take_down("planner-1").await?;
    // What it wanted to append is lost with its connection.
    nats.cut().await;
    nats.heal().await;
    let injector = &stage.injector;
    injector.note(Kind::OneWay, "planner-1/nats", cut_ms, None);
    stage.bring_up("planner-1").await?;
    stage.bring_up("planner-2").await
}

/// The one executor is cut off from NATS while its tool works, and another one is there.
pub(super) async fn slow_worker(stage: &Stage) -> anyhow::Result<()> {
    let fleet = &stage.fleet;
    let nats = fleet.links.get("executor-1/nats")?;
    stage.take_down("executor-2").await?;
    let before = stage.seen("/slow");
    fleet.sink.hold("/slow");
    stage.runs(Workload::Slow, "slow-worker", RUNS).await?;
    stage.requests("/slow", before + RUNS).await?;
    let cut_ms = now_ms();
    nats.pause_upstream().await?;
    stage.bring_up("executor-2").await?;
    sleep(GIVEN_AWAY).await;
    fleet.sink.release_at("/slow");
    nats.heal().await;
    let injector = &stage.injector;
    injector.note(Kind::OneWay, "executor-1/nats", cut_ms, None);
    Ok(())
}
