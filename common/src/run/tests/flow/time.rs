//! Sleeps, time limits, repetitions.

use super::*;

#[test]
fn a_sleep_ends_by_its_timer_which_may_fire_twice_or_too_early() {
    let steps = "
  - {id: nap, sleep: 10m}
  - {id: last, tool: disk_usage, with: {path: /}}
";
    let mut stage = Stage::of("", steps, json!({}));
    stage.goes_far();
    let alarm = stage.alarm().expect("a timer");
    let early = stage.now;
    stage.writes(Kind::Fired, TIMER_WAKE, &Body::Fired(Fired {}));
    stage.goes_far();
    assert_eq!(
        stage.in_hand(),
        [""; 0],
        "too early: {early} is before {alarm}"
    );
    assert_eq!(stage.wakes(), Folded::New);
    let fired = stage.journal.last().cloned().expect("it fired");
    stage.goes_far();
    assert_eq!(stage.run.fold(&fired), Ok(Folded::Old), "a second time");
    assert_eq!(stage.in_hand(), ["last"]);
    stage.done("last", json!(1));
    assert_eq!(stage.ended().0, Outcome::Completed);
}

#[test]
fn a_time_in_the_past_is_over_at_once_and_one_that_is_none_is_told() {
    let steps = "
  - {id: nap, until: '{{ event.data.at }}'}
";
    let mut stage = Stage::of("", steps, json!({"at": "2020-01-01T00:00:00Z"}));
    stage.goes_far();
    let alarm = stage
        .alarm()
        .expect("nats-server fires what is over at once");
    assert!(alarm < stage.now);
    stage.writes(Kind::Fired, TIMER_WAKE, &Body::Fired(Fired {}));
    assert_eq!(stage.ended().0, Outcome::Completed);
    for wrong in [json!("tomorrow"), json!(5), json!("9000-01-01T00:00:00Z")] {
        let (outcome, reason) = Stage::of("", steps, json!({"at": wrong})).ended();
        assert_eq!(outcome, Outcome::Failed);
        assert!(reason.contains("is no time within a year"), "{reason}");
    }
}

#[test]
fn a_step_that_takes_too_long_fails_and_its_late_result_changes_nothing() {
    let steps = "
  - {id: slow, tool: restart, with: {service: a}, timeout: 1m, on_error: continue}
  - {id: last, tool: disk_usage, with: {path: '{{ steps.slow.error.kind }}'}}
";
    let mut stage = Stage::of("", steps, json!({}));
    stage.goes_far();
    assert_eq!(stage.in_hand(), ["slow"]);
    assert_eq!(stage.wakes(), Folded::New);
    stage.goes_far();
    assert_eq!(
        act_with(&stage.last_of("last").1.decision)["path"],
        "timeout"
    );
    assert_eq!(
        stage.gives("slow", ok(json!(1))),
        Folded::New,
        "what it did is known"
    );
    stage.goes_far();
    stage.done("last", json!(1));
    assert_eq!(stage.ended().0, Outcome::Completed);
}

#[test]
fn a_failed_step_is_begun_anew_under_another_key_after_a_pause_that_grows() {
    let steps = "
  - {id: flaky, tool: restart, with: {service: a}, retry: {times: 2, pause: 10s}}
";
    let mut stage = Stage::of("", steps, json!({}));
    stage.goes_far();
    let mut pauses = Vec::new();
    for slot in ["flaky", "flaky@1"] {
        let failed_at = stage.now;
        stage.gives(slot, failed("again"));
        stage.goes_far();
        assert_eq!(stage.in_hand(), [""; 0]);
        let alarm = stage.alarm().expect("a pause");
        pauses.push(alarm.duration_since(failed_at).as_secs());
        stage.wakes();
        stage.goes_far();
    }
    assert_eq!(pauses, [10, 20]);
    assert_eq!(stage.in_hand(), ["flaky@2"]);
    stage.gives("flaky@2", failed("and again"));
    let (outcome, reason) = stage.ended();
    assert_eq!(outcome, Outcome::Failed);
    assert!(reason.contains("and again"), "{reason}");
}

#[test]
fn a_person_begins_a_run_anew_from_a_step_and_late_results_of_before_are_nothing() {
    let steps = "
  - {id: one, tool: restart, with: {service: a}}
  - {id: two, tool: restart, with: {service: '{{ steps.one.output }}'}}
  - {id: three, tool: restart, with: {service: c}}
";
    let mut stage = Stage::of("", steps, json!({}));
    stage.goes_far();
    stage.done("one", json!("x"));
    stage.done("two", json!("y"));
    let from = |step: &str| Signalled {
        id: format!("from {step}"),
        by: Some("ann".into()),
        step: step.parse().ok(),
        ..Signalled::default()
    };
    stage.signals(SIGNAL_RETRY, from("two"));
    assert!(
        matches!(stage.next(), Next::Wait(_)),
        "what is in flight comes back first"
    );
    stage.done("three", json!(1));
    assert_eq!(stage.in_hand(), ["two@1"]);
    assert_eq!(
        act_with(&stage.last_of("two@1").1.decision)["service"],
        "x",
        "`one` stands"
    );
    stage.done("two@1", json!("z"));
    assert_eq!(stage.in_hand(), ["three@1"]);
    stage.done("three@1", json!(1));
    assert_eq!(stage.ended().0, Outcome::Completed);
}

#[test]
fn a_paused_run_does_nothing_until_it_is_resumed() {
    let steps = "
  - {id: one, tool: restart, with: {service: a}}
  - {id: two, tool: restart, with: {service: b}}
";
    let mut stage = Stage::of("", steps, json!({}));
    stage.goes_far();
    let told = |id: &str| Signalled {
        id: id.into(),
        by: Some("ann".into()),
        ..Signalled::default()
    };
    stage.signals(SIGNAL_PAUSE, told("p"));
    stage.done("one", json!(1));
    assert_eq!(stage.in_hand(), [""; 0]);
    let line = stage.run.summary().expect("it began");
    assert_eq!(
        (line.status, line.reason.as_deref()),
        (Status::Paused, Some("paused by ann"))
    );
    stage.signals(SIGNAL_RESUME, told("r"));
    stage.goes_far();
    assert_eq!(stage.in_hand(), ["two"]);
    stage.done("two", json!(1));
    assert_eq!(stage.ended().0, Outcome::Completed);
}

#[test]
fn of_a_pause_and_a_resume_the_last_one_said_counts_in_whatever_order_they_come() {
    let stage = Stage::of("", "\n  - {id: one, claude: {prompt: Hm?}}\n", json!({}));
    let told = |seq: u64, name: &str| {
        let body = Body::Signalled(Signalled {
            id: name.into(),
            ..Signalled::default()
        });
        let address = Address {
            run: stage.run.id.clone(),
            kind: Kind::Signalled,
            name: name.parse().expect("a name"),
        };
        let payload = body.encode(stage.now).expect("JSON");
        Entry::decode(seq, address, &payload).expect("an entry")
    };
    for (first, last, is_paused) in [
        (SIGNAL_PAUSE, SIGNAL_RESUME, false),
        (SIGNAL_RESUME, SIGNAL_PAUSE, true),
    ] {
        let said = [told(10, first), told(11, last)];
        for order in [[0, 1], [1, 0]] {
            let mut run = stage.run.clone();
            for at in order {
                assert_eq!(run.fold(&said[at]), Ok(Folded::New));
            }
            assert_eq!(
                run.paused.is_some(),
                is_paused,
                "{first}, {last}: {order:?}"
            );
        }
    }
}

#[test]
fn a_clock_that_is_behind_takes_no_time_from_people() {
    let steps = "
  - {id: rest, sleep: 1h}
  - {id: may_i, approval: {show: {}, timeout: 30m, on_timeout: approve}}
";
    let mut stage = Stage::of("", steps, json!({}));
    stage.goes_far();
    stage.wakes();
    let woke = stage.run.clock;
    stage.now -= SignedDuration::from_hours(2);
    let retry = Signalled {
        id: "m".into(),
        text: Some("Hm.".into()),
        ..Signalled::default()
    };
    stage.signals(SIGNAL_MESSAGE, retry);
    assert!(stage.run.at < woke, "its writer's clock is behind");
    stage.goes_far();
    let until = stage
        .run
        .approvals()
        .next()
        .and_then(|(_, open, _)| open.until);
    assert_eq!(until, Some(woke + SignedDuration::from_mins(30)));
}
