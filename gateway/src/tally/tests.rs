use flotilla_common::{
    claude::Usage,
    entry::{
        Account, Attempt, Body, Call, Decision, Kind, Outcome, ParkedBy, Resulted, ToolOutcome,
    },
    ids::StepKey,
    money::Usd,
};
use serde_json::json;

use super::*;
use crate::sample::{Journal, act, approve, at, name};

fn call() -> Call {
    let attempt = Attempt {
        content: Vec::new(),
        complaint: None,
        faults: Vec::new(),
        dropped: false,
        request_id: None,
        took_ms: 0,
        told: false,
    };
    Call {
        model: "m".into(),
        asked: String::new(),
        menu: Vec::new(),
        batch: None,
        request_id: None,
        prompt: String::new(),
        attempts: vec![attempt.clone(), attempt],
        usage: Usage {
            input_tokens: 5,
            cache_creation_input_tokens: 7,
            cache_read_input_tokens: 11,
            output_tokens: 13,
            ..Usage::default()
        },
        usd_nano: Usd::from_nano(17),
        took_ms: 1,
        heard: 0,
        wasted: 1,
        fallbacks: Vec::new(),
        wasted_usd_nano: Usd::from_nano(19),
        items: Vec::new(),
        account: Account::default(),
    }
}

fn end() -> Decision {
    Decision::End {
        outcome: Outcome::Escalated,
        reason: Some("why".into()),
    }
}

fn journal() -> Journal {
    let mut journal = Journal::start("1", 10);
    let answer = Decision::Answer { output: json!(1) };
    journal.decide(11, "ask", answer, Some(call()));
    journal.decide(12, "look", act(), None);
    let result = Body::Resulted(Resulted {
        step: StepKey::step(&name("look")),
        branch: 0,
        decided: 12,
        tool: name("df"),
        outcome: ToolOutcome::Ok { output: json!(2) },
        took_ms: 1,
        attempts: 1,
        usd_nano: None,
        reconciled: None,
        worker: "x".into(),
    });
    journal.add(13, Kind::Resulted, "df", &result.encode(at(13)).unwrap());
    journal
}

#[test]
fn a_line_is_the_same_as_the_folded_run_says_whether_it_ended_or_not() {
    let mut running = journal();
    let mut tally = Tally::new(9);
    for entry in running.entries.clone() {
        assert_eq!(tally.take(entry), None);
    }
    let lines: Vec<_> = tally.rest().collect();
    assert_eq!(lines, [running.run.summary().unwrap()]);

    running.decide(14, "end", end(), Some(call()));
    let mut tally = Tally::new(9);
    let ended: Vec<_> = running
        .entries
        .iter()
        .filter_map(|entry| tally.take(entry.clone()))
        .collect();
    assert_eq!(ended, [running.run.summary().unwrap()]);
    assert_eq!((ended[0].steps, ended[0].model_calls), (2, 4));
    assert_eq!(tally.rest().count(), 0);
}

/// The line of a run that has not ended, which is the folded run's.
fn line(journal: &Journal) -> Summary {
    let mut tally = Tally::new(9);
    for entry in journal.entries.clone() {
        tally.take(entry);
    }
    let line = tally.rest().next().unwrap();
    assert_eq!(line, journal.run.summary().unwrap());
    line
}

#[test]
fn a_parked_runs_line_says_what_keeps_it_until_something_is_decided() {
    let mut journal = journal();
    let park = Decision::Park {
        batch: None,
        by: ParkedBy::Ceiling,
        why: "too dear".into(),
        until: None,
        replies: Vec::new(),
        account: Account::default(),
    };
    journal.decide(14, "later", park, None);
    let parked = line(&journal);
    assert_eq!(parked.parked_by, Some(ParkedBy::Ceiling));
    journal.decide(15, "later", act(), None);
    let running = line(&journal);
    assert_eq!((running.status, running.parked_by), (Status::Running, None));
}

#[test]
fn of_too_many_running_runs_the_newest_are_kept() {
    let mut tally = Tally::new(2);
    let runs: Vec<_> = [("a", 1), ("b", 2), ("c", 3)]
        .map(|(id, seq)| Journal::start(id, seq))
        .into();
    for journal in &runs {
        tally.take(journal.entries[0].clone());
    }
    let mut kept: Vec<_> = tally.rest().map(|summary| summary.started_at).collect();
    kept.sort();
    assert_eq!(kept, [at(2), at(3)]);
}

#[test]
fn a_line_waits_until_the_last_question_is_answered() {
    let mut journal = Journal::start("1", 10);
    journal.decide(11, "one", approve("one", Some("df"), None), None);
    journal.decide(12, "two", approve("two", None, None), None);
    assert_eq!(line(&journal).status, Status::Waiting);
    let asked = line(&journal).reason.unwrap();
    assert_eq!(asked, "step `one`: a person must allow df");
    journal.judge(13, "approve", "one", "another", None);
    assert_eq!(
        line(&journal).reason,
        Some(asked),
        "that is not what was asked"
    );
    journal.judge(14, "approve", "one", "one", None);
    let asked = line(&journal).reason.unwrap();
    assert_eq!(asked, "step `two`: a person must decide");
    journal.decide(15, "one", act(), None);
    assert_eq!(line(&journal).status, Status::Waiting);
    journal.judge(16, "reject", "two", "two", None);
    assert_eq!(line(&journal).status, Status::Running);
}

#[test]
fn a_question_that_is_void_is_not_waited_for() {
    let mut journal = Journal::start("1", 10);
    journal.decide(11, "one", approve("one", Some("df"), None), None);
    let again = Decision::Again {
        resets: vec![name("one")],
        until: None,
        why: "asked".into(),
    };
    journal.decide(12, "one", again, None);
    assert_eq!(line(&journal).status, Status::Running);
}

#[test]
fn nobody_waits_for_an_answer_that_would_come_too_late() {
    let mut journal = Journal::start("1", 10);
    journal.decide(11, "one", approve("one", None, Some(13)), None);
    let fired = Body::Fired(flotilla_common::entry::Fired {});
    journal.add(13, Kind::Fired, "wake", &fired.encode(at(13)).unwrap());
    journal.decide(14, "two", act(), None);
    assert_eq!(line(&journal).status, Status::Running);
}

#[test]
fn a_paused_line_says_who_paused_it_whatever_else_it_waits_for() {
    let mut journal = Journal::start("1", 10);
    journal.decide(11, "one", approve("one", None, None), None);
    journal.signal(
        12,
        "pause",
        json!({"id": "p", "by": "ana", "reason": "lunch"}),
    );
    let paused = line(&journal);
    assert_eq!(paused.status, Status::Paused);
    assert_eq!(paused.reason.as_deref(), Some("paused by ana: lunch"));
    journal.signal(13, "resume", json!({"id": "r"}));
    assert_eq!(line(&journal).status, Status::Waiting);
    journal.signal(14, "pause", json!({"id": "q"}));
    assert_eq!(line(&journal).reason.as_deref(), Some("paused by somebody"));
}

#[test]
fn a_run_that_winds_up_says_why_and_a_parked_one_is_woken_by_signals() {
    let mut journal = Journal::start("1", 10);
    let park = |step: &str| Decision::Park {
        batch: None,
        by: ParkedBy::Ceiling,
        why: format!("{step} is too dear"),
        until: None,
        replies: Vec::new(),
        account: Account::default(),
    };
    journal.decide(11, "one", park("one"), None);
    journal.decide(12, "two", park("two"), None);
    assert_eq!(line(&journal).reason.as_deref(), Some("one is too dear"));
    journal.decide(13, "one", act(), None);
    assert_eq!(line(&journal).reason.as_deref(), Some("two is too dear"));
    journal.signal(14, "raise", json!({"id": "r", "usd_nano": 5}));
    assert_eq!(line(&journal).status, Status::Running);
    let undo = Decision::Undo {
        outcome: Outcome::Failed,
        reason: "no room".into(),
    };
    journal.decide(15, "end", undo, None);
    assert_eq!(line(&journal).reason.as_deref(), Some("no room"));
}

#[test]
fn a_line_says_that_its_run_waits_on_a_dead_letter_until_that_is_redriven() {
    let mut journal = Journal::start("1", 10);
    let letter = json!({"letter": 7, "subject": "runs.x.fired.wake", "seq": 11});
    let about = |id: &str| json!({"id": id, "reason": "too odd", "letter": letter});
    journal.signal(12, "dead", about("dead.7"));
    let waits = line(&journal);
    assert_eq!(
        (waits.status, waits.parked_by),
        (Status::Parked, Some(ParkedBy::Dead))
    );
    assert!(
        waits
            .reason
            .is_some_and(|why| why.contains("dead letter 7"))
    );
    journal.signal(13, "redrive", about("redrive.7"));
    assert_eq!(line(&journal).status, Status::Running);
}
