//! Redis holds nothing that is not on the journal too.

use flotilla_tests::{Fleet, PATIENCE, Sink};

use crate::flows::{assert_each_once, incidents, submit_many};

const RUNS: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_in_the_middle_of_many_runs_loses_none_and_repeats_nothing_finished() {
    let sink = Sink::start().await;
    let workflows = incidents(&sink, "idempotent");
    let fleet = Fleet::builder()
        .workflows(workflows)
        .planners(2)
        .executors(2)
        .start()
        .await;
    // So that there is a middle
    fleet.sim.latency_ms(200).await;

    let runs = submit_many(&fleet, (0..RUNS).map(|n| n.to_string())).await;
    fleet.redis.flush().await;
    fleet.wait_ends(RUNS / 4, PATIENCE).await;
    fleet.redis.flush().await;

    fleet.wait_ends(RUNS, PATIENCE).await;
    assert_each_once(&fleet, &sink, &runs).await;
    // What the gateway shows comes from an index in Redis: it is there again.
    assert_eq!(fleet.runs().await.len(), RUNS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_restarts_empty_loses_no_run() {
    let sink = Sink::start().await;
    let workflows = incidents(&sink, "idempotent");
    let mut fleet = Fleet::builder()
        .workflows(workflows)
        .planners(2)
        .executors(2)
        .start()
        .await;
    fleet.sim.latency_ms(200).await;

    let runs = submit_many(&fleet, (0..RUNS).map(|n| n.to_string())).await;
    fleet.redis.restart().await;

    let ends = fleet.wait_ends(RUNS, PATIENCE).await;
    assert_eq!(ends.len(), runs.len());
    for (run, outcome, reason) in ends {
        assert!(runs.contains(&run), "{run} is none of ours");
        assert_eq!(outcome, "completed", "{run}: {reason}");
    }
    for (slot, times) in fleet.journal_of_all().await.decisions() {
        assert_eq!(times, 1, "decisions of {slot:?}");
    }
}
