use flotilla_common::entry::{Fired, Kind, Outcome};
use serde_json::json;

use super::*;
use crate::sample::{Journal, act, approve, at, name};

fn wish(said: Said, step: &str) -> Wish {
    Wish {
        said,
        slot: step.parse().unwrap(),
        hash: None,
        with: None,
        id: None,
        by: None,
        reason: Some("because".into()),
        from: "10.0.0.1".into(),
    }
}

fn asked(until: Option<u64>) -> Journal {
    let mut journal = Journal::start("1", 10);
    journal.decide(11, "one", approve("ab", Some("df"), until), None);
    journal
}

fn problem(journal: &Journal, wish: &Wish, status: u16) -> String {
    let problem = standing(&journal.run, &journal.entries, wish).unwrap_err();
    assert_eq!(problem.status, status, "{}", problem.detail);
    problem.detail
}

#[test]
fn what_waits_can_be_answered_and_only_as_it_was_seen() {
    let journal = asked(None);
    let mut wish = wish(Said::Approved, "one");
    let standing = |wish: &Wish| standing(&journal.run, &journal.entries, wish).is_ok();
    assert!(standing(&wish));
    wish.hash = Some("ab".into());
    assert!(standing(&wish));
    wish.hash = Some("cd".into());
    let detail = problem(&journal, &wish, 409);
    assert_eq!(
        detail,
        "what waits at `one` is another action now (hash ab)"
    );
    let signalled = wish.signalled("ab");
    assert_eq!(signalled.id, "approval.one.0.ab");
    assert_eq!(signalled.approval.unwrap().hash, "ab");
    assert_eq!(signalled.from.as_deref(), Some("10.0.0.1"));
}

#[test]
fn what_nobody_was_asked_for_is_not_found_and_what_waits_is_told() {
    let mut journal = asked(None);
    let detail = problem(&journal, &wish(Said::Approved, "one#1"), 404);
    assert!(
        detail.contains("`one#1`; what waits for a person is `one`"),
        "{detail}"
    );
    journal.judge(12, "approve", "one", "ab", None);
    let detail = problem(&journal, &wish(Said::Approved, "two"), 404);
    assert!(
        detail.contains("nothing of this run waits for a person"),
        "{detail}"
    );
}

#[test]
fn the_first_verdict_stands_and_the_same_again_is_the_first_also_after_the_end() {
    let mut journal = asked(None);
    journal.judge(12, "approve", "one", "ab", None);
    journal.decide(13, "one", act(), None);
    let same = |journal: &Journal| {
        let wish = wish(Said::Approved, "one");
        let standing = standing(&journal.run, &journal.entries, &wish).unwrap();
        assert_eq!(standing, Standing::Said("verdict.12".into(), 12));
    };
    same(&journal);
    let detail = problem(&journal, &wish(Said::Rejected, "one"), 409);
    assert_eq!(
        detail,
        "`one` is answered already: ana approved it at 1970-01-01T00:00:12Z"
    );
    let mut other = wish(Said::Approved, "one");
    other.with = Some(json!({"path": "/tmp"}));
    problem(&journal, &other, 409);

    let end = Decision::End {
        outcome: Outcome::Failed,
        reason: None,
    };
    journal.decide(14, "end", end, None);
    same(&journal);
}

#[test]
fn a_verdict_with_other_parameters_says_so() {
    let mut journal = asked(None);
    journal.judge(12, "approve", "one", "ab", Some(json!({"path": "/tmp"})));
    let detail = problem(&journal, &wish(Said::Approved, "one"), 409);
    assert!(
        detail.contains("ana approved it with other parameters at"),
        "{detail}"
    );
    let mut same = wish(Said::Approved, "one");
    same.with = Some(json!({"path": "/tmp"}));
    let standing = standing(&journal.run, &journal.entries, &same).unwrap();
    assert_eq!(standing, Standing::Said("verdict.12".into(), 12));
}

#[test]
fn what_came_too_late_is_no_verdict() {
    let mut journal = asked(Some(13));
    let fired = Told::Fired(Fired {}).encode(at(13)).unwrap();
    journal.add(13, Kind::Fired, "wake", &fired);
    journal.judge(14, "approve", "one", "ab", None);
    let detail = problem(&journal, &wish(Said::Approved, "one"), 409);
    assert_eq!(
        detail,
        "nobody answered `one` until 1970-01-01T00:00:13Z, and its definition says then: escalate"
    );
}

#[test]
fn what_is_void_or_of_a_run_that_stops_or_has_ended_cannot_be_answered() {
    let mut again = asked(None);
    let decision = Decision::Again {
        resets: vec![name("one")],
        until: None,
        why: "asked".into(),
    };
    again.decide(12, "one", decision, None);
    let detail = problem(&again, &wish(Said::Approved, "one"), 409);
    assert!(detail.contains("is void"), "{detail}");

    let mut stops = asked(None);
    stops.signal(
        12,
        "cancel",
        json!({"id": "c", "by": "ana", "reason": "enough"}),
    );
    let detail = problem(&stops, &wish(Said::Approved, "one"), 409);
    assert!(detail.contains("cancelled by ana: enough"), "{detail}");

    let mut ended = asked(None);
    let end = Decision::End {
        outcome: Outcome::Escalated,
        reason: None,
    };
    ended.decide(12, "end", end, None);
    let detail = problem(&ended, &wish(Said::Approved, "one"), 409);
    assert!(detail.contains("has ended already: escalated"), "{detail}");
}

#[tokio::test]
async fn a_rejection_gives_its_reason_and_an_approval_its_step() {
    use axum::http::header::CONTENT_TYPE;
    let ask = |said, body: &'static str| async move {
        let headers = [(CONTENT_TYPE, crate::body::JSON.parse().unwrap())];
        let peer = Peer("10.0.0.1".parse().unwrap());
        read(said, &headers.into_iter().collect(), body.into(), peer).await
    };
    for (said, body, pointer) in [
        (Said::Rejected, r#"{"step": "one"}"#, "`/reason`"),
        (
            Said::Rejected,
            r#"{"step": "one", "reason": "x", "with": 1}"#,
            "`/with`",
        ),
        (Said::Approved, "{}", "`/step`"),
        (Said::Approved, r#"{"step": "one#0"}"#, "`/step`"),
        (Said::Approved, r#"{"step": "one", "hash": 5}"#, "`/hash`"),
    ] {
        let problem = ask(said, body).await.unwrap_err();
        assert_eq!(problem.status, 400);
        assert!(problem.detail.starts_with(pointer), "{}", problem.detail);
    }
    let wish = ask(
        Said::Approved,
        r#"{"step": "triage/3#1", "with": {"a": 1}, "id": "mine"}"#,
    );
    let signalled = wish.await.unwrap().signalled("ab");
    assert_eq!(signalled.id, "mine");
    let judged = signalled.approval.unwrap();
    assert_eq!((judged.branch, judged.with), (1, Some(json!({"a": 1}))));
}
