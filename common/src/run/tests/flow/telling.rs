//! What was paid is told once, whatever becomes of it.

use std::slice;

use super::{
    void::{BESIDE, asks, drafts_of},
    *,
};
use crate::entry::Call;

/// A run that keeps a reply while it is parked, and is asked again.
fn kept(keys: &str) -> (Stage, Ask) {
    let steps = format!("\n  - {{id: one, claude: {{prompt: Hm?}}, {keys}}}\n");
    let mut stage = Stage::of("", &steps, json!({}));
    stage.goes_far();
    let ask = asks(&stage).remove(0);
    let empty = answered(text(" "));
    let until = stage.now + SignedDuration::from_secs(1);
    let why = "a ceiling";
    let replies = [empty];
    let park = ask.park(
        ParkedBy::Ceiling,
        why,
        Some(until),
        &replies,
        Wasted::default(),
    );
    stage.decides(vec![park]);
    stage.wakes();
    let again = asks(&stage).remove(0);
    (stage, again)
}

fn told(stage: &Stage) -> usize {
    let told = |entry: &Entry| {
        let Body::Decided(decided) = &entry.body else {
            return 0;
        };
        let call = decided.call.as_ref();
        call.map_or(0, |call| call.attempts.len())
    };
    stage.journal.iter().map(told).sum()
}

#[test]
fn what_a_parked_step_keeps_is_told_when_its_time_is_up() {
    let (mut stage, again) = kept("timeout: 1m, on_error: continue");
    assert_eq!(again.replies.len(), 1);
    let abandoned = again.abandoned(&again.replies, Wasted::default());
    assert_eq!(abandoned, [], "the run tells what it keeps");
    stage.now += SignedDuration::from_mins(2);
    stage.writes(Kind::Fired, TIMER_WAKE, &Body::Fired(Fired {}));
    assert_eq!(stage.ended().0, Outcome::Completed);
    assert_eq!(told(&stage), 1);
    assert_eq!(stage.run.spent.calls, 1);
}

#[test]
fn what_a_parked_step_keeps_is_told_when_it_is_begun_anew() {
    let (mut stage, _) = kept("timeout: 1m");
    let before = stage.run.cost();
    let retry = Signalled {
        id: "r".into(),
        step: "one".parse().ok(),
        ..Signalled::default()
    };
    stage.signals(SIGNAL_RETRY, retry);
    stage.goes_far();
    assert_eq!(told(&stage), 1);
    assert_eq!(stage.run.cost(), before, "what was paid stays paid");
}

#[test]
fn what_parked_steps_keep_is_counted_once_when_the_run_ends() {
    let (mut stage, again) = kept("timeout: 1m");
    let before = stage.run.cost();
    // The step's own answer ends the run.
    let answer = again.concludes(
        vec![again.give_up("no answer", &again.replies, Wasted::default())],
        &again.replies,
        Default::default(),
    );
    let mut other = stage.run.clone();
    let drafts = stage.run.answered(&stage.workflow, answer);
    assert!(drafts[0].is_end());
    stage.decides(drafts);
    assert_eq!((told(&stage), stage.run.cost()), (1, before));

    // Somebody else ends it.
    let end = other.ending(again.step, Outcome::Failed, None);
    for link in other.link(vec![end], stage.now).expect("a link") {
        let entry = Entry::decode(99, link.address, &link.payload).expect("an entry");
        other.fold(&entry).expect("it follows");
    }
    assert_eq!(other.cost(), before);
}

#[test]
fn an_answer_that_ends_the_run_tells_what_other_steps_keep() {
    let mut stage = Stage::of("", BESIDE, json!({}));
    let both = asks(&stage);
    let park = both[0].park(
        ParkedBy::Ceiling,
        "it waits",
        None,
        &[answered(text(" "))],
        Wasted::default(),
    );
    stage.decides(vec![park]);
    let end = Draft {
        call: drafts_of(&both[1], "fine")[0].call.clone(),
        ..stage
            .run
            .ending(both[1].step.clone(), Outcome::Escalated, None)
    };
    let answer = both[1].concludes(vec![end], &[answered(text("fine"))], Default::default());
    let drafts = stage.run.answered(&stage.workflow, answer);
    stage.decides(drafts);
    assert_eq!(told(&stage), 2);
}

#[test]
fn an_answer_that_needs_more_decisions_than_are_left_fails_the_run_and_is_told() {
    let mut stage = Stage::of("limits: {steps: 2}", BESIDE, json!({}));
    let both = asks(&stage);
    let conclude = |ask: &Ask, words: &str| {
        let replies = [answered(text(words))];
        ask.concludes(drafts_of(ask, words), &replies, Default::default())
    };
    let (first, second) = (conclude(&both[0], "fine"), conclude(&both[1], "dear"));
    // Others have decided something meanwhile that was not known when it was asked.
    stage.run.decisions += 1;
    let drafts = stage.run.answered(&stage.workflow, first.clone());
    assert_eq!(drafts, first.drafts, "one is left");
    stage.decides(drafts);
    let instead = stage.run.answered(&stage.workflow, second);
    let call = instead[0].call.as_ref().expect("it was paid");
    assert!(instead[0].is_end() && call.attempts[0].dropped);
    assert_eq!(call.attempts.len(), 1);
}

#[test]
fn what_is_undone_beside_a_step_leaves_alone_what_it_keeps() {
    let steps = "
  - id: clean
    agent: {goal: Clean up., tools: [book], ends: [done]}
";
    let mut stage = Stage::of("", steps, json!({}));
    stage.replies("clean/1", picks("book", json!({"id": "b"}), 0.9));
    stage.done("clean/1", json!({"id": "b"}));
    let ask = stage.ask();
    let park = ask.park(
        ParkedBy::Ceiling,
        "it waits",
        None,
        &[answered(text(" "))],
        Wasted::default(),
    );
    stage.decides(vec![park]);
    let before = stage.run.cost();
    let cancel = Signalled {
        id: "c".into(),
        compensate: true,
        ..Signalled::default()
    };
    stage.signals(SIGNAL_CANCEL, cancel);
    stage.goes_far();
    assert_eq!(stage.in_hand(), ["clean/1!undo"]);
    assert_eq!(stage.run.parked.len(), 1);
    stage.done("clean/1!undo", json!(1));
    assert_eq!(stage.ended().0, Outcome::Cancelled);
    assert_eq!((told(&stage), stage.run.cost()), (2, before));
}

#[test]
fn what_is_told_besides_comes_before_what_counts() {
    let stage = Stage::of("", BESIDE, json!({}));
    let both = asks(&stage);
    let replies = [answered(text("dear"))];
    let others = both[1].abandoned(&replies, Wasted::default()).remove(0);
    let own = drafts_of(&both[0], "fine")[0]
        .call
        .clone()
        .expect("it was paid");
    let all = own.clone().telling(others.clone());
    assert_eq!(
        all.attempts,
        [others.attempts[0].clone(), own.attempts[0].clone()]
    );
    assert_eq!(all.usd_nano, own.usd_nano + others.usd_nano);
    assert_eq!(all.model, own.model);
}

#[test]
fn a_journal_says_which_replies_and_which_decisions_it_tells() {
    let mut stage = Stage::of("", BESIDE, json!({}));
    let both = asks(&stage);
    let said = |id: &str| Answered {
        request_id: Some(id.into()),
        ..answered(text("fine"))
    };
    let Settled::Decided(drafts) = both[0].settle(&[said("one")]) else {
        panic!("it is an answer");
    };
    let paid = |id: &str| both[0].abandoned(&[said(id)], Wasted::default()).remove(0);
    let link = stage.run.link(drafts, stage.now).expect("a link").remove(0);
    let untold = |told: &Told, run: &Run, ids: &[&str]| {
        let calls: Vec<Call> = ids.iter().map(|id| paid(id)).collect();
        let untold = told.untold(run, &[], &calls);
        untold.map_or(0, |call| call.attempts.len())
    };
    let before = Told::by(&stage.journal);
    assert_eq!(untold(&before, &stage.run, &["one", "two", "one"]), 2);
    assert!(!before.has(&link));
    stage.append(link.address.clone(), &link.payload);
    let park = both[1].park(
        ParkedBy::Blocked,
        "it waits",
        None,
        &[said("two")],
        Wasted::default(),
    );
    stage.decides(vec![park]);
    let told = Told::by(&stage.journal);
    assert_eq!(untold(&told, &stage.run, &["one", "two"]), 0);
    assert_eq!(untold(&told, &stage.run, &["one", "three"]), 1);
    let other = Link {
        payload: b"{}".to_vec(),
        ..link.clone()
    };
    assert!(told.has(&link) && !told.has(&other));
}

#[test]
fn a_reply_that_was_given_up_and_is_found_again_is_not_counted_twice() {
    let mut stage = Stage::of("", BESIDE, json!({}));
    let before = asks(&stage).remove(0);
    let found = Answered {
        request_id: Some("one".into()),
        ..answered(text("fine"))
    };
    let concluded = |ask: &Ask| {
        let Settled::Decided(drafts) = ask.settle(slice::from_ref(&found)) else {
            panic!("it is an answer");
        };
        let wasted = (Wasted::default(), Wasted::default());
        ask.concludes(drafts, slice::from_ref(&found), wasted)
    };
    assert!(!stage.run.is_past(&concluded(&before)));
    let mut given_up = stage.run.abandoning(&before.step);
    given_up.call = before
        .abandoned(slice::from_ref(&found), Wasted::default())
        .pop();
    stage.decides(vec![given_up]);
    let spent = stage.run.spent;
    assert_eq!(spent.calls, 1);
    assert!(
        stage.run.tells(&concluded(&before)),
        "asked before it was told"
    );
    let again = asks(&stage).remove(0);
    assert!(!stage.run.is_past(&concluded(&again)));
    let drafts = stage.run.answered(&stage.workflow, concluded(&again));
    stage.decides(drafts);
    assert_eq!(stage.run.spent, spent);
}

#[test]
fn a_question_does_not_wait_for_money_that_was_given_while_it_was_asked() {
    let mut stage = Stage::of("", BESIDE, json!({}));
    let parks = |ask: &Ask, by| {
        let none = Wasted::default();
        ask.concludes(
            vec![ask.park(by, "it waits", None, &[], none)],
            &[],
            (none, none),
        )
    };
    let before = asks(&stage).remove(0);
    let (poor, blocked) = (
        parks(&before, ParkedBy::Ceiling),
        parks(&before, ParkedBy::Blocked),
    );
    assert!(!stage.run.is_past(&poor));
    let raise = Signalled {
        id: "up".into(),
        usd_nano: Some(Usd::from_nano(900)),
        ..Signalled::default()
    };
    assert_eq!(stage.signals(SIGNAL_RAISE, raise), Folded::New);
    assert!(stage.run.is_past(&poor), "nobody would wake it again");
    assert!(!stage.run.is_past(&blocked));
    let again = asks(&stage).remove(0);
    assert!(!stage.run.is_past(&parks(&again, ParkedBy::Ceiling)));
}

#[test]
fn what_a_step_keeps_is_told_when_its_question_is_abandoned() {
    let (mut stage, again) = kept("timeout: 1m");
    let before = stage.run.cost();
    let abandoned = stage.run.abandoning(&again.step);
    stage.decides(vec![abandoned]);
    assert_eq!(stage.run.parked, []);
    assert_eq!((told(&stage), stage.run.cost()), (1, before));
}

#[test]
fn what_a_step_keeps_is_told_by_an_answer_that_did_not_know_of_it() {
    let mut stage = Stage::of("", BESIDE, json!({}));
    let ask = asks(&stage).remove(0);
    let said = |id: &str, words: &str| Answered {
        request_id: Some(id.into()),
        ..answered(text(words))
    };
    let kept = [said("one", " ")];
    let park = |replies| {
        ask.park(
            ParkedBy::Ceiling,
            "it waits",
            None,
            replies,
            Wasted::default(),
        )
    };
    stage.decides(vec![park(&kept)]);
    let again = [said("one", " "), said("two", "fine")];
    let anew = [said("three", "fine")];
    for (replies, told_by_it) in [(&again[..], 2), (&anew[..], 2)] {
        let Settled::Decided(drafts) = ask.settle(replies) else {
            panic!("it is an answer");
        };
        let answer = ask.concludes(drafts, replies, Default::default());
        let drafts = stage.run.answered(&stage.workflow, answer);
        let call = drafts[0].call.as_ref().expect("it was paid");
        assert_eq!(call.attempts.len(), told_by_it);
        assert!(call.attempts[1].complaint.is_none(), "its own is the last");
    }
    let waits = ask.concludes(vec![park(&anew)], &anew, Default::default());
    let drafts = stage.run.answered(&stage.workflow, waits);
    stage.decides(drafts);
    assert_eq!((told(&stage), stage.run.parked.len()), (1, 1));
}
