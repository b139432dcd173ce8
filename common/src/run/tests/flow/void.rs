//! What was asked and decided side by side, and is void when its answer comes.

use super::*;

pub(super) const BESIDE: &str = "
  - id: both
    parallel:
      - {id: law, claude: {prompt: The law?}}
      - {id: money, claude: {prompt: The money?}}
";

pub(super) fn drafts_of(ask: &Ask, words: &str) -> Vec<Draft> {
    match ask.settle(&[answered(text(words))]) {
        Settled::Decided(drafts) => drafts,
        Settled::Again(request) => panic!("it asks again: {request:?}"),
    }
}

pub(super) fn asks(stage: &Stage) -> Vec<Ask> {
    let Next::Ask(asks, _) = stage.next() else {
        panic!("it should ask, not {:?}", stage.next());
    };
    asks
}

#[test]
fn questions_side_by_side_are_no_more_than_the_decisions_that_are_left() {
    let mut stage = Stage::of("limits: {steps: 1}", BESIDE, json!({}));
    let first = asks(&stage);
    assert_eq!(first.len(), 1, "the second could not be decided");
    let busy = [first[0].step.clone()].into();
    let beside = stage.run.next_beside(&stage.workflow, stage.now, &busy);
    assert!(matches!(beside, Next::Wait(None)), "{beside:?}");
    stage.decides(drafts_of(&first[0], "fine"));
    let (outcome, reason) = stage.ended();
    assert_eq!(outcome, Outcome::Failed);
    assert!(reason.contains("1 decisions were not enough"), "{reason}");
}

#[test]
fn an_answer_for_what_was_begun_anew_since_is_refused() {
    let mut stage = Stage::of("", "\n  - {id: one, claude: {prompt: Hm?}}\n", json!({}));
    let old = asks(&stage).remove(0);
    let retry = Signalled {
        id: "r".into(),
        step: "one".parse().ok(),
        ..Signalled::default()
    };
    stage.signals(SIGNAL_RETRY, retry);
    stage.goes_far();
    assert_eq!(stage.asked(), ["one@1"]);
    let busy = [old.step.clone()].into();
    assert!(stage.run.wanted(&stage.workflow, &busy).is_empty());
    let links = stage.run.link(drafts_of(&old, "late"), stage.now);
    let link = links.expect("a link").remove(0);
    let entry = Entry::decode(99, link.address, &link.payload).expect("an entry");
    let folded = stage.run.clone().fold(&entry);
    assert!(
        matches!(&folded, Err(FoldError::Broken { problem, .. }) if problem.contains("was begun anew")),
        "{folded:?}"
    );
}

#[test]
fn a_run_that_waits_for_a_person_waits_for_others() {
    let mut stage = Stage::of("", BESIDE, json!({}));
    assert!(!stage.run.awaits_others());
    let told = |id: &str| Signalled {
        id: id.into(),
        ..Signalled::default()
    };
    stage.signals(SIGNAL_PAUSE, told("p"));
    assert!(stage.run.awaits_others(), "somebody must resume it");
    stage.signals(SIGNAL_RESUME, told("r"));
    assert!(!stage.run.awaits_others());
    let ask = asks(&stage).remove(0);
    let park = ask.park(ParkedBy::Blocked, "the key", None, &[], Wasted::default());
    stage.decides(vec![park]);
    assert!(stage.run.awaits_others(), "somebody must mend it");
}

const CLEANS: &str = "
  - id: clean
    agent: {goal: Clean up., tools: [drop_table], ends: [done, escalate]}
";

#[test]
fn the_time_that_people_have_counts_from_the_question_to_them() {
    let terms = "approvals: {timeout: 1h, on_timeout: approve}";
    let mut stage = Stage::of(terms, CLEANS, json!({}));
    let ask = stage.ask();
    stage.now += SignedDuration::from_hours(2);
    stage.writes(Kind::Fired, TIMER_WAKE, &Body::Fired(Fired {}));
    let picked = [answered(picks("drop_table", json!({"table": "old"}), 0.9))];
    let until = |drafts: &[Draft]| match &drafts[0].decision {
        Decision::Approve(approve) => approve.until,
        other => panic!("somebody is asked, not {other:?}"),
    };
    let hour = SignedDuration::from_hours(1);
    let later = stage.now + hour;
    let Settled::Decided(drafts) = ask.settle_at(&picked, later) else {
        panic!("it picked");
    };
    assert_eq!(until(&drafts), Some(later + hour), "Claude was slow");
    let Settled::Decided(drafts) = ask.settle(&picked) else {
        panic!("it picked");
    };
    let mut late = stage.run.clone();
    for link in late.link(drafts.clone(), stage.now).expect("a link") {
        let entry = Entry::decode(99, link.address, &link.payload).expect("an entry");
        late.fold(&entry).expect("it follows");
    }
    assert_eq!(late.approvals().count(), 0, "no timer would say it later");
    let answer = ask.concludes(drafts, &picked, Default::default());
    let drafts = stage.run.answered(&stage.workflow, answer);
    assert_eq!(until(&drafts), Some(stage.run.clock + hour));
    stage.decides(drafts);
    assert_eq!(stage.run.approvals().count(), 1);
}
