//! Redis, or nats-server, or both of them forget what was begun.

use std::time::Duration;

use flotilla_common::names::consumer;
use serde_json::json;

use crate::stage::{Result, Stage, kind};

/// The lease of somebody who will not extend it.
const DYING: Duration = Duration::from_secs(60);

/// All of Redis is lost, and nats-server's count of deliveries with it: what is delivered again looks new.
async fn forget_all(stage: &Stage, tool: &str) -> Result<()> {
    stage.redis.flush().await;
    forget_deliveries(stage, tool).await
}

async fn forget_deliveries(stage: &Stage, tool: &str) -> Result<()> {
    let runs = stage.journal.bus().jetstream.get_stream("RUNS").await?;
    runs.delete_consumer(&consumer::tool(&tool.parse()?))
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_a_moment_ago_is_not_done_again_when_everybody_has_forgotten_it() -> Result<()>
{
    let mut stage = Stage::new().await?;
    for tool in ["idempotent", "once"] {
        // A lease as long as this makes the decision a young one, which is not looked for before its claim.
        let long = Duration::from_secs(600);
        let running = stage.executor_with(long, long).await?;
        let decision = stage.decide(tool, tool, json!({})).await?;
        assert_eq!(kind(&stage.result(&decision).await), "ok");
        stage.settled(tool).await?;
        running.stop().await?;
        forget_all(&stage, tool).await?;
        let running = stage.executor_with(long, long).await?;
        stage.settled(tool).await?;
        let results = stage.results(&decision).await?.len();
        assert_eq!((stage.requests(tool), results), (1, 1), "{tool}");
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_been_begun_before_everybody_forgot_is_unknown_where_it_is_once() -> Result<()>
{
    let mut stage = Stage::new().await?;
    for (tool, outcome, requests) in [("once", "unknown", 0), ("idempotent", "ok", 1)] {
        let decision = stage.decide(tool, tool, json!({})).await?;
        stage.deliver_in_vain(tool, 1).await?;
        stage.claim(&decision, DYING).await?;
        forget_all(&stage, tool).await?;
        let running = stage.executor().await?;
        assert_eq!(kind(&stage.result(&decision).await), outcome, "{tool}");
        assert_eq!(stage.requests(tool), requests, "{tool}");
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_alone_leaves_nothing_in_doubt_that_nobody_was_given() -> Result<()> {
    let mut stage = Stage::new().await?;
    stage.sink.hold("/once");
    let running = stage.executor().await?;
    stage.at_work().await?;
    let mut decisions = Vec::new();
    // The tool has room for four.
    for id in 0..8 {
        decisions.push(stage.decide(&id.to_string(), "once", json!({})).await?);
    }
    stage.asked("once", 4).await;
    stage.redis.flush().await;
    stage.sink.release();
    for decision in &decisions {
        assert_eq!(kind(&stage.result(decision).await), "ok");
    }
    stage.settled("once").await?;
    assert_eq!(stage.requests("once"), 8);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_may_forget_what_redis_remembers() -> Result<()> {
    let mut stage = Stage::new().await?;
    // Given to somebody who never came to claim it, which Redis knows.
    let untouched = stage.decide("1", "once", json!({})).await?;
    stage.deliver_in_vain("once", 1).await?;
    let running = stage.executor().await?;
    assert_eq!(kind(&stage.result(&untouched).await), "ok");
    running.stop().await?;
    // Begun by somebody, which Redis knows too.
    let begun = stage.decide("2", "once", json!({})).await?;
    stage.claim(&begun, Duration::from_millis(300)).await?;
    forget_deliveries(&stage, "once").await?;
    let running = stage.executor().await?;
    assert_eq!(kind(&stage.result(&begun).await), "unknown");
    assert_eq!(stage.requests("once"), 1);
    running.stop().await
}
