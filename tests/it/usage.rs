//! What was used is what Claude charged, to the nano-dollar and once, whoever dies; and the fleet's own view names what is wrong.

use std::collections::BTreeSet;

use flotilla_tests::{Fleet, PATIENCE, RoleOptions, Sink, Workflows, eventually, run_flotilla};
use serde_json::{Value, json};

use crate::flows::{CALLS, incidents, submit_events, submit_many};

const RUNS: usize = 40;

/// The whole ledger of the last month, which has today, also where a day ended in between.
async fn usage(fleet: &Fleet, more: &str) -> Value {
    let answer = fleet.api().get(&format!("/v1/usage?{more}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// Waits until the ledger has that many runs ended, and gives what it says.
async fn settled(fleet: &Fleet, runs: usize) -> Value {
    eventually("the ledger has all runs", PATIENCE, || async {
        let used = usage(fleet, "by=workflow,model,tenant").await;
        let ended = usage(fleet, "by=day").await["total"]["runs"]["completed"].clone();
        if ended == json!(runs) && used["complete"] == true {
            Ok(used)
        } else {
            Err(format!("{ended} of {runs}: {used}"))
        }
    })
    .await
}

/// What Claude says that it charged.
async fn charged(fleet: &Fleet) -> (u64, u64) {
    let calls = fleet.sim.ledger().await;
    let paid = calls.iter().filter(|call| call.status == 200);
    (
        paid.clone().map(|call| call.usd_nano).sum(),
        paid.count() as u64,
    )
}

async fn assert_as_charged(fleet: &Fleet, used: &Value) {
    let (usd, calls) = charged(fleet).await;
    let total = &used["total"];
    assert_eq!(total["usd_nano"], usd, "{used}");
    assert_eq!(total["calls"], calls, "{used}");
    assert_eq!(total["wasted_calls"], 0, "{used}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_used_is_what_claude_charged_and_is_there_again_after_a_flush() {
    let sink = Sink::start().await;
    let fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .start()
        .await;
    let runs = submit_many(&fleet, (0..RUNS).map(|n| n.to_string())).await;
    fleet.wait_ends(RUNS, 2 * PATIENCE).await;
    let used = settled(&fleet, RUNS).await;
    assert_as_charged(&fleet, &used).await;
    assert_eq!(used["total"]["calls"], RUNS * CALLS);
    let rows = used["rows"].as_array().unwrap();
    assert!(
        rows.iter()
            .all(|row| row["workflow"] == "incident" && row["tenant"] == "default")
    );

    // The same from the journal.
    let csv = fleet.api().get("/v1/usage?by=workflow&format=csv").await;
    fleet.redis.flush().await;
    let again = settled(&fleet, RUNS).await;
    assert_eq!(again["rows"], used["rows"]);
    assert_eq!(again["total"], used["total"]);
    let csv_again = fleet.api().get("/v1/usage?by=workflow&format=csv").await;
    assert_eq!(csv_again.text, csv.text);
    assert!(
        csv.content_type.starts_with("text/csv"),
        "{}",
        csv.content_type
    );
    assert_eq!(csv.text.lines().count(), 2, "{}", csv.text);

    // The dearest runs are runs of ours, and cost what their lines say.
    let answer = fleet.api().get("/v1/usage/runs?top=5").await;
    let dearest: Value = answer.json();
    let dearest = dearest["runs"].as_array().unwrap();
    assert_eq!(dearest.len(), 5, "{}", answer.text);
    for run in dearest {
        assert!(runs.contains(run["id"].as_str().unwrap()), "{run}");
        let shown = fleet.run(run["id"].as_str().unwrap()).await.unwrap();
        assert_eq!(run["usd_nano"], shown.run.usd_nano, "{run}");
    }

    let stats: Value = fleet.api().get("/v1/stats?minutes=60").await.json();
    assert_eq!(stats["together"]["runs"]["completed"], RUNS, "{stats}");
    let minutes = stats["minutes"].as_array().unwrap();
    let announced: u64 = minutes
        .iter()
        .filter_map(|minute| minute["tools"]["announce"]["ok"].as_u64())
        .sum();
    assert_eq!((minutes.len(), announced), (60, RUNS as u64), "{stats}");
    assert_eq!(stats["now"]["active"]["running"], 0, "{stats}");

    let url = fleet.api().base().to_owned();
    let told = run_flotilla(
        &["cost", "--by", "workflow"],
        &[("FLOTILLA_URL", &url)],
        PATIENCE,
    )
    .await;
    assert!(told.output.contains("incident"), "{}", told.output);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_gateway_dies_that_reads_the_journal_another_goes_on_and_nothing_counts_twice() {
    let sink = Sink::start().await;
    let mut fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .start()
        .await;
    // The first one reads: it was there before the second.
    submit_many(&fleet, (0..RUNS).map(|n| n.to_string())).await;
    fleet.wait_ends(RUNS / 4, PATIENCE).await;
    let mut second = fleet.start_gateway(RoleOptions::default());
    second.wait_ready().await;
    fleet.gateway.kill9();
    fleet.gateway = second;
    submit_many(&fleet, (RUNS..2 * RUNS).map(|n| n.to_string())).await;
    fleet.wait_ends(2 * RUNS, 2 * PATIENCE).await;
    let used = settled(&fleet, 2 * RUNS).await;
    assert_as_charged(&fleet, &used).await;
}

/// One question to Claude, and one tool that no executor has while there is none.
fn in_trouble() -> Workflows {
    let ask = "workflow: ask\nversion: 1\non: {event: test.ask}\nmodel: sonnet\nsteps:\n  - id: ask\n    claude: {max_tokens: 200, prompt: 'How bad is it?'}\n";
    let act =
        "workflow: act\nversion: 1\non: {event: test.act}\nsteps:\n  - {id: act, tool: note}\n";
    let tools = "tools:\n  - {tool: note, version: 1, description: d, effect: read, input: {type: object}, command: ['true']}\n";
    Workflows::files(&[("ask.yaml", ask), ("act.yaml", act), ("tools.yaml", tools)])
}

fn events(kind: &str, count: usize) -> Vec<Value> {
    (0..count)
        .map(|id| json!({"id": format!("{kind}-{id}"), "source": "tests", "type": format!("test.{kind}"), "data": {}}))
        .collect()
}

/// Waits until the fleet's view has something to look at of these kinds, and gives all of it.
async fn attention(fleet: &Fleet, kinds: &[&str]) -> Vec<Value> {
    eventually(&format!("attention has {kinds:?}"), PATIENCE, || async {
        let shown: Value = fleet.api().get("/v1/fleet").await.json();
        let lines = shown["attention"].as_array().cloned().unwrap_or_default();
        let found: BTreeSet<&str> = lines
            .iter()
            .filter_map(|line| line["kind"].as_str())
            .collect();
        if kinds.iter().all(|kind| found.contains(kind)) {
            Ok(lines)
        } else {
            Err(shown.to_string())
        }
    })
    .await
}

fn text<'a>(lines: &'a [Value], kind: &str) -> &'a str {
    let line = lines.iter().find(|line| line["kind"] == kind);
    line.and_then(|line| line["text"].as_str())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fleet_names_an_open_breaker_a_tool_without_executor_and_a_worker_that_was_killed() {
    let mut fleet = Fleet::builder()
        .workflows(in_trouble())
        .env("FLOTILLA_PARK_PAUSE", "10m")
        .start()
        .await;
    eventually("all three are heard", PATIENCE, || async {
        let shown: Value = fleet.api().get("/v1/fleet").await.json();
        let workers = shown["workers"].as_array().map_or(0, Vec::len);
        (workers == 3).then_some(()).ok_or(shown.to_string())
    })
    .await;
    fleet.executors[0].kill9();
    submit_events(&fleet, &events("act", 2)).await;
    fleet
        .sim
        .control(json!({"faults": [{"status": 500}]}))
        .await;
    submit_events(&fleet, &events("ask", 12)).await;

    let lines = attention(&fleet, &["lost", "no_executor", "breaker"]).await;
    assert!(
        text(&lines, "no_executor").contains("tool note: 2 decision(s)"),
        "{lines:?}"
    );
    assert!(
        text(&lines, "breaker").contains("claude-sonnet"),
        "{lines:?}"
    );
    assert!(
        text(&lines, "lost").starts_with("executor executor-"),
        "{lines:?}"
    );
    let shown: Value = fleet.api().get("/v1/fleet").await.json();
    let roles: BTreeSet<(&str, &str)> = shown["workers"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| Some((one["role"].as_str()?, one["state"].as_str()?)))
        .collect();
    let wanted = [
        ("executor", "lost"),
        ("gateway", "active"),
        ("planner", "active"),
    ];
    assert_eq!(roles, BTreeSet::from(wanted), "{shown}");
    assert_eq!(shown["health"]["nats"], "ok", "{shown}");
    assert_ne!(shown["health"]["claude"], "ok", "{shown}");
    assert!(fleet.gateway.metric("flotilla_workers").await >= 2.0);

    let url = fleet.api().base().to_owned();
    let told = run_flotilla(&["fleet"], &[("FLOTILLA_URL", &url)], PATIENCE).await;
    assert!(
        told.output.contains("no executor has tool note"),
        "{}",
        told.output
    );

    // Who ends in order says so.
    let planner = fleet.planners.pop();
    planner.unwrap().drain(2 * PATIENCE).await;
    attention(&fleet, &["no_planner"]).await;
    let shown: Value = fleet.api().get("/v1/fleet").await.json();
    let workers = shown["workers"].as_array().unwrap();
    let gone = workers.iter().find(|one| one["role"] == "planner").unwrap();
    assert_eq!(gone["state"], "gone", "{shown}");
}
