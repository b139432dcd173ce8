//! Rows and what is kept. That the sums are right is for the simulation of whole fleets to say, and for the end-to-end tests.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::*;
use crate::{
    entry::{Address, Body, Entry, Kind, Pin, Started},
    event::Event,
    ids::RunId,
};

fn started(at: Timestamp, tenant: &str) -> Entry {
    let kind = "a.b".parse().unwrap();
    let mut event = Event::new(kind, "s".into(), "1".into(), json!({}));
    event.extensions.insert("tenant".into(), json!(tenant));
    let body = Body::Started(Started {
        workflow: Pin {
            name: "w".parse().unwrap(),
            version: 1,
            digest: String::new(),
        },
        event,
        parent: None,
        lessons: Vec::new(),
        forked: None,
        received: None,
    });
    let address = Address {
        run: RunId::derive(&"w".parse().unwrap(), "s", "1"),
        kind: Kind::Started,
        name: "w".parse().unwrap(),
    };
    Entry::decode(1, address, &body.encode(at).unwrap()).unwrap()
}

#[test]
fn a_field_names_its_row_and_nothing_else_is_one() {
    let row = Row::Claude {
        workflow: "w".into(),
        model: "m\u{1f}x\n".into(),
        tenant: "t".into(),
    };
    let field = row.field(measure::USD);
    let clean = Row::Claude {
        workflow: "w".into(),
        model: "mx".into(),
        tenant: "t".into(),
    };
    assert_eq!(Row::of_field(&field), Some((clean, measure::USD)));
    let rows = [
        row,
        Row::Runs {
            workflow: "w".into(),
            tenant: "t".into(),
        },
        Row::Pace { tenant: "t".into() },
        Row::Model {
            model: "m".into(),
            tenant: "t".into(),
        },
        Row::Tool {
            tool: "df".into(),
            tenant: "t".into(),
        },
    ];
    for row in rows {
        // The row's own mark, and how many there are of its kind, are no sums.
        assert_eq!(Row::of_field(&row.name()), None);
        assert_eq!(Row::of_field(&format!("#{}", row.kind())), None);
        let other = row.other();
        let field = other.field(measure::OK);
        assert_eq!(Row::of_field(&field), Some((other, measure::OK)));
    }
    assert_eq!(Row::of_field(""), None);
}

#[test]
fn what_is_not_kept_any_more_is_not_summed_up() {
    let at: Timestamp = "2026-11-21T23:59:59Z".parse().unwrap();
    let after = |hours| {
        let mut fold = Fold::new(
            HashMap::new(),
            Keep::at(at + SignedDuration::from_hours(hours)),
        );
        fold.take(&started(at, "acme"));
        let batch = fold.finish();
        assert_eq!((batch.started, batch.open.len()), (1, 1));
        (batch.days.len(), batch.minutes.len())
    };
    assert_eq!(after(25), (1, 1));
    assert_eq!(after(26), (1, 0));
    assert_eq!(after(400 * 24), (1, 0));
    assert_eq!(after(401 * 24), (0, 0));
}

#[test]
fn who_pays_is_what_the_event_says() {
    let at = Timestamp::UNIX_EPOCH;
    let mut fold = Fold::new(HashMap::new(), Keep::at(at));
    fold.take(&started(at, "acme"));
    // The same again changes nothing.
    fold.take(&started(at, "acme"));
    let batch = fold.finish();
    let sums: Vec<_> = batch.days.values().flat_map(|sums| &sums.0).collect();
    let [(Row::Runs { workflow, tenant }, sums)] = sums[..] else {
        panic!("{sums:?}");
    };
    assert_eq!((workflow.as_str(), tenant.as_str()), ("w", "acme"));
    assert_eq!(sums.get(measure::STARTED), Some(&1));
}
