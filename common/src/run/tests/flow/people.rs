//! Approvals: exact, once, in time.

use super::*;
use crate::entry::Judged;

const ASKS: &str = "
  - {id: check, approval: {show: {plan: '{{ event.data.plan }}'}, timeout: 4h, on_timeout: THEN}, on_error: POLICY}
  - {id: last, tool: disk_usage, with: {path: '{{ steps.check.approved }}!'}}
";

fn asks(then: &str, policy: &str) -> Stage {
    let steps = ASKS.replace("THEN", then).replace("POLICY", policy);
    let mut stage = Stage::of("", &steps, json!({"plan": "restart"}));
    stage.goes_far();
    stage
}

/// The hash of what waits, and where.
fn waits(stage: &Stage) -> (Slot, String) {
    let mut open = stage.run.approvals();
    let (slot, approval, _) = open.next().expect("a person is asked");
    assert!(open.next().is_none(), "for one thing");
    (slot, approval.hash.clone())
}

fn says(stage: &mut Stage, name: &str, slot: &Slot, hash: &str, with: Option<Value>) -> Folded {
    let signalled = Signalled {
        id: format!("{slot}.{hash}"),
        by: Some("ann".into()),
        reason: Some("as agreed".into()),
        approval: Some(Judged {
            step: slot.step.clone(),
            branch: slot.branch,
            hash: hash.into(),
            with,
        }),
        ..Signalled::default()
    };
    stage.signals(name, signalled)
}

fn seen_by_last(stage: &Stage) -> String {
    let (_, last) = stage.last_of("last");
    act_with(&last.decision)["path"].to_string().to_lowercase()
}

#[test]
fn a_verdict_counts_for_exactly_what_was_shown_and_once() {
    let mut stage = asks("escalate", "fail");
    let line = stage.run.summary().expect("it began");
    assert_eq!(line.status, Status::Waiting);
    let (slot, hash) = waits(&stage);
    assert_eq!(
        says(&mut stage, SIGNAL_APPROVE, &slot, "00", None),
        Folded::Old
    );
    assert_eq!(
        says(&mut stage, SIGNAL_APPROVE, &slot, &hash, None),
        Folded::New
    );
    assert_eq!(
        says(&mut stage, SIGNAL_REJECT, &slot, &hash, None),
        Folded::Old,
        "too late"
    );
    stage.goes_far();
    assert_eq!(seen_by_last(&stage), "\"true!\"");
    stage.done("last", json!(1));
    assert_eq!(stage.ended().0, Outcome::Completed);
}

#[test]
fn a_verdict_that_is_quicker_than_the_state_has_the_journal_read() {
    let mut stage = asks("escalate", "fail");
    let (slot, hash) = waits(&stage);
    let behind = Run::rebuild(&stage.run.id, stage.journal[..1].to_vec()).expect("a beginning");
    says(&mut stage, SIGNAL_APPROVE, &slot, &hash, None);
    let verdict = stage.journal.last().cloned().expect("it was said");
    let mut lagging = behind.clone();
    assert!(matches!(
        lagging.fold(&verdict),
        Err(FoldError::Stale { .. })
    ));
    let whole = Run::rebuild(&stage.run.id, stage.journal.clone()).expect("it fits");
    assert!(whole.approvals().next().is_none(), "it counts");
}

#[test]
fn a_rejection_fails_the_step_unless_that_is_forgiven() {
    let mut stage = asks("escalate", "fail");
    let (slot, hash) = waits(&stage);
    says(&mut stage, SIGNAL_REJECT, &slot, &hash, None);
    let (outcome, reason) = stage.ended();
    assert_eq!(
        (outcome, reason.as_str()),
        (Outcome::Failed, "step `check`: ann rejected it: as agreed")
    );
    let mut stage = asks("escalate", "continue");
    let (slot, hash) = waits(&stage);
    says(&mut stage, SIGNAL_REJECT, &slot, &hash, None);
    stage.goes_far();
    assert_eq!(seen_by_last(&stage), "\"false!\"");
}

#[test]
fn what_happens_when_nobody_answers_is_what_the_definition_says() {
    for (then, outcome) in [
        ("approve", Outcome::Completed),
        ("reject", Outcome::Failed),
        ("escalate", Outcome::Escalated),
        ("fail", Outcome::Failed),
    ] {
        let mut stage = asks(then, "fail");
        let (slot, hash) = waits(&stage);
        stage.wakes();
        assert_eq!(
            says(&mut stage, SIGNAL_APPROVE, &slot, &hash, None),
            Folded::Old,
            "too late"
        );
        stage.goes_far();
        if outcome == Outcome::Completed {
            stage.done("last", json!(1));
        }
        assert_eq!(stage.ended().0, outcome, "{then}");
    }
}

const RISKY: &str = "
  - {id: drop, tool: drop_table, with: {table: '{{ event.data.table }}'}}
";
const TERMS: &str = "approvals: {timeout: 1h, on_timeout: reject, notify: {tool: restart, with: {service: '{{ approval.step }} {{ approval.show.with.table }}'}}}";

#[test]
fn a_tool_of_high_risk_waits_for_a_person_and_somebody_is_told() {
    let mut stage = Stage::of(TERMS, RISKY, json!({"table": "users"}));
    let drafts = stage.drafts();
    assert_eq!(drafts.len(), 2);
    stage.decides(drafts);
    assert_eq!(stage.in_hand(), ["drop!notify"], "nothing else is done");
    let told = stage.last_of("drop!notify").1;
    assert_eq!(act_with(&told.decision)["service"], "drop users");
    let (slot, hash) = waits(&stage);
    says(
        &mut stage,
        SIGNAL_APPROVE,
        &slot,
        &hash,
        Some(json!({"table": "users_old"})),
    );
    stage.goes_far();
    assert_eq!(
        act_with(&stage.last_of("drop").1.decision)["table"],
        "users_old",
        "modified"
    );
    assert_eq!(stage.in_hand(), ["drop", "drop!notify"]);
    stage.done("drop", json!(1));
    assert_eq!(stage.ended().0, Outcome::Completed);
}

#[test]
fn an_agents_risky_action_is_held_alone_and_claude_sees_why_it_was_not_done() {
    let steps = "
  - id: clean
    agent: {goal: Clean up., tools: [disk_usage, drop_table], ends: [done, escalate], parallel: 2}
";
    let mut stage = Stage::of(TERMS, steps, json!({}));
    let uses = [
        json!({"type": "tool_use", "id": "a", "name": "disk_usage", "input":
            {"reasoning": "Look.", "confidence": 0.9, "with": {"path": "/"}}}),
        json!({"type": "tool_use", "id": "b", "name": "drop_table", "input":
            {"reasoning": "Old.", "confidence": 0.9, "with": {"table": "old"}}}),
    ];
    stage.replies("clean/1", reply(uses.into(), StopReason::ToolUse));
    assert_eq!(stage.in_hand(), ["clean/1", "clean/1!notify#1"]);
    let (slot, hash) = waits(&stage);
    assert_eq!(slot.to_string(), "clean/1#1");
    stage.done("clean/1", json!("full"));
    assert_eq!(stage.asked(), [""; 0], "the person is waited for");
    says(&mut stage, SIGNAL_REJECT, &slot, &hash, None);
    assert_eq!(stage.asked(), ["clean/2"]);
    let told = stage.ask().request.messages[2].content[1].to_string();
    assert!(told.contains("ann rejected it: as agreed"), "{told}");
    assert!(told.contains("\"is_error\":true"), "{told}");
}

#[test]
fn an_approval_of_what_was_planned_anew_is_void() {
    let mut stage = Stage::of(TERMS, RISKY, json!({"table": "users"}));
    stage.goes_far();
    let (slot, hash) = waits(&stage);
    let retry = Signalled {
        id: "again".into(),
        step: "drop".parse().ok(),
        ..Signalled::default()
    };
    stage.signals(SIGNAL_RETRY, retry);
    stage.goes_far();
    assert_eq!(
        says(&mut stage, SIGNAL_APPROVE, &slot, &hash, None),
        Folded::Old
    );
    let (slot, other) = waits(&stage);
    assert_eq!(slot.to_string(), "drop@1");
    assert_ne!(hash, other, "it is another action");
    assert_eq!(
        says(&mut stage, SIGNAL_APPROVE, &slot, &other, None),
        Folded::New
    );
    stage.goes_far();
    stage.done("drop@1", json!(1));
    assert_eq!(stage.ended().0, Outcome::Completed);
}
