//! Questions to people, as a gateway lists them and takes what people say. No planner runs: what is asked is put on the journal by
//! the tests.

use flotilla_common::{
    definition::OnTimeout,
    entry::{Action, Approve, Body, Decision, Outcome},
    ids::RunId,
    io::store::Store,
    run::Run,
};
use flotilla_tests::{PATIENCE, eventually, run_flotilla};
use serde_json::{Value, json};

use crate::signals::{Still, accepted, problem};

const CLOSED: &str = "2100-01-01T00:00:00Z";

/// The decision to ask whether a note may be made.
fn note(hash: &str) -> Decision {
    Decision::Approve(Box::new(Approve {
        hash: hash.into(),
        show: Value::Null,
        action: Some(Action {
            tool: "note".parse().unwrap(),
            version: 1,
            with: json!({}),
        }),
        until: Some(CLOSED.parse().unwrap()),
        on_timeout: Some(OnTimeout::Escalate),
    }))
}

fn question(hash: &str, show: Value) -> Decision {
    Decision::Approve(Box::new(Approve {
        hash: hash.into(),
        show,
        action: None,
        until: None,
        on_timeout: None,
    }))
}

/// What a list says, once it has as many lines as it should.
async fn listed(still: &Still, query: &str, count: usize) -> Value {
    eventually("the questions are listed", PATIENCE, async || {
        let path = format!("/v1/approvals{query}");
        let listed = accepted(&still.fleet.api().get(&path).await, 200);
        let found = listed["approvals"].as_array().map_or(0, Vec::len);
        if listed["complete"] == true && found == count {
            Ok(listed)
        } else {
            Err(listed)
        }
    })
    .await
}

fn steps(listed: &Value) -> Vec<&str> {
    let approvals = listed["approvals"].as_array().unwrap();
    let steps = approvals.iter().map(|one| one["step"].as_str().unwrap());
    steps.collect()
}

/// The verdicts on a run's journal: name and who.
async fn verdicts(still: &Still, run: &RunId) -> Vec<(String, String)> {
    let journal = still.fleet.journal(run.as_str()).await;
    let signals = journal.of("signalled", None);
    signals
        .map(|entry| (entry.name.clone(), entry.text("/by").to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_listed_page_by_page_and_is_gone_once_it_is_answered() {
    let still = Still::start().await;
    let one = still.run("one", "default").await;
    let two = still.run("two", "default").await;
    still.run("three", "default").await;
    still.decide_at(&one, "note", 0, note("ab")).await;
    still
        .decide_at(&two, "first", 0, question("cd", json!("fine?")))
        .await;
    still
        .decide_at(&two, "second", 0, question("ef", json!({"a": 1})))
        .await;
    // Nobody has saved a state: this is all from the journal.
    still.fleet.redis.flush().await;

    let all = listed(&still, "", 3).await;
    assert_eq!(
        steps(&all),
        ["first", "second", "note"],
        "the newest run first"
    );
    let of_one = &all["approvals"][2];
    let expected = json!({"run": one, "workflow": "spender", "step": "note", "hash": "ab", "tool": "note", "version": 1,
        "with": {}, "until": CLOSED, "on_timeout": "escalate", "since": of_one["since"]});
    assert_eq!(*of_one, expected);
    assert_eq!(all["approvals"][1]["show"], json!({"a": 1}));
    assert_eq!(all["next"], Value::Null);

    // A state that was saved before the question was asked says nothing.
    let url = still.fleet.redis.url();
    let store = Store::connect(&url, "test").await.unwrap();
    let token = store.load(&one).await.unwrap().token;
    let mut entries = still.journal.read(&one).await.unwrap();
    entries.retain(|entry| matches!(entry.body, Body::Started(_)));
    let old = Run::rebuild(&one, entries).unwrap();
    assert!(store.save(&old, &token).await.unwrap().is_some());
    assert_eq!(listed(&still, "", 3).await, all);

    let page = listed(&still, "?limit=2", 2).await;
    assert_eq!(steps(&page), ["first", "second"]);
    let next = page["next"].as_str().unwrap();
    let rest = listed(&still, &format!("?limit=2&cursor={next}"), 1).await;
    assert_eq!((steps(&rest), &rest["next"]), (vec!["note"], &Value::Null));
    assert_eq!(
        steps(&listed(&still, "?workflow=another", 0).await),
        [""; 0]
    );
    for bad in ["?limit=101", "?limit=0", "?status=waiting", "?cursor=5"] {
        let answer = still.fleet.api().get(&format!("/v1/approvals{bad}")).await;
        problem(&answer, 400);
    }
    let waiting: Value = still
        .fleet
        .api()
        .get("/v1/runs?status=waiting")
        .await
        .json();
    assert_eq!(waiting["runs"].as_array().map(Vec::len), Some(2));
    let view: Value = still
        .fleet
        .api()
        .get(&format!("/v1/runs/{one}"))
        .await
        .json();
    assert_eq!(view["approvals"], json!([expected]));

    let approve = json!({"step": "note", "by": "ana"});
    accepted(&still.tell(&one, "approve", &approve).await, 202);
    let pause = json!({"by": "ana", "reason": "lunch"});
    accepted(&still.tell(&two, "pause", &pause).await, 202);
    still.fleet.redis.flush().await;
    listed(&still, "", 0).await;
    let paused: Value = still.fleet.api().get("/v1/runs?status=paused").await.json();
    assert_eq!(paused["runs"][0]["reason"], "paused by ana: lunch");
    let view: Value = still
        .fleet
        .api()
        .get(&format!("/v1/runs/{two}"))
        .await
        .json();
    assert_eq!(
        view["approvals"].as_array().map(Vec::len),
        Some(2),
        "they wait all the same"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_verdict_stands_and_a_second_click_is_the_first() {
    let still = Still::start().await;
    let run = still.run("a", "default").await;
    let approve = json!({"step": "note", "by": "ana", "hash": "ab"});
    let detail = problem(&still.tell(&run, "approve", &approve).await, 404);
    assert!(detail.contains("nothing of this run waits"), "{detail}");
    still.decide_at(&run, "note", 0, note("ab")).await;

    let wrong = json!({"step": "note", "hash": "cd"});
    let detail = problem(&still.tell(&run, "approve", &wrong).await, 409);
    assert_eq!(
        detail,
        "what waits at `note` is another action now (hash ab)"
    );
    let other = json!({"step": "note", "with": 5});
    let detail = problem(&still.tell(&run, "approve", &other).await, 400);
    assert!(
        detail.starts_with("`/with` is not as note takes it: 5 is not"),
        "{detail}"
    );
    let unreasoned = json!({"step": "note"});
    let detail = problem(&still.tell(&run, "reject", &unreasoned).await, 400);
    assert!(detail.starts_with("`/reason`"), "{detail}");

    let first = accepted(&still.tell(&run, "approve", &approve).await, 202);
    let again = json!({"step": "note", "by": "bob"});
    assert_eq!(
        accepted(&still.tell(&run, "approve", &again).await, 202),
        first
    );
    let reject = json!({"step": "note", "by": "bob", "reason": "no"});
    let detail = problem(&still.tell(&run, "reject", &reject).await, 409);
    assert!(
        detail.starts_with("`note` is answered already: ana approved it at 20"),
        "{detail}"
    );
    let journal = still.fleet.journal(run.as_str()).await;
    let [said] = journal.of("signalled", None).collect::<Vec<_>>()[..] else {
        panic!("one verdict: {journal:?}");
    };
    assert_eq!(first["seq"], said.seq);
    assert_eq!((said.text("/by"), said.text("/from")), ("ana", "127.0.0.1"));
    let judged = json!({"step": "note", "branch": 0, "hash": "ab"});
    assert_eq!(*said.at("/approval"), judged);

    let end = Decision::End {
        outcome: Outcome::Failed,
        reason: None,
    };
    still.decide_at(&run, "end", 0, end).await;
    assert_eq!(
        accepted(&still.tell(&run, "approve", &again).await, 202),
        first
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_verdicts_at_once_one_is_written_and_the_other_is_told_which() {
    let still = Still::start().await;
    for round in 0..8 {
        let run = still.run(&round.to_string(), "default").await;
        still.decide_at(&run, "note", 0, note("ab")).await;
        let approve = json!({"step": "note", "by": "ana"});
        let reject = json!({"step": "note", "by": "bob", "reason": "no"});
        let (approved, rejected) = tokio::join!(
            still.tell(&run, "approve", &approve),
            still.tell(&run, "reject", &reject)
        );
        let said = verdicts(&still, &run).await;
        let (told, winner) = match (approved.status, rejected.status) {
            (202, 409) => (problem(&rejected, 409), "ana approved it at"),
            (409, 202) => (problem(&approved, 409), "bob rejected it at"),
            other => panic!("{other:?}: {} {}", approved.text, rejected.text),
        };
        assert!(told.contains(winner), "{told}");
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(winner.starts_with(&said[0].1), "{winner}: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_lists_what_waits_and_answers_it() {
    let still = Still::start().await;
    let run = still.run("a", "default").await;
    let url = still.fleet.api().base().to_owned();
    let env = [("FLOTILLA_URL", url.as_str()), ("USER", "ana")];
    let cli = async |line: &str, success: bool| -> String {
        let args: Vec<&str> = line.split(' ').collect();
        let done = run_flotilla(&args, &env, PATIENCE).await;
        assert_eq!(done.status.success(), success, "{line}: {}", done.output);
        done.output
    };
    let text = cli(&format!("approve {run}"), false).await;
    assert!(text.contains("waits for a person"), "{text}");
    let note_of = |branch| format!("triage/1#{branch}");
    still.decide_at(&run, "triage/1", 0, note("ab")).await;
    still.decide_at(&run, "triage/1", 1, note("cd")).await;
    still.fleet.redis.flush().await;
    listed(&still, "", 2).await;

    let text = cli("approvals", true).await;
    assert!(
        text.contains("triage/1#1") && text.contains("note@1 {}"),
        "{text}"
    );
    let text = cli(&format!("approve {run}"), false).await;
    assert!(text.contains("say which: triage/1, 'triage/1#1'"), "{text}");
    let text = cli(&format!("reject {run} {} --reason no", note_of(1)), true).await;
    assert!(
        text.contains("triage/1#1") && text.contains("refused"),
        "{text}"
    );
    let shown = cli(&format!("show {run}"), true).await;
    assert!(
        shown.contains(&format!("flotilla approve {run} triage/1  #"))
            && !shown.contains("--with JSON#"),
        "{shown}"
    );
    assert!(
        shown.contains("reject triage/1#1 by ana: no · from 127.0.0.1"),
        "{shown}"
    );
    // The one that is left needs no name.
    cli(&format!("approve {run} --with {{}}"), true).await;
    let said = verdicts(&still, &run).await;
    let expected = [("reject", "ana"), ("approve", "ana")];
    assert_eq!(
        said,
        expected.map(|(name, by)| (name.to_owned(), by.to_owned()))
    );
    let text = cli(&format!("pause {run} --reason lunch --by bob"), true).await;
    assert!(text.contains(&format!("flotilla resume {run}")), "{text}");
    let shown = cli(&format!("show {run}"), true).await;
    assert!(shown.contains("paused by bob: lunch"), "{shown}");
    let text = cli(&format!("message {run} hello"), false).await;
    assert!(text.contains("has no agent"), "{text}");
    let text = cli(&format!("retry {run} nowhere"), false).await;
    assert!(text.contains("these are: note, triage"), "{text}");
    let text = cli(&format!("feedback {run} slow --bad"), true).await;
    assert!(text.contains("kept for later runs"), "{text}");
    let text = cli(&format!("cancel {run} --compensate"), true).await;
    assert!(text.contains("will stop"), "{text}");
}
