//! Many runs at once, over several processes of each role.

use flotilla_tests::{Fleet, PATIENCE, Sink};

use crate::flows::{assert_each_once, incidents, submit_many};

const RUNS: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_runs_at_once_all_end_and_each_effect_is_done_once() {
    let sink = Sink::start().await;
    let workflows = incidents(&sink, "idempotent");
    // Two slow cores under full load: a worker that does not get to its progress acks in time is not a dead one.
    let fleet = Fleet::builder()
        .workflows(workflows)
        .planners(2)
        .executors(2)
        .ack_wait("20s")
        .start()
        .await;

    let runs = submit_many(&fleet, (0..RUNS).map(|n| n.to_string())).await;
    assert_eq!(runs.len(), RUNS);
    fleet.wait_ends(RUNS, 3 * PATIENCE).await;
    assert_each_once(&fleet, &sink, &runs).await;

    let shown = fleet.runs().await;
    assert_eq!(shown.len(), RUNS);
    for run in shown {
        assert_eq!(
            (run.status.as_str(), run.model_calls, run.wasted_calls),
            ("completed", 3, 0),
            "{}",
            run.id
        );
    }
}
