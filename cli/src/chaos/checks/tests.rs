//! The scorecard's rules: what must turn it red, and what a fault explains.

use std::time::Duration;

use flotilla_common::{
    entry::{Address, Body, Decided, Decision, Entry, Kind as EntryKind},
    ids::RunId,
};
use flotilla_sim::sink::Effect;
use serde_json::{Value, json};

use super::{
    super::{
        claude::Call,
        evidence::Evidence,
        fleet::key,
        inject::Happened,
        load::{Accepted, Workload},
        people::{Said, Verdict},
        schedule::Kind,
    },
    *,
};

fn run(workload: Workload) -> RunId {
    RunId::derive(&workload.workflow("chaos").parse().unwrap(), "tests", "1")
}

fn accepted(workload: Workload) -> Evidence {
    let event = Accepted {
        workload,
        run: run(workload),
        sent_ms: 0,
    };
    Evidence {
        accepted: vec![event],
        ..Evidence::default()
    }
}

/// The sink did this for a run: once, at second 10.
fn did(evidence: &mut Evidence, workload: Workload, path: &str, step: &str, mut body: Value) {
    let run = run(workload);
    body["run"] = json!(run);
    body["step"] = json!(step);
    let mut effect = Effect::default();
    effect.what = format!("POST {path}");
    effect.requests = 1;
    effect.executions = 1;
    effect.bodies = vec![body];
    effect.at_ms = vec![10_000];
    effect.done_ms = Some(10_000);
    evidence.effects.insert(format!("{run}.{step}.0"), effect);
}

fn only(evidence: &mut Evidence) -> &mut Effect {
    evidence.effects.values_mut().next().unwrap()
}

fn call(planner: &str, started_ms: i64) -> Call {
    Call {
        key: flotilla_sim::key_digest(&key(planner)),
        status: 200,
        usd_nano: 1_500_000,
        body_sha256: "the same".into(),
        user_id: Some(run(Workload::Ceiling).to_string()),
        started_ms,
        finished_ms: started_ms + 100,
        delivered: true,
        ..Call::default()
    }
}

fn fault(kind: Kind, target: &'static str, begun_ms: i64, ended_ms: i64) -> Happened {
    Happened {
        kind,
        target,
        begun_ms,
        ended_ms,
        probe: None,
    }
}

#[test]
fn a_run_that_does_not_report_is_lost() {
    let mut evidence = accepted(Workload::Main);
    did(&mut evidence, Workload::Main, "/note", "note", json!({}));
    assert_eq!(lost(&evidence).len(), 1);
    did(
        &mut evidence,
        Workload::Main,
        "/report",
        "report",
        json!({}),
    );
    assert_eq!(lost(&evidence), Vec::<String>::new());
}

#[test]
fn effects_that_are_done_or_asked_for_too_often_are_doubled() {
    let of = |path: &str, change: fn(&mut Effect)| {
        let mut evidence = accepted(Workload::Main);
        did(
            &mut evidence,
            Workload::Main,
            path,
            "step",
            json!({"number": 1}),
        );
        change(only(&mut evidence));
        doubled(&evidence).len()
    };
    assert_eq!(of("/note", |_| {}), 0);
    // Asked for again under its key, as it may be.
    assert_eq!(of("/note", |effect| effect.requests = 2), 0);
    assert_eq!(of("/note", |effect| effect.executions = 2), 1);
    assert_eq!(of("/tell", |effect| effect.requests = 2), 1);
    let another = |effect: &mut Effect| effect.bodies.push(json!({"number": 2}));
    assert_eq!(of("/note", another), 1);
}

#[test]
fn two_keys_for_one_step_are_doubled() {
    let mut evidence = accepted(Workload::Main);
    did(&mut evidence, Workload::Main, "/note", "note", json!({}));
    let again = only(&mut evidence).clone();
    evidence.effects.insert("another key".into(), again);
    assert_eq!(doubled(&evidence).len(), 1);
}

#[test]
fn what_is_paid_must_be_what_a_person_said() {
    let of = |said: Option<Verdict>, amount: Option<u64>, report: &str| {
        let workload = Workload::Approval;
        let mut evidence = accepted(workload);
        did(
            &mut evidence,
            workload,
            "/report",
            "report",
            json!({"said": report}),
        );
        if let Some(amount) = amount {
            did(
                &mut evidence,
                workload,
                "/pay",
                "pay",
                json!({"amount": amount}),
            );
        }
        if let Some(verdict) = said {
            let said = Said {
                verdict,
                sent_ms: 5_000,
            };
            evidence.said.verdicts.insert(run(workload), said);
        }
        misapplied(&evidence).len()
    };
    assert_eq!(of(Some(Verdict::Approve), Some(1), "paid"), 0);
    assert_eq!(of(Some(Verdict::Modify), Some(2), "paid"), 0);
    assert_eq!(of(Some(Verdict::Reject), None, "not paid"), 0);
    // It was allowed, and its tool failed.
    assert_eq!(of(Some(Verdict::Approve), None, "not paid"), 0);
    assert_eq!(of(Some(Verdict::Approve), Some(2), "paid"), 1);
    assert_eq!(of(Some(Verdict::Reject), Some(1), "paid"), 1);
    assert_eq!(of(Some(Verdict::Approve), None, "paid"), 1);
    assert_eq!(of(None, Some(1), "paid"), 1);
}

#[test]
fn what_is_paid_before_a_verdict_was_sent_is_wrong() {
    let workload = Workload::Approval;
    let mut evidence = accepted(workload);
    did(&mut evidence, workload, "/pay", "pay", json!({"amount": 1}));
    let said = Said {
        verdict: Verdict::Approve,
        sent_ms: 10_001,
    };
    evidence.said.verdicts.insert(run(workload), said);
    assert_eq!(misapplied(&evidence).len(), 1);
    evidence.said.overruled.push(run(workload));
    assert_eq!(misapplied(&evidence).len(), 2);
}

/// How many calls were paid twice without a reason, and with one: two of one request, at 0 and at 20 s.
fn twice(faults: Vec<Happened>) -> (usize, usize) {
    let evidence = Evidence {
        calls: vec![call("planner-1", 0), call("planner-2", 20_000)],
        happened: faults,
        ..Evidence::default()
    };
    let twice = paid(&evidence).twice;
    (twice.wrong.len(), twice.explained)
}

#[test]
fn a_call_that_is_paid_again_is_explained_by_what_kept_its_planner_from_saving_it() {
    assert_eq!(twice(vec![]), (1, 0));
    for (kind, target) in [
        (Kind::Kill, "planner-1"),
        (Kind::Stop, "planner-1"),
        (Kind::Cut, "planner-1/claude"),
        (Kind::OneWay, "planner-1/redis"),
        (Kind::RedisKill, ""),
    ] {
        assert_eq!(twice(vec![fault(kind, target, 50, 60)]), (0, 1), "{kind:?}");
    }
}

#[test]
fn a_call_that_is_paid_again_is_not_explained_by_other_faults_nor_by_later_ones() {
    for (kind, target) in [
        (Kind::Kill, "planner-2"),
        (Kind::Cut, "planner-1/nats"),
        (Kind::NatsKill, ""),
        (Kind::Claude529, ""),
        (Kind::ClockAhead, "planner-1"),
    ] {
        assert_eq!(twice(vec![fault(kind, target, 50, 60)]), (1, 0), "{kind:?}");
    }
    // A planner that was killed before does not call any more; one that slept, or could not hold its claim, looks before it calls.
    for (kind, target) in [
        (Kind::Kill, "planner-1"),
        (Kind::Stop, "planner-1"),
        (Kind::HalfOpen, "planner-1/redis"),
    ] {
        let before = vec![fault(kind, target, -1_500, -1_000)];
        assert_eq!(twice(before), (1, 0), "{kind:?}");
    }
    // A claim that Redis forgot is not seen so.
    let forgotten = |begun_ms| vec![fault(Kind::RedisKill, "", begun_ms, begun_ms + 500)];
    assert_eq!(twice(forgotten(-1_500)), (0, 1));
    assert_eq!(twice(forgotten(-4_000)), (1, 0));
    // Long after the reply was delivered, and so saved.
    let late = fault(Kind::Kill, "planner-1", 9_000, 9_000);
    assert_eq!(twice(vec![late]), (1, 0));
    // What was saved was forgotten.
    let forgotten = fault(Kind::Flush, "", 9_000, 9_000);
    assert_eq!(twice(vec![forgotten]), (0, 1));
}

#[test]
fn in_a_fleet_of_others_a_call_is_explained_by_a_run_that_owns_up_to_it_and_no_more_than_so_often()
{
    let seen = |wasted: u64| {
        let mut evidence = Evidence {
            attached: true,
            calls: [0, 20_000, 40_000].map(|at| call("planner-1", at)).into(),
            ..Evidence::default()
        };
        let id = run(Workload::Ceiling);
        let entry = decided(1, &id, told(0, wasted));
        evidence.journal.insert(id, vec![entry]);
        let paid = paid(&evidence);
        (paid.twice.wrong.len(), paid.owned_up)
    };
    assert_eq!([seen(0), seen(1), seen(2)], [(2, 0), (1, 1), (0, 2)]);
}

#[test]
fn a_call_that_broke_off_is_no_word_for_another_one_that_was_paid_twice() {
    let seen = |wasted: u64| {
        let id = run(Workload::Ceiling);
        let mut broken = call("planner-1", 0);
        broken.delivered = false;
        let calls = vec![broken, call("planner-1", 20_000), call("planner-1", 40_000)];
        let entry = decided(1, &id, told(0, wasted));
        let evidence = Evidence {
            attached: true,
            calls,
            journal: [(id, vec![entry])].into(),
            ..Evidence::default()
        };
        let paid = paid(&evidence);
        (paid.twice.wrong.len(), paid.owned_up)
    };
    // The first one is that which broke off.
    assert_eq!([seen(0), seen(1), seen(2)], [(1, 0), (1, 0), (0, 1)]);
}

#[test]
fn how_long_a_claim_lasts_in_a_fleet_of_others_is_that_fleets() {
    let seen = |lease: Option<Duration>| {
        let evidence = Evidence {
            calls: vec![call("planner-1", 0), call("planner-2", 20_000)],
            happened: vec![fault(Kind::Flush, "", -4_000, -4_000)],
            lease,
            ..Evidence::default()
        };
        paid(&evidence).twice.explained
    };
    assert_eq!(seen(None), 0);
    assert_eq!(seen(Some(Duration::from_secs(30))), 1);
}

#[test]
fn a_run_that_this_journal_does_not_know_is_missing_in_a_fleet_of_others() {
    let mut evidence = accepted(Workload::Main);
    assert_eq!(missing(&evidence), Vec::<String>::new(), "there it is lost");
    evidence.attached = true;
    assert_eq!(missing(&evidence).len(), 1);
    let id = run(Workload::Main);
    evidence.journal.insert(id.clone(), Vec::new());
    assert_eq!(missing(&evidence).len(), 1);
    let entry = decided(1, &id, Value::Null);
    evidence.journal.insert(id, vec![entry]);
    assert_eq!(missing(&evidence), Vec::<String>::new());
}

#[test]
fn a_ledger_with_fewer_calls_than_the_journal_has_replies_is_not_whole() {
    let id = run(Workload::Ceiling);
    let mut evidence = Evidence {
        attached: true,
        ..Evidence::default()
    };
    let entry = decided(1, &id, told(2, 0));
    evidence.journal.insert(id, vec![entry]);
    evidence.calls = vec![call("planner-1", 0)];
    let found = missing(&evidence);
    assert!(found[0].contains("ledger is not whole"), "{found:?}");
    // Of one that broke off for the server, the last byte may have come.
    evidence.calls.push(call("planner-1", 10));
    evidence.calls[1].delivered = false;
    assert_eq!(missing(&evidence), Vec::<String>::new());
    evidence.calls[1].user_id = Some("another run".into());
    assert_eq!(missing(&evidence).len(), 1);
}

#[test]
fn a_lost_run_is_told_by_the_name_of_its_own_workflow() {
    let mut evidence = accepted(Workload::Main);
    evidence.kit = "chaos123456".into();
    assert!(lost(&evidence)[0].ends_with("(chaos123456-main)"));
}

#[test]
fn what_a_planner_could_not_use_is_wasted_and_not_paid_twice() {
    let mut evidence = Evidence {
        calls: vec![call("planner-1", 0), call("planner-1", 20_000)],
        ..Evidence::default()
    };
    evidence.calls[0].fault = Some("malformed_json".into());
    let paid_for = paid(&evidence);
    assert_eq!(
        (paid_for.twice.wrong.len(), paid_for.wasted_nano),
        (0, 1_500_000)
    );
    evidence.calls[0].delivered = false;
    let paid_for = paid(&evidence);
    assert_eq!(
        (paid_for.twice.explained, paid_for.wasted_nano),
        (0, 1_500_000)
    );
}

#[test]
fn a_run_that_costs_more_than_its_ceiling_is_told() {
    let mut evidence = accepted(Workload::Ceiling);
    evidence.calls = vec![call("planner-1", 0)];
    assert_eq!(over_ceilings(&evidence), Found::default());
    evidence.calls.push(call("planner-1", 1_000));
    assert_eq!(over_ceilings(&evidence).wrong.len(), 1);
    // After a person has raised it, another ceiling counts.
    let run = run(Workload::Ceiling);
    evidence.said.raised.insert(run.clone(), 500);
    assert_eq!(over_ceilings(&evidence), Found::default());
    evidence.said.raised.clear();
    // Once for each time that Redis forgot, one call more is explained.
    evidence.happened = vec![fault(Kind::Flush, "", 0, 0)];
    assert_eq!(
        (
            over_ceilings(&evidence).wrong.len(),
            over_ceilings(&evidence).explained
        ),
        (0, 1)
    );
}

/// What a decision tells of its calls: so many replies, and so many calls that were lost.
fn told(replies: usize, wasted: u64) -> Value {
    let attempts = vec![json!({"content": []}); replies];
    json!({"model": "m", "prompt": "", "attempts": attempts, "usage": {}, "usd_nano": 1, "took_ms": 1, "wasted": wasted})
}

/// A step that was jumped over, and the call that this took.
fn decided(seq: u64, run: &RunId, call: Value) -> Entry {
    let body = Decided {
        step: "note".parse().unwrap(),
        branch: 0,
        decision: Decision::Skip {},
        reasoning: None,
        confidence: None,
        call: serde_json::from_value(call).unwrap(),
        prev: String::new(),
        rests: vec![],
    };
    let payload = Body::Decided(Box::new(body)).encode("2026-11-21T10:00:00Z".parse().unwrap());
    let address = Address {
        run: run.clone(),
        kind: EntryKind::Decided,
        name: "skip".parse().unwrap(),
    };
    Entry::decode(seq, address, &payload.unwrap()).unwrap()
}

#[test]
fn a_step_that_is_decided_twice_and_a_chain_that_does_not_hold_are_told() {
    let id = run(Workload::Main);
    let decided = |seq| decided(seq, &id, Value::Null);
    let mut evidence = Evidence::default();
    evidence
        .journal
        .insert(id.clone(), vec![decided(1), decided(2)]);
    let wrong = repeated(&evidence);
    assert!(wrong[0].contains("decided twice"), "{wrong:?}");
    assert!(wrong.len() > 1, "nor does it fold: {wrong:?}");
}

#[test]
fn a_booking_of_a_failed_run_that_stands_is_told() {
    let workload = Workload::Undo;
    let mut evidence = accepted(workload);
    did(
        &mut evidence,
        workload,
        "/book",
        "first",
        json!({"number": 1}),
    );
    did(&mut evidence, workload, "/report", "report", json!({}));
    assert_eq!(not_undone(&evidence).wrong.len(), 1);
    did(
        &mut evidence,
        workload,
        "/unbook",
        "first!undo",
        json!({"number": 1}),
    );
    assert_eq!(not_undone(&evidence), Found::default());
}
