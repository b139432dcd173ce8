//! Minutes have what happened in them, as far as the caller may see.

use super::*;

fn sums() -> Vec<(i64, Vec<Sum>)> {
    let pace = |tenant: &str, measure: &str, sum| {
        let tenant = tenant.to_owned();
        (Row::Pace { tenant }, measure.to_owned(), sum)
    };
    let tool = Row::Tool {
        tool: "df".into(),
        tenant: "x".into(),
    };
    let model = Row::Model {
        model: "haiku".into(),
        tenant: "y".into(),
    };
    vec![
        (10, vec![]),
        (
            11,
            vec![
                pace("x", m::COMPLETED, 3),
                pace("x", m::STEPS, 120),
                pace("x", "h5", 3),
                pace("y", m::FAILED, 1),
                pace("y", "h12", 1),
                (tool.clone(), m::OK.to_owned(), 2),
                (tool, "h0".to_owned(), 2),
                (model, m::USD.to_owned(), 7),
            ],
        ),
    ]
}

#[test]
fn a_minute_has_its_runs_its_costs_its_tools_and_how_long_they_took() {
    let (minutes, together) = series(sums(), &Caller::anyone());
    assert_eq!(minutes[0].at.to_string(), "1970-01-01T00:10:00Z");
    assert_eq!(minutes[0].p50_seconds, None);
    let minute = &minutes[1];
    assert_eq!((minute.runs.completed, minute.runs.failed), (3, 1));
    assert_eq!(minute.usd_nano["haiku"].nano(), 7);
    assert_eq!(minute.tools["df"].ok, 2);
    assert!(minute.tools["df"].p95_seconds.unwrap() <= 0.005);
    assert!(minute.p50_seconds.unwrap() <= 0.25 && minute.p95_seconds.unwrap() > 30.0);
    let figures = (together.runs_per_minute, together.steps_per_second);
    assert_eq!((figures, together.success), ((2.0, 1.0), Some(0.75)));
}

#[test]
fn a_tenants_caller_sees_nothing_of_others() {
    let caller = Caller {
        tenant: Some("x".parse().unwrap()),
        ..Caller::anyone()
    };
    let (minutes, together) = series(sums(), &caller);
    assert_eq!((together.runs.failed, together.success), (0, Some(1.0)));
    assert!(minutes[1].usd_nano.is_empty() && minutes[1].tools.contains_key("df"));
}

#[test]
fn what_does_not_rest_is_under_way() {
    let resting = [(Status::Waiting, 2), (Status::Parked, 3)];
    let now = active(9, &resting);
    assert_eq!(
        (now.running, now.waiting, now.parked, now.paused),
        (4, 2, 3, 0)
    );
    // The ledger may be a moment behind the index.
    assert_eq!(active(1, &resting).running, 0);
}
