//! One run's fan-out does not stand before another run's single step for longer than a window of it.

use flotilla_tests::{Fleet, PATIENCE, Sink, Workflows, eventually};
use serde_json::json;

/// Items of the fan-out: its rows times their cells.
const ROWS: usize = 20;
/// What one run may have in hand of one tool.
const IN_HAND_MAX: usize = 100;
/// The tool's `concurrency`: what is begun side by side comes to the sink in any order.
const AT_ONCE: usize = 4;

const WORKFLOWS: &str = "
workflow: flood
version: 1
on: {event: test.flood}
limits: {steps: 10000}
steps:
  - id: rows
    for_each:
      in: event.data.rows
      as: row
      width: 100
      steps:
        - id: cells
          for_each:
            in: event.data.rows
            width: 100
            steps: [{id: cell, tool: work, with: {what: flood}}]
---
workflow: single
version: 1
on: {event: test.single}
steps: [{id: one, tool: work, with: {what: single}}]
";

fn workflows(sink: &Sink) -> Workflows {
    let mut files: Vec<(String, String)> = WORKFLOWS
        .split("\n---\n")
        .enumerate()
        .map(|(index, text)| (format!("{index}.yaml"), text.to_owned()))
        .collect();
    let tools = json!({"tools": [{"tool": "work", "version": 1, "description": "Works.", "effect": "idempotent", "concurrency": AT_ONCE,
        "input": {"type": "object"}, "timeout": "5m", "http": {"method": "POST", "url": sink.url("/work"), "body": "{{ input }}"}}]});
    files.push(("tools.yaml".to_owned(), tools.to_string()));
    Workflows::files(&files)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_step_is_served_after_a_window_of_another_runs_fan_out() {
    let sink = Sink::start().await;
    sink.hold("/work");
    let fleet = Fleet::builder().workflows(workflows(&sink)).start().await;
    let rows: Vec<usize> = (0..ROWS).collect();
    let flood = json!({"id": "1", "source": "tests", "type": "test.flood", "data": {"rows": rows}});
    let flood = fleet.submit(&flood).await.runs.remove(0);
    let decided = async |run: &str| {
        let journal = fleet.journal(run).await;
        journal.of("decided", Some("work")).count()
    };
    eventually(
        "the fan-out has all in hand that it may",
        PATIENCE,
        async || match decided(&flood).await {
            IN_HAND_MAX => Ok(()),
            other => Err(other),
        },
    )
    .await;
    let single = json!({"id": "1", "source": "tests", "type": "test.single", "data": {}});
    let single = fleet.submit(&single).await.runs.remove(0);
    eventually("the single step is decided", PATIENCE, async || {
        let count = decided(&single).await;
        if count == 1 { Ok(()) } else { Err(count) }
    })
    .await;
    assert_eq!(
        decided(&flood).await,
        IN_HAND_MAX,
        "nothing was done meanwhile"
    );

    sink.release();
    for (run, outcome, reason) in fleet.wait_ends(2, 2 * PATIENCE).await {
        assert_eq!(outcome, "completed", "{run}: {reason}");
    }
    let order = sink.order();
    assert_eq!(order.len(), ROWS * ROWS + 1);
    let of_single = order.iter().position(|(key, _)| key.starts_with(&single));
    let before = of_single.expect("it was served");
    assert!(
        before <= IN_HAND_MAX + AT_ONCE,
        "{before} were served before"
    );
}
