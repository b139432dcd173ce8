//! Runs that wait because Claude cannot be asked, and ceilings.

use super::*;
use crate::entry::{Batched, Held, Item};

fn parks(stage: &mut Stage, until: Option<Timestamp>, replies: &[Answered]) {
    let draft = stage.ask().park(
        ParkedBy::Ceiling,
        "$0.10 is not enough",
        until,
        replies,
        Wasted::default(),
    );
    stage.decides(vec![draft]);
}

fn told(id: &str) -> Signalled {
    Signalled {
        id: id.into(),
        ..Signalled::default()
    }
}

fn limited() -> Stage {
    let steps = TRIAGE.replace("      max_loops: 3", "      max_loops: 3\n      usd: 0.25");
    let workflow = definition("limits: {usd: 0.5, usd_per_day: 20}", &steps);
    Stage::with(workflow, json!({"service": "shop"}))
}

#[test]
fn a_parked_run_waits_says_why_and_goes_on_at_the_same_step_when_told() {
    let mut stage = Stage::new(TRIAGE);
    parks(&mut stage, None, &[]);
    assert!(matches!(stage.next(), Next::Wait(_)));
    let line = stage.run.summary().expect("it has begun");
    let why = "step `triage/1`: $0.10 is not enough";
    assert_eq!(
        (line.status, line.reason.as_deref()),
        (Status::Parked, Some(why))
    );
    assert_eq!(line.steps, 0, "waiting is no step");
    assert_eq!(stage.signals(SIGNAL_RESUME, told("r1")), Folded::New);
    assert_eq!(stage.ask().step.to_string(), "triage/1");
    let ask = stage.ask();
    stage.signals(SIGNAL_RESUME, told("r2"));
    assert_eq!(stage.ask().step, ask.step, "it is awake");
    stage.hears(&[picks("resolve", json!("It is fine."), 0.9)]);
    assert_eq!(stage.run.parked, []);
    assert_eq!(stage.ends().0, Outcome::Completed);
}

#[test]
fn a_timer_wakes_the_wait_it_was_set_for_and_no_later_one() {
    let mut stage = Stage::new(TRIAGE);
    let until = stage.now + SignedDuration::from_mins(1);
    parks(&mut stage, Some(until), &[]);
    assert_eq!(stage.alarm(), Some(until));
    assert_eq!(stage.wakes(), Folded::New);
    let wake = stage.journal.last().cloned().expect("it fired");
    assert_eq!(stage.alarm(), None);
    assert_eq!(stage.ask().parked_times, 1);
    parks(&mut stage, Some(until), &[]);
    assert_eq!(stage.run.fold(&wake), Ok(Folded::Old));
    assert!(stage.run.is_parked());
    assert_eq!(stage.wakes(), Folded::New);
    assert_eq!(stage.ask().parked_times, 2);
}

#[test]
fn what_was_answered_before_a_wait_is_not_asked_for_again() {
    let mut stage = Stage::new(TRIAGE);
    let wrong = answered(says("Let me think."));
    parks(&mut stage, None, std::slice::from_ref(&wrong));
    stage.signals(SIGNAL_RESUME, told("r1"));
    let ask = stage.ask();
    assert_eq!(ask.replies, [wrong]);
    let Settled::Again(repair) = ask.settle(&ask.replies) else {
        panic!("one repair is left");
    };
    assert_eq!(repair.messages.len(), ask.request.messages.len() + 2);
}

#[test]
fn what_a_parked_run_keeps_is_charged_when_it_ends_otherwise() {
    let mut stage = Stage::new(TRIAGE);
    let kept = answered(says("Let me think."));
    parks(&mut stage, None, std::slice::from_ref(&kept));
    stage.cancels("c1");
    stage.ends();
    let spent = &stage.run.spent;
    assert_eq!((spent.calls, spent.usd), (1, kept.usd_nano));
}

#[test]
fn ceilings_count_what_the_journal_knows_and_a_raise_sets_them_and_wakes() {
    let mut stage = limited();
    let ceilings = |stage: &Stage| -> Vec<(Scope, u64, u64)> {
        let known = stage.ask().ceilings.into_iter();
        known
            .map(|ceiling| (ceiling.scope, ceiling.limit.nano(), ceiling.spent.nano()))
            .collect()
    };
    let per_day = (Scope::WorkflowDay, 20_000_000_000, 0);
    let fresh = [
        (Scope::Step, 250_000_000, 0),
        (Scope::Run, 500_000_000, 0),
        per_day,
    ];
    assert_eq!(ceilings(&stage), fresh);
    stage.hears(&[picks("disk_usage", json!({"path": "/"}), 0.9)]);
    stage.results(ok(json!("91%")));
    // 100 tokens in at 100 and 10 out at 500 nano-dollars, and once more for a reply that a parked run keeps.
    let lost = Answered {
        wasted_usd_nano: Usd::from_nano(7),
        ..answered(says("Let me think."))
    };
    parks(&mut stage, None, &[lost]);
    let raise = Signalled {
        usd_nano: Some(Usd::from_nano(900_000_000)),
        step: Some("triage".parse().expect("a name")),
        ..told("up")
    };
    assert_eq!(stage.signals(SIGNAL_RAISE, raise.clone()), Folded::New);
    assert_eq!(
        stage.signals(SIGNAL_RAISE, raise),
        Folded::Old,
        "the same click"
    );
    let spent = 2 * 15_000 + 7;
    let raised = [
        (Scope::Step, 900_000_000, spent),
        (Scope::Run, 500_000_000, spent),
        per_day,
    ];
    assert_eq!(ceilings(&stage), raised);
}

#[test]
fn a_parked_run_can_be_cancelled_and_its_time_goes_on() {
    let mut stage = Stage::new(TRIAGE);
    parks(&mut stage, None, &[]);
    stage.cancels("c1");
    assert_eq!(stage.ends().0, Outcome::Cancelled);

    let mut stage = Stage::with(
        definition("limits: {duration: 5m}", TRIAGE),
        json!({"service": "shop"}),
    );
    parks(&mut stage, None, &[]);
    stage.deadline_fires();
    assert_eq!(stage.ends().0, Outcome::Failed);
}

#[test]
fn a_pause_is_sent_back_as_it_came_and_is_no_attempt() {
    let mut stage = Stage::new(TRIAGE);
    let pause = reply(
        json!([{"type": "server_tool_use", "id": "s", "name": "search", "input": {}}]),
        StopReason::PauseTurn,
    );
    let again = stage.asks_again(&[pause.clone(), says("Let me think."), pause.clone()]);
    let turns: Vec<_> = again
        .messages
        .iter()
        .skip(1)
        .map(|turn| turn.role)
        .collect();
    use crate::claude::Role::{Assistant, User};
    assert_eq!(turns, [Assistant, Assistant, User, Assistant]);
    let never = vec![pause; 5];
    let Decision::Finish { end, summary } = stage.hears(&never) else {
        panic!("it escalates");
    };
    assert_eq!(
        (end.as_str(), summary.as_str()),
        ("escalate", "step `triage/1`: it paused again and again")
    );
}

/// Waits for an item of a batch, as the planner says so.
fn in_batch(ask: &Ask) -> Draft {
    let mut batched = Batched::new(ask.asked_from);
    let custom_id = batched.custom_id(&ask.run, &ask.step, 0);
    batched.item = Some(Item {
        custom_id,
        model: "claude-haiku-5-5".into(),
        from: ask.asked_from,
        to: ask.asked_from,
        held: Some(Held {
            id: "held".into(),
            usd_nano: Usd::from_nano(500),
            day: "2026-01-01".into(),
            scopes: Vec::new(),
        }),
    });
    let until = ask.asked_from + SignedDuration::from_mins(1);
    let waits = ask.park(ParkedBy::Batch, "", Some(until), &[], Wasted::default());
    waits.with_batch(Some(Box::new(batched)))
}

#[test]
fn an_item_that_is_looked_at_when_its_run_ends_is_told_once() {
    let mut stage = Stage::new(TRIAGE);
    let waits = in_batch(&stage.ask());
    stage.decides(vec![waits]);
    stage.wakes();
    let ask = stage.ask();
    let looked = ask.concludes(vec![in_batch(&ask)], &[], Default::default());
    let (calls, left) = looked.unwanted();
    assert_eq!((calls.len(), left.len()), (1, 1));
    let untold = |run: &Run, drafts: &[Draft]| Told::default().untold(run, drafts, &calls);
    stage.cancels("c1");
    let Next::Decide(ends) = stage.next() else {
        panic!("it ends");
    };
    assert_eq!(untold(&stage.run, &ends), None, "the end tells it");
    // Where another decision comes before, that one does, and the end does not.
    let mut other = in_batch(&ask);
    other.tell(untold(&stage.run, &[]));
    stage.decides(vec![other]);
    stage.ends();
    let spent = &stage.run.spent;
    assert_eq!((spent.wasted, spent.wasted_usd), (1, Usd::from_nano(500)));
    assert_eq!(untold(&stage.run, &[]), None, "the journal tells it");
}

#[test]
fn an_answer_from_a_batch_that_nobody_wants_any_more_is_told_for_what_it_cost() {
    let mut stage = Stage::new(TRIAGE);
    let waits = in_batch(&stage.ask());
    stage.decides(vec![waits]);
    stage.wakes();
    let ask = stage.ask();
    let came = Answered {
        request_id: Some(Batched::new(ask.asked_from).custom_id(&ask.run, &ask.step, 0)),
        ..answered(says("Let me think."))
    };
    let again = ask.park(ParkedBy::Unavailable, "", None, &[], Wasted::default());
    let replies = std::slice::from_ref(&came);
    let (calls, left) = ask
        .concludes(vec![again], replies, Default::default())
        .unwanted();
    stage.cancels("c1");
    let Next::Decide(mut ends) = stage.next() else {
        panic!("it ends");
    };
    assert_eq!(ends.iter().map(|draft| draft.left.len()).sum::<usize>(), 1);
    Told::default().tell(&stage.run, &mut ends, &calls, &left);
    assert_eq!(ends.iter().map(|draft| draft.left.len()).sum::<usize>(), 0);
    stage.decides(ends);
    let spent = &stage.run.spent;
    assert_eq!(
        (spent.calls, spent.usd, spent.wasted, spent.wasted_usd),
        (1, came.usd_nano, 0, Usd::default())
    );
}
