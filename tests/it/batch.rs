//! Steps that batches answer: few batches, half the price, and one paid item per run whatever dies and whenever.

use std::{collections::BTreeSet, time::Duration};

use flotilla_tests::{
    Builder, Call, Fleet, PATIENCE, Proxy, Role, RoleOptions, Workflows, eventually,
};
use serde_json::{Value, json};

use crate::flows::submit_events;

const POLICIES: &str = r#"
policies:
  - policy: any
    rules:
      - use: answer
        with: {reasoning: It is said., confidence: 0.9, with: {level: high}}
"#;

/// One question that can wait, and the same one at once, in workflows whose names are as long.
fn workflows(limits: &str, more: &str) -> Workflows {
    let one = |name: &str, more: &str| {
        let text = format!(
            "workflow: {name}\nversion: 1\non: {{event: test.{name}}}\nlimits: {limits}\nmodel: sonnet\nsteps:\n  - id: ask\n    claude: {{max_tokens: 200, prompt: 'How bad is it?', output: {{type: object, properties: {{level: {{type: string}}}}, required: [level], additionalProperties: false}}{more}}}\n"
        );
        (format!("{name}.yaml"), text)
    };
    Workflows::files(&[
        one("later", &format!(", batch: true{more}")),
        one("quick", ""),
        ("policies.yaml".to_owned(), POLICIES.to_owned()),
    ])
}

fn builder(workflows: Workflows) -> Builder {
    Fleet::builder()
        .workflows(workflows)
        .executors(0)
        .env("FLOTILLA_BATCH_LINGER", "300ms")
        .env("FLOTILLA_BATCH_LOOK", "500ms")
        .env("FLOTILLA_BATCH_CREATE_TIMEOUT", "2s")
        .env("FLOTILLA_PARK_PAUSE", "1s")
}

/// A fleet whose one planner asks Claude through a proxy.
async fn by_proxy(limits: &str) -> (Fleet, Proxy, Role) {
    let mut fleet = builder(workflows(limits, "")).planners(0).start().await;
    let to_claude = Proxy::to(fleet.sim.port()).await;
    let way = RoleOptions::default().claude(to_claude.url("http"));
    let planner = fleet.planner(way).await;
    (fleet, to_claude, planner)
}

async fn submit(fleet: &Fleet, kind: &str, name: &str, count: usize) -> Vec<String> {
    let event = |id: usize| json!({"id": format!("{name}-{id}"), "source": "tests", "type": format!("test.{kind}"), "data": {}});
    let events: Vec<Value> = (0..count).map(event).collect();
    submit_events(fleet, &events).await
}

async fn paid(fleet: &Fleet) -> Vec<Call> {
    let mut calls = fleet.sim.ledger().await;
    calls.retain(|call| call.status == 200);
    calls
}

/// Every run is complete, asked by batch, and paid once.
async fn assert_paid_once(fleet: &Fleet, runs: &[String]) {
    let paid = paid(fleet).await;
    for run in runs {
        let ended = fleet.wait_run_end(run).await;
        assert_eq!(
            (ended.status.as_str(), ended.wasted_calls),
            ("completed", 0)
        );
        let of_run: Vec<_> = paid
            .iter()
            .filter(|call| call.user_id.as_ref() == Some(run))
            .collect();
        assert!(
            matches!(of_run[..], [call] if call.batch && call.usd_nano == ended.usd_nano),
            "{run} ({} told): {of_run:?}",
            ended.usd_nano
        );
    }
}

/// Waits until every one of these runs is parked by its batch, whose id is known.
async fn wait_in_batches(fleet: &Fleet, runs: &[String]) {
    eventually("all runs wait for batches", PATIENCE, || async {
        let journal = fleet.journal_of_all().await;
        let known: BTreeSet<&str> = journal
            .of("decided", Some("park"))
            .filter(|park| park.at("/decision/batch/id").is_string())
            .map(|park| park.run.as_str())
            .collect();
        let left = runs.iter().filter(|run| !known.contains(run.as_str()));
        match left.count() {
            0 => Ok(()),
            left => Err(left),
        }
    })
    .await;
}

/// What is spent and held of the workflow's ceiling for the day, in billionths of a dollar.
async fn money(fleet: &Fleet) -> (u64, u64) {
    let (mut spent, mut held) = (0, 0);
    for key in fleet
        .redis
        .keys("flotilla:{money}:workflow:later:????-??-??")
        .await
    {
        for (field, sum) in [("spent", &mut spent), ("held", &mut held)] {
            let value = fleet.redis.field(&key, field).await;
            *sum += value.map_or(0, |text| text.parse::<u64>().unwrap());
        }
    }
    (spent, held)
}

/// Waits until all that was held is settled or released.
async fn wait_money(fleet: &Fleet, expected: (u64, u64)) {
    eventually("what is spent and held", PATIENCE, || async {
        match money(fleet).await {
            seen if seen == expected => Ok(()),
            seen => Err((seen, expected)),
        }
    })
    .await;
}

async fn cancel(fleet: &Fleet, run: &str) {
    let path = format!("/v1/runs/{run}/cancel");
    let told = fleet.api().post_json(&path, &json!({"by": "ann"})).await;
    assert_eq!(told.status, 202, "{}", told.text);
}

/// The run was cancelled and left an item in its batch: that is told once, at its most, and charged so.
async fn assert_left_once(fleet: &Fleet, run: &str) {
    let ended = fleet.wait_run_end(run).await;
    assert_eq!(
        (ended.status.as_str(), ended.wasted_calls),
        ("cancelled", 1)
    );
    let journal = fleet.journal(run).await;
    let end = journal.of("decided", Some("end")).next().unwrap();
    let wasted = end.at("/call/wasted_usd_nano").as_u64().unwrap();
    assert!(wasted > 0);
    wait_money(fleet, (wasted, 0)).await;
}

async fn wait_death(planner: &mut Role, point: &str) {
    eventually(&format!("a planner dies at {point}"), PATIENCE, || {
        let dead = planner.exited().is_some();
        async move { if dead { Ok(()) } else { Err("it lives") } }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_runs_are_answered_by_few_batches_at_half_the_price_and_hold_no_slot() {
    const RUNS: usize = 50;
    let workflows = workflows("{usd: 1.0, usd_per_day: 5.0}", "");
    let fleet = builder(workflows)
        .env("FLOTILLA_BATCH_LINGER", "2s")
        .start()
        .await;
    fleet.sim.control(json!({"batch_ms": 3_000})).await;
    let runs = submit(&fleet, "later", "a", RUNS).await;
    wait_in_batches(&fleet, &runs).await;
    eventually(
        "no run is in work while its batch runs",
        PATIENCE,
        || async {
            let busy = fleet.planners[0].metric("flotilla_messages_in_work").await;
            if busy < 1.0 { Ok(()) } else { Err(busy) }
        },
    )
    .await;
    fleet.wait_ends(RUNS, 2 * PATIENCE).await;
    assert_paid_once(&fleet, &runs).await;
    let batches = fleet.sim.batches().await;
    assert!(batches.len() <= 8, "{} batches", batches.len());

    let [direct] = submit(&fleet, "quick", "b", 1).await.try_into().unwrap();
    let direct = fleet.wait_run_end(&direct).await;
    let view = fleet.run(&runs[0]).await.unwrap();
    assert_eq!(2 * view.run.usd_nano, direct.usd_nano);
    let decided = view.journal.iter().find(|line| line.name == "claude");
    let batch = decided.unwrap().entry["call"]["batch"].as_str().unwrap();
    assert!(batches.iter().any(|id| id == batch), "{batch}");
    let today: Value = fleet.api().get("/v1/ceilings").await.json();
    let spent = today["ceilings"].as_array().unwrap().iter();
    let spent = spent.filter(|line| line["name"] == "later");
    let told: Vec<_> = spent.map(|line| line["spent_usd_nano"].as_u64()).collect();
    let all = view.run.usd_nano * u64::try_from(RUNS).unwrap();
    assert_eq!(told, [Some(all)], "what was held is settled");
}

async fn kill_at_every_point(planners: usize) {
    const RUNS: usize = 6;
    let workflows = workflows("{usd_per_day: 5.0}", "");
    let mut fleet = builder(workflows).planners(0).start().await;
    fleet.sim.control(json!({"batch_ms": 1_500})).await;
    let points = [
        "claimed",
        "item_held",
        "batch_intended",
        "batch_created",
        "batch_saved",
        "appended",
        "replied",
        "reply_saved",
    ];
    let mut all = Vec::new();
    for point in points {
        let deadly = RoleOptions::default().env("FLOTILLA_KILL_AT", format!("{point}:1"));
        let mut deadly = fleet.planner(deadly).await;
        let beside = match planners {
            1 => None,
            _ => Some(fleet.planner(RoleOptions::default()).await),
        };
        // One that the other planner took is not what the deadly one dies with.
        for wave in 0..10 {
            all.extend(submit(&fleet, "later", &format!("{point}-{wave}"), RUNS).await);
            let dead =
                tokio::time::timeout(Duration::from_secs(10), wait_death(&mut deadly, point));
            if beside.is_none() || dead.await.is_ok() {
                break;
            }
        }
        wait_death(&mut deadly, point).await;
        let planner = match beside {
            Some(beside) => beside,
            None => fleet.planner(RoleOptions::default()).await,
        };
        fleet.wait_ends(all.len(), 2 * PATIENCE).await;
        drop(planner);
    }
    assert_paid_once(&fleet, &all).await;
    let paid = paid(&fleet).await;
    assert_eq!(paid.len(), all.len());
    let cost = paid.iter().map(|call| call.usd_nano).sum();
    wait_money(&fleet, (cost, 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planner_killed_at_any_point_costs_no_second_item() {
    kill_at_every_point(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planner_killed_at_any_point_beside_another_costs_no_second_item() {
    kill_at_every_point(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_redis_costs_no_second_item() {
    const RUNS: usize = 10;
    let workflows = workflows("{usd_per_day: 5.0}", "");
    let mut fleet = builder(workflows).planners(0).start().await;
    fleet.sim.control(json!({"batch_ms": 4_000})).await;
    // Its items are in a batch that nobody but the provider knows of any more…
    let deadly = RoleOptions::default().env("FLOTILLA_KILL_AT", "batch_created:1");
    let mut deadly = fleet.planner(deadly).await;
    let mut runs = submit(&fleet, "later", "a", RUNS).await;
    wait_death(&mut deadly, "batch_created").await;
    fleet.redis.flush().await;
    let planner = fleet.planner(RoleOptions::default()).await;
    // …and those of others in batches that the journal knows.
    let known = submit(&fleet, "later", "b", RUNS).await;
    wait_in_batches(&fleet, &known).await;
    fleet.redis.flush().await;
    runs.extend(known);
    fleet.wait_ends(runs.len(), 2 * PATIENCE).await;
    assert_paid_once(&fleet, &runs).await;
    let paid = paid(&fleet).await;
    assert_eq!(paid.len(), runs.len());
    let cost: u64 = paid.iter().map(|call| call.usd_nano).sum();
    let (spent, held) = money(&fleet).await;
    assert!(held == 0 && spent >= cost, "{spent} of {cost}, {held} held");
    drop(planner);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_creation_nobody_confirmed_is_found_again() {
    let (fleet, to_claude, planner) = by_proxy("{steps: 5}").await;
    to_claude.pause_downstream().await;
    let runs = submit(&fleet, "later", "a", 3).await;
    eventually("a batch is there", PATIENCE, || async {
        let batches = fleet.sim.batches().await;
        if batches.is_empty() {
            Err("none")
        } else {
            Ok(())
        }
    })
    .await;
    eventually("the runs wait without knowing it", PATIENCE, || async {
        let runs = fleet.runs().await;
        let waiting = runs
            .iter()
            .filter(|run| run.parked_by.as_deref() == Some("batch"));
        if waiting.count() == 3 {
            Ok(())
        } else {
            Err(runs)
        }
    })
    .await;
    to_claude.resume();
    fleet.wait_ends(3, 2 * PATIENCE).await;
    assert_paid_once(&fleet, &runs).await;
    assert_eq!(fleet.sim.batches().await.len(), 1);
    drop(planner);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_that_fail_or_expire_are_sent_again_and_refused_ones_escalate() {
    let fleet = builder(workflows("{usd_per_day: 5.0}", "")).start().await;
    let faults = json!({"faults": [{"kind": "expire", "count": 1}, {"status": 529, "batch": true, "count": 2}]});
    fleet.sim.control(faults).await;
    let runs = submit(&fleet, "later", "a", 5).await;
    fleet.wait_ends(5, 2 * PATIENCE).await;
    assert_paid_once(&fleet, &runs).await;
    let failed = fleet.sim.ledger().await;
    assert_eq!(failed.iter().filter(|call| call.status != 200).count(), 3);

    let refused =
        json!({"faults": [{"status": 400, "message": "too odd", "batch": true, "count": 1}]});
    fleet.sim.control(refused).await;
    let [run] = submit(&fleet, "later", "b", 1).await.try_into().unwrap();
    let ended = fleet.wait_run_end(&run).await;
    assert_eq!((ended.status.as_str(), ended.usd_nano), ("escalated", 0));
    assert!(ended.reason.unwrap().contains("too odd"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_keeps_failing_is_fallen_back_from() {
    let fallback = ", fallback: [haiku]";
    let fleet = builder(workflows("{steps: 5}", fallback)).start().await;
    let faults = json!({"faults": [{"status": 529, "batch": true, "model": "claude-sonnet"}]});
    fleet.sim.control(faults).await;
    let runs = submit(&fleet, "later", "a", 2).await;
    fleet.wait_ends(2, 2 * PATIENCE).await;
    assert_paid_once(&fleet, &runs).await;
    let view = fleet.run(&runs[0]).await.unwrap();
    let decided = view.journal.iter().find(|line| line.name == "claude");
    let call = &decided.unwrap().entry["call"];
    assert_eq!(call["model"], "claude-haiku-5-5");
    assert_eq!(call["fallbacks"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_cancelled_while_its_batch_runs_ends_at_once_and_tells_what_it_may_have_wasted() {
    let fleet = builder(workflows("{usd_per_day: 5.0}", "")).start().await;
    fleet.sim.control(json!({"batch_ms": 600_000})).await;
    let runs = submit(&fleet, "later", "a", 1).await;
    wait_in_batches(&fleet, &runs).await;
    cancel(&fleet, &runs[0]).await;
    assert_left_once(&fleet, &runs[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_cancelled_while_its_item_is_looked_at_tells_it_once() {
    let (fleet, to_claude, planner) = by_proxy("{usd_per_day: 5.0}").await;
    fleet.sim.control(json!({"batch_ms": 600_000})).await;
    let runs = submit(&fleet, "later", "a", 1).await;
    wait_in_batches(&fleet, &runs).await;
    to_claude.pause_downstream().await;
    eventually("a look is under way", PATIENCE, || async {
        let busy = planner.metric("flotilla_messages_in_work").await;
        if busy >= 1.0 { Ok(()) } else { Err(busy) }
    })
    .await;
    cancel(&fleet, &runs[0]).await;
    assert_left_once(&fleet, &runs[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planner_told_to_stop_hands_back_what_it_has_not_sent_and_the_next_one_sends_it() {
    let slow = RoleOptions::default().env("FLOTILLA_BATCH_LINGER", "10m");
    let mut fleet = builder(workflows("{usd_per_day: 5.0}", ""))
        .planners(0)
        .start()
        .await;
    let mut planner = fleet.planner(slow).await;
    let runs = submit(&fleet, "later", "a", 8).await;
    eventually("all of them are collected", PATIENCE, || async {
        let busy = planner.metric("flotilla_messages_in_work").await;
        if busy >= 8.0 { Ok(()) } else { Err(busy) }
    })
    .await;
    planner.drain(PATIENCE).await;
    assert!(fleet.sim.batches().await.is_empty());
    let next = fleet.planner(RoleOptions::default()).await;
    fleet.wait_ends(8, 2 * PATIENCE).await;
    assert_paid_once(&fleet, &runs).await;
    drop(next);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ceiling_below_an_items_worst_case_parks_its_run_before_it_is_sent() {
    let fleet = builder(workflows("{usd: 0.002}", "")).start().await;
    let runs = submit(&fleet, "later", "a", 1).await;
    let run = &runs[0];
    eventually("it waits", PATIENCE, || async {
        let view = fleet.run(run).await;
        let by = view.and_then(|view| view.run.parked_by);
        if by.as_deref() == Some("ceiling") {
            Ok(())
        } else {
            Err(by)
        }
    })
    .await;
    assert!(fleet.sim.batches().await.is_empty());
    let path = format!("/v1/runs/{run}/raise");
    let told = fleet.api().post_json(&path, &json!({"usd": 1.0})).await;
    assert_eq!(told.status, 202, "{}", told.text);
    fleet.wait_ends(1, 2 * PATIENCE).await;
    assert_paid_once(&fleet, &runs).await;
}
