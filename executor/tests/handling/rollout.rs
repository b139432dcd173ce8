//! Executors of different versions at the same time.

use std::time::Duration;

use flotilla_common::io::worker::DELIVERIES_MAX;
use flotilla_tests::{PATIENCE, eventually};
use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use crate::stage::{Result, Stage, kind};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_an_old_executor_does_not_have_is_left_to_a_new_one() -> Result<()> {
    let mut stage = Stage::new().await?;
    let old = stage.executor().await?;
    let decision = stage
        .decide_at("1", "once", json!({}), 2, Timestamp::now())
        .await?;
    passed_on(&stage, 2).await?;
    assert!(stage.results(&decision).await?.is_empty());
    old.stop().await?;
    stage.upgrade(2)?;
    let new = stage.executor().await?;
    // Not even for `once` is it in doubt that nothing was done before.
    let resulted = stage.result(&decision).await;
    assert_eq!(
        (kind(&resulted).as_str(), resulted.attempts),
        ("ok", 1),
        "{resulted:?}"
    );
    assert_eq!(stage.requests("once"), 1);
    new.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passing_on_does_not_hide_that_redis_has_forgotten_who_had_it_before() -> Result<()> {
    let mut stage = Stage::new().await?;
    let decision = stage
        .decide_at("1", "once", json!({}), 2, Timestamp::now())
        .await?;
    stage.deliver_in_vain("once", 1).await?;
    stage.redis.flush().await;
    let old = stage.executor().await?;
    passed_on(&stage, 3).await?;
    old.stop().await?;
    stage.upgrade(2)?;
    let new = stage.executor().await?;
    assert_eq!(kind(&stage.result(&decision).await), "unknown");
    assert_eq!(stage.requests("once"), 0);
    new.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_nobody_has_fails_at_the_last_delivery() -> Result<()> {
    const SHORT: Duration = Duration::from_millis(300);
    let mut stage = Stage::new().await?;
    let running = stage.executor_with(SHORT, PATIENCE).await?;
    let begun = Instant::now();
    let decision = stage
        .decide_at("1", "read", json!({}), 7, Timestamp::now())
        .await?;
    let resulted = stage.result(&decision).await;
    assert_eq!(
        (kind(&resulted).as_str(), resulted.attempts),
        ("unknown_tool", 0)
    );
    assert!(begun.elapsed() > SHORT * (u32::try_from(DELIVERIES_MAX)? - 2));
    running.stop().await
}

/// Waits until the tool's one message was delivered so often, and the last executor has had the time to hand it back.
async fn passed_on(stage: &Stage, deliveries: u64) -> Result<()> {
    let consumer = stage.consumer("once").await?;
    eventually("it is handed back", PATIENCE, || async {
        let mut consumer = consumer.clone();
        let info = consumer.info().await.map_err(|error| error.to_string())?;
        match info.delivered.consumer_sequence {
            enough if enough >= deliveries => Ok(()),
            few => Err(few.to_string()),
        }
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    Ok(())
}
