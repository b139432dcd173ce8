//! Runs of which an entry became a dead letter.

use super::*;
use crate::entry::Letter;

fn about(letter: u64, reason: &str) -> Signalled {
    Signalled {
        id: format!("{reason}.{letter}"),
        reason: Some(reason.into()),
        letter: Some(Letter {
            letter,
            subject: "runs.x.fired.wake".into(),
            seq: 1,
        }),
        ..Signalled::default()
    }
}

#[test]
fn a_run_with_a_dead_letter_waits_and_says_so_until_all_of_them_are_redriven() {
    let mut stage = Stage::new(TRIAGE);
    assert_eq!(stage.signals(SIGNAL_DEAD, about(7, "too odd")), Folded::New);
    stage.signals(SIGNAL_DEAD, about(9, "odd, too"));
    assert!(matches!(stage.next(), Next::Wait(None)));
    let line = stage.run.summary().expect("it has begun");
    assert_eq!(
        (line.status, line.parked_by),
        (Status::Parked, Some(ParkedBy::Dead))
    );
    let why = line.reason.unwrap_or_default();
    assert!(why.starts_with("waits on dead letter 7: too odd"), "{why}");
    // That is not for a resume to settle.
    stage.signals(
        SIGNAL_RESUME,
        Signalled {
            id: "r".into(),
            ..Signalled::default()
        },
    );
    assert!(matches!(stage.next(), Next::Wait(None)));
    stage.signals(SIGNAL_REDRIVE, about(7, "mended"));
    assert!(matches!(stage.next(), Next::Wait(None)));
    stage.signals(SIGNAL_REDRIVE, about(9, "mended"));
    stage.hears(&[picks("resolve", json!("It is fine."), 0.9)]);
    assert_eq!(stage.ends().0, Outcome::Completed);
}

#[test]
fn a_letter_that_is_heard_of_after_it_was_redriven_holds_nobody_up() {
    let mut stage = Stage::new(TRIAGE);
    stage.signals(SIGNAL_REDRIVE, about(7, "mended"));
    stage.signals(SIGNAL_DEAD, about(7, "too odd"));
    assert!(!stage.run.is_held());
    stage.hears(&[picks("resolve", json!("It is fine."), 0.9)]);
    assert_eq!(stage.ends().0, Outcome::Completed);
}

#[test]
fn a_run_whose_letter_was_dropped_begins_nothing_more_and_can_end() {
    let mut stage = Stage::new(TRIAGE);
    stage.signals(SIGNAL_DROP, about(7, "never mind"));
    stage.signals(SIGNAL_DEAD, about(7, "too odd"));
    assert!(matches!(stage.next(), Next::Wait(None)));
    let end = stage.run.key(&Place::top(&"end".parse().expect("a name")));
    let draft = stage
        .run
        .ending(end, Outcome::Failed, Some("it was dropped".into()));
    stage.decides(vec![draft]);
    let line = stage.run.summary().expect("it has begun");
    assert_eq!((line.status, line.parked_by), (Status::Failed, None));
    let rebuilt = Run::rebuild(&stage.run.id, stage.journal.clone());
    assert_eq!(rebuilt.as_ref(), Ok(&stage.run));
}

#[test]
fn a_state_that_was_saved_before_there_were_letters_is_read() {
    let stage = Stage::new(TRIAGE);
    let mut saved = serde_json::to_value(&stage.run).expect("JSON");
    saved.as_object_mut().expect("an object").remove("dead");
    let read: Run = serde_json::from_value(saved).expect("a run");
    assert_eq!(read, stage.run);
}
