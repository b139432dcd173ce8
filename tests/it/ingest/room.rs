//! No room, and no NATS: who sends is told, and nothing is lost.

use std::time::Duration;

use flotilla_tests::{PATIENCE, eventually};
use serde_json::{Value, json};

use super::{fleet, problem};

/// What the stream EVENTS may hold, in bytes.
const LIMIT: u64 = 64 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_the_stream_is_full_senders_are_told_to_come_later() {
    let fleet = fleet(&[]).await;
    let jetstream = fleet.nats.jetstream().await;
    let mut stream = jetstream.get_stream("EVENTS").await.unwrap();
    let mut config = stream.info().await.unwrap().config.clone();
    config.max_bytes = i64::try_from(LIMIT).unwrap();
    jetstream.update_stream(&config).await.unwrap();
    // Nothing leaves the stream, as if every gateway were slow.
    let until = std::time::SystemTime::now() + Duration::from_secs(3_600);
    stream.pause_consumer("intake", until.into()).await.unwrap();

    let event =
        |n: u32| json!({"type": "test.echo", "id": n.to_string(), "data": "x".repeat(1_000)});
    let mut taken: u32 = 0;
    // The gateway looks once a second: it has to see this before more comes.
    while stream.get_info().await.unwrap().state.bytes * 100 < LIMIT * 92 {
        let answer = fleet.api().post_json("/v1/events", &event(taken)).await;
        if answer.status == 503 {
            break;
        }
        assert_eq!(answer.status, 202, "{}", answer.text);
        taken += 1;
    }
    let refused = eventually("the gateway is full", PATIENCE, || async {
        // No event: where there is room, that is what is wrong with it.
        let answer = fleet.api().post_json("/v1/events", &json!({})).await;
        if answer.status == 503 {
            Ok(answer)
        } else {
            Err(answer.status)
        }
    });
    let refused = refused.await;
    assert_eq!(problem(&refused, 503)["code"], "backlog");
    assert!(refused.headers.contains_key("retry-after"));
    let messages = stream.get_info().await.unwrap().state.messages;
    assert_eq!(
        messages,
        u64::from(taken),
        "what was taken in is there, and nothing else"
    );

    stream.resume_consumer("intake").await.unwrap();
    let last = eventually("there is room again", PATIENCE, || async {
        let answer = fleet.api().post_json("/v1/events", &event(taken)).await;
        if answer.status == 202 {
            Ok(answer)
        } else {
            Err(answer.status)
        }
    });
    let last: Value = last.await.json();
    assert_eq!(last["duplicate"], json!(false));
    fleet.wait_intake().await;
    assert_eq!(fleet.runs().await.len(), taken as usize + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_met_an_outage_is_sent_again_with_its_key_and_is_one_run() {
    let mut fleet = fleet(&[]).await;
    let event = json!({"type": "test.echo", "data": {"n": 1}}).to_string();
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "order-7"),
    ];
    fleet.nats.kill();
    let refused = fleet
        .api()
        .post_with("/v1/events", &headers, event.clone())
        .await;
    problem(&refused, 503);
    assert!(refused.headers.contains_key("retry-after"));
    fleet.nats.restart().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let taken = eventually("it is taken in", PATIENCE, || async {
            let answer = fleet
                .api()
                .post_with("/v1/events", &headers, event.clone())
                .await;
            if answer.status == 202 {
                Ok(answer)
            } else {
                Err(answer.status)
            }
        });
        let taken: Value = taken.await.json();
        ids.push(taken["id"].clone());
    }
    assert_eq!(ids, ["order-7", "order-7"]);
    fleet.wait_intake().await;
    assert_eq!(fleet.runs().await.len(), 1);
}
