use flotilla_common::entry::{Kind, ParkedBy};
use serde_json::{Value, json};

use super::*;
use crate::sample::{Journal, act, approve, at};

fn timeline(journal: &Journal, now: u64) -> Timeline {
    let mut builder = Builder::default();
    journal.entries.iter().for_each(|entry| builder.add(entry));
    builder.end(journal.run.end.as_ref().map(|end| end.at), at(now), None)
}

fn resulted(journal: &mut Journal, seq: u64, decided: u64, took_ms: u64, outcome: Value) {
    let payload = json!({"v": 1, "at": at(seq).to_string(), "step": "fetch", "decided": decided, "tool": "df", "outcome": outcome,
        "took_ms": took_ms, "attempts": 2, "worker": "e-1"});
    journal.add(seq, Kind::Resulted, "df", payload.to_string().as_bytes());
}

#[test]
fn an_action_is_one_row_with_how_long_it_waited_and_how_long_it_ran() {
    let mut journal = Journal::start("1", 10);
    journal.decide(11, "fetch", act(), None);
    resulted(
        &mut journal,
        20,
        11,
        3_000,
        json!({"kind": "ok", "output": {"free": 1}}),
    );
    let timeline = timeline(&journal, 21);
    let [_, row] = &timeline.rows[..] else {
        panic!("two rows: {:?}", timeline.rows);
    };
    assert_eq!(
        (row.step.as_str(), row.name.as_deref()),
        ("fetch", Some("df@1"))
    );
    assert_eq!(row.clock(), "+1.00 s");
    assert_eq!(row.took().as_deref(), Some("9.00 s"));
    let bars: Vec<_> = row.bars.iter().map(|bar| bar.label.as_str()).collect();
    assert_eq!(bars, ["waited for an executor 6.00 s", "ran 3.00 s"]);
    assert_eq!(
        row.outcome.as_ref().map(|it| it.word.as_str()),
        Some("done")
    );
    assert!(row.facts.contains(&("attempts", "2".to_owned())));
    let labels: Vec<_> = row.details.iter().map(|detail| detail.label).collect();
    assert_eq!(labels, ["Parameters", "Output"]);
}

#[test]
fn a_second_result_changes_nothing_and_is_told() {
    let mut journal = Journal::start("1", 10);
    journal.decide(11, "fetch", act(), None);
    let failed = json!({"kind": "failed", "error": "timeout", "message": "too slow"});
    resulted(&mut journal, 12, 11, 10, failed);
    resulted(&mut journal, 13, 11, 10, json!({"kind": "ok", "output": 1}));
    let timeline = timeline(&journal, 14);
    let outcome = timeline.rows[1].outcome.as_ref().unwrap();
    assert_eq!(
        (outcome.word.as_str(), outcome.message.as_deref()),
        ("failed: timeout", Some("too slow"))
    );
    assert!(timeline.rows[2].what.contains("the first one counts"));
}

#[test]
fn what_goes_on_goes_on_until_now_and_a_verdict_ends_its_question() {
    let mut journal = Journal::start("1", 10);
    journal.decide(11, "ask", approve("ab", Some("df"), None), None);
    let open = timeline(&journal, 31);
    let [bar] = &open.rows[1].bars[..] else {
        panic!("one bar");
    };
    assert!(bar.goes_on && bar.label == "waited 20.0 s", "{bar:?}");
    journal.judge(21, "approve", "ask", "ab", Some(json!({"path": "/tmp"})));
    let judged = timeline(&journal, 31);
    assert_eq!(
        judged.rows.len(),
        2,
        "the verdict is told with its question"
    );
    let row = &judged.rows[1];
    assert_eq!(row.took().as_deref(), Some("10.0 s"));
    assert!(!row.bars[0].goes_on);
    assert_eq!(
        row.outcome.as_ref().map(|it| it.word.as_str()),
        Some("approved by ana")
    );
    assert!(
        row.details
            .iter()
            .any(|detail| detail.text.contains("/tmp"))
    );
    // Nothing waits for this one: it is a row of its own.
    journal.judge(22, "reject", "ask", "ab", None);
    assert_eq!(timeline(&journal, 31).rows.len(), 3);
}

#[test]
fn a_question_that_nobody_answers_waits_until_it_is_too_late() {
    let mut journal = Journal::start("1", 10);
    journal.decide(11, "ask", approve("ab", Some("df"), Some(20)), None);
    let before = timeline(&journal, 19);
    assert!(before.rows[1].bars[0].goes_on);
    let after = timeline(&journal, 31);
    assert_eq!(after.rows[1].took().as_deref(), Some("9.00 s"));
    assert!(!after.rows[1].bars[0].goes_on);
}

#[test]
fn a_wait_at_a_step_ends_when_the_step_goes_on() {
    let mut journal = Journal::start("1", 10);
    let park = Decision::Park {
        by: ParkedBy::Ceiling,
        why: "it could cost more".to_owned(),
        until: None,
        replies: Vec::new(),
        account: flotilla_common::entry::Account::default(),
        batch: None,
    };
    journal.decide(11, "fetch", park, None);
    journal.signal(
        15,
        "resume",
        json!({"id": "r", "by": "ana", "reason": "paid"}),
    );
    journal.decide(16, "fetch", act(), None);
    let timeline = timeline(&journal, 20);
    assert_eq!(timeline.rows[1].took().as_deref(), Some("5.00 s"));
    assert_eq!(timeline.rows[2].what, "resume by ana");
    assert_eq!(timeline.rows[2].reasoning.as_deref(), Some("paid"));
    assert!(timeline.rows[3].bars[0].goes_on);
}

#[test]
fn of_a_long_run_the_newest_rows_are_shown_and_the_others_can_be_asked_for() {
    let mut journal = Journal::start("1", 10);
    for seq in 0..700 {
        journal.signal(
            11 + seq,
            "message",
            json!({"id": seq.to_string(), "text": "x"}),
        );
    }
    let newest = timeline(&journal, 2_000);
    let Some((hidden, before)) = newest.older else {
        panic!("there is more");
    };
    assert_eq!(
        (newest.rows.len(), hidden, newest.is_cut),
        (ROWS_MAX, 201, false)
    );
    let mut builder = Builder::default();
    journal.entries.iter().for_each(|entry| builder.add(entry));
    let older = builder.end(None, at(2_000), Some(before));
    assert_eq!((older.rows.len(), older.is_cut), (201, true));
    assert!(older.older.is_none());
    assert_eq!(older.rows.last().map(|row| row.seq), Some(before - 1));
}
