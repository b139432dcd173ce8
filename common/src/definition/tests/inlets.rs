//! Event types with their versions, and webhooks.

use serde_json::{Value, json};

use super::*;
use crate::{
    definition::{Misfit, Verify},
    event::{DATA_SCHEMA, Event},
};

const FIRST: &str = "event: order.created\nversion: 1\nschema: {type: object, required: [total], properties: {total: {type: number}, who: {type: string}}, additionalProperties: false}\nexample: {total: 1.5, who: ada}\n";
const SECOND: &str = "event: order.created\nversion: 2\nschema: {$ref: order.json}\nadapt:\n  from: 1\n  with: {cents: '{{ event.data.total * 100 }}', customer: {name: '{{ event.data.who }}'}}\n";
const ORDER: &str = r#"{"type": "object", "required": ["cents", "customer"], "properties": {"cents": {"type": "number"}, "customer": {"type": "object"}}, "additionalProperties": false}"#;
const THIRD: &str = "event: order.created\nversion: 3\nschema: {type: object, required: [cents, currency], properties: {cents: {type: number}, currency: {type: string}}}\nadapt: {from: 2, with: {cents: '{{ event.data.cents }}', currency: EUR}}\n";

fn files<'a>(all: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [all, &[("order.json", ORDER)]].concat()
}

fn three() -> Catalogue {
    parse(&files(&[
        ("1.yaml", FIRST),
        ("2.yaml", SECOND),
        ("3.yaml", THIRD),
    ]))
    .unwrap()
}

fn order(data: Value, schema: Option<&str>) -> Event {
    let kind = "order.created".parse().unwrap();
    let mut event = Event::new(kind, "shop".into(), "1".into(), data);
    if let Some(schema) = schema {
        event.extensions.insert(DATA_SCHEMA.into(), schema.into());
    }
    event
}

/// What is told first: line, message.
fn told(all: &[(&str, &str)]) -> (u64, String) {
    let problems = parse(&files(all)).unwrap_err();
    let first = problems.0.first().unwrap();
    (first.line, first.message.clone())
}

#[test]
fn an_older_event_becomes_one_of_the_newest_version_step_by_step() {
    let inlets = three().inlets;
    let old = order(json!({"total": 1.5, "who": "ada"}), Some("order.created/1"));
    let seen = inlets.fit(&old).unwrap();
    assert_eq!(seen.data, json!({"cents": 150.0, "currency": "EUR"}));
    assert_eq!(seen.extensions[DATA_SCHEMA], "order.created/3");
    assert_eq!(seen.extensions["adaptedfrom"], "order.created/1");
    assert_eq!((&seen.id, &seen.source), (&old.id, &old.source));
    // The newest is as it is, said or not; and a schema of others says nothing to us.
    let newest = json!({"cents": 1, "currency": "EUR"});
    for schema in [
        None,
        Some("order.created/3"),
        Some("https://shop/order.json"),
    ] {
        let event = order(newest.clone(), schema);
        assert_eq!(*inlets.fit(&event).unwrap(), event);
    }
}

#[test]
fn data_that_is_none_of_its_version_is_told_with_its_places() {
    let inlets = three().inlets;
    let wrong = order(json!({"total": "1"}), Some("order.created/1"));
    let Err(Misfit::Data {
        version, faults, ..
    }) = inlets.fit(&wrong)
    else {
        panic!("it fits");
    };
    assert_eq!((version, faults[0].0.as_str()), (1, "/total"));
    let unknown = inlets
        .fit(&order(json!({}), Some("order.created/9")).clone())
        .map(drop);
    assert!(
        unknown
            .unwrap_err()
            .to_string()
            .contains("has version 1, 2, 3")
    );
    // It has what version 1 calls for, and not what its adapter does.
    let nobody = order(json!({"total": 1}), Some("order.created/1"));
    let Err(Misfit::Adapter {
        from, to, problem, ..
    }) = inlets.fit(&nobody)
    else {
        panic!("it fits");
    };
    assert_eq!((from, to), (1, 2));
    assert!(
        problem.contains("`event.data.who` does not exist"),
        "{problem}"
    );
    let other = Event::new("a.b".parse().unwrap(), "s".into(), "1".into(), json!(1));
    assert_eq!(*inlets.fit(&other).unwrap(), other);
}

#[test]
fn versions_that_nothing_leads_to_are_told_where_they_stand() {
    let first = ("1.yaml", FIRST);
    let (line, message) = told(&[first, ("3.yaml", THIRD)]);
    assert_eq!(line, 4);
    assert!(
        message.contains("the version before this one is 1, not 2"),
        "{message}"
    );
    let alone = SECOND.split("adapt:").next().unwrap();
    let (line, message) = told(&[first, ("2.yaml", alone)]);
    assert_eq!(line, 2);
    assert!(message.contains("nothing says how"), "{message}");
    let (_, message) = told(&[("2.yaml", SECOND)]);
    assert!(message.contains("has no version 1"), "{message}");
    let (_, message) = told(&[first, ("again.yaml", FIRST)]);
    assert!(message.contains("is in 1.yaml already"), "{message}");
    // What the fleet has counts.
    let sources = sources(&files(&[("3.yaml", THIRD)]));
    let fleet = parse(&files(&[first, ("2.yaml", SECOND)])).unwrap();
    let models = Models::built_in().unwrap();
    assert!(Catalogue::parse_beside(&sources, &models, &fleet).is_ok());
}

#[test]
fn a_new_version_that_the_fleets_next_one_cannot_follow_is_told_where_it_stands() {
    let models = Models::built_in().unwrap();
    let told = |all: &[(&str, &str)], fleet: &Catalogue| {
        let read = Catalogue::parse_beside(&sources(&files(all)), &models, fleet);
        let problems = read.map(drop).err().map_or(Vec::new(), |told| told.0);
        let told = problems.into_iter().map(|one| (one.line, one.message));
        told.collect::<Vec<_>>()
    };
    let (first, second) = (("1.yaml", FIRST), ("2.yaml", SECOND));
    let third = THIRD
        .replace("from: 2", "from: 1")
        .replace("event.data.cents", "event.data.total * 100");
    let fleet = parse(&files(&[first, ("3.yaml", &third)])).unwrap();
    let problems = told(&[second], &fleet);
    assert_eq!(problems.len(), 1, "{problems:?}");
    let (line, message) = &problems[0];
    assert_eq!(*line, 5);
    assert!(
        message.contains("the fleet's version 3 of `order.created`")
            && message.contains("the version before this one is 2, not 1"),
        "{message}"
    );
    // What is there already, and what is above all others, breaks nothing; nor does what comes with the next one.
    assert_eq!(told(&[first], &fleet), []);
    let fleet = parse(&[first]).unwrap();
    assert_eq!(told(&[second, ("3.yaml", THIRD)], &fleet), []);
}

#[test]
fn an_adapter_is_tried_on_the_example_and_sees_only_what_there_is() {
    let first = ("1.yaml", FIRST);
    let wrong = SECOND.replace("cents:", "cent:");
    let (line, message) = told(&[first, ("2.yaml", &wrong)]);
    assert_eq!(line, 5);
    assert!(
        message.contains("example of version 1 does not become"),
        "{message}"
    );
    let misspelt = SECOND.replace("event.data.who", "event.data.whom");
    assert!(
        told(&[first, ("2.yaml", &misspelt)])
            .1
            .contains("no property `whom`")
    );
    let outside = SECOND.replace("event.data.who", "env.HOME");
    assert!(
        told(&[first, ("2.yaml", &outside)])
            .1
            .contains("sees only the `event`")
    );
    let example = FIRST.replace("total: 1.5", "total: many");
    assert!(
        told(&[("1.yaml", &example)])
            .1
            .contains("example does not fit")
    );
    let schema = FIRST.replace("type: number", "type: cash");
    assert!(
        told(&[("1.yaml", &schema)])
            .1
            .contains("no valid JSON Schema")
    );
}

#[test]
fn what_is_kept_of_them_is_what_was_read() {
    let hook = "hook: shop\nverify: {hmac: {header: X-Sig, secret: [env:NEW, file:/run/old]}}\nmap: {type: a.b, id: '{{ body.id }}\u{85}'}\n";
    let all = files(&[("1.yaml", FIRST), ("2.yaml", SECOND), ("h.yaml", hook)]);
    let read = parse(&all).unwrap().inlets;
    let mut kept = crate::definition::Inlets::default();
    for text in read.texts() {
        let bytes = text.encode().unwrap();
        let again = crate::definition::InletText::read(&bytes).unwrap();
        assert_eq!(again, **text);
        kept.add(again).unwrap();
    }
    let old = order(json!({"total": 2, "who": "ada"}), Some("order.created/1"));
    assert_eq!(kept.fit(&old), read.fit(&old));
    let (one, other) = (kept.hook("shop").unwrap(), read.hook("shop").unwrap());
    assert_eq!((&one.map, &one.verify), (&other.map, &other.verify));
    for text in read.texts() {
        kept.remove(&text.key);
    }
    assert!(kept.hook("shop").is_none() && kept.texts().next().is_none());
    assert!(!kept.declares(&old.kind));
}

#[test]
fn a_hook_says_how_it_is_verified_and_what_it_becomes() {
    let hook = |rest: &str| format!("hook: h\n{rest}\n");
    let wrong = |rest: &str| told(&[("h.yaml", &hook(rest))]);
    let map = "map: {type: a.b, id: '1'}";
    let verify = |way: &str| wrong(&format!("verify: {way}\n{map}"));
    assert_eq!(wrong(map).1, "`verify` is missing");
    assert_eq!(
        verify("never"),
        (2, "`never` is no way to verify a webhook".into())
    );
    assert!(verify("{}").1.contains("one way, exactly"));
    let two = "{github: {secret: env:A}, bearer: {secret: env:A}}";
    assert!(verify(two).1.contains("one way, exactly"));
    assert!(
        verify("{bearer: {secret: hunter2}}")
            .1
            .contains("no secret where it is")
    );
    assert!(
        verify("{bearer: {secret: []}}")
            .1
            .contains("no secret where it is")
    );
    assert!(
        verify("{bearer: {secret: file:relative}}")
            .1
            .contains("no secret where it is")
    );
    assert!(
        verify("{token: {header: 'a b', secret: env:A}}")
            .1
            .contains("no name of a header")
    );
    let md5 = "{hmac: {header: x, algorithm: md5, secret: env:A}}";
    assert!(verify(md5).1.contains("neither sha256 nor sha512"));
    assert!(
        verify("{token: {headr: x}}")
            .1
            .contains("there is no `headr` here")
    );
    assert!(
        wrong("verify: none\nmap: {id: '1'}")
            .1
            .contains("which `type`")
    );
    assert!(
        wrong("verify: none\nmap: {type: a.b}")
            .1
            .contains("which `id`")
    );
    assert!(
        wrong("verify: none\nmap: {type: a.b, id: '{{ event.id }}'}")
            .1
            .contains("no `event` here")
    );
    let built_in = "hook: alertmanager\nverify: {bearer: {secret: env:A}}\n";
    assert!(parse(&[("h.yaml", built_in)]).is_ok());
    let mapped = format!("{built_in}{map}\n");
    assert!(told(&[("h.yaml", &mapped)]).1.contains("without a mapping"));
    let open = parse(&[("h.yaml", &hook(&format!("verify: none\n{map}")))]).unwrap();
    let open = open.inlets.hook("h").unwrap();
    assert!(open.verify == Verify::Open && !open.verify.is_signed() && open.enabled);
}
