//! Others held the effect before, and died, or did it, or gave it back.

use std::time::Duration;

use flotilla_common::{
    entry::{Resulted, ToolOutcome},
    io::worker::DELIVERIES_MAX,
};
use serde_json::json;

use crate::stage::{Act, Result, Stage, kind};

/// The lease of somebody who will not extend it.
const DYING: Duration = Duration::from_millis(1_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_executor_held_is_run_again_unless_it_is_once() -> Result<()> {
    let mut stage = Stage::new().await?;
    for (tool, outcome, requests) in [
        ("read", "ok", 1),
        ("idempotent", "ok", 1),
        ("once", "unknown", 0),
    ] {
        let decision = stage.decide(tool, tool, json!({})).await?;
        stage.claim(&decision, DYING).await?;
        let running = stage.executor().await?;
        let resulted = stage.result(&decision).await;
        assert_eq!(kind(&resulted), outcome, "{tool}: {resulted:?}");
        assert_eq!(stage.requests(tool), requests);
        stage.settled(tool).await?;
        assert_eq!(stage.results(&decision).await?.len(), 1);
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_living_holder_is_waited_for_and_its_result_taken() -> Result<()> {
    let mut stage = Stage::new().await?;
    let decision = stage.decide("1", "once", json!({})).await?;
    let lease = stage.claim(&decision, DYING).await?;
    let running = stage.executor().await?;
    // Longer than its lease: it lives, and says so.
    for _ in 0..4 {
        tokio::time::sleep(DYING / 3).await;
        assert!(stage.other.extend(&lease).await?);
    }
    assert!(stage.results(&decision).await?.is_empty());
    let saved = saved(&decision)?;
    assert!(stage.other.finish(&lease, &saved).await?);
    // It died before it could append: whoever comes next does.
    assert_eq!(stage.result(&decision).await, saved);
    stage.settled("once").await?;
    assert_eq!(stage.requests("once"), 0);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_trace_of_an_earlier_delivery_once_is_unknown_and_the_others_are_run()
-> Result<()> {
    let mut stage = Stage::new().await?;
    for (tool, outcome) in [("once", "unknown"), ("idempotent", "ok")] {
        let decision = stage.decide(tool, tool, json!({})).await?;
        stage.deliver_in_vain(tool, 1).await?;
        stage.redis.flush().await;
        let running = stage.executor().await?;
        assert_eq!(kind(&stage.result(&decision).await), outcome, "{tool}");
        running.stop().await?;
    }
    assert_eq!(stage.requests("once"), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_back_undone_is_run_even_once() -> Result<()> {
    let mut stage = Stage::new().await?;
    let decision = stage.decide("1", "once", json!({})).await?;
    let lease = stage.claim(&decision, DYING).await?;
    stage.deliver_in_vain("once", 1).await?;
    stage.other.give_back(&lease, 0).await?;
    let running = stage.executor().await?;
    assert_eq!(kind(&stage.result(&decision).await), "ok");
    assert_eq!(stage.requests("once"), 1);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_survives_is_given_up_and_its_run_told() -> Result<()> {
    let mut stage = Stage::new().await?;
    let decision = stage.decide("1", "read", json!({})).await?;
    stage
        .deliver_in_vain("read", u32::try_from(DELIVERIES_MAX)? - 1)
        .await?;
    let running = stage.executor().await?;
    let resulted = stage.result(&decision).await;
    assert_eq!(kind(&resulted), "given_up");
    stage.settled("read").await?;
    assert_eq!((stage.dead().await?.len(), stage.requests("read")), (1, 0));
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_of_another_step_under_the_same_key_is_not_taken() -> Result<()> {
    let mut stage = Stage::new().await?;
    let decision = stage.decide("1", "read", json!({})).await?;
    let lease = stage.claim(&decision, DYING).await?;
    let mut saved = saved(&decision)?;
    saved.step = "act-1".parse()?;
    assert!(stage.other.finish(&lease, &saved).await?);
    let running = stage.executor().await?;
    let resulted = stage.result(&decision).await;
    assert_eq!(
        (kind(&resulted).as_str(), &resulted.step),
        ("unknown", &decision.slot.step)
    );
    stage.settled("read").await?;
    assert_eq!(stage.dead().await?.len(), 1);
    running.stop().await
}

fn saved(decision: &Act) -> Result<Resulted> {
    Ok(Resulted {
        step: decision.slot.step.clone(),
        branch: 0,
        decided: decision.seq,
        tool: "once".parse()?,
        outcome: ToolOutcome::Ok {
            output: json!("saved"),
        },
        took_ms: 7,
        attempts: 1,
        usd_nano: None,
        reconciled: None,
        worker: "another".into(),
    })
}
