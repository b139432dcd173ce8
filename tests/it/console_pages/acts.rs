//! What forms do.

use flotilla_tests::{PATIENCE, Sink, eventually};
use serde_json::{Value, json};

use super::{Browser, fleet, letters, unreadable};
use crate::{access::first_token, flows::incident};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_that_no_page_of_the_session_made_does_nothing() {
    let sink = Sink::start().await;
    let fleet = flotilla_tests::Fleet::builder()
        .workflows(crate::flows::incidents(&sink, "idempotent"))
        .env("FLOTILLA_AUTH", "tokens")
        .start()
        .await;
    let mut browser = Browser::of(&fleet);
    let stranger = browser.get("/fleet").await;
    assert_eq!(stranger.status, 303);
    assert!(stranger.location.unwrap().starts_with("/login"));
    browser.cookie = Some(format!("flotilla_token={}", first_token(&fleet)));
    let page = browser.see("/workflows/incident").await;
    assert!(!page.csrf().is_empty());
    for path in [
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
    ] {
        let fields = [
            ("reason", "r"),
            ("state", "open"),
            ("version", "1"),
            ("rate", "1/s"),
        ];
        let without = browser.post(path, &fields).await;
        assert_eq!(without.status, 403, "{path}: {}", without.html);
        let mut other = fields.to_vec();
        other.push(("csrf", "0000"));
        assert_eq!(browser.post(path, &other).await.status, 403, "{path}");
    }
    let path = "/workflows/incident/deactivate";
    let own = browser.post(path, &[("csrf", page.csrf())]).await;
    assert_eq!(own.status, 303, "{}", own.html);
}
