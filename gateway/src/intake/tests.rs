use std::sync::Arc;

use flotilla_common::{
    claude::Models,
    definition::{Catalogue, Sources},
    io::definitions::Live,
};
use serde_json::json;

use super::*;
use crate::triggers::tests::{catalogue, event};

fn current() -> Current {
    Current::new(Live::from(Arc::new(catalogue())))
}

fn message(subject: &str, payload: &str, id: Option<&str>) -> Incoming {
    Incoming {
        subject: subject.into(),
        seq: 7,
        payload: payload.to_owned().into(),
        published: jiff::Timestamp::UNIX_EPOCH,
        delivered: 1,
        message_id: id.map(Into::into),
        ..Incoming::default()
    }
}

#[test]
fn only_what_a_gateway_promised_to_nobody_is_not_read() {
    let with = |promise: Option<&str>| Incoming {
        promise: promise.map(str::to_owned),
        ..message("events.test.alert", "{", None)
    };
    assert!(is_for_nobody(&with(Some(r#"{"starts": []}"#))));
    let starts = format!(
        r#"{{"starts": [{{"name": "w", "version": 1, "digest": "{}"}}]}}"#,
        "0a".repeat(32)
    );
    for other in [
        None,
        Some("{"),
        Some(r#"{"starts": [], "faults": ["x"]}"#),
        Some(&*starts),
    ] {
        assert!(!is_for_nobody(&with(other)), "{other:?}");
    }
}

#[test]
fn an_event_without_an_id_gets_one_that_a_redelivery_gets_too() {
    let bare = |id| read(&message("events.test.alert", r#"{"x": 1}"#, id)).unwrap();
    assert_eq!(bare(None).id, "nats:EVENTS:7");
    assert_eq!(bare(Some("")).id, "nats:EVENTS:7");
    assert_eq!(bare(Some("m1")).id, "m1");
    assert_eq!(
        (bare(None).kind.as_str(), bare(None).data),
        ("test.alert", json!({"x": 1}))
    );
}

#[test]
fn what_is_no_event_is_told_with_its_reason() {
    let reason = |subject: &str, payload: &str| read(&message(subject, payload, None)).unwrap_err();
    assert!(reason("events.test.alert", "{").contains("line 1"));
    assert!(reason("events.a b", "{}").contains("events.<type>"));
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    assert!(reason("events.test.alert", &deep).contains("nested"));
    let large = format!("\"{}\"", "x".repeat(600_000));
    assert!(reason("events.test.alert", &large).contains("at most"));
}

#[test]
fn what_came_through_a_gateway_is_known_by_its_message_id() {
    let payload = r#"{"type": "test.alert", "id": "1", "source": "s", "data": 1}"#;
    let event = read(&message("events.test.alert", payload, None)).unwrap();
    let again = format!("{}.0123", event.identity());
    for (id, expected) in [
        (Some(event.identity()), true),
        (Some(again), true),
        (Some("m1".to_owned()), false),
        (None, false),
    ] {
        let message = message("events.test.alert", payload, id.as_deref());
        assert_eq!(is_gateways(&event, &message), expected, "{id:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_promised_starts_also_where_its_workflow_is_not_known() {
    let pin = |name: &str| json!({"name": name, "version": 2, "digest": "0a".repeat(32)});
    let header = json!({"starts": [pin("any"), pin("newer")]}).to_string();
    for kind in ["test.alert", "test.newer"] {
        let (promise, _) = promised(&current(), &event(kind, json!({})), Some(&header))
            .await
            .unwrap();
        let pins = promise
            .starts
            .iter()
            .map(|pin| (pin.name.as_str(), pin.version));
        assert_eq!(pins.collect::<Vec<_>>(), [("any", 2), ("newer", 2)]);
        assert!(promise.faults.is_empty());
    }
    // Nothing, when nothing was promised.
    let high = event("test.alert", json!({"level": 9}));
    let (promise, _) = promised(&current(), &high, Some(r#"{"starts": []}"#))
        .await
        .unwrap();
    assert!(promise.starts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_event_without_a_promise_or_with_a_forged_one_is_judged_here() {
    for header in [
        None,
        Some("forged"),
        Some(r#"{"starts": [{"name": "other", "version": 1, "digest": ""}]}"#),
    ] {
        let high = event("test.alert", json!({"level": 9}));
        let (promise, _) = promised(&current(), &high, header).await.unwrap();
        let names = promise.starts.iter().map(|pin| pin.name.as_str());
        assert_eq!(names.collect::<Vec<_>>(), ["any", "high"], "{header:?}");
        let unknown = promised(&current(), &event("test.newer", json!({})), header).await;
        assert!(matches!(unknown, Err(Stop::Dead(reason)) if reason.contains("test.newer")));
    }
}

#[tokio::test(start_paused = true)]
async fn no_promise_lets_an_event_of_the_clock_in() {
    let forged = event("flotilla.cron", json!({"due": "2026-01-01T00:00:00Z"}));
    for header in [None, Some(r#"{"starts": []}"#)] {
        let refused = promised(&current(), &forged, header).await;
        assert!(matches!(refused, Err(Stop::Dead(reason)) if reason.contains("from nobody")));
    }
}

/// What is known where these versions of `test.typed` are: the second one has cents in place of a total.
fn typed(versions: usize) -> Current {
    let files = [
        "workflow: typed\nversion: 1\non: {event: test.typed}\nsteps: [{id: done, end: completed}]\n",
        "event: test.typed\nversion: 1\nschema: {type: object, required: [total]}\n",
        "event: test.typed\nversion: 2\nschema: {type: object, required: [cents]}\nadapt: {from: 1, with: {cents: '{{ event.data.total * 100 }}'}}\n",
    ];
    let files = files.iter().enumerate().take(1 + versions);
    let files = files.map(|(n, text)| (format!("{n}.yaml"), (*text).to_owned()));
    let models = Models::built_in().unwrap();
    let catalogue = Catalogue::parse(&Sources(files.collect()), &models).unwrap();
    Current::new(Live::from(Arc::new(catalogue)))
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_in_as_one_version_is_made_one_that_came_since() {
    let mut sent = event("test.typed", json!({"total": 2}));
    // An address says nothing of the version.
    sent.extensions
        .insert("dataschema".into(), json!("https://example.com/typed"));
    let verdict = typed(1).judge(&sent).await.unwrap();
    let header = Promise::from(&verdict).header().unwrap();
    let (promise, adapted) = promised(&typed(2), &sent, Some(&header)).await.unwrap();
    let adapted = adapted.unwrap();
    assert_eq!(promise.starts.len(), 1);
    assert_eq!(adapted.data, json!({"cents": 200}));
    assert_eq!(adapted.extensions["adaptedfrom"], "test.typed/1");
    // Where nothing came since, it is as it was sent.
    let (_, adapted) = promised(&typed(1), &sent, Some(&header)).await.unwrap();
    assert!(adapted.is_none());
    // Who does not know the version yet waits for it.
    let newer = event("test.typed", json!({"cents": 1}));
    let verdict = typed(2).judge(&newer).await.unwrap();
    let header = Promise::from(&verdict).header().unwrap();
    let behind = promised(&typed(1), &newer, Some(&header)).await;
    assert!(matches!(behind, Err(Stop::Wait(_))));
}
