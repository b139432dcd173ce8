//! Rolling restarts: a planner that is told to stop hands back what it has not begun, and nothing is handed round in circles.

use flotilla_tests::{Fleet, PATIENCE, RoleOptions, Sink};

use crate::flows::{assert_each_once, incidents, submit_many};

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
