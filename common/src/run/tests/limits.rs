//! Where runs stop: loops, steps, time, and people who cancel.

use super::*;

fn use_disk(stage: &mut Stage) {
    stage.hears(&[picks("disk_usage", json!({"path": "/"}), 0.9)]);
    stage.results(ok(json!("91%")));
}

#[test]
fn after_max_loops_an_agent_escalates_without_another_call() {
    let mut stage = Stage::new(TRIAGE);
    for _ in 0..3 {
        use_disk(&mut stage);
    }
    let draft = stage.drafts().remove(0);
    assert_eq!(
        (draft.step.to_string().as_str(), &draft.call),
        ("triage/4", &None)
    );
    stage.goes_on();
    let why = "max_loops: 3 tools were used, and it picked no end";
    assert_eq!(stage.ends(), (Outcome::Escalated, why.into()));
}

#[test]
fn without_an_escalate_end_the_run_itself_ends_escalated() {
    let steps = TRIAGE
        .replace("ends: [resolve, escalate]", "ends: [resolve]")
        .replace("below: escalate", "below: resolve");
    let mut stage = Stage::new(&steps.replace("max_loops: 3", "max_loops: 1"));
    use_disk(&mut stage);
    let why = "max_loops: 1 tools were used, and it picked no end";
    assert_eq!(stage.ends(), (Outcome::Escalated, why.into()));
}

#[test]
fn limits_steps_counts_decisions_and_stops_before_the_next_is_paid() {
    let workflow = definition("limits: {steps: 2}", TRIAGE);
    let mut stage = Stage::with(workflow, json!({"service": "shop"}));
    use_disk(&mut stage);
    use_disk(&mut stage);
    assert_eq!(stage.run.decisions, 2);
    let reason = "limits.steps: 2 decisions were not enough";
    assert_eq!(stage.ends(), (Outcome::Failed, reason.into()));
}

#[test]
fn a_run_that_needs_exactly_its_limit_of_steps_completes() {
    let workflow = definition("limits: {steps: 2}", TRIAGE);
    let mut stage = Stage::with(workflow, json!({"service": "shop"}));
    use_disk(&mut stage);
    stage.hears(&[picks("resolve", json!("It is fine."), 0.9)]);
    assert_eq!(stage.ends().0, Outcome::Completed);
}

#[test]
fn at_its_deadline_a_run_ends_by_the_clock_or_by_its_timer_whichever_comes_first() {
    let timed = || {
        Stage::with(
            definition("limits: {duration: 5m}", TRIAGE),
            json!({"service": "shop"}),
        )
    };
    let reason = "limits.duration: it ran longer than allowed, since 2026-11-21T10:00:00Z";

    let mut stage = timed();
    let deadline = stage.run.deadline(&stage.workflow).expect("it has one");
    assert_eq!(deadline.to_string(), "2026-11-21T10:05:00Z");
    stage.now = deadline - SignedDuration::from_nanos(1);
    assert!(matches!(stage.next(), Next::Ask(..)));
    stage.now = deadline;
    assert_eq!(stage.ends(), (Outcome::Failed, reason.into()));

    let mut stage = timed();
    assert_eq!(stage.deadline_fires(), Folded::New);
    assert_eq!(
        stage.deadline_fires(),
        Folded::Old,
        "a timer may fire twice"
    );
    assert_eq!(stage.ends(), (Outcome::Failed, reason.into()));
}

#[test]
fn a_timer_of_another_name_and_a_signal_that_is_not_known_change_nothing() {
    let mut stage = Stage::new(TRIAGE);
    let before = stage.run.clone();
    assert_eq!(
        stage.writes(Kind::Fired, "reminder", &Body::Fired(Fired {})),
        Folded::Old
    );
    let signalled = Signalled {
        id: "1".into(),
        ..Signalled::default()
    };
    assert_eq!(
        stage.writes(Kind::Signalled, "feedback", &Body::Signalled(signalled)),
        Folded::Old
    );
    assert_eq!(stage.run, before);
}

#[test]
fn a_cancelled_run_ends_at_once_when_nothing_is_in_flight() {
    let mut stage = Stage::new(TRIAGE);
    assert_eq!(stage.cancels("c1"), Folded::New);
    assert_eq!(stage.cancels("c1"), Folded::Old, "the same click");
    assert_eq!(
        stage.cancels("c2"),
        Folded::Old,
        "another click says nothing new"
    );
    assert_eq!(
        stage.ends(),
        (Outcome::Cancelled, "cancelled by ann: wrong host".into())
    );
}

#[test]
fn a_cancelled_run_waits_for_the_effect_in_flight_and_for_nothing_else() {
    let mut stage = Stage::new(TRIAGE);
    stage.hears(&[picks("restart", json!({"service": "shop"}), 0.9)]);
    stage.cancels("c1");
    assert!(matches!(stage.next(), Next::Wait(_)));
    stage.results(ok(Value::Null));
    assert_eq!(stage.ends().0, Outcome::Cancelled);
    let restarted = stage.run.steps.values().next();
    let Some(StepState::Agent(Agent { turns, .. })) = restarted else {
        panic!("an agent, not {restarted:?}");
    };
    assert_eq!(
        turns[0].acts[0].outcome,
        Some(ok(Value::Null)),
        "the journal says what became of it"
    );
}

#[test]
fn a_cancelled_run_does_not_wait_beyond_its_deadline() {
    let mut stage = Stage::with(
        definition("limits: {duration: 5m}", TRIAGE),
        json!({"service": "shop"}),
    );
    stage.hears(&[picks("restart", json!({"service": "shop"}), 0.9)]);
    stage.cancels("c1");
    assert!(matches!(stage.next(), Next::Wait(_)));
    stage.deadline_fires();
    assert_eq!(stage.ends().0, Outcome::Cancelled);
}

#[test]
fn a_run_ended_stays_ended_whatever_comes() {
    let mut stage = Stage::new(TRIAGE);
    stage.hears(&[picks("restart", json!({"service": "shop"}), 0.9)]);
    let late = stage.result_of_last(ok(Value::Null));
    stage.now += SignedDuration::from_hours(1);
    stage.workflow = definition("limits: {duration: 5m}", TRIAGE);
    stage.ends();
    let before = stage.run.clone();
    assert_eq!(
        stage.writes(Kind::Resulted, "restart", &Body::Resulted(late)),
        Folded::Old
    );
    assert_eq!(stage.cancels("c9"), Folded::Old);
    assert_eq!(stage.deadline_fires(), Folded::Old);
    assert_eq!(stage.run, before);
    assert_eq!(
        Run::rebuild(&stage.run.id, stage.journal).as_ref(),
        Ok(&before)
    );
}
