//! Hundreds of effects while executors are killed, or replaced one after the other: the sink's own book says what was done, and the
//! ledger of each run must agree with it.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_tests::{Fleet, PATIENCE, RoleOptions, Sink, Workflows, eventually};
use serde_json::{Value, json};

use crate::flows::submit_events;

const RUNS: usize = 30;
/// Items of each run; for each there is an effect of `note` and one of `send`.
const ITEMS: usize = 10;
/// What a tool's bulkhead lets one executor have in flight.
const AT_ONCE: usize = 8;
/// Requests between one kill, or restart, and the next.
const EVERY: usize = 45;

const WORKFLOW: &str = "
workflow: effects
version: 1
on: {event: test.effects}
limits: {steps: 100}
steps:
  - id: all
    for_each:
      in: event.data.items
      width: 10
      steps:
        - {id: note, tool: note, with: {n: '{{ item }}'}}
        - {id: send, tool: send, with: {n: '{{ item }}'}, on_error: continue}
";

fn workflows(sink: &Sink) -> Workflows {
    let tool = |name: &str, effect: &str| sink.tool(name, effect, json!({"concurrency": AT_ONCE}));
    let tools = json!({"tools": [tool("note", "idempotent"), tool("send", "once")]});
    Workflows::files(&[
        ("workflow.yaml".to_owned(), WORKFLOW.to_owned()),
        ("tools.yaml".to_owned(), tools.to_string()),
    ])
}

async fn start(sink: &Sink) -> (Fleet, Vec<String>) {
    // So that what happens to an executor happens in the middle of something.
    sink.delay(std::time::Duration::from_millis(50));
    let fleet = Fleet::builder()
        .workflows(workflows(sink))
        .executors(2)
        .ack_wait("3s");
    let fleet = fleet.start().await;
    let items: Vec<usize> = (0..ITEMS).collect();
    let events: Vec<Value> = (0..RUNS)
        .map(|n| json!({"id": n.to_string(), "source": "tests", "type": "test.effects", "data": {"items": items}}))
        .collect();
    let runs = submit_events(&fleet, &events).await;
    (fleet, runs)
}

/// Waits until the sink was asked so often.
async fn asked(sink: &Sink, times: usize) {
    eventually("the sink is asked", 2 * PATIENCE, || {
        let order = sink.order().len();
        std::future::ready(if order >= times { Ok(()) } else { Err(order) })
    })
    .await;
}

/// All effects of these runs by their keys, as their ledgers tell.
async fn ledger(fleet: &Fleet, runs: &[String]) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for run in runs {
        let answer = fleet.api().get(&format!("/v1/runs/{run}/effects")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let told: Value = answer.json();
        let lines = told["effects"].as_array().unwrap();
        let is_unknown = |line: &&Value| line["outcome"]["kind"] == "unknown";
        let first = lines.iter().take_while(is_unknown).count();
        let unknown = lines.iter().filter(is_unknown).count();
        assert_eq!(
            (first, told["unknown"].as_u64()),
            (unknown, Some(unknown as u64)),
            "{told}"
        );
        for line in lines {
            assert_eq!(is_unknown(&line), line["to_do"].is_string(), "{line}");
            all.insert(line["key"].as_str().unwrap().to_owned(), line.clone());
        }
    }
    assert_eq!(all.len(), RUNS * ITEMS * 2, "each with a key of its own");
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_effects_while_executors_are_killed_are_done_once_or_known_to_be_unknown() {
    let sink = Sink::start().await;
    let (mut fleet, runs) = start(&sink).await;
    let kills = RUNS * ITEMS * 2 / EVERY - 1;
    for kill in 1..=kills {
        asked(&sink, kill * EVERY).await;
        let chosen = fastrand::usize(..fleet.executors.len());
        fleet.executors.remove(chosen).kill9();
        let next = fleet.executor(RoleOptions::default()).await;
        fleet.executors.push(next);
    }
    for (run, outcome, reason) in fleet.wait_ends(RUNS, 3 * PATIENCE).await {
        assert_eq!(outcome, "completed", "{run}: {reason}");
    }

    let (effects, cut) = (sink.effects(), sink.cut());
    let mut unknown = BTreeSet::new();
    for (key, line) in ledger(&fleet, &runs).await {
        let done = effects.get(&key).map_or(0, |effect| effect.executions);
        let asked = effects.get(&key).map_or(0, |effect| effect.requests);
        match (line["tool"].as_str(), line["outcome"]["kind"].as_str()) {
            (Some("note"), Some("ok")) => assert_eq!(done, 1, "{line}"),
            (Some("send"), Some("ok")) => {
                assert_eq!((done, asked), (1, 1), "{line}");
                assert!(!cut.contains(&key), "nobody heard what came of it: {line}");
            }
            (Some("send"), Some("unknown")) => {
                assert!(asked <= 1, "{line}");
                unknown.insert(key);
            }
            _ => panic!("{line}"),
        }
    }
    // Whose executor died while the sink was at it is unknown, and so is what an executor had claimed and not asked for yet, or had
    // heard of and not written down. No kill can leave more than an executor has in flight.
    let sends = cut.iter().filter(|key| effects[*key].what == "POST /send");
    let in_the_middle: BTreeSet<String> = sends.cloned().collect();
    assert!(
        !in_the_middle.is_empty(),
        "no kill fell into a window: {kills} kills"
    );
    assert!(in_the_middle.is_subset(&unknown));
    assert!(
        unknown.len() <= kills * AT_ONCE,
        "{} of {kills} kills",
        unknown.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn executors_replaced_one_after_the_other_under_load_repeat_nothing() {
    let sink = Sink::start().await;
    let (mut fleet, runs) = start(&sink).await;
    for restart in 1..=4 {
        asked(&sink, restart * 2 * EVERY).await;
        fleet.executors.remove(0).drain(PATIENCE).await;
        let mut next = fleet.executor(RoleOptions::default()).await;
        next.wait_ready().await;
        fleet.executors.push(next);
    }
    fleet.wait_ends(RUNS, 3 * PATIENCE).await;
    for (key, line) in ledger(&fleet, &runs).await {
        assert_eq!(line["outcome"]["kind"], "ok", "{line}");
        assert_eq!(line["tries"], 1, "{line}");
        assert_eq!(sink.effects()[&key].requests, 1, "{line}");
    }
    assert!(sink.cut().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_its_turn_when_its_executor_dies_is_not_in_doubt() {
    let sink = Sink::start().await;
    let tools = json!({"tools": [{"tool": "send", "version": 1, "description": "d", "effect": "once", "rate": "1/h",
        "input": {"type": "object"}, "http": {"method": "POST", "url": sink.url("/send"), "body": "{{ input }}"}}]});
    let workflow =
        "workflow: w\nversion: 1\non: {event: test.one}\nsteps: [{id: one, tool: send}]\n";
    let workflows = Workflows::files(&[
        ("workflow.yaml".to_owned(), workflow.to_owned()),
        ("tools.yaml".to_owned(), tools.to_string()),
    ]);
    let mut fleet = Fleet::builder()
        .workflows(workflows)
        .ack_wait("2s")
        .start()
        .await;
    let event = |id: &str| json!({"id": id, "source": "tests", "type": "test.one", "data": {}});
    let first = fleet.submit(&event("1")).await.runs.remove(0);
    assert_eq!(fleet.wait_run_end(&first).await.status, "completed");
    // The next one in this executor would be served in an hour.
    let second = fleet.submit(&event("2")).await.runs.remove(0);
    let claim = format!("flotilla:{{{second}}}:claim:effect:one:0");
    eventually("it waits under its claim", PATIENCE, async || {
        match fleet.redis.field(&claim, "waits").await {
            Some(waits) => Ok(waits),
            None => Err("it does not"),
        }
    })
    .await;
    fleet.executors.remove(0).kill9();
    let next = fleet.executor(RoleOptions::default()).await;
    fleet.executors.push(next);
    let end = fleet.wait_run_end(&second).await;
    assert_eq!(end.status, "completed", "{:?}", end.reason);
    assert_eq!(sink.order().len(), 2);
}
