//! What forms do.

use flotilla_tests::{Fleet, PATIENCE, Sink, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Browser, fleet, letters, unreadable};
use crate::{
    access::{Asker, first_token},
    flows::{incident, incidents},
};

/// The forms about what all tenants share.
const FOR_ALL: [&str; 16] = [
    "/dlq/1/redrive",
    "/dlq/1/drop",
    "/dlq/cause/0123456789ab/redrive",
    "/dlq/cause/0123456789ab/drop",
    "/tools/repair/off",
    "/tools/repair/on",
    "/tools/repair/breaker",
    "/cost/ceiling",
    "/cost/ceiling/clear",
    "/workflows/incident/activate",
    "/workflows/incident/rollout",
    "/workflows/incident/rollout/end",
    "/workflows/incident/rollback",
    "/workflows/incident/deactivate",
    "/workflows/incident/steps/repair/off",
    "/workflows/incident/steps/repair/on",
];
/// What any of them asks for.
const FIELDS: [(&str, &str); 8] = [
    ("reason", "r"),
    ("state", "open"),
    ("version", "1"),
    ("percent", "10"),
    ("rate", "1/s"),
    ("scope", "workflow"),
    ("name", "incident"),
    ("usd", "1"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_edited_and_handled_again_and_what_was_typed_wrong_is_kept() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    let browser = Browser::of(&fleet);
    let seq = unreadable(&fleet, "{ not json").await;
    let (page, path) = (format!("/dlq/{seq}"), format!("/dlq/{seq}/redrive"));
    let form = browser.see(&page).await;
    let wrong = browser
        .post(
            &path,
            &[("csrf", form.csrf()), ("payload", "{\"text\": \"half")],
        )
        .await;
    assert_eq!(wrong.status, 400);
    wrong.has("this is not JSON");
    wrong.has("{&#34;text&#34;: &#34;half</textarea>");
    let typed = [
        ("payload", "{\"text\": \"the disk is full\"}"),
        ("reason", "mended"),
    ];
    let after = browser.act(&page, &path, &typed).await;
    after.has("The letter is handled again, with what you wrote in it.");
    after.has("No dead letters");
    eventually("the event has started its run", PATIENCE, || async {
        let runs = fleet.runs().await;
        if runs.len() == 1 { Ok(()) } else { Err(runs) }
    })
    .await;
    // It is told who settled it, to whoever comes second.
    let late = browser.get(&page).await;
    assert_eq!(late.status, 409);
    late.has("redriven");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_are_dropped_one_by_one_or_all_of_a_cause_and_never_without_a_reason() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    let browser = Browser::of(&fleet);
    let first = unreadable(&fleet, "{ one").await;
    for text in ["{ two", "{ three"] {
        unreadable(&fleet, text).await;
    }
    let (page, path) = (format!("/dlq/{first}"), format!("/dlq/{first}/drop"));
    let form = browser.see(&page).await;
    let silent = browser.post(&path, &[("csrf", form.csrf())]).await;
    assert_eq!(silent.status, 400);
    let after = browser.act(&page, &path, &[("reason", "a test")]).await;
    after.has("The letter is dropped.");
    assert_eq!(letters(&fleet).await.len(), 2);
    let groups: Value = fleet.api().get("/v1/dead").await.json();
    let print = groups["groups"][0]["fingerprint"].as_str().unwrap();
    let (page, path) = (
        format!("/dlq/cause/{print}"),
        format!("/dlq/cause/{print}/drop"),
    );
    let slow = format!("/dlq/cause/{print}/redrive");
    let form = browser.see(&page).await;
    let rate = browser
        .post(&slow, &[("csrf", form.csrf()), ("rate", "fast")])
        .await;
    assert_eq!(rate.status, 400);
    let after = browser.act(&page, &path, &[("reason", "a test")]).await;
    after.has("how far it is stands below");
    eventually("the job is done", PATIENCE, || async {
        let page = browser.see("/dlq").await;
        let done = page.html.contains("2 of 2 letters") && page.html.contains("No dead letters");
        if done { Ok(()) } else { Err(page.html) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn breakers_switches_ceilings_and_versions_are_changed_from_their_pages() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    let browser = Browser::of(&fleet);
    // The catalogue is there at once, how the fleet's tools stand within two seconds.
    eventually("the fleet page has the tool", PATIENCE, || async {
        let page = browser.see("/fleet").await;
        let there = page.html.contains("/tools/repair/breaker");
        if there { Ok(()) } else { Err(page.html) }
    })
    .await;
    let breaker = [("state", "open"), ("from", "fleet")];
    let after = browser
        .act("/fleet", "/tools/repair/breaker", &breaker)
        .await;
    after.has("The breaker is as you said");
    let tools: Value = fleet.api().get("/v1/tools/repair").await.json();
    assert_eq!(tools["forced"]["state"], json!("open"));
    let off = [("reason", "it is too loud"), ("hold", "yes")];
    let after = browser.act("/tools", "/tools/announce/off", &off).await;
    after.has("It is switched off.");
    after.has("it is too loud");
    let after = browser.act("/tools", "/tools/announce/on", &[]).await;
    after.lacks("it is too loud");

    let ceiling = [
        ("scope", "workflow"),
        ("name", "incident"),
        ("usd", "$2.50"),
    ];
    let after = browser.act("/cost", "/cost/ceiling", &ceiling).await;
    after.has("The ceiling holds from now on");
    after.has("$0 of $2.50");
    let whose = [("scope", "workflow"), ("name", "incident")];
    let after = browser.act("/cost", "/cost/ceiling/clear", &whose).await;
    after.lacks("$2.50");
    let form = browser.see("/cost").await;
    let wrong = [
        ("csrf", form.csrf()),
        ("scope", "workflow"),
        ("name", "incident"),
        ("usd", "much"),
    ];
    assert_eq!(browser.post("/cost/ceiling", &wrong).await.status, 400);

    let page = "/workflows/incident";
    let after = browser
        .act(page, "/workflows/incident/deactivate", &[])
        .await;
    after.has("No new runs are started.");
    after.has("not started");
    let after = browser
        .act(page, "/workflows/incident/activate", &[("version", "1")])
        .await;
    after.has("New runs get this version now.");
    fleet.submit(&incident("1")).await;
}

/// A fleet whose gateway asks for tokens.
async fn asking(sink: &Sink) -> Fleet {
    Fleet::builder()
        .workflows(incidents(sink, "idempotent"))
        .env("FLOTILLA_AUTH", "tokens")
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_that_no_page_of_the_session_made_does_nothing() {
    let sink = Sink::start().await;
    let fleet = asking(&sink).await;
    let mut browser = Browser::of(&fleet);
    let stranger = browser.get("/fleet").await;
    assert_eq!(stranger.status, 303);
    assert!(stranger.location.unwrap().starts_with("/login"));
    browser.cookie = Some(format!("flotilla_token={}", first_token(&fleet)));
    let page = browser.see("/workflows/incident").await;
    assert!(!page.csrf().is_empty());
    for path in FOR_ALL {
        let without = browser.post(path, &FIELDS).await;
        assert_eq!(without.status, 403, "{path}: {}", without.html);
        let mut other = FIELDS.to_vec();
        other.push(("csrf", "0000"));
        assert_eq!(browser.post(path, &other).await.status, 403, "{path}");
    }
    let path = "/workflows/incident/deactivate";
    let why = [("csrf", page.csrf()), ("reason", "it is too loud")];
    let own = browser.post(path, &why).await;
    assert_eq!(own.status, 303, "{}", own.html);
    let admin = Asker::new(fleet.api().base(), &first_token(&fleet));
    let audit = seen(&admin, "/v1/audit?since=1h").await;
    let entries = audit["entries"].as_array().unwrap().iter();
    let done = entries.filter(|entry| entry["status"] == 303);
    let done: Vec<_> = done.map(|entry| &entry["reason"]).collect();
    assert_eq!(done, ["it is too loud"], "{audit}");
}

async fn seen(asker: &Asker, path: &str) -> Value {
    let (status, answer) = asker.send(Method::GET, path, &json!(null)).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// What the forms for all could have changed.
async fn shared(admin: &Asker) -> Value {
    let tool = seen(admin, "/v1/tools/repair").await;
    json!({
        "forced": tool["forced"],
        "switches": seen(admin, "/v1/switches").await,
        "ceilings": seen(admin, "/v1/ceilings").await,
        "workflow": seen(admin, "/v1/definitions/incident").await,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_all_tenants_share_is_not_changed_by_the_forms_of_one_whatever_its_scope() {
    let sink = Sink::start().await;
    let fleet = asking(&sink).await;
    let admin = Asker::new(fleet.api().base(), &first_token(&fleet));
    let wanted = json!({"name": "acme", "tenant": "acme", "scopes": ["admin"]});
    let mut browser = Browser::of(&fleet);
    browser.cookie = Some(format!("flotilla_token={}", admin.make(&wanted).await));
    let before = shared(&admin).await;
    for path in ["/fleet", "/tools", "/cost", "/workflows/incident"] {
        let page = browser.see(path).await;
        for form in FOR_ALL {
            page.lacks(&format!("action=\"{form}\""));
        }
    }
    let page = browser.see("/runs").await;
    for path in FOR_ALL {
        let mut fields = vec![("csrf", page.csrf())];
        fields.extend(FIELDS);
        let refused = browser.post(path, &fields).await;
        assert_eq!(refused.status, 403, "{path}: {}", refused.html);
    }
    assert_eq!(shared(&admin).await, before);
    // What is its own, it does.
    let event = incident("1")["data"].to_string();
    let event = [
        ("csrf", page.csrf()),
        ("type", "test.incident"),
        ("data", &event),
    ];
    assert_eq!(browser.post("/runs", &event).await.status, 303);
    let out = browser.post("/logout", &[("csrf", page.csrf())]).await;
    assert_eq!(out.status, 303, "{}", out.html);
}
