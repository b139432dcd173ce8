//! Rolling restarts: a planner that is told to stop hands back what it has not begun, and nothing is handed round in circles.

use flotilla_tests::{Fleet, PATIENCE, RoleOptions, Sink};
use serde_json::json;

use crate::flows::{assert_each_once, cloud_event, incidents, submit_many};

const WAVES: usize = 4;
const RUNS_PER_WAVE: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planners_replaced_one_after_the_other_under_load_lose_nothing() {
    let sink = Sink::start().await;
    let mut fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .planners(0)
        .ack_wait("20s")
        .start()
        .await;
    let mut planner = fleet.planner(RoleOptions::default()).await;
    planner.wait_ready().await;
    let mut runs = std::collections::BTreeSet::new();
    for wave in 0..WAVES {
        let events = (0..RUNS_PER_WAVE).map(|n| format!("{wave}-{n}"));
        runs.extend(submit_many(&fleet, events).await);
        // In the middle of it, the old one leaves before the new one is there.
        planner.drain(PATIENCE).await;
        planner = fleet.planner(RoleOptions::default()).await;
        planner.wait_ready().await;
    }
    let ends = fleet.wait_ends(WAVES * RUNS_PER_WAVE, 3 * PATIENCE).await;
    assert!(
        ends.iter().all(|(_, outcome, _)| outcome == "completed"),
        "{ends:?}"
    );
    assert_each_once(&fleet, &sink, &runs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_definition_nobody_has_ends_as_failed_and_says_why() {
    let sink = Sink::start().await;
    let fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .ack_wait("500ms")
        .start()
        .await;
    let run = format!("run_{}", "a".repeat(32));
    let event = cloud_event("1");
    let started = json!({
        "v": 1, "at": "2026-11-21T10:00:00Z", "event": event,
        "workflow": {"name": "incident", "version": 9, "digest": "nobody has this"},
    });
    let jetstream = fleet.nats.jetstream().await;
    let subject = format!("runs.{run}.started.incident");
    jetstream
        .publish(subject, started.to_string().into())
        .await
        .unwrap()
        .await
        .unwrap();
    let ends = fleet.wait_ends(1, 3 * PATIENCE).await;
    let (ended, outcome, reason) = &ends[0];
    assert_eq!((ended, outcome.as_str()), (&run, "failed"), "{reason}");
    assert!(
        reason.contains("dead letter") && reason.contains("is not known here"),
        "{reason}"
    );
    let dead = jetstream
        .get_stream("DEAD")
        .await
        .unwrap()
        .get_info()
        .await
        .unwrap();
    assert_eq!(dead.state.messages, 1);
}
