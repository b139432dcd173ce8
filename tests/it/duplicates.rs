//! The same event twice is one run, however it comes.

use flotilla_tests::{Fleet, Sink};
use serde_json::json;

use crate::flows::{assert_each_once, cloud_event, incident, incidents};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_posted_twice_is_one_run() {
    let sink = Sink::start().await;
    let fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .start()
        .await;

    let first = fleet.submit(&incident("a")).await;
    let again = fleet.submit(&incident("a")).await;
    assert_eq!((first.duplicate, again.duplicate), (false, true));
    assert_eq!((&first.id, &first.runs), (&again.id, &again.runs));
    let [run] = &first.runs[..] else {
        panic!("one workflow is for it: {first:?}");
    };
    assert_eq!(fleet.wait_run_end(run).await.status, "completed");

    // Also when it is over.
    let late = fleet.submit(&incident("a")).await;
    assert_eq!((late.duplicate, &late.runs), (true, &first.runs));
    fleet.wait_intake().await;
    assert_each_once(&fleet, &sink, &[run.clone()].into()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_published_many_times_is_one_run() {
    let sink = Sink::start().await;
    let fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .start()
        .await;

    // With no message id nothing but the run's id tells that they are the same; JetStream keeps them all.
    for message_id in [None, None, Some("m1"), Some("m1"), Some("m2")] {
        fleet
            .publish_event("test.incident", &cloud_event("a"), message_id)
            .await;
    }
    // And over HTTP: the same source and id are the same event on whatever way.
    let posted = fleet.submit(&incident("a")).await;
    fleet.wait_intake().await;
    let [run] = posted.runs.try_into().unwrap();
    assert_eq!(fleet.wait_run_end(&run).await.status, "completed");
    assert_eq!(fleet.journal_of_all().await.of("started", None).count(), 1);
    assert_each_once(&fleet, &sink, &[run].into()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_differ_in_id_or_source_are_different_runs() {
    let sink = Sink::start().await;
    let fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .start()
        .await;

    let mut elsewhere = incident("a");
    elsewhere["source"] = json!("elsewhere");
    for event in [incident("a"), incident("b"), elsewhere] {
        assert!(!fleet.submit(&event).await.duplicate);
    }
    // Without an id, each is an event of its own.
    let mut anonymous = incident("a");
    anonymous.as_object_mut().unwrap().remove("id");
    fleet.submit(&anonymous).await;
    fleet.submit(&anonymous).await;

    let ends = fleet.wait_ends(5, flotilla_tests::PATIENCE).await;
    assert_each_once(
        &fleet,
        &sink,
        &ends.into_iter().map(|(run, ..)| run).collect(),
    )
    .await;
}
