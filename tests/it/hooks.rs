//! Webhooks: whose they are, what they become, and what comes twice.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flotilla_tests::{Answer, Fleet, Workflows};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{
    flows::ALWAYS_HIGH,
    ingest::{event_of, problem, run_of},
};

const PAID: &str = "workflow: paid\nversion: 1\non: {event: invoice.paid}\nsteps: [{id: done, end: completed}]\noutput: {n: '{{ event.data.n }}'}\n";
const OPENED: &str = "workflow: opened\nversion: 1\non: {event: github.pull_request.opened}\nsteps: [{id: done, end: completed}]\n";
const ALERT: &str = "workflow: alert\nversion: 1\non: {event: alertmanager.alert}\nsteps: [{id: done, end: completed}]\n";
const PAY: &str = "hook: pay\nverify: {standard_webhooks: {secret: [env:PAY_OLD, env:PAY_NEW]}}\nmap: {type: '{{ body.type }}', data: '{{ body.data }}'}\n";
const GITHUB: &str = "hook: github\nverify: {github: {secret: env:GITHUB}}\n";
const OPEN: &str = "hook: open\nverify: none\nmap: {type: '{{ body.type }}', id: '{{ body.id }}', data: {who: '{{ headers }}', n: '{{ query.n }}'}}\n";
const OFF: &str = "hook: off\nenabled: false\nverify: none\nmap: {type: a.b, id: '1'}\n";
const GUARDED: &str = "hook: alertmanager\nverify: {bearer: {secret: env:ALERTS}}\n";
const UNSET: &str =
    "hook: unset\nverify: {bearer: {secret: env:NOBODY_SETS_THIS}}\nmap: {type: a.b, id: '1'}\n";
const KEY: &[u8] = b"a key of some bytes";
const SECRET: &str = "It's a Secret to Everybody";

async fn fleet() -> Fleet {
    fleet_with("off").await
}

/// One that asks for tokens, or does not.
async fn fleet_with(auth: &str) -> Fleet {
    let files = [
        PAID,
        OPENED,
        ALERT,
        PAY,
        GITHUB,
        OPEN,
        OFF,
        GUARDED,
        UNSET,
        ALWAYS_HIGH,
    ];
    let files = files.iter().enumerate();
    let files: Vec<(String, &str)> = files
        .map(|(n, text)| (format!("{n}.yaml"), *text))
        .collect();
    Fleet::builder()
        .workflows(Workflows::files(&files))
        .env("PAY_OLD", "whsec_AAAAAAAAAAAAAAAA")
        .env("PAY_NEW", &format!("whsec_{}", STANDARD.encode(KEY)))
        .env("GITHUB", SECRET)
        .env("ALERTS", "s3cret")
        .env("FLOTILLA_AUTH", auth)
        .start()
        .await
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// Sends what a sender of Standard Webhooks would send, signed at that time.
async fn pay(fleet: &Fleet, id: &str, seconds: i64, signed: &str, sent: &str) -> Answer {
    let time = seconds.to_string();
    let signature = hmac(KEY, format!("{id}.{time}.{signed}").as_bytes());
    let signature = format!("v1,bm9uZQ== v1,{}", STANDARD.encode(signature));
    let headers = [
        ("content-type", "application/json"),
        ("webhook-id", id),
        ("webhook-timestamp", &time),
        ("webhook-signature", &signature),
    ];
    fleet.api().post_with("/v1/hooks/pay", &headers, sent).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_webhook_is_one_run_however_often_it_comes_and_a_forged_one_none() {
    let fleet = fleet().await;
    let now = Timestamp::now().as_second();
    let body = r#"{"type": "invoice.paid", "data": {"n": 1}}"#;
    let run = run_of(&pay(&fleet, "msg_1", now, body, body).await);
    let event = event_of(&fleet, &run).await;
    assert_eq!(
        (&event["id"], &event["source"], &event["data"]),
        (&json!("msg_1"), &json!("hook:pay"), &json!({"n": 1}))
    );
    let again = pay(&fleet, "msg_1", now - 60, body, body).await;
    let again: Value = again.json();
    assert_eq!(
        (&again["duplicate"], &again["runs"][0]),
        (&json!(true), &json!(run))
    );

    let other = r#"{"type": "invoice.paid", "data": {"n": 2}}"#;
    let forged = problem(&pay(&fleet, "msg_2", now, body, other).await, 401);
    assert_eq!(forged["code"], "signature");
    assert!(!forged.to_string().contains("whsec"), "{forged}");
    let replayed = problem(&pay(&fleet, "msg_2", now - 600, other, other).await, 401);
    assert!(
        replayed["detail"]
            .as_str()
            .unwrap()
            .contains("five minutes")
    );
    problem(&pay(&fleet, "msg_2", now + 600, other, other).await, 401);
    // What is wrong in a forged body is nobody's business.
    problem(&pay(&fleet, "msg_2", now, body, "{").await, 401);
    problem(&pay(&fleet, "msg_2", now, "{", "{").await, 400);
    let bare = [("content-type", "application/json")];
    problem(
        &fleet.api().post_with("/v1/hooks/pay", &bare, body).await,
        401,
    );
    fleet.wait_intake().await;
    assert_eq!(fleet.runs().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_github_sends_becomes_events_by_its_headers() {
    let fleet = fleet().await;
    let post = async |event: &str, delivery: &str, body: &str| {
        let digest = hmac(SECRET.as_bytes(), body.as_bytes());
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let signature = format!("sha256={hex}");
        let headers = [
            ("content-type", "application/json"),
            ("x-github-event", event),
            ("x-github-delivery", delivery),
            ("x-hub-signature-256", &signature),
        ];
        fleet
            .api()
            .post_with("/v1/hooks/github", &headers, body)
            .await
    };
    let run = run_of(
        &post(
            "pull_request",
            "d-1",
            r#"{"action": "opened", "number": 7}"#,
        )
        .await,
    );
    let event = event_of(&fleet, &run).await;
    assert_eq!(
        (&event["type"], &event["id"], &event["data"]["number"]),
        (
            &json!("github.pull_request.opened"),
            &json!("d-1"),
            &json!(7)
        )
    );
    // What nobody waits for is no fault of the sender.
    let ping = post("ping", "d-2", r#"{"zen": "Keep it logically awesome."}"#).await;
    assert_eq!(ping.status, 200, "{}", ping.text);
    assert!(
        ping.json::<Value>()["ignored"]
            .as_str()
            .unwrap()
            .contains("github.ping")
    );
    let injected = post("pull_request.>", "d-3", "{}").await;
    assert_eq!(problem(&injected, 422)["errors"][0]["pointer"], "/map/type");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_that_are_not_there_off_or_not_set_up_say_so() {
    let fleet = fleet().await;
    let post = async |hook: &str, headers: &[(&str, &str)], body: &str| {
        let headers = [&[("content-type", "application/json")], headers].concat();
        fleet
            .api()
            .post_with(&format!("/v1/hooks/{hook}"), &headers, body)
            .await
    };
    problem(&post("nobody", &[], "{}").await, 404);
    problem(&post("off", &[], "{}").await, 404);
    problem(&post("..%2fevents", &[], "{}").await, 404);
    let unset = problem(
        &post("unset", &[("authorization", "Bearer x")], "{}").await,
        503,
    );
    assert!(!unset.to_string().contains("NOBODY_SETS_THIS"), "{unset}");

    let body = r#"{"type": "invoice.paid", "id": 9}"#;
    let secret = [
        ("cookie", "a=b"),
        ("authorization", "Bearer x"),
        ("x-seen", "yes"),
    ];
    let run = run_of(&post("open?n=4", &secret, body).await);
    let event = event_of(&fleet, &run).await;
    assert_eq!(
        (&event["id"], &event["data"]["n"]),
        (&json!("9"), &json!("4"))
    );
    let who = &event["data"]["who"];
    assert_eq!(who["x-seen"], "yes");
    assert!(
        who.get("cookie").is_none() && who.get("authorization").is_none(),
        "{who}"
    );
    let mapping = problem(&post("open", &[], "{}").await, 422);
    assert_eq!(mapping["errors"][0]["pointer"], "/map/type");
    let waited = post(
        "open?n=5&wait=30s",
        &[],
        r#"{"type": "invoice.paid", "id": 10}"#,
    )
    .await;
    assert_eq!(waited.status, 200, "{}", waited.text);
    assert_eq!(waited.json::<Value>()["ended"][0]["output"]["n"], "5");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alertmanager_needs_the_token_that_a_definition_calls_for() {
    let fleet = fleet().await;
    let alert = json!({"status": "firing", "labels": {"alertname": "x"}, "startsAt": "2026-11-21T06:00:00Z", "fingerprint": "1"});
    let body = json!({"version": "4", "receiver": "r", "status": "firing", "externalURL": "http://a", "alerts": [alert]}).to_string();
    let post = async |token: &str| {
        let headers = [
            ("content-type", "application/json"),
            ("authorization", token),
        ];
        fleet
            .api()
            .post_with("/v1/hooks/alertmanager", &headers, body.clone())
            .await
    };
    problem(&post("Bearer wrong").await, 401);
    assert_eq!(post("Bearer s3cret").await.status, 202);
    fleet.wait_intake().await;
    assert_eq!(fleet.runs().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alertmanagers_hook_is_not_there_where_a_definition_switches_it_off() {
    let off = GUARDED.replacen('\n', "\nenabled: false\n", 1);
    let fleet = Fleet::builder()
        .workflows(Workflows::files(&[
            ("alert.yaml", ALERT),
            ("off.yaml", &off),
        ]))
        .env("ALERTS", "s3cret")
        .start()
        .await;
    let headers = [
        ("content-type", "application/json"),
        ("authorization", "Bearer s3cret"),
    ];
    let post = async |hook: &str| {
        let path = format!("/v1/hooks/{hook}");
        let answer = fleet.api().post_with(&path, &headers, "{}").await;
        problem(&answer, 404)["detail"].to_string()
    };
    let never = post("nobody").await;
    assert_eq!(
        post("alertmanager").await,
        never.replace("nobody", "alertmanager")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_hook_that_is_signed_needs_no_token() {
    let fleet = fleet_with("tokens").await;
    let body = r#"{"type": "invoice.paid", "id": 1, "data": {"n": 1}}"#;
    let now = Timestamp::now().as_second();
    run_of(&pay(&fleet, "msg_1", now, body, body).await);
    problem(&pay(&fleet, "msg_2", now, "{}", body).await, 401);
    let json = [("content-type", "application/json")];
    for path in ["open", "off", "nobody", "pay/", "../events"] {
        let path = format!("/v1/hooks/{path}");
        let answer = fleet.api().post_with(&path, &json, body).await;
        assert!(
            [401, 404].contains(&answer.status),
            "{path}: {}",
            answer.text
        );
    }
    problem(
        &fleet.api().post_with("/v1/hooks/open", &json, body).await,
        401,
    );
    problem(&fleet.api().post_with("/v1/events", &json, body).await, 401);
    fleet.wait_intake().await;
    let journal = fleet.journal_of_all().await;
    let starts = journal.0.iter().filter(|entry| entry.kind == "started");
    assert_eq!(starts.count(), 1);
}
