//! Events that nobody can handle: what they become, and how people settle them.

use std::collections::BTreeMap;

use flotilla_tests::{Answer, Fleet, PATIENCE, RoleOptions, Sink, eventually, run_flotilla};
use serde_json::{Value, json};

use crate::flows::{assert_each_once, cloud_event, incident, incidents};

/// A workflow of one tool, for events that nothing is for before it comes.
const LATER: &str = r#"
workflow: later
version: 1
on: {event: test.later}
steps:
  - id: tell
    tool: announce
    with: {text: '{{ event.data.text }}', level: low}
"#;
/// Letters of one cause
const MANY: usize = 300;

async fn fleet(sink: &Sink) -> Fleet {
    Fleet::builder()
        .workflows(incidents(sink, "idempotent"))
        .start()
        .await
}

/// An answer that is no error.
pub(crate) fn fine(answer: &Answer) -> Value {
    assert!((200..300).contains(&answer.status), "{}", answer.text);
    answer.json()
}

/// Waits until there are that many dead letters, and gives them by cause.
pub(crate) async fn groups(fleet: &Fleet, letters: u64) -> Vec<Value> {
    eventually(&format!("{letters} dead letters"), PATIENCE, || async {
        let listed = fine(&fleet.api().get("/v1/dead").await);
        let groups = listed["groups"].as_array().cloned().unwrap_or_default();
        let counts = groups.iter().filter_map(|group| group["count"].as_u64());
        if counts.sum::<u64>() == letters {
            Ok(groups)
        } else {
            Err(groups)
        }
    })
    .await
}

/// Waits for the only letter there is.
pub(crate) async fn only_letter(fleet: &Fleet) -> Value {
    let groups = groups(fleet, 1).await;
    let seq = &groups[0]["seq"];
    fine(&fleet.api().get(&format!("/v1/dead/{seq}")).await)
}

async fn publish(fleet: &Fleet, kind: &str, payload: Vec<u8>) {
    let jetstream = fleet.nats.jetstream().await;
    let sent = jetstream.publish(format!("events.{kind}"), payload.into());
    sent.await.unwrap().await.unwrap();
}

/// Waits until the gateway has read all that JetStream said it gave up on; there is something.
async fn wait_advisories(fleet: &Fleet) {
    let jetstream = fleet.nats.jetstream().await;
    let stream = jetstream.get_stream("ADVISORIES").await.unwrap();
    eventually("the advisories are read", PATIENCE, || async {
        let said = stream.get_info().await.map_err(|e| e.to_string())?;
        let info = stream.consumer_info("advisories").await;
        let info = info.map_err(|e| e.to_string())?;
        match (info.num_pending, info.num_ack_pending) {
            (0, 0) if said.state.messages > 0 => Ok(()),
            _ => Err(format!("{} of them, {info:?}", said.state.messages)),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_an_unknown_type_is_one_letter_that_can_be_dropped_and_who_did_is_kept() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    let event = json!({"text": "Bearer sk-ant-REDACTED"});
    fleet.publish_event("test.nobodys", &event, None).await;
    let letter = only_letter(&fleet).await;
    assert_eq!(
        (&letter["role"], &letter["kind"]),
        (&json!("gateway"), &json!("unplaceable"))
    );
    assert_eq!(
        (&letter["subject"], &letter["stream"]),
        (&json!("events.test.nobodys"), &json!("EVENTS"))
    );
    let reason = letter["reason"].as_str().unwrap();
    assert!(reason.contains("test.nobodys"), "{reason}");
    assert!(!letter["payload"].to_string().contains("api03"), "{letter}");
    // JetStream says that it was ended, and by whom: no second letter of it.
    wait_advisories(&fleet).await;
    groups(&fleet, 1).await;
    eventually("it is counted", PATIENCE, || async {
        let there = fleet.gateway.metric("flotilla_dead_letters").await;
        let came = fleet.gateway.metric("flotilla_dead_letters_total").await;
        if there + came > 1.9 {
            Ok(())
        } else {
            Err((there, came))
        }
    })
    .await;

    let path = format!("/v1/dead/{}", letter["seq"]);
    // It would come back at once.
    let answer = fleet
        .api()
        .post_json(&format!("{path}/redrive"), &json!({}))
        .await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    let dropped = fleet
        .api()
        .delete(&format!("{path}?by=ana&reason=a%20typo"))
        .await;
    assert_eq!(fine(&dropped)["action"], "drop");
    groups(&fleet, 0).await;
    let gone = fleet.api().get(&path).await;
    assert_eq!(gone.status, 409, "{}", gone.text);
    assert!(
        gone.text.contains("ana") && gone.text.contains("a typo"),
        "{}",
        gone.text
    );
    assert_eq!(fleet.api().get("/v1/dead/999").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_cannot_be_read_is_edited_and_starts_its_run_once() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    publish(&fleet, "test.incident", b"{\"text\": ".to_vec()).await;
    let letter = only_letter(&fleet).await;
    assert_eq!(letter["kind"], "unreadable");
    assert_eq!(letter["payload"], "{\"text\": ");
    let seq = letter["seq"].to_string();
    let url = fleet.api().base().to_owned();
    let flotilla =
        async |args: &[&str]| run_flotilla(args, &[("FLOTILLA_URL", &url)], PATIENCE).await;

    let refused = flotilla(&["dead", "redrive", &seq]).await;
    assert!(!refused.status.success(), "{}", refused.output);
    assert!(
        refused
            .output
            .contains(&format!("flotilla dead edit {seq}")),
        "{}",
        refused.output
    );
    let shown = flotilla(&["dead", "show", &seq]).await;
    assert!(
        shown.output.contains("events.test.incident"),
        "{}",
        shown.output
    );
    let edited = flotilla(&[
        "dead",
        "edit",
        &seq,
        "--payload",
        r#"{"text": "the disk is full"}"#,
    ])
    .await;
    assert!(edited.status.success(), "{}", edited.output);
    let again = flotilla(&["dead", "edit", &seq, "--payload", "{}"]).await;
    assert!(again.output.contains("redriven"), "{}", again.output);

    let ends = fleet.wait_ends(1, PATIENCE).await;
    let (run, outcome, _) = &ends[0];
    assert_eq!(outcome, "completed");
    let journal = fleet.journal_of_all().await;
    let started: Vec<_> = journal.of("started", None).collect();
    assert_eq!(started.len(), 1);
    // It is the event that it was: its place in the stream says which.
    assert_eq!(started[0].text("/event/id"), "nats:EVENTS:1");
    assert_each_once(&fleet, &sink, &[run.clone()].into()).await;
    groups(&fleet, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_too_large_is_shown_in_part_and_can_be_sent_smaller() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    let mut event = cloud_event("large");
    event["data"]["text"] = json!("x".repeat(900_000));
    publish(&fleet, "test.incident", event.to_string().into_bytes()).await;
    let letter = only_letter(&fleet).await;
    let reason = letter["reason"].as_str().unwrap();
    assert!(reason.contains("at most"), "{reason}");
    assert_eq!(letter["truncated"], true);
    assert!(letter["payload"].as_str().unwrap().len() < 100_000);
    let path = format!("/v1/dead/{}/redrive", letter["seq"]);
    let answer = fleet
        .api()
        .post_json(&path, &json!({"payload": cloud_event("large")}))
        .await;
    assert_eq!(fine(&answer)["edited"], true);
    let ends = fleet.wait_ends(1, PATIENCE).await;
    assert_eq!(ends[0].1, "completed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_letters_of_one_cause_are_redriven_each_once_though_the_gateway_is_killed() {
    let sink = Sink::start().await;
    let mut fleet = fleet(&sink).await;
    for n in 0..MANY {
        let event = json!({"text": format!("{n}")});
        fleet.publish_event("test.later", &event, None).await;
    }
    let [cause] = groups(&fleet, MANY as u64).await.try_into().unwrap();
    let print = cause["fingerprint"].as_str().unwrap().to_owned();
    // Page by page.
    let page = fine(
        &fleet
            .api()
            .get(&format!("/v1/dead?fingerprint={print}&limit=200"))
            .await,
    );
    let next = page["next"].as_str().unwrap();
    let rest = format!("/v1/dead?fingerprint={print}&limit=200&cursor={next}");
    let rest = fine(&fleet.api().get(&rest).await);
    assert_eq!(rest["letters"].as_array().map(Vec::len), Some(MANY - 200));

    let tools = fleet.workflows().folder().join("tools.yaml");
    let tools = std::fs::read_to_string(tools).unwrap();
    let files = json!({"files": {"later.yaml": LATER, "tools.yaml": tools}});
    let applied = fleet.api().post_json("/v1/definitions", &files).await;
    fine(&applied);
    let asked = json!({"fingerprint": print, "rate": "100/s", "by": "ana"});
    let job = fine(&fleet.api().post_json("/v1/dead/redrive", &asked).await);
    let progress = format!("/v1/dead/redrives/{}", job["id"].as_str().unwrap());
    eventually("some are redriven", PATIENCE, || async {
        let there = fine(&fleet.api().get("/v1/dead").await);
        match there["groups"][0]["count"].as_u64() {
            Some(count) if count < MANY as u64 - 20 => Ok(()),
            seen => Err(seen),
        }
    })
    .await;
    fleet.gateway.kill9();
    fleet.replace_gateway(RoleOptions::default()).await;
    let done = eventually("the redrive is done", 2 * PATIENCE, || async {
        let job = fine(&fleet.api().get(&progress).await);
        if job["state"] == "done" {
            Ok(job)
        } else {
            Err(job)
        }
    })
    .await;
    assert_eq!(
        (&done["done"], &done["refused"]),
        (&json!(MANY), &json!(0)),
        "{done}"
    );
    let ends = fleet.wait_ends(MANY, 2 * PATIENCE).await;
    assert!(ends.iter().all(|(_, outcome, _)| outcome == "completed"));
    fleet.wait_intake().await;
    let journal = fleet.journal_of_all().await;
    let mut events: BTreeMap<String, usize> = BTreeMap::new();
    for started in journal.of("started", None) {
        *events
            .entry(started.text("/event/id").to_owned())
            .or_default() += 1;
    }
    assert_eq!(events.len(), MANY);
    assert!(events.values().all(|count| *count == 1), "{events:?}");
    let effects = sink.effects_at("/announce");
    assert_eq!(effects.len(), MANY);
    assert!(effects.values().all(|effect| effect.executions == 1));
    groups(&fleet, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_letters_of_a_cause_are_dropped_together_and_nothing_else_is() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    for n in 0..5 {
        fleet
            .publish_event("test.nobodys", &json!({"n": n}), None)
            .await;
    }
    publish(&fleet, "test.incident", b"[".to_vec()).await;
    let all = groups(&fleet, 6).await;
    let five = all.iter().find(|group| group["count"] == 5).unwrap();
    let print = five["fingerprint"].as_str().unwrap();
    let url = fleet.api().base().to_owned();
    let args = ["dead", "drop", "--fingerprint", print, "--reason", "noise"];
    let dropped = run_flotilla(&args, &[("FLOTILLA_URL", &url)], PATIENCE).await;
    assert!(dropped.status.success(), "{}", dropped.output);
    assert!(dropped.output.contains("5 of 5"), "{}", dropped.output);
    let left = groups(&fleet, 1).await;
    assert_eq!(left[0]["kind"], "unreadable");
    // Good ones go on all the while.
    let run = fleet.submit(&incident("a")).await.runs.remove(0);
    assert_eq!(fleet.wait_run_end(&run).await.status, "completed");
}
