//! What webhooks become.

use axum::http::{HeaderName, HeaderValue};
use flotilla_common::{
    claude::Models,
    definition::{Catalogue, Sources},
};

use super::*;

pub(in crate::hooks) fn hook(text: &str) -> std::sync::Arc<Hook> {
    let sources = Sources([("h.yaml".to_owned(), text.to_owned())].into());
    let catalogue = Catalogue::parse(&sources, &Models::built_in().unwrap()).unwrap();
    let mut hooks = catalogue.inlets.hooks();
    std::sync::Arc::clone(hooks.next().unwrap())
}

fn becomes(text: &str, headers: &[(&str, &str)], body: &str) -> Result<Event, Problem> {
    let headers = headers.iter().map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, HeaderValue::from_str(value).unwrap())
    });
    event(
        &hook(text),
        &headers.collect(),
        body.as_bytes(),
        &fields("team=a%20b&x"),
    )
}

const SHOP: &str = "hook: shop\nverify: {token: {header: X-Token, secret: env:T}}\nmap:\n  type: 'shop.{{ body.kind }}'\n  id: '{{ body.number }}'\n  subject: '{{ query.team }}'\n  time: '{{ body.at }}'\n  data: {order: '{{ body.order }}', from: '{{ headers[\"user-agent\"] }}'}\n";

#[test]
fn a_mapping_sees_the_body_the_headers_and_the_query() {
    let body =
        r#"{"kind": "order", "number": 17, "at": "2026-11-21T10:00:00Z", "order": {"n": 1}}"#;
    let event = becomes(SHOP, &[("user-agent", "shop/1"), ("x-token", "s")], body).unwrap();
    assert_eq!(
        (event.kind.as_str(), event.id.as_str()),
        ("shop.order", "17")
    );
    assert_eq!(
        (event.source.as_str(), event.subject.as_deref()),
        ("hook:shop", Some("a b"))
    );
    assert_eq!(event.time, Some("2026-11-21T10:00:00Z".parse().unwrap()));
    assert_eq!(event.data, json!({"order": {"n": 1}, "from": "shop/1"}));
}

#[test]
fn what_a_mapping_needs_and_the_body_lacks_is_told_by_name() {
    let told = |body: &str| {
        let problem = becomes(SHOP, &[("user-agent", "x")], body).unwrap_err();
        (problem.status, problem.more["errors"][0]["pointer"].clone())
    };
    let rest = r#""at": "2026-11-21T10:00:00Z", "order": 1"#;
    assert_eq!(told("{}"), (422, json!("/map/type")));
    assert_eq!(
        told(&format!(r#"{{"kind": "a", {rest}}}"#)),
        (422, json!("/map/id"))
    );
    assert_eq!(
        told(&format!(r#"{{"kind": "a", "number": [1], {rest}}}"#)),
        (422, json!("/map/id"))
    );
    assert_eq!(
        told(&format!(r#"{{"kind": "a b", "number": 1, {rest}}}"#)),
        (422, json!("/map/type"))
    );
    let late = r#"{"kind": "a", "number": 1, "order": 1, "at": "noon"}"#;
    assert_eq!(told(late), (422, json!("/map/time")));
    assert_eq!(becomes(SHOP, &[], "{").unwrap_err().status, 400);
}

#[test]
fn no_mapping_sees_what_proves_who_sends() {
    let show = |way: &str, header: &str| {
        let text = format!(
            "hook: shop\nverify: {way}\nmap: {{type: a.b, id: '1', data: '{{{{ headers }}}}'}}\n"
        );
        let given = [
            (header, "secret"),
            ("x-other", "seen"),
            ("cookie", "secret"),
            ("authorization", "secret"),
        ];
        becomes(&text, &given, "{}").unwrap().data
    };
    for (way, header) in [
        ("none", "proxy-authorization"),
        ("{token: {header: X-Token, secret: env:T}}", "x-token"),
        ("{hmac: {header: X-Sig, secret: env:T}}", "x-sig"),
        ("{github: {secret: env:T}}", "x-hub-signature-256"),
        ("{standard_webhooks: {secret: env:T}}", "webhook-signature"),
    ] {
        assert_eq!(show(way, header), json!({"x-other": "seen"}), "{way}");
    }
}

#[test]
fn github_and_standard_webhooks_need_little_mapping() {
    let github = "hook: gh\nverify: {github: {secret: env:T}}\n";
    let headers = [
        ("x-github-event", "pull_request"),
        ("x-github-delivery", "d-1"),
    ];
    let event = becomes(github, &headers, r#"{"action": "opened"}"#).unwrap();
    assert_eq!(
        (event.kind.as_str(), event.id.as_str()),
        ("github.pull_request.opened", "d-1")
    );
    let event = becomes(github, &headers, r#"{"zen": "x"}"#).unwrap();
    assert_eq!(event.kind.as_str(), "github.pull_request");
    assert_eq!(event.data, json!({"zen": "x"}));
    assert_eq!(becomes(github, &[], "{}").unwrap_err().status, 422);
    let standard = "hook: pay\nverify: {standard_webhooks: {secret: env:T}}\nmap: {type: '{{ body.type }}', data: '{{ body.data }}'}\n";
    let body = r#"{"type": "invoice.paid", "data": {"id": 1}}"#;
    let event = becomes(standard, &[("webhook-id", "msg_1")], body).unwrap();
    assert_eq!(
        (event.kind.as_str(), event.id.as_str()),
        ("invoice.paid", "msg_1")
    );
}
