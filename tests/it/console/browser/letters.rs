//! Dead letters of runs, from looking at them to the runs' ends.

use flotilla_tests::{Fleet, PATIENCE, Sink, eventually};
use serde_json::json;

use super::in_chromium;
use crate::{
    dead::groups,
    dead_runs::{publish, wait_dead},
    flows::{assert_each_once, incidents, submit_many},
};

/// Runs that wait for a letter: one is handled by itself, the others together.
const WAITING: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_looked_at_and_redriven_and_their_runs_end_with_each_effect_once() {
    let sink = Sink::start().await;
    sink.hold("/announce");
    let fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .start()
        .await;
    let ids = (0..WAITING).map(|id| id.to_string());
    let runs: Vec<String> = submit_many(&fleet, ids).await.into_iter().collect();
    // What comes for a run before its beginning would stand in the way of that.
    eventually("they have begun", PATIENCE, || async {
        let begun = fleet.runs().await.len();
        (begun == WAITING).then_some(()).ok_or(begun)
    })
    .await;
    for run in &runs {
        let signal = format!("runs.{run}.signalled.cancel");
        publish(&fleet, &signal, r#"{"v": 2, "new": true}"#).await;
        wait_dead(&fleet, run).await;
    }
    let causes = groups(&fleet, WAITING as u64).await;
    assert_eq!(causes.len(), 1, "{causes:?}");
    sink.release();
    assert!(fleet.run(&runs[0]).await.unwrap().run.ended_at.is_none());

    let mut told = vec![causes[0]["fingerprint"].as_str().unwrap()];
    told.extend(runs.iter().map(String::as_str));
    in_chromium(&fleet, "letters.mjs", &told).await;
    assert_each_once(&fleet, &sink, &runs.into_iter().collect()).await;
    groups(&fleet, 0).await;
    let listed: serde_json::Value = fleet.api().get("/v1/dead").await.json();
    assert_eq!(listed["groups"], json!([]));
}
