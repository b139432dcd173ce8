//! Shutdowns, and times without NATS or Redis.

use std::{path::Path, time::Duration};

use flotilla_tests::{PATIENCE, eventually, within};
use serde_json::json;
use tokio::time::Instant;

use crate::stage::{ACK_WAIT, Result, Stage, kind};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_lets_a_running_tool_end() -> Result<()> {
    let mut stage = Stage::new().await?;
    stage.sink.hold("/once");
    let running = stage.executor().await?;
    let decision = stage.decide("1", "once", json!({})).await?;
    stage.asked("once", 1).await;
    let release = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        stage.sink.release();
    };
    let (stopped, ()) = tokio::join!(running.stop(), release);
    stopped?;
    assert_eq!(kind(&stage.result(&decision).await), "ok");
    stage.settled("once").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_that_outlasts_the_draining_is_killed_and_another_executor_begins_at_once()
-> Result<()> {
    let mut stage = Stage::new().await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("pid");
    // The lease would last long: it must have been given back.
    let long = Duration::from_secs(120);
    let running = stage
        .executor_with(long, Duration::from_millis(500))
        .await?;
    let with = json!({"file": file.display().to_string()});
    stage.decide("1", "program", with).await?;
    let first = process(&file).await;
    running.stop().await?;
    gone(&first).await;
    std::fs::remove_file(&file)?;
    let begun = Instant::now();
    let running = stage
        .executor_with(long, Duration::from_millis(500))
        .await?;
    let second = process(&file).await;
    assert!(begun.elapsed() < long / 2);
    assert_ne!(first, second);
    running.stop().await?;
    gone(&second).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_in_the_middle_of_once_leaves_its_outcome_unknown() -> Result<()> {
    let mut stage = Stage::new().await?;
    stage.sink.hold("/once");
    let running = stage
        .executor_with(ACK_WAIT, Duration::from_millis(200))
        .await?;
    let decision = stage.decide("1", "once", json!({})).await?;
    stage.asked("once", 1).await;
    running.stop().await?;
    // It says so itself, with its last words.
    let results = stage.results(&decision).await?;
    let [resulted] = &results[..] else {
        return Err(format!("{results:?}").into());
    };
    assert_eq!(kind(resulted), "unknown");
    let running = stage.executor().await?;
    stage.settled("once").await?;
    assert_eq!(
        (
            stage.requests("once"),
            stage.results(&decision).await?.len()
        ),
        (1, 1)
    );
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_nats_cannot_take_is_appended_by_the_next_executor() -> Result<()> {
    let mut stage = Stage::new().await?;
    stage.sink.hold("/once");
    let running = stage
        .executor_with(ACK_WAIT, Duration::from_secs(2))
        .await?;
    let decision = stage.decide("1", "once", json!({})).await?;
    stage.asked("once", 1).await;
    stage.nats.kill();
    stage.sink.release();
    running.stop().await?;
    stage.nats.restart().await;
    let running = stage.executor().await?;
    let resulted = stage.result(&decision).await;
    assert_eq!(
        (kind(&resulted).as_str(), resulted.worker.as_str()),
        ("ok", "executor-1")
    );
    assert_eq!(stage.requests("once"), 1);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_may_restart_while_a_tool_runs() -> Result<()> {
    let mut stage = Stage::new().await?;
    stage.sink.hold("/once");
    let running = stage.executor().await?;
    let decision = stage.decide("1", "once", json!({})).await?;
    stage.asked("once", 1).await;
    stage.nats.restart().await;
    stage.sink.release();
    assert_eq!(kind(&stage.result(&decision).await), "ok");
    stage.settled("once").await?;
    assert_eq!(
        (
            stage.requests("once"),
            stage.results(&decision).await?.len()
        ),
        (1, 1)
    );
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_may_forget_everything_while_a_tool_runs() -> Result<()> {
    let mut stage = Stage::new().await?;
    stage.sink.hold("/once");
    let running = stage.executor().await?;
    let decision = stage.decide("1", "once", json!({})).await?;
    stage.asked("once", 1).await;
    stage.redis.flush().await;
    // The claim is taken again when it is to be extended.
    let key = flotilla_common::names::key::effect(&decision.run, &decision.slot);
    eventually("the claim is there again", PATIENCE, || async {
        stage
            .redis
            .field(&key, "state")
            .await
            .filter(|state| state == "held")
            .ok_or("gone")
    })
    .await;
    stage.sink.release();
    assert_eq!(kind(&stage.result(&decision).await), "ok");
    stage.settled("once").await?;
    assert_eq!(
        (
            stage.requests("once"),
            stage.results(&decision).await?.len()
        ),
        (1, 1)
    );
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_nothing_is_begun_and_no_delivery_is_lost() -> Result<()> {
    let mut stage = Stage::new().await?;
    let running = stage.executor().await?;
    stage.at_work().await?;
    stage.redis.kill();
    let decision = stage.decide("1", "once", json!({})).await?;
    tokio::time::sleep(ACK_WAIT).await;
    assert_eq!(stage.requests("once"), 0);
    stage.redis.restart().await;
    assert_eq!(kind(&stage.result(&decision).await), "ok");
    assert_eq!(stage.requests("once"), 1);
    running.stop().await
}

async fn process(file: &Path) -> String {
    eventually("the program has begun", PATIENCE, || {
        let id = std::fs::read_to_string(file).unwrap_or_default();
        std::future::ready(if id.ends_with('\n') {
            Ok(id.trim().to_owned())
        } else {
            Err(id)
        })
    })
    .await
}

async fn gone(id: &str) {
    let stat = format!("/proc/{id}/stat");
    let gone = async {
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("the program is gone", PATIENCE, gone).await;
}
