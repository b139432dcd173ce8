//! What comes of a decision when nothing goes wrong around it.

use std::time::Duration;

use flotilla_common::entry::ToolOutcome;
use flotilla_tests::{PATIENCE, eventually};
use serde_json::json;

use crate::stage::{ACK_WAIT, Result, Stage, kind};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_is_run_once_and_its_result_says_what_it_rests_on() -> Result<()> {
    let mut stage = Stage::new().await?;
    let running = stage.executor().await?;
    let decision = stage.decide("1", "once", json!({"a": 1})).await?;
    let resulted = stage.result(&decision).await;
    let ToolOutcome::Ok { output } = &resulted.outcome else {
        return Err(format!("{resulted:?}").into());
    };
    assert_eq!(output, &json!({"status": 200, "body": {"ok": true}}));
    assert_eq!((resulted.decided, resulted.attempts), (decision.seq, 1));
    assert_eq!(
        (resulted.tool.as_str(), resulted.worker.as_str()),
        ("once", "executor-1")
    );
    stage.settled("once").await?;
    let effects = stage.sink.effects_at("/once");
    let (key, effect) = effects.iter().next().ok_or("no effect")?;
    assert_eq!(key, &format!("{}.act.1.0", decision.run));
    assert_eq!(
        (effect.requests, &effect.bodies[0]),
        (1, &json!({"with": {"a": 1}}))
    );
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_run_is_a_result_too() -> Result<()> {
    let mut stage = Stage::new().await?;
    let running = stage.executor().await?;
    let unfit = stage.decide("2", "strict", json!({"n": "many"})).await?;
    let resulted = stage.result(&unfit).await;
    assert_eq!((kind(&resulted).as_str(), resulted.attempts), ("input", 0));
    let fit = stage.decide("3", "strict", json!({"n": 1})).await?;
    assert_eq!(kind(&stage.result(&fit).await), "ok");
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_decision_is_put_aside_and_its_neighbours_are_run() -> Result<()> {
    let mut stage = Stage::new().await?;
    let before = stage.decide("1", "read", json!({})).await?;
    let subject = format!("runs.{}.decided.read", before.run);
    stage.publish(subject.clone(), b"{rubbish".to_vec()).await?;
    stage
        .publish(subject.clone(), br#"{"v": 9}"#.to_vec())
        .await?;
    let after = stage.decide("2", "read", json!({})).await?;
    let running = stage.executor().await?;
    assert_eq!(kind(&stage.result(&before).await), "ok");
    assert_eq!(kind(&stage.result(&after).await), "ok");
    stage.settled("read").await?;
    let dead = stage.dead().await?;
    assert_eq!(dead.len(), 2);
    assert!(
        dead.iter()
            .all(|raw| raw.subject == format!("dead.executor.{subject}"))
    );
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_slower_than_the_ack_wait_is_not_given_to_a_second_executor() -> Result<()> {
    let mut stage = Stage::new().await?;
    let first = stage
        .executor_with(Duration::from_secs(1), PATIENCE)
        .await?;
    let second = stage
        .executor_with(Duration::from_secs(1), PATIENCE)
        .await?;
    stage.sink.delay(Duration::from_secs(4));
    let decision = stage.decide("1", "once", json!({})).await?;
    assert_eq!(kind(&stage.result(&decision).await), "ok");
    assert_eq!(stage.requests("once"), 1);
    first.stop().await?;
    second.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_decision_whose_result_is_known_is_not_run_again() -> Result<()> {
    let mut stage = Stage::new().await?;
    let running = stage.executor().await?;
    let hour_ago = jiff::Timestamp::now() - Duration::from_secs(3_600);
    let decision = stage.decide_at("1", "once", json!({}), 1, hour_ago).await?;
    assert_eq!(kind(&stage.result(&decision).await), "ok");
    stage.settled("once").await?;
    running.stop().await?;
    // Somebody makes the consumer anew, and Redis has forgotten: everything is delivered as if for the first time.
    stage.redis.flush().await;
    let consumer = flotilla_common::names::consumer::tool(&"once".parse()?);
    let runs = stage.journal.bus().jetstream.get_stream("RUNS").await?;
    runs.delete_consumer(&consumer).await?;
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
async fn nothing_is_begun_for_a_run_that_has_ended() -> Result<()> {
    let mut stage = Stage::new().await?;
    let before = jiff::Timestamp::now() - ACK_WAIT;
    let decision = stage
        .decide_at("1", "idempotent", json!({}), 1, before)
        .await?;
    stage.end(&decision.run).await?;
    let running = stage.executor().await?;
    assert_eq!(kind(&stage.result(&decision).await), "ended");
    assert_eq!(stage.requests("idempotent"), 0);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_run_at_once_than_the_tool_allows() -> Result<()> {
    let mut stage = Stage::new().await?;
    stage.sink.hold("/read");
    let running = stage.executor().await?;
    let mut decisions = Vec::new();
    for id in 0..10 {
        decisions.push(stage.decide(&id.to_string(), "read", json!({})).await?);
    }
    stage.asked("read", 4).await;
    // Another tool's message goes through meanwhile, and when it has, a fifth would have, too.
    let other = stage.decide("other", "idempotent", json!({})).await?;
    assert_eq!(kind(&stage.result(&other).await), "ok");
    assert_eq!(stage.requests("read"), 4);
    stage.sink.release();
    for decision in &decisions {
        assert_eq!(kind(&stage.result(decision).await), "ok");
    }
    eventually("each is asked for once", PATIENCE, || {
        let requests = stage.requests("read");
        std::future::ready(if requests == 10 {
            Ok(())
        } else {
            Err(requests)
        })
    })
    .await;
    running.stop().await
}
