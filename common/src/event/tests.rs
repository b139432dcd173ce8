//! What is an event, and what is said of what is none.

use super::*;
use serde_json::json;

fn defaults() -> Defaults {
    Defaults {
        id: "d1".into(),
        source: "http".into(),
        kind: None,
    }
}

#[test]
fn plain_json_gets_what_it_left_out() -> Result<(), EventError> {
    let event = Event::plain(
        br#"{"type":"a.b","data":{"x":1},"traceparent":"00-1"}"#,
        EVENT_BYTES_MAX,
        defaults(),
    )?;
    assert_eq!((event.id.as_str(), event.source.as_str()), ("d1", "http"));
    assert_eq!(event.extensions["traceparent"], "00-1");
    let text = serde_json::to_vec(&event).map_err(EventError::Json)?;
    assert_eq!(Event::structured(&text, EVENT_BYTES_MAX)?, event);
    Ok(())
}

#[test]
fn what_is_published_may_be_bare_data_or_an_envelope() -> Result<(), Box<dyn std::error::Error>> {
    let kind: EventType = "a.b".parse()?;
    let bare = Event::published(br#"{"x":1}"#, &kind, "7".into())?;
    assert_eq!((bare.id.as_str(), &bare.data), ("7", &json!({"x": 1})));
    let envelope = Event::published(
        br#"{"type":"a.b","id":"9","data":{"x":1}}"#,
        &kind,
        "7".into(),
    )?;
    assert_eq!(envelope.id, "9");
    let other = Event::published(br#"{"type":"c","data":1}"#, &kind, "7".into());
    assert!(other.is_err_and(|e| e.to_string().contains("subject of `a.b`")));
    Ok(())
}

#[test]
fn wrong_events_say_what_is_wrong() {
    let shown = |bytes: &[u8]| {
        Event::plain(bytes, EVENT_BYTES_MAX, defaults())
            .map_err(|e| e.to_string())
            .err()
            .unwrap_or_default()
    };
    assert!(shown(b"{\"type\": ").contains("line 1 column 9"));
    assert!(shown(b"{}").contains("no `type`"));
    assert!(
        shown(br#"{"specversion":"2.0","id":"a","source":"b","type":"c"}"#).contains("only 1.0")
    );
    assert!(shown(br#"{"type":"a b"}"#).contains("event type"));
    assert!(shown(br#"{"type":"a","id":"x\u0000y"}"#).contains("`id` holds a control"));
    assert!(shown(br#"{"type":"a","source":"x\ny"}"#).contains("`source` holds a control"));
    assert!(shown(&vec![b' '; EVENT_BYTES_MAX + 1]).contains("at most"));
}

fn binary(headers: &[(&str, &str)], kind: Option<&str>, body: &[u8]) -> Result<Event, String> {
    let needed = [
        ("ce-specversion", "1.0"),
        ("ce-id", "7"),
        ("ce-source", "/shop"),
        ("ce-type", "order.created"),
    ];
    let headers = needed.iter().chain(headers);
    let headers = headers.map(|(name, value)| (*name, value.as_bytes()));
    Event::binary(headers, kind, body, EVENT_BYTES_MAX).map_err(|error| match error {
        EventError::Attribute { pointer, told } => format!("{pointer}: {told}"),
        other @ (EventError::Json(_) | EventError::TooLarge(..)) => other.to_string(),
    })
}

#[test]
fn attributes_in_headers_are_read_as_their_sender_meant_them() {
    let given = [
        ("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
        ("ce-time", "2026-11-21T10:00:00Z"),
        ("ce-note", r#""a \"quoted\" \\ text""#),
        ("ce-rate", "100%"),
    ];
    let event = binary(
        &given,
        Some("application/json; charset=utf-8"),
        br#"{"a": 1}"#,
    )
    .unwrap();
    assert_eq!(event.subject.as_deref(), Some("Euro € 😀"));
    assert_eq!(event.time, Some("2026-11-21T10:00:00Z".parse().unwrap()));
    assert_eq!(event.extensions["note"], r#"a "quoted" \ text"#);
    assert_eq!(event.extensions["rate"], "100%");
    assert_eq!(event.data, json!({"a": 1}));
    assert_eq!(
        event.extensions["datacontenttype"],
        "application/json; charset=utf-8"
    );
    // NATS has it as an attribute, which says more than a content type.
    let nats = [("ce-datacontenttype", "text/plain")];
    assert_eq!(
        binary(&nats, Some("application/json"), b"hello")
            .unwrap()
            .data,
        "hello"
    );
}

#[test]
fn data_that_is_no_json_is_a_text_or_bytes() {
    let data = |kind, body: &[u8]| binary(&[], kind, body).map(|event| event.data);
    assert_eq!(data(Some("text/csv"), b"a,b").unwrap(), "a,b");
    assert_eq!(data(Some("application/soap+xml"), b"<a/>").unwrap(), "<a/>");
    assert_eq!(
        data(Some("application/vnd.x+json"), b"[1]").unwrap(),
        json!([1])
    );
    assert_eq!(data(None, b"[1]").unwrap(), json!([1]));
    assert_eq!(
        data(Some("image/png"), b"\x89P").unwrap(),
        json!({"base64": "iVA="})
    );
    assert_eq!(
        data(Some("text/plain"), b"\xff").unwrap(),
        json!({"base64": "/w=="})
    );
    assert_eq!(data(Some("image/png"), b"").unwrap(), Value::Null);
    assert!(data(None, b"[1").unwrap_err().contains("line 1 column 2"));

    let structured = |more: Value| {
        let mut event = json!({"specversion": "1.0", "id": "1", "source": "s", "type": "a.b"});
        for (name, value) in more.as_object().unwrap() {
            event[name] = value.clone();
        }
        Event::structured(event.to_string().as_bytes(), EVENT_BYTES_MAX).map(|event| event.data)
    };
    let png = json!({"data_base64": "iVA=", "datacontenttype": "image/png"});
    assert_eq!(structured(png).unwrap(), json!({"base64": "iVA="}));
    assert_eq!(
        structured(json!({"data_base64": "WzFd"})).unwrap(),
        json!([1])
    );
    let both = structured(json!({"data_base64": "WzFd", "data": 1})).unwrap_err();
    assert!(both.to_string().contains("send one of them"));
    assert!(structured(json!({"data_base64": "%"})).is_err());
}

#[test]
fn headers_that_are_no_attributes_are_told_by_name() {
    let wrong = |headers: &[(&str, &str)]| binary(headers, None, b"1").unwrap_err();
    assert!(wrong(&[("ce-id", "8")]).starts_with("/id: the header `ce-id` is there twice"));
    assert!(wrong(&[("ce-a_b", "8")]).contains("`ce-a_b` is no attribute"));
    assert!(wrong(&[("ce-data", "8")]).contains("is no attribute"));
    assert!(wrong(&[("ce-", "8")]).contains("is no attribute"));
    // What would be a header of its own wherever the value is written into one.
    let injected = wrong(&[("ce-subject", "a%0D%0AFlotilla-Promise: {}")]);
    assert!(
        injected.starts_with("/subject: `subject` holds a control"),
        "{injected}"
    );
    assert!(wrong(&[("ce-subject", "%ff")]).contains("UTF-8"));
    assert!(wrong(&[("ce-time", "noon")]).starts_with("/time: `time` is no time"));
    let none = Event::binary([("ce-id", &b"1"[..])], None, b"1", 10).unwrap_err();
    assert!(none.to_string().contains("`ce-specversion` is missing"));
    assert!(Event::binary([], None, b"12345678901", 10).is_err());
}

#[test]
fn a_batch_says_of_each_event_whether_it_is_one() {
    let right = json!({"specversion": "1.0", "id": "1", "source": "s", "type": "a.b"});
    let batch = json!([right, {"specversion": "1.0", "id": "2", "source": "s", "type": "a b"}, 3]);
    let read = Event::batch(batch.to_string().as_bytes(), EVENT_BYTES_MAX).unwrap();
    let told: Vec<String> = read.iter().map(|one| format!("{one:?}")).collect();
    assert!(told[0].starts_with("Ok"), "{told:?}");
    assert!(
        told[1].contains("/type") && told[2].contains("a JSON object"),
        "{told:?}"
    );
    assert!(Event::batch(b"{}", EVENT_BYTES_MAX).is_err());
}

#[test]
fn an_attribute_of_another_type_is_told_with_its_place() {
    let told = |event: Value| {
        let read = Event::plain(event.to_string().as_bytes(), EVENT_BYTES_MAX, defaults());
        read.map(drop).map_err(|error| match error {
            EventError::Attribute { pointer, .. } => pointer,
            other @ (EventError::Json(_) | EventError::TooLarge(..)) => other.to_string(),
        })
    };
    assert_eq!(told(json!({"type": 1})), Err("/type".into()));
    assert_eq!(
        told(json!({"type": "a", "subject": []})),
        Err("/subject".into())
    );
    assert_eq!(
        told(json!({"type": "a", "tenant": "a b"})),
        Err("/tenant".into())
    );
    assert_eq!(
        told(json!({"specversion": "1.0", "type": "a"})),
        Err("/id".into())
    );
    assert_eq!(told(json!({"type": "a", "id": null, "time": null})), Ok(()));
}
