//! A run that goes on from another one's state: what was done is not done again, and Claude sees what it saw.

use flotilla_tests::{Answer, Fleet, Sink};
use serde_json::{Value, json};

use super::{fleet, incident, objects, typed};

async fn post(fleet: &Fleet, run: &str, body: Value) -> Answer {
    fleet
        .api()
        .post_json(&format!("/v1/runs/{run}/fork"), &body)
        .await
}

/// A request without what names the run.
fn asked(body: &Value) -> Value {
    let mut body = body.clone();
    body["metadata"] = Value::Null;
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_goes_on_where_it_is_told_to_and_does_nothing_that_was_done_already() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    let run = fleet.submit(&incident(1, "the disk")).await.runs.remove(0);
    fleet.wait_run_end(&run).await;
    let effects = sink.effects().len();
    let calls = fleet.sim.bodies_of(&run).await;
    assert_eq!(calls.len(), 4);

    let args = [
        "fork", &run, "--at", "sum", "--id", "again", "--reason", "to see", "--by", "ana", "--json",
    ];
    let given = objects(&typed(&fleet, &args).await.output).remove(0);
    assert_eq!(
        (&given["from"], &given["duplicate"]),
        (&json!(run), &json!(false))
    );
    let new = given["run"].as_str().unwrap().to_owned();
    let end = fleet.wait_run_end(&new).await;
    assert_eq!(
        (end.status.as_str(), end.model_calls, end.steps),
        ("completed", 1, 1)
    );
    let again = fleet.sim.bodies_of(&new).await;
    assert_eq!(again.len(), 1);
    assert_eq!(asked(&again[0]), asked(&calls[3]), "it sees what it saw");
    assert_eq!(sink.effects().len(), effects, "nothing was done again");

    let twice = post(&fleet, &run, json!({"step": "sum", "id": "again"})).await;
    let twice: Value = twice.json();
    assert_eq!(
        (&twice["run"], &twice["duplicate"]),
        (&json!(new), &json!(true))
    );
    let other = json!({"step": "sum", "id": "again", "with": {"text": "another"}});
    assert_eq!(post(&fleet, &run, other).await.status, 409);
    let shown = typed(&fleet, &["show", &new]).await.output;
    assert!(
        shown.contains(&format!("forked from {run} at sum")),
        "{shown}"
    );
    let explained = typed(&fleet, &["explain", &new, "sum"]).await.output;
    assert!(
        explained.contains("the same prompt as was sent"),
        "{explained}"
    );
    let replayed = typed(&fleet, &["replay", &new]).await.output;
    assert!(replayed.contains("the hash chain is whole"), "{replayed}");

    let with = json!({"step": "work", "with": {"text": "the fan"}});
    let with: Value = post(&fleet, &new, with).await.json();
    let third = with["run"].as_str().unwrap();
    let end = fleet.wait_run_end(third).await;
    assert_eq!(
        (end.status.as_str(), end.model_calls),
        ("completed", 3),
        "a fork of a fork"
    );
    assert_eq!(
        sink.effects().len(),
        effects + 1,
        "the agent's tool, under a key of its own"
    );
    let said = fleet.sim.bodies_of(third).await;
    assert!(
        said[2]["messages"][0].to_string().contains("the fan"),
        "{}",
        said[2]
    );
    refusals(&fleet, &run).await;
}

async fn refusals(fleet: &Fleet, run: &str) {
    for (body, status, part) in [
        (json!({}), 400, "`/step` is missing"),
        (
            json!({"step": "nowhere"}),
            400,
            "there is no step `nowhere`",
        ),
        (json!({"step": "announce"}), 400, "is within `both`"),
        (
            json!({"step": "sum", "version": 7}),
            400,
            "there is no version 7",
        ),
        (
            json!({"step": "sum", "with": "x".repeat(530_000)}),
            413,
            "at most",
        ),
    ] {
        let refused = post(fleet, run, body).await;
        assert_eq!(refused.status, status, "{}", refused.text);
        assert!(refused.text.contains(part), "{}", refused.text);
    }
    let nobody = "run_00000000000000000000000000000000";
    assert_eq!(
        post(fleet, nobody, json!({"step": "sum"})).await.status,
        404
    );
}
