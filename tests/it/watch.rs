//! `flotilla watch`: a run to its end, whatever happens to the gateway in between.

use flotilla_tests::{
    Fleet, PATIENCE, RoleOptions, Sink, Sse, eventually, free_port, run_flotilla,
};
use serde_json::Value;

use crate::flows::{incident, incidents};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_watched_to_its_end_though_the_gateway_is_killed_and_started_again() {
    let sink = Sink::start().await;
    let mut fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .start()
        .await;
    // A gateway that comes back where it was.
    let http = format!("127.0.0.1:{}", free_port());
    let place = || RoleOptions::default().env("FLOTILLA_HTTP", http.clone());
    let mut watched = fleet.start_gateway(place());
    let url = format!("http://{http}");
    fleet.sim.latency_ms(500).await;
    let [run] = fleet.submit(&incident("a")).await.runs.try_into().unwrap();
    eventually("the run can be watched there", PATIENCE, || {
        let stream = format!("{url}/v1/runs/{run}/live");
        async move { Sse::open(&stream, None).await }
    })
    .await;
    let watching = tokio::spawn({
        let (run, url) = (run.clone(), url.clone());
        async move { run_flotilla(&["watch", &run, "--json", "--url", &url], &[], PATIENCE).await }
    });
    let is_watching = async || {
        let text = reqwest::get(format!("{url}/metrics")).await;
        let text = text
            .map_err(|e| e.to_string())?
            .text()
            .await
            .map_err(|e| e.to_string())?;
        let line = "flotilla_watchers{kind=\"run\"} 1";
        if text.contains(line) {
            Ok(())
        } else {
            Err(text)
        }
    };
    eventually("somebody watches", PATIENCE, is_watching).await;
    watched.kill9();
    let _again = fleet.start_gateway(place());
    let finished = watching.await.unwrap();
    assert_eq!(finished.status.code(), Some(0), "{}", finished.output);
    let lines = finished
        .output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<Value> = lines.collect();
    let seqs: Vec<u64> = lines
        .iter()
        .map(|line| line["seq"].as_u64().unwrap())
        .collect();
    let journal = fleet.journal(&run).await;
    let kept: Vec<u64> = journal.0.iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs, kept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_ends_as_its_run_does() {
    let sink = Sink::start().await;
    let fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .start()
        .await;
    let url = fleet.api().base().to_owned();
    fleet.sim.latency_ms(600_000).await;
    let [run] = fleet.submit(&incident("a")).await.runs.try_into().unwrap();
    eventually("the run is there", PATIENCE, || async {
        fleet.run(&run).await.ok_or("not yet")
    })
    .await;
    let cancelled = fleet
        .api()
        .post(&format!("/v1/runs/{run}/cancel"), "application/json", "")
        .await;
    assert_eq!(cancelled.status, 202, "{}", cancelled.text);
    let finished = run_flotilla(&["watch", &run, "--url", &url], &[], PATIENCE).await;
    assert_eq!(finished.status.code(), Some(1), "{}", finished.output);
    assert!(finished.output.contains("cancelled"), "{}", finished.output);
    let unknown = format!("run_{}", "0".repeat(32));
    let finished = run_flotilla(&["watch", &unknown, "--url", &url], &[], PATIENCE).await;
    assert_eq!(finished.status.code(), Some(3));
    assert!(
        finished.output.contains("there is no run"),
        "{}",
        finished.output
    );
}
