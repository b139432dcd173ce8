//! What a run does that fails: it undoes, the last first, and tells.

use super::*;

const TRIP: &str = "
  - {id: hotel, tool: book, with: {id: hotel}}
  - {id: look, tool: disk_usage, with: {path: /}}
  - {id: train, tool: book, with: {id: train}}
  - {id: car, tool: book, with: {id: car}}
";
const UNDO: &str = "on_failure: {compensate: true, steps: [{id: tell, tool: restart, with: {service: '{{ failure.outcome }}: {{ failure.reason }}'}}]}";

fn trip(top: &str) -> Stage {
    let mut stage = Stage::of(top, TRIP, json!({}));
    stage.goes_far();
    stage.done("hotel", json!({"id": "h1"}));
    stage.done("look", json!(1));
    stage.done("train", json!({"id": "t1"}));
    stage
}

#[test]
fn what_was_done_is_undone_the_last_first_then_somebody_is_told_then_it_ends() {
    let mut stage = trip(UNDO);
    stage.gives("car", failed("no cars"));
    stage.goes_far();
    assert_eq!(stage.in_hand(), ["train!undo"], "one after the other");
    assert_eq!(
        act_with(&stage.last_of("train!undo").1.decision)["id"],
        "t1"
    );
    stage.done("train!undo", json!(1));
    assert_eq!(stage.in_hand(), ["hotel!undo"], "reading has no way back");
    stage.done("hotel!undo", json!(1));
    let (_, told) = stage.last_of("tell");
    let told = act_with(&told.decision)["service"].to_string();
    assert!(
        told.contains("failed: step `car`: book") && told.contains("no cars"),
        "{told}"
    );
    stage.gives("tell", failed("nobody there"));
    let (outcome, reason) = stage.ended();
    assert_eq!(outcome, Outcome::Failed, "whatever became of telling");
    assert!(reason.contains("no cars"), "{reason}");
}

#[test]
fn what_cannot_be_undone_needs_a_person() {
    let mut stage = trip(UNDO);
    stage.gives("car", failed("no cars"));
    stage.goes_far();
    stage.gives("train!undo", failed("closed"));
    stage.goes_far();
    stage.done("hotel!undo", json!(1));
    stage.done("tell", json!(1));
    let (outcome, reason) = stage.ended();
    assert_eq!(outcome, Outcome::Escalated);
    assert!(
        reason.ends_with("this could not be undone: train (book)"),
        "{reason}"
    );
}

#[test]
fn an_effect_nobody_knows_of_is_undone_too_and_one_in_flight_is_waited_for() {
    let mut stage = trip(UNDO);
    stage.cancels("c1");
    assert!(matches!(stage.next(), Next::Wait(_)));
    let mut stage = trip(UNDO);
    let compensate = Signalled {
        id: "c".into(),
        compensate: true,
        ..Signalled::default()
    };
    stage.signals(SIGNAL_CANCEL, compensate);
    assert!(
        matches!(stage.next(), Next::Wait(_)),
        "the car is in flight"
    );
    stage.gives("car", unknown("the executor died"));
    stage.goes_far();
    for slot in ["car!undo", "train!undo", "hotel!undo"] {
        assert_eq!(stage.in_hand(), [slot]);
        stage.done(slot, json!(1));
    }
    stage.done("tell", json!(1));
    assert_eq!(stage.ended().0, Outcome::Cancelled);
}

#[test]
fn a_cancel_alone_undoes_nothing() {
    let mut stage = trip(UNDO);
    stage.cancels("c1");
    stage.gives("car", ok(json!({"id": "c1"})));
    assert_eq!(stage.ended().0, Outcome::Cancelled);
    assert!(stage.run.asides.is_empty());
}

#[test]
fn a_run_whose_time_is_up_undoes_what_it_did_all_the_same() {
    let mut stage = trip(&format!("limits: {{duration: 1h}}\n{UNDO}"));
    stage.deadline_fires();
    stage.goes_far();
    assert!(
        matches!(stage.next(), Next::Wait(_)),
        "the car is in flight"
    );
    stage.gives("car", ok(json!({"id": "c9"})));
    stage.goes_far();
    assert_eq!(stage.in_hand(), ["car!undo"]);
    for slot in ["car!undo", "train!undo", "hotel!undo", "tell"] {
        stage.done(slot, json!(1));
    }
    assert_eq!(stage.ended().0, Outcome::Failed);
}

#[test]
fn where_a_person_takes_over_nothing_is_undone_behind_their_back() {
    let mut stage = trip(UNDO);
    stage.gives("car", unknown("the executor died"));
    assert_eq!(stage.ended().0, Outcome::Escalated);
    assert!(stage.run.asides.is_empty());
}

#[test]
fn effects_of_a_step_that_was_begun_anew_are_undone_with_the_others() {
    let steps = "
  - id: both
    retry: {times: 1, pause: 1s}
    steps:
      - {id: hotel, tool: book, with: {id: hotel}}
      - {id: car, tool: restart, with: {service: car}}
";
    let mut stage = Stage::of("on_failure: {compensate: true}", steps, json!({}));
    stage.goes_far();
    stage.done("hotel", json!({"id": "h1"}));
    stage.gives("car", failed("no cars"));
    stage.goes_far();
    stage.wakes();
    stage.goes_far();
    stage.done("hotel@1", json!({"id": "h2"}));
    stage.gives("car@1", failed("no cars"));
    stage.goes_far();
    for (slot, id) in [("hotel@1!undo", "h2"), ("hotel!undo", "h1")] {
        assert_eq!(stage.in_hand(), [slot]);
        assert_eq!(act_with(&stage.last_of(slot).1.decision)["id"], id);
        stage.done(slot, json!(1));
    }
    assert_eq!(stage.ended().0, Outcome::Failed);
}

#[test]
fn what_was_done_and_gave_something_else_than_it_says_is_undone_with_what_it_gave() {
    let mut stage = trip(UNDO);
    let misfit = ToolOutcome::Failed {
        error: crate::entry::MISFIT.parse().unwrap(),
        message: "it does not fit".into(),
        output: Some(json!({"id": "c1"})),
    };
    stage.gives("car", misfit);
    stage.goes_far();
    assert_eq!(stage.in_hand(), ["car!undo"]);
    assert_eq!(act_with(&stage.last_of("car!undo").1.decision)["id"], "c1");
}

#[test]
fn what_was_begun_and_not_heard_of_is_undone_too() {
    let fails = |class: &str| {
        let mut stage = trip(UNDO);
        let lost = ToolOutcome::Failed {
            error: class.parse().unwrap(),
            message: "the line broke".into(),
            output: None,
        };
        stage.gives("car", lost);
        stage.goes_far();
        stage.in_hand()
    };
    for doubt in crate::entry::IN_DOUBT {
        assert_eq!(fails(doubt), ["car!undo"], "{doubt}");
    }
    assert_eq!(
        fails("status"),
        ["train!undo"],
        "it says that it did nothing"
    );
}
