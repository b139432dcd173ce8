//! Runs within runs: what wakes one long after its end is not told to the run above it again.

use std::time::Duration;

use async_nats::jetstream::stream::Stream;
use flotilla_tests::{Fleet, PATIENCE, Workflows, eventually};
use serde_json::json;

const ABOVE: &str = "
workflow: above
version: 1
on: {event: test.above}
steps:
  - id: within
    run: {workflow: within, with: {text: x}, usd: 1}
";
const WITHIN: &str = "
workflow: within
version: 1
on: {event: test.within}
limits: {duration: 30m}
steps:
  - {id: say, claude: {model: haiku, prompt: Say something.}}
";
/// For as long as JetStream remembers ids of messages in this test; the least that it takes
const REMEMBERED: Duration = Duration::from_millis(100);

/// Has JetStream forget which messages it has seen, as it does when minutes have passed.
async fn forget(fleet: &mut Fleet) -> Stream {
    let jetstream = fleet.nats.jetstream().await;
    let mut config = jetstream
        .get_stream("RUNS")
        .await
        .unwrap()
        .cached_info()
        .config
        .clone();
    config.duplicate_window = REMEMBERED;
    jetstream.update_stream(config).await.unwrap();
    // It knows those of a window that it reads at its start.
    fleet.nats.kill();
    fleet.nats.restart().await;
    fleet
        .nats
        .jetstream()
        .await
        .get_stream("RUNS")
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_fires_after_a_runs_end_tells_the_run_above_nothing_twice() {
    let files = [("above.yaml", ABOVE), ("within.yaml", WITHIN)];
    let mut fleet = Fleet::builder()
        .workflows(Workflows::files(&files))
        .start()
        .await;
    let event = json!({"type": "test.above", "id": "1", "source": "tests", "data": {}});
    let above = fleet.submit(&event).await.runs.remove(0);
    assert_eq!(fleet.wait_run_end(&above).await.status, "completed");
    let told = async |fleet: &Fleet| {
        let journal = fleet.journal(&above).await;
        let told = journal.of("resulted", Some("run"));
        told.map(|entry| entry.text("/worker").to_owned())
            .collect::<Vec<_>>()
    };
    let within = told(&fleet).await;
    assert_eq!(within.len(), 1);

    let stream = forget(&mut fleet).await;
    let fired = json!({"v": 1, "at": jiff::Timestamp::now()}).to_string();
    let subject = format!("runs.{}.fired.deadline", within[0]);
    let jetstream = fleet.nats.jetstream().await;
    let sent = jetstream.publish(subject, fired.into()).await.unwrap();
    let fired = sent.await.unwrap().sequence;
    eventually("it was handled", PATIENCE, async || {
        let info = stream
            .consumer_info("planner")
            .await
            .map_err(|e| e.to_string())?;
        let handled = info.ack_floor.stream_sequence;
        (handled >= fired).then_some(()).ok_or(handled.to_string())
    })
    .await;
    assert_eq!(told(&fleet).await, within);
}
