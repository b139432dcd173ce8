//! A worker with room for one message never waits for nothing. (A pull of one message at a time has been seen to stall for
//! as long as one pull request lives, about half a minute, after some hundred messages.)

use std::time::Duration;

use flotilla_tests::{Fleet, Sink};

use crate::flows::{assert_each_once, incidents, submit_many};

const RUNS: usize = 300;
/// Much longer than a run takes, much shorter than that stall
const STALL: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_with_one_slot_never_stall() {
    let sink = Sink::start().await;
    let fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .env("FLOTILLA_SLOTS", "1")
        .ack_wait("20s")
        .start()
        .await;

    let runs = submit_many(&fleet, (0..RUNS).map(|n| n.to_string())).await;
    // Work goes on all the time: that no run ends for a while may be, as all began together; that nothing is written may not.
    let mut written = 0;
    let mut ended = 0;
    while ended < RUNS {
        let journal = flotilla_tests::eventually("the journal grows", STALL, || async {
            let journal = fleet.journal_of_all().await;
            if journal.0.len() > written {
                Ok(journal)
            } else {
                Err((journal.0.len(), ended))
            }
        })
        .await;
        written = journal.0.len();
        ended = journal.ends().len();
    }
    assert_each_once(&fleet, &sink, &runs).await;

    // Nobody else writes, so a planner knows after each append where its chain ends, and never reads a history to find out.
    let metrics = fleet.planners[0].api().get("/metrics").await.text;
    let conflicts = metrics.lines().find(|line| {
        line.starts_with("flotilla_state_rebuilds_total") && line.contains("\"conflict\"")
    });
    assert!(
        conflicts.is_none_or(|line| line.ends_with(" 0")),
        "{conflicts:?}"
    );
}
