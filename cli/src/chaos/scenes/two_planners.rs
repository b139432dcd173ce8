//! Scenes of two planners at one run.

use std::time::Duration;

use anyhow::bail;
use flotilla_common::ids::RunId;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::{
    super::{inject::now_ms, load::Workload, schedule::Kind},
    stage::{GIVEN_AWAY, RUNS, Stage},
};

/// Runs of the fan-in, and the first planner's slots: with these in hand it takes no more.
const FULL: usize = 4;
/// How often the fan-in is set up anew, where the machine was too slow for it.
const TRIES: usize = 4;
/// Planners give up on Redis after 5 s, and ask it again: within this their answers must be there.
const ANSWERED_WITHIN: Duration = Duration::from_millis(4_500);
/// Loads that were sent have come to Redis after this.
const LOADED: Duration = Duration::from_millis(300);

/// The first planner has the replies, and its appends do not get through. Another one is given the runs, and decides. Then they do.
pub(super) async fn late_append(stage: &Stage) -> anyhow::Result<()> {
    let nats = stage.fleet.links.get("planner-1/nats")?;
    stage.take_down("planner-2").await?;
    // Full, it has asked for nothing more: what is given away cannot come back to it.
    stage.first_planner(Some(RUNS)).await?;
    stage.silence_claude().await?;
    let runs = stage.runs(Workload::Short, "late-append", RUNS).await?;
    stage.calls_in_flight(RUNS).await?;
    let cut_ms = now_ms();
    nats.pause_upstream().await?;
    stage.bring_up("planner-2").await?;
    sleep(GIVEN_AWAY).await;
    stage.let_claude_speak().await?;
    stage.written(&runs, "decided.claude", 1).await?;
    // By now the first one has sent its own.
    sleep(GIVEN_AWAY).await;
    nats.heal().await;
    let injector = &stage.injector;
    injector.note(Kind::OneWay, "planner-1/nats", cut_ms, None);
    stage.in_planners_hands(0).await?;
    stage.first_planner(None).await
}

/// Both results of each run come to a planner of their own: the first one has loaded the state when the second one saves it, and
/// saves after that.
pub(super) async fn fan_in(stage: &Stage) -> anyhow::Result<()> {
    stage.first_planner(Some(FULL)).await?;
    let mut met = false;
    for attempt in 0..TRIES {
        met = fan_in_once(stage, attempt).await?;
        if met {
            break;
        }
    }
    stage.first_planner(None).await?;
    if !met {
        bail!("this machine was too slow for it, {TRIES} times");
    }
    Ok(())
}

async fn fan_in_once(stage: &Stage, attempt: usize) -> anyhow::Result<bool> {
    let fleet = &stage.fleet;
    let redis = fleet.links.get("planner-1/redis")?;
    let before = (stage.seen("/one"), stage.seen("/two"));
    fleet.sink.hold("/one");
    fleet.sink.hold("/two");
    let name = format!("fan-in-{attempt}");
    let runs = stage.runs(Workload::Sides, &name, FULL).await?;
    stage.requests("/one", before.0 + FULL).await?;
    stage.requests("/two", before.1 + FULL).await?;
    stage.in_planners_hands(0).await?;
    // Asleep until what it has asked NATS for is over, so that all that comes is the first one's.
    let stopped_ms = now_ms();
    fleet.signal("planner-2", Signal::STOP).await?;
    let alone = || async { Ok(stage.planners().await?.asking <= 1) };
    let played = match stage.until("only one planner asks", alone).await {
        Ok(()) => play(stage, &runs, stopped_ms).await,
        Err(error) => Err(error),
    };
    redis.resume();
    fleet.signal("planner-2", Signal::CONT).await?;
    fleet.sink.release_at("/one");
    fleet.sink.release_at("/two");
    let met = played?;
    stage.in_planners_hands(0).await?;
    Ok(met)
}

/// Whether both planners were there in time.
async fn play(stage: &Stage, runs: &[RunId], stopped_ms: i64) -> anyhow::Result<bool> {
    let injector = &stage.injector;
    let fleet = &stage.fleet;
    let redis = fleet.links.get("planner-1/redis")?;
    let held_ms = now_ms();
    redis.pause_downstream().await?;
    let begun = Instant::now();
    fleet.sink.release_at("/one");
    stage.in_planners_hands(FULL).await?;
    sleep(LOADED).await;
    let loaded = redis.held_downstream() > 0;
    fleet.signal("planner-2", Signal::CONT).await?;
    injector.note(Kind::Stop, "planner-2", stopped_ms, None);
    fleet.sink.release_at("/two");
    stage.written(runs, "resulted.chaos_two", 1).await?;
    stage.in_planners_hands(FULL).await?;
    let in_time = begun.elapsed() < ANSWERED_WITHIN;
    redis.resume();
    injector.note(Kind::OneWay, "planner-1/redis", held_ms, None);
    Ok(loaded && in_time)
}
