//! What a tool's policy says is tried again, and nothing else.

use flotilla_common::{entry::ToolOutcome, io::worker::DELIVERIES_MAX};
use serde_json::json;

use crate::{
    moody::Moody,
    stage::{Result, Stage, kind},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_that_passes_is_tried_again_under_the_same_key_and_the_result_says_how_often()
-> Result<()> {
    let (mut stage, moody) = (Stage::new().await?, Moody::start().await?);
    let retry =
        json!({"retry": {"times": 3, "pause": "50ms", "on": [503, "timeout"]}, "cost": 0.25});
    stage.add(vec![moody.tool("shaky", "idempotent", retry)])?;
    moody.next("shaky", [503, 503]);
    let running = stage.executor().await?;
    let decision = stage.decide("1", "shaky", json!({})).await?;
    let resulted = stage.result(&decision).await;
    assert_eq!((kind(&resulted).as_str(), resulted.attempts), ("ok", 3));
    assert_eq!(resulted.usd_nano.map(|usd| usd.nano()), Some(750_000_000));
    let keys: Vec<_> = moody
        .asked("shaky")
        .into_iter()
        .map(|asked| asked.key)
        .collect();
    assert_eq!(keys.len(), 3);
    assert!(!keys[0].is_empty() && keys.iter().all(|key| *key == keys[0]));

    // What is not named fails at once, and what is never well fails in the end.
    moody.next("shaky", [500]);
    let decision = stage.decide("2", "shaky", json!({})).await?;
    let resulted = stage.result(&decision).await;
    assert_eq!((kind(&resulted).as_str(), resulted.attempts), ("status", 1));
    moody.next("shaky", [503; 4]);
    let decision = stage.decide("3", "shaky", json!({})).await?;
    let resulted = stage.result(&decision).await;
    assert_eq!((kind(&resulted).as_str(), resulted.attempts), ("status", 4));
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_may_be_put_off_more_often_than_a_message_may_be_delivered() -> Result<()> {
    let (mut stage, moody) = (Stage::new().await?, Moody::start().await?);
    // What must not happen twice is always put off.
    let retry =
        json!({"retry": {"times": 60, "pause": "20ms", "max_pause": "20ms"}, "breaker": "off"});
    stage.add(vec![moody.tool("busy", "once", retry)])?;
    let times = usize::try_from(DELIVERIES_MAX)? + 5;
    moody.next("busy", vec![429; times]);
    let running = stage.executor().await?;
    let decision = stage.decide("1", "busy", json!({})).await?;
    let resulted = stage.result(&decision).await;
    assert_eq!(
        (kind(&resulted).as_str(), resulted.attempts),
        ("ok", u32::try_from(times)? + 1)
    );
    assert_eq!(moody.asked("busy").len(), times + 1);
    stage.settled("busy").await?;
    assert!(stage.dead().await?.is_empty());
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tries_are_counted_across_executors_and_who_says_when_to_come_back_is_heard() -> Result<()>
{
    let (mut stage, moody) = (Stage::new().await?, Moody::start().await?);
    let retry = json!({"retry": {"times": 2, "pause": "20ms"}});
    stage.add(vec![moody.tool("busy", "idempotent", retry)])?;
    moody.retry_after(1);
    moody.always("busy", Some(429));
    let first = stage.executor().await?;
    let decision = stage.decide("1", "busy", json!({})).await?;
    while moody.asked("busy").is_empty() {
        tokio::task::yield_now().await;
    }
    first.stop().await?;
    let tried = moody.asked("busy").len();
    assert!(stage.results(&decision).await?.is_empty(), "{tried}");
    let second = stage.executor().await?;
    let resulted = stage.result(&decision).await;
    assert_eq!((kind(&resulted).as_str(), resulted.attempts), ("status", 3));
    assert_eq!(moody.asked("busy").len(), 3);
    second.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_that_does_not_fit_is_a_failure_that_shows_it_and_is_not_tried_again()
-> Result<()> {
    let (mut stage, moody) = (Stage::new().await?, Moody::start().await?);
    let output = json!({"type": "object", "properties": {"body": {"type": "object", "required": ["total"]}}});
    let typed = json!({"output": output, "retry": {"times": 3, "pause": "20ms", "on": ["status"]}});
    stage.add(vec![moody.tool("typed", "read", typed)])?;
    let running = stage.executor().await?;
    let decision = stage.decide("1", "typed", json!({})).await?;
    let resulted = stage.result(&decision).await;
    let ToolOutcome::Failed {
        error,
        message,
        output: Some(output),
    } = &resulted.outcome
    else {
        return Err(format!("{resulted:?}").into());
    };
    assert_eq!(error.as_str(), "output");
    assert!(
        message.contains("/body: \"total\" is a required property"),
        "{message}"
    );
    assert_eq!(output["body"]["ok"], true);
    assert_eq!((resulted.attempts, moody.asked("typed").len()), (1, 1));
    running.stop().await
}
