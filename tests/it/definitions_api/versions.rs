//! Which versions new runs get, as people change it.

use flotilla_tests::{PATIENCE, Workflows, eventually};
use serde_json::{Value, json};

use super::{apply, body, desk, gateway, refused, told};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_applied_tried_activated_and_rolled_back_by_the_command_line() {
    let fleet = gateway().await;
    let folders = [1, 2, 3].map(|version| Workflows::files(&desk(version, "/")));
    let [one, two, three] = folders
        .each_ref()
        .map(|one| one.folder().display().to_string());
    let dry = told(&fleet, &["apply", &one, "--dry-run"]).await;
    assert!(
        dry.contains("desk v1") && dry.contains("that was a dry run"),
        "{dry}"
    );
    assert!(
        refused(&fleet, &["workflows", "desk"])
            .await
            .contains("404")
    );

    told(&fleet, &["apply", &one, "--reason", "at last"]).await;
    let again = told(&fleet, &["apply", &one]).await;
    assert!(again.contains("unchanged  new runs get it"), "{again}");
    let second = told(&fleet, &["apply", &two]).await;
    assert!(
        second.contains("if desk v2 is no good: flotilla rollback desk"),
        "{second}"
    );
    let third = told(&fleet, &["apply", &three, "--activate", "never"]).await;
    assert!(
        third.contains("new runs get v2") && third.contains("flotilla rollout desk 3 10%"),
        "{third}"
    );

    let tried = told(
        &fleet,
        &["rollout", "desk", "3", "12.5%", "--reason", "a try"],
    )
    .await;
    assert!(
        tried.starts_with("desk: new runs get v2, 12.5 % of them v3\n"),
        "{tried}"
    );
    let listed = told(&fleet, &["workflows"]).await;
    assert!(
        listed.contains("v2, 12.5 % of them v3")
            && listed.contains("1-3")
            && listed.contains("by ann: a try"),
        "{listed}"
    );
    told(&fleet, &["rollout", "desk", "--end"]).await;
    assert!(
        refused(&fleet, &["rollout", "desk", "--end"])
            .await
            .contains("nothing to end")
    );
    assert!(
        refused(&fleet, &["rollout", "desk", "2", "5"])
            .await
            .contains("gets all runs already")
    );
    assert!(
        refused(&fleet, &["rollout", "desk", "9", "5"])
            .await
            .contains("it has: 1, 2, 3")
    );
    let all = told(&fleet, &["rollout", "desk", "3", "100%"]).await;
    assert!(all.starts_with("desk: new runs get v3\n"), "{all}");

    let back = told(&fleet, &["rollback", "desk", "--reason", "v3 is slow"]).await;
    assert!(back.starts_with("desk: new runs get v2\n"), "{back}");
    let unchanged = told(&fleet, &["apply", &three]).await;
    assert!(
        unchanged.contains("new runs get v2"),
        "a person said so: {unchanged}"
    );
    told(&fleet, &["activate", "desk", "v1"]).await;
    told(&fleet, &["deactivate", "desk"]).await;
    assert!(
        refused(&fleet, &["diff", "desk"])
            .await
            .contains("no version of `desk` is active")
    );
    let back = told(&fleet, &["rollback", "desk"]).await;
    assert!(back.starts_with("desk: new runs get v1\n"), "{back}");

    let shown: Value =
        serde_json::from_str(&told(&fleet, &["workflows", "desk", "--json"]).await).unwrap();
    let got: Vec<_> = shown["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|then| then["active"]["version"].clone())
        .collect();
    assert_eq!(json!(got), json!([1, null, 1, 2, 3, 2, 2, 2, 1]));
    assert_eq!(shown["history"][5]["by"], "ann");
    assert_eq!(shown["history"][8]["reason"], "at last");
    let versions: Vec<_> = shown["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["version"].clone(),
                one["by"].clone(),
                one["active"].clone(),
            )
        })
        .collect();
    let expected = [(1, true), (2, false), (3, false)]
        .map(|(version, active)| (json!(version), json!("ann"), json!(active)));
    assert_eq!(versions, expected);

    let diff = told(&fleet, &["diff", "desk", "1", "v2"]).await;
    for line in [
        "--- v1/ask.md\n+++ v2/ask.md\n@@ -1 +1 @@\n-What is wrong? (1)\n+What is wrong? (2)",
        "--- v1/tools.yaml/list@1\n+++ /dev/null",
        "-version: 1\n+version: 2",
    ] {
        assert!(diff.contains(line), "{line}:\n{diff}");
    }
    let same = told(&fleet, &["diff", "desk", "--workflows", &one]).await;
    assert_eq!(same, "desk v1 and folder: no difference\n");
    let diff: Value = serde_json::from_str(
        &told(
            &fleet,
            &["diff", "desk", "2", "--workflows", &three, "--json"],
        )
        .await,
    )
    .unwrap();
    assert_eq!(
        (&diff["same"], &diff["new"]["version"]),
        (&json!(false), &json!(3))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runs_own_texts_can_be_read() {
    let fleet = gateway().await;
    let path = fleet.workflows().folder().display().to_string();
    told(&fleet, &["apply", &path]).await;
    let run = fleet
        .submit(&json!({"type": "test.still", "id": "1", "data": {}}))
        .await
        .runs
        .remove(0);
    let texts: Value = eventually("the run has begun", PATIENCE, async || {
        let answer = fleet.api().get(&format!("/v1/runs/{run}/definition")).await;
        if answer.status == 200 {
            Ok(answer.json())
        } else {
            Err(answer.text)
        }
    })
    .await;
    assert_eq!(texts["files"]["workflow.yaml"], super::STILL);
    assert_eq!(
        (&texts["version"], texts["files"].as_object().unwrap().len()),
        (&json!(1), 1)
    );
    let none = fleet
        .api()
        .get(&format!("/v1/runs/run_{:032x}/definition", 7))
        .await;
    assert_eq!(none.status, 404, "{}", none.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_apply_at_once_agree_and_a_gateway_beside_answers_the_same() {
    let mut fleet = gateway().await;
    let mut other = fleet.start_gateway(flotilla_tests::RoleOptions::default());
    other.wait_ready().await;
    let applies = (0..6).map(|number| {
        let api = if number % 2 == 0 {
            fleet.api()
        } else {
            other.api()
        }
        .clone();
        let path = if number < 3 { "/" } else { "/tmp" };
        tokio::spawn(async move { (path, api.post_json("/v1/definitions", &body(1, path)).await) })
    });
    let mut won = std::collections::BTreeSet::new();
    let mut created = 0;
    for apply in applies.collect::<Vec<_>>() {
        let (path, answer) = apply.await.unwrap();
        let said: Value = answer.json();
        match answer.status {
            200 => {
                won.insert(path);
                assert_eq!(said["workflows"][0]["active"], true, "{said}");
                created += i32::from(said["workflows"][0]["outcome"] == "created");
            }
            409 => assert!(
                said["detail"].as_str().unwrap().contains("`version: 2`"),
                "{said}"
            ),
            status => panic!("{status}: {said}"),
        }
    }
    assert_eq!((won.len(), created), (1, 1), "one text has won, once");
    let [one, two] = [fleet.api(), other.api()]
        .map(|api| async { api.get("/v1/definitions/desk").await.json::<Value>() });
    assert_eq!(one.await, two.await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nats_is_away_nothing_is_taken_and_afterwards_all_is_as_before() {
    let mut fleet = gateway().await;
    assert_eq!(apply(&fleet, &body(1, "/")).await.status, 200);
    fleet.nats.stop().await;
    let away = apply(&fleet, &body(2, "/")).await;
    assert_eq!(away.status, 503, "{}", away.text);
    let wrong = apply(&fleet, &json!({"files": {"w.yaml": "workflow: ["}})).await;
    assert_eq!(
        wrong.status, 422,
        "what is wrong is wrong without NATS, too"
    );
    fleet.nats.restart().await;
    fleet.wait_ready().await;
    let answer = eventually("it is taken", PATIENCE, async || {
        let answer = apply(&fleet, &body(2, "/")).await;
        if answer.status == 200 {
            Ok(answer)
        } else {
            Err(answer.text)
        }
    })
    .await;
    let said: Value = answer.json();
    assert_eq!(said["workflows"][0]["active"], true, "{said}");
    let shown: Value = fleet.api().get("/v1/definitions/desk").await.json();
    assert_eq!(shown["versions"].as_array().unwrap().len(), 2);
}
