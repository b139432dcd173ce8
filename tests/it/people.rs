//! People in the loop: what they allow, refuse, change, ask for again, say, and stop.

use flotilla_tests::{PATIENCE, RoleOptions, eventually};
use serde_json::{Value, json};

use crate::desk::Desk;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_before_a_person_allows_it_and_then_once() {
    let desk = Desk::start().await;
    let run = desk.waiting("a").await;
    desk.wait_planned().await;
    assert!(desk.repaired().is_empty());
    let approve = json!({"step": "work/1", "by": "ana", "reason": "go on"});
    let first = desk.accepted(&run, "approve", approve.clone()).await;
    assert_eq!(desk.accepted(&run, "approve", approve).await, first);
    let (status, _) = desk.end(&run).await;
    assert_eq!(
        (status.as_str(), desk.repaired()),
        ("completed", vec!["disk".to_owned()])
    );

    let [asked] = &desk.entries(&run, "decided", "approval").await[..] else {
        panic!("one question");
    };
    let [act] = &desk.entries(&run, "decided", "repair").await[..] else {
        panic!("one action");
    };
    let said = first["seq"].as_u64().unwrap();
    assert!(asked.seq < said && said < act.seq);
    assert_eq!(
        *act.at("/rests"),
        json!([said]),
        "the action rests on the verdict"
    );
    assert_eq!(act.at("/call"), &Value::Null, "Claude was not asked again");
    assert_eq!(desk.fleet.sim.ledger_of(&run).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claude_sees_why_a_person_refused_and_nothing_is_done() {
    let desk = Desk::start().await;
    let run = desk.waiting("a").await;
    let reject = json!({"step": "work/1", "by": "ana", "reason": "not on a Friday"});
    desk.accepted(&run, "reject", reject).await;
    let (status, reason) = desk.end(&run).await;
    assert_eq!(status, "escalated");
    assert!(
        reason.contains("ana rejected it: not on a Friday"),
        "{reason}"
    );
    assert!(desk.repaired().is_empty());
    let asked = desk.last_request(&run).await;
    assert!(
        asked.contains("ana rejected it: not on a Friday"),
        "{asked}"
    );
    assert!(desk.entries(&run, "decided", "repair").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_parameters_are_the_ones_that_count_and_must_be_what_the_tool_takes() {
    let desk = Desk::start().await;
    let run = desk.waiting("a").await;
    let wrong = json!({"step": "work/1", "with": {"part": "lid"}});
    let detail = desk.refused(&run, "approve", wrong, 400).await;
    assert!(
        detail.starts_with("`/with/part` is not as repair takes it"),
        "{detail}"
    );
    let other = json!({"step": "work/1", "by": "ana", "with": {"part": "fan"}});
    desk.accepted(&run, "approve", other).await;
    let (status, _) = desk.end(&run).await;
    assert_eq!(
        (status.as_str(), desk.repaired()),
        ("completed", vec!["fan".to_owned()])
    );
    let [act] = &desk.entries(&run, "decided", "repair").await[..] else {
        panic!("one action");
    };
    assert_eq!(act.at("/decision/with"), &json!({"part": "fan"}));
    let plain = json!({"step": "work/1"});
    let detail = desk.refused(&run, "approve", plain, 409).await;
    assert!(
        detail.contains("ana approved it with other parameters"),
        "{detail}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_before_a_step_is_begun_anew_is_void_and_asked_again() {
    let desk = Desk::start().await;
    let run = desk.waiting("a").await;
    let before = desk.waits(&run, "work/1").await;
    let retry = json!({"step": "work", "by": "ana", "reason": "look again"});
    desk.accepted(&run, "retry", retry).await;
    let now = desk.waits(&run, "work@1/1").await;
    assert_ne!(now["hash"], before["hash"]);
    let late = json!({"step": "work/1", "hash": before["hash"]});
    let detail = desk.refused(&run, "approve", late, 409).await;
    assert!(detail.contains("`work/1` is void"), "{detail}");
    let seen = json!({"step": "work@1/1", "hash": before["hash"]});
    let detail = desk.refused(&run, "approve", seen, 409).await;
    let hash = now["hash"].as_str().unwrap();
    assert!(detail.ends_with(&format!("(hash {hash})")), "{detail}");
    assert!(desk.repaired().is_empty());
    let seen = json!({"step": "work@1/1", "hash": hash});
    desk.accepted(&run, "approve", seen).await;
    assert_eq!(desk.end(&run).await.0, "completed");
    assert_eq!(desk.repaired(), ["disk"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_answers_in_time_goes_as_its_definition_says() {
    let desk = Desk::start().await;
    let mut runs = Vec::new();
    for then in ["approve", "reject", "escalate", "fail"] {
        runs.push((then, desk.submit(&format!("late-{then}"), "a").await));
    }
    let tool = desk.submit("late-tool", "a").await;
    for (then, run) in runs {
        let (status, reason) = desk.end(&run).await;
        let expected = match then {
            "approve" => ("completed", "it went on"),
            "escalate" => ("escalated", "step `check`: nobody answered in time"),
            _ => ("failed", "step `check`: nobody answered in time"),
        };
        assert_eq!((status.as_str(), reason.as_str()), expected, "{then}");
        let [asked] = &desk.entries(&run, "decided", "approval").await[..] else {
            panic!("one question");
        };
        assert_eq!(asked.text("/decision/show"), "Is it fine?");
        assert_eq!(desk.entries(&run, "fired", "wake").await.len(), 1);
        let late = json!({"step": "check"});
        desk.refused(&run, "approve", late, 409).await;
    }
    let (status, reason) = desk.end(&tool).await;
    assert_eq!(status, "failed");
    assert!(reason.contains("nobody allowed it in time"), "{reason}");
    assert!(desk.repaired().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_outlive_all_planners_and_all_of_redis() {
    const RUNS: usize = 12;
    let mut desk = Desk::start().await;
    let mut runs = Vec::new();
    for id in 0..RUNS {
        runs.push(desk.waiting(&id.to_string()).await);
    }
    for planner in &mut desk.fleet.planners {
        planner.kill9();
    }
    desk.fleet.redis.flush().await;
    let listed = eventually("all questions are listed", PATIENCE, async || {
        let listed: Value = desk.fleet.api().get("/v1/approvals?limit=100").await.json();
        match listed["approvals"].as_array().map(Vec::len) {
            Some(RUNS) => Ok(listed),
            _ => Err(listed),
        }
    })
    .await;
    // Half of them are answered while nobody plans.
    let answer = async |one: &Value| {
        let run = one["run"].as_str().unwrap();
        let approve = json!({"step": one["step"], "hash": one["hash"]});
        desk.accepted(run, "approve", approve).await;
    };
    let asked = listed["approvals"].as_array().unwrap();
    for one in &asked[..RUNS / 2] {
        answer(one).await;
    }
    let planner = desk.fleet.planner(RoleOptions::default()).await;
    desk.fleet.redis.flush().await;
    let answer = async |one: &Value| {
        let run = one["run"].as_str().unwrap();
        let approve = json!({"step": one["step"], "hash": one["hash"]});
        desk.accepted(run, "approve", approve).await;
    };
    for one in &asked[RUNS / 2..] {
        answer(one).await;
    }
    for run in &runs {
        assert_eq!(desk.end(run).await.0, "completed", "{run}");
        assert_eq!(desk.fleet.sim.ledger_of(run).await.len(), 2, "{run}");
    }
    assert_eq!(desk.repaired().len(), RUNS);
    drop(planner);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_hears_a_message_with_its_next_turn() {
    let desk = Desk::start().await;
    let run = desk.waiting("a").await;
    let detail = desk
        .refused(&run, "message", json!({"text": "x", "step": "wrok"}), 400)
        .await;
    assert!(detail.ends_with("these are: work"), "{detail}");
    let text = "The spare disk\nis in the drawer.";
    let message = json!({"text": text, "step": "work", "by": "ana", "id": "m1"});
    let first = desk.accepted(&run, "message", message.clone()).await;
    assert_eq!(desk.accepted(&run, "message", message).await, first);
    desk.accepted(&run, "approve", json!({"step": "work/1"}))
        .await;
    assert_eq!(desk.end(&run).await.0, "completed");
    let asked = desk.last_request(&run).await;
    assert_eq!(asked.matches("is in the drawer.").count(), 1, "{asked}");
    let bodies = desk.fleet.sim.bodies_of(&run).await;
    assert!(!bodies[0].to_string().contains("drawer"));
    let detail = desk
        .refused(&run, "message", json!({"text": "x"}), 409)
        .await;
    assert!(detail.contains("has ended already"), "{detail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_run_takes_in_what_it_is_told_and_does_nothing_until_it_is_resumed() {
    let desk = Desk::start().await;
    let run = desk.waiting("a").await;
    let pause = json!({"by": "ana", "reason": "lunch"});
    desk.accepted(&run, "pause", pause.clone()).await;
    let detail = desk.refused(&run, "pause", pause, 409).await;
    assert!(detail.contains("paused by ana: lunch already"), "{detail}");
    desk.accepted(&run, "approve", json!({"step": "work/1"}))
        .await;
    desk.wait_planned().await;
    assert!(desk.entries(&run, "decided", "repair").await.is_empty());
    let paused: Value = desk.fleet.api().get("/v1/runs?status=paused").await.json();
    assert_eq!(paused["runs"][0]["id"], run.as_str(), "{paused}");
    desk.accepted(&run, "resume", json!({})).await;
    assert_eq!(desk.end(&run).await.0, "completed");
    assert_eq!(desk.repaired(), ["disk"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_ends_a_run_at_once_whatever_claude_is_about_to_say_and_the_call_is_told() {
    let desk = Desk::start().await;
    // Longer than this test waits for anything.
    let long = 10 * u64::try_from(PATIENCE.as_millis()).unwrap();
    desk.fleet.sim.latency_ms(long).await;
    let run = desk.submit("desk", "a").await;
    eventually("Claude is asked", PATIENCE, async || {
        let summary = desk.fleet.sim.summary().await;
        if summary["in_flight"] == 1 {
            Ok(())
        } else {
            Err(summary)
        }
    })
    .await;
    let cancel = json!({"by": "ana", "reason": "enough"});
    desk.accepted(&run, "cancel", cancel).await;
    let end = desk.fleet.wait_run_end(&run).await;
    assert_eq!(end.status, "cancelled");
    assert_eq!(end.reason.as_deref(), Some("cancelled by ana: enough"));
    assert_eq!((end.wasted_calls, end.model_calls), (1, 0));
    let [end] = &desk.entries(&run, "decided", "end").await[..] else {
        panic!("one end");
    };
    assert_eq!(end.at("/call/wasted"), 1, "{end:?}");
    assert!(end.at("/call/wasted_usd_nano").as_u64() > Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn later_runs_are_told_what_people_said_of_earlier_ones_and_what_went_wrong() {
    let desk = Desk::start().await;
    let first = desk.waiting("a").await;
    let reject = json!({"step": "work/1", "by": "ana", "reason": "not on a Friday"});
    desk.accepted(&first, "reject", reject).await;
    assert_eq!(desk.end(&first).await.0, "escalated");
    desk.wait_planned().await;
    let feedback =
        json!({"text": "Ask for the fan first.", "verdict": "bad", "by": "ana", "id": "f1"});
    let noted = desk.accepted(&first, "feedback", feedback.clone()).await;
    assert_eq!(noted["noted"], true);
    assert_eq!(desk.accepted(&first, "feedback", feedback).await, noted);
    let said = desk.entries(&first, "signalled", "feedback").await;
    assert_eq!(said.len(), 1);

    let second = desk.waiting("b").await;
    let asked = desk.last_request(&second).await;
    for lesson in [
        "a person said (bad): Ask for the fan first.",
        "a run escalated: ",
    ] {
        assert_eq!(asked.matches(lesson).count(), 1, "{lesson}: {asked}");
    }
    let began = desk.fleet.journal(&second).await;
    let [started] = began.of("started", None).collect::<Vec<_>>()[..] else {
        panic!("one beginning");
    };
    let lessons = started.at("/lessons").as_array().unwrap();
    assert!(
        lessons[0].as_str().unwrap().starts_with("a run escalated"),
        "{lessons:?}"
    );
    assert_eq!(lessons[1], "a person said (bad): Ask for the fan first.");
}
