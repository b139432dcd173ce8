//! What NATS keeps is all that a backup needs: everything else is lost, Redis too, and the runs go on.

use std::{path::Path, process::Command};

use flotilla_tests::{Fleet, PATIENCE, Sink, Workflows, eventually};
use serde_json::{Value, json};

const WORKFLOW: &str = "
workflow: backup
version: 1
on: {event: test.backup}
steps:
  - {id: note, tool: note, with: {n: '{{ event.data.n }}'}}
  - {id: person, approval: {show: '{{ event.data.n }}'}}
  - {id: send, tool: send, with: {n: '{{ event.data.n }}'}}
";

fn workflows(sink: &Sink) -> Workflows {
    let tool = |name: &str, effect: &str| sink.tool(name, effect, json!({}));
    let tools = json!({"tools": [tool("note", "idempotent"), tool("send", "once")]});
    Workflows::files(&[
        ("workflow.yaml", WORKFLOW.to_owned()),
        ("tools.yaml", tools.to_string()),
    ])
}

async fn submit(fleet: &Fleet, n: usize) -> String {
    let event = json!({"specversion": "1.0", "type": "test.backup", "source": "test", "id": n.to_string(), "data": {"n": n}});
    fleet.submit(&event).await.runs.remove(0)
}

async fn waits(fleet: &Fleet, run: &str) -> Value {
    eventually("the run waits for a person", PATIENCE, async || {
        let view: Value = fleet.api().get(&format!("/v1/runs/{run}")).await.json();
        let asked = view["approvals"][0].clone();
        if asked.is_object() {
            Ok(asked)
        } else {
            Err(view)
        }
    })
    .await
}

async fn approve(fleet: &Fleet, run: &str) {
    let asked = waits(fleet, run).await;
    let body = json!({"step": "person", "hash": asked["hash"], "by": "ana"});
    let path = format!("/v1/runs/{run}/approve");
    let answer = fleet.api().post_json(&path, &body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let end = fleet.wait_run_end(run).await;
    assert_eq!(end.status, "completed", "{:?}", end.reason);
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

/// How often it was asked for and done, of each path and number.
fn book(sink: &Sink, path: &str) -> Vec<(u64, usize, usize)> {
    let mut book: Vec<_> = sink
        .effects_at(path)
        .into_values()
        .map(|effect| {
            let n = effect.bodies[0]["n"].as_u64().unwrap();
            (n, effect.requests, effect.executions)
        })
        .collect();
    book.sort_unstable();
    book
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_backup_has_goes_on_when_everything_else_is_lost() {
    let sink = Sink::start().await;
    let mut fleet = Fleet::builder().workflows(workflows(&sink)).start().await;
    let (first, second) = (submit(&fleet, 1).await, submit(&fleet, 2).await);
    waits(&fleet, &first).await;
    waits(&fleet, &second).await;

    let kept = tempfile::tempdir().unwrap();
    let (store, backup) = (fleet.nats.store(), kept.path().join("backup"));
    fleet.kill_all();
    copy(&store, &backup);
    fleet.start_all().await;

    // What comes after the backup will be forgotten.
    approve(&fleet, &first).await;
    let third = submit(&fleet, 3).await;
    waits(&fleet, &third).await;

    fleet.kill_all();
    std::fs::remove_dir_all(&store).unwrap();
    copy(&backup, &store);
    fleet.start_all().await;
    assert_eq!(fleet.run(&third).await, None);
    assert_eq!(
        submit(&fleet, 3).await,
        third,
        "sent again, it is the same run"
    );
    for run in [&first, &second, &third] {
        approve(&fleet, run).await;
    }

    // What was done and forgotten is asked for again under the same key, and done once by who honours it.
    assert_eq!(book(&sink, "/note"), [(1, 1, 1), (2, 1, 1), (3, 2, 1)]);
    assert_eq!(book(&sink, "/send"), [(1, 2, 1), (2, 1, 1), (3, 1, 1)]);
}
