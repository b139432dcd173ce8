//! Nobody knows whether it was done, and somebody can be asked.

use std::time::Duration;

use flotilla_common::{
    entry::{Found, Resulted, ToolOutcome},
    io::worker::DELIVERIES_MAX,
};
use serde_json::{Value, json};

use crate::stage::{ACK_WAIT, Act, Result, Stage, kind};

/// The lease of somebody who will not extend it.
const DYING: Duration = Duration::from_millis(300);

/// An executor was lost while it ran the tool, and what is asked then answers so; gives the result.
async fn asked(stage: &mut Stage, id: &str, answer: Value) -> Result<(Act, Resulted)> {
    stage.sink.answer(answer);
    let decision = stage.decide(id, "asked", json!({"a": 1})).await?;
    stage.claim(&decision, DYING).await?;
    let running = stage.executor().await?;
    let resulted = stage.result(&decision).await;
    stage.settled("asked").await?;
    running.stop().await?;
    Ok((decision, resulted))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_is_not_done_again_and_what_is_recorded_of_it_is_the_result() -> Result<()> {
    let mut stage = Stage::new().await?;
    let (decision, resulted) =
        asked(&mut stage, "1", json!({"done": true, "output": {"n": 7}})).await?;
    let ToolOutcome::Ok { output } = &resulted.outcome else {
        return Err(format!("{resulted:?}").into());
    };
    assert_eq!(output, &json!({"n": 7}));
    assert_eq!((stage.requests("asked"), stage.requests("find")), (0, 1));
    let reconciled = resulted.reconciled.ok_or("not told")?;
    assert_eq!(
        (reconciled.found, reconciled.tool.as_str()),
        (Found::Done, "find")
    );
    assert!(reconciled.doubt.contains("lost while it ran `asked`"));
    // It was asked about this very use.
    let effects = stage.sink.effects();
    let (key, effect) = effects.iter().next().ok_or("nobody was asked")?;
    let with = &effect.bodies[0];
    assert_eq!(with["key"], json!(key.trim_end_matches("!reconcile")));
    assert!(
        key.ends_with("!reconcile"),
        "a question has a key of its own"
    );
    assert_eq!(with["of"], json!(format!("{} act/1", decision.run)));
    assert_eq!(with["with"], json!({"a": 1}));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_done_is_run_under_the_same_claim_and_that_is_told() -> Result<()> {
    let mut stage = Stage::new().await?;
    let (_, resulted) = asked(&mut stage, "1", json!({"done": false})).await?;
    assert_eq!(kind(&resulted), "ok");
    assert_eq!((stage.requests("asked"), stage.requests("find")), (1, 1));
    assert_eq!(resulted.attempts, 2, "the lost one counts");
    let reconciled = resulted.reconciled.ok_or("not told")?;
    assert_eq!(reconciled.found, Found::NotDone);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_can_say_it_is_unknown_with_what_is_known() -> Result<()> {
    let mut stage = Stage::new().await?;
    for (id, answer, said) in [
        ("1", json!({"done": "unknown"}), "does not know either"),
        ("2", json!({"ok": true}), "answered something else"),
    ] {
        let (_, resulted) = asked(&mut stage, id, answer).await?;
        let ToolOutcome::Unknown { message } = &resulted.outcome else {
            return Err(format!("{resulted:?}").into());
        };
        assert!(message.contains("lost while it ran"), "{message}");
        assert!(message.contains(said), "{message}");
    }
    stage.sink.refuse(Some(500));
    let (_, resulted) = asked(&mut stage, "3", json!({"done": true})).await?;
    assert_eq!(kind(&resulted), "unknown");
    assert_eq!((stage.requests("asked"), stage.requests("find")), (0, 3));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_shutdown_cut_off_is_asked_about_by_the_next_executor() -> Result<()> {
    let mut stage = Stage::new().await?;
    stage
        .sink
        .answer(json!({"done": true, "output": "by then"}));
    stage.sink.hold("/asked");
    let running = stage
        .executor_with(ACK_WAIT, Duration::from_millis(200))
        .await?;
    let decision = stage.decide("1", "asked", json!({})).await?;
    stage.asked("asked", 1).await;
    running.stop().await?;
    assert!(stage.results(&decision).await?.is_empty());
    let running = stage.executor().await?;
    let resulted = stage.result(&decision).await;
    assert_eq!(kind(&resulted), "ok");
    stage.settled("asked").await?;
    assert_eq!((stage.requests("asked"), stage.requests("find")), (1, 1));
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_survives_is_not_run_again_though_it_was_not_done() -> Result<()> {
    let mut stage = Stage::new().await?;
    stage.sink.answer(json!({"done": false}));
    let decision = stage.decide("1", "asked", json!({})).await?;
    stage
        .deliver_in_vain("asked", u32::try_from(DELIVERIES_MAX)? - 1)
        .await?;
    stage.claim(&decision, DYING).await?;
    let running = stage.executor().await?;
    let resulted = stage.result(&decision).await;
    assert_eq!(kind(&resulted), "given_up");
    assert_eq!((stage.requests("asked"), stage.requests("find")), (0, 1));
    running.stop().await
}
