//! Events come in, every way there is, and what is wrong with them is said.

mod docs;
mod room;
mod versions;

use async_nats::HeaderMap;
use flotilla_tests::{Answer, Fleet, Workflows};
use serde_json::{Value, json};

use crate::{dead::only_letter, flows::ALWAYS_HIGH};

/// A workflow that gives back what its event said, and asks nobody.
const ECHO: &str = "workflow: echo\nversion: 1\non: {event: test.echo}\nsteps: [{id: done, end: completed}]\noutput: {data: '{{ event.data }}', id: '{{ event.id }}', subject: '{{ event.subject | default(\"\") }}'}\n";
const EVENTS: &str = "/v1/events";
const BATCH: &str = "application/cloudevents-batch+json";

/// A fleet with the echo and these files.
pub(crate) async fn fleet(more: &[(&str, &str)]) -> Fleet {
    let files = [("echo.yaml", ECHO), ("policies.yaml", ALWAYS_HIGH)];
    let files = [&files[..], more].concat();
    let workflows = Workflows::files(&files);
    Fleet::builder().workflows(workflows).start().await
}

/// RFC 9457, with this status. Gives all of it.
#[track_caller]
pub(crate) fn problem(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.content_type, "application/problem+json");
    let problem: Value = answer.json();
    assert_eq!(problem["status"], status);
    problem
}

/// The one run that an accepted event started.
#[track_caller]
pub(crate) fn run_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{}", answer.text);
    let taken: Value = answer.json();
    let run = taken["runs"][0].as_str().expect("a run").to_owned();
    assert_eq!(answer.headers["location"], format!("/v1/runs/{run}"));
    assert_eq!(taken["status_urls"], json!([format!("/v1/runs/{run}")]));
    run
}

/// What a run began with.
pub(crate) async fn event_of(fleet: &Fleet, run: &str) -> Value {
    fleet.wait_run_end(run).await;
    let journal = fleet.journal(run).await;
    journal.0[0].payload["event"].clone()
}

fn cloud_event(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "tests", "type": "test.echo", "data": {"n": id}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_whose_attributes_are_headers_is_the_same_as_a_structured_one() {
    let fleet = fleet(&[]).await;
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "one"),
        ("ce-source", "tests"),
        ("ce-type", "test.echo"),
        ("ce-subject", "caf%C3%A9%20%25"),
        (
            "ce-traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    ];
    let json = [&headers[..], &[("content-type", "application/json")]].concat();
    let answer = fleet
        .api()
        .post_with(EVENTS, &json, r#"{"n": "one"}"#)
        .await;
    let run = run_of(&answer);
    let event = event_of(&fleet, &run).await;
    assert_eq!(
        (&event["subject"], &event["data"]),
        (&json!("café %"), &json!({"n": "one"}))
    );
    assert_eq!(event["traceparent"], headers[5].1);
    assert_eq!(event["datacontenttype"], "application/json");

    let structured = "application/cloudevents+json";
    let again = fleet
        .api()
        .post(EVENTS, structured, cloud_event("one").to_string())
        .await;
    let again: Value = again.json();
    assert_eq!(
        (&again["duplicate"], &again["runs"][0]),
        (&json!(true), &json!(run))
    );

    let mut image = headers.to_vec();
    image[1] = ("ce-id", "two");
    image.push(("content-type", "image/png"));
    let answer = fleet
        .api()
        .post_with(EVENTS, &image, vec![0x89, b'P'])
        .await;
    let event = event_of(&fleet, &run_of(&answer)).await;
    assert_eq!(event["data"], json!({"base64": "iVA="}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_taken_in_whole_or_not_at_all() {
    let fleet = fleet(&[]).await;
    let post = async |batch: Value| fleet.api().post(EVENTS, BATCH, batch.to_string()).await;
    let many: Vec<Value> = (0..50).map(|n| cloud_event(&n.to_string())).collect();

    let mut wrong = many.clone();
    wrong[3]["type"] = json!("test echo");
    wrong[7].as_object_mut().unwrap().remove("id");
    wrong[9]["type"] = json!("test.unknown");
    let refused = problem(&post(json!(wrong)).await, 422);
    let pointers: Vec<&Value> = refused["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["pointer"])
        .collect();
    assert_eq!(
        pointers,
        [&json!("/3/type"), &json!("/7/id"), &json!("/9/type")]
    );
    fleet.wait_intake().await;
    assert!(fleet.journal_of_all().await.0.is_empty());

    for round in 0..2 {
        let answer = post(json!(many)).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        let taken: Value = answer.json();
        let taken = taken["events"].as_array().unwrap();
        assert_eq!(taken.len(), 50);
        for (sent, taken) in many.iter().zip(taken) {
            assert_eq!(
                (&taken["id"], &taken["duplicate"]),
                (&sent["id"], &json!(round == 1))
            );
        }
        fleet.wait_intake().await;
    }
    assert_eq!(fleet.runs().await.len(), 50);
    problem(&post(json!(vec![cloud_event("x"); 1_001])).await, 413);
    problem(&post(json!({})).await, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cloud_event_over_nats_is_read_as_its_headers_say() {
    let fleet = fleet(&[]).await;
    let jetstream = fleet.nats.jetstream().await;
    let publish = async |headers: &[(&str, &str)], body: &str| {
        let headers: HeaderMap = headers
            .iter()
            .map(|(n, v)| {
                (
                    n.parse::<async_nats::HeaderName>().unwrap(),
                    v.parse::<async_nats::HeaderValue>().unwrap(),
                )
            })
            .collect();
        let sent =
            jetstream.publish_with_headers("events.test.echo", headers, body.to_owned().into());
        sent.await.unwrap().await.unwrap();
        fleet.wait_intake().await;
    };
    let binary = [
        ("ce-specversion", "1.0"),
        ("CE-id", "b"),
        ("ce-source", "tests"),
        ("ce-type", "test.echo"),
        ("ce-subject", "a%20b"),
        ("ce-datacontenttype", "text/plain"),
    ];
    publish(&binary, "hello").await;
    publish(
        &[("Content-Type", "application/cloudevents+json")],
        &cloud_event("s").to_string(),
    )
    .await;
    let runs = fleet.runs().await;
    assert_eq!(runs.len(), 2);
    let (newest, first) = (
        event_of(&fleet, &runs[0].id).await,
        event_of(&fleet, &runs[1].id).await,
    );
    assert_eq!(
        (&first["id"], &first["data"], &first["subject"]),
        (&json!("b"), &json!("hello"), &json!("a b"))
    );
    assert_eq!(
        (&newest["id"], &newest["source"]),
        (&json!("s"), &json!("tests"))
    );

    let mut old = binary;
    old[0].1 = "0.3";
    publish(&old, "hello").await;
    let letter = only_letter(&fleet).await;
    assert_eq!(letter["kind"], "unreadable");
    assert!(
        letter["reason"]
            .as_str()
            .unwrap()
            .contains("`specversion` is `0.3`"),
        "{letter}"
    );
    assert_eq!(fleet.runs().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_cloud_events_over_http_are_told_with_their_places() {
    let fleet = fleet(&[]).await;
    let right = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "s"),
        ("ce-type", "test.echo"),
    ];
    let told = async |at: usize, header: (&str, &str)| {
        let mut headers = right.to_vec();
        headers[at] = header;
        let answer = fleet.api().post_with(EVENTS, &headers, "{}").await;
        let problem = problem(&answer, 400);
        problem["errors"][0]["pointer"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(told(0, ("ce-specversion", "0.3")).await, "/specversion");
    assert_eq!(told(0, ("ce-other", "1.0")).await, "/specversion");
    assert_eq!(
        told(1, ("ce-id", "a%0d%0aFlotilla-Promise: x")).await,
        "/id"
    );
    assert_eq!(told(3, ("ce-type", "events.>")).await, "/type");
    assert_eq!(told(1, ("ce-id", "")).await, "/id");
    let broken = fleet
        .api()
        .post_with(EVENTS, &right, "{\"a\": 1,\n }")
        .await;
    assert!(
        problem(&broken, 400)["detail"]
            .as_str()
            .unwrap()
            .contains("line 2 column 2")
    );
    let avro = fleet
        .api()
        .post(EVENTS, "application/cloudevents+avro", "x")
        .await;
    problem(&avro, 415);
    let misspelt = fleet
        .api()
        .post(&format!("{EVENTS}?wiat=1s"), "application/json", "{}")
        .await;
    problem(&misspelt, 400);
    let huge = vec![b' '; 50 << 20];
    // The answer, or a connection that is closed: what is not taken need not be listened to.
    if let Ok(answer) = fleet.api().try_post(EVENTS, "application/json", huge).await {
        problem(&answer, 413);
    }
    fleet.wait_intake().await;
    assert!(fleet.journal_of_all().await.0.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_is_told_how_the_run_ended() {
    let mut fleet = fleet(&[]).await;
    let post = async |fleet: &Fleet, wait: &str, id: &str| {
        let path = format!("{EVENTS}?wait={wait}");
        fleet
            .api()
            .post(
                &path,
                "application/cloudevents+json",
                cloud_event(id).to_string(),
            )
            .await
    };
    for id in ["a", "b", "a"] {
        let answer = post(&fleet, "30s", id).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let done: Value = answer.json();
        let ended = &done["ended"][0];
        assert_eq!(
            (&ended["status"], &ended["run"]),
            (&json!("completed"), &done["runs"][0])
        );
        assert_eq!(ended["output"]["data"], json!({"n": id}));
    }
    // Without a planner no run ends.
    fleet.planners.clear();
    run_of(&post(&fleet, "300ms", "c").await);
    problem(&post(&fleet, "31s", "d").await, 400);
    problem(&post(&fleet, "soon", "d").await, 400);
}
