//! Claude in trouble: overloaded, away, or refusing the key. Runs wait or fall back as their definition says, and none is lost.

use flotilla_tests::{Fleet, PATIENCE, Workflows, eventually};
use serde_json::{Value, json};

use crate::flows::{ALWAYS_HIGH, submit_events};

const HAIKU: &str = "claude-haiku-5-5";
const SONNET: &str = "claude-sonnet-5-5";

/// One question to sonnet, in two workflows: `firm` has nobody else to ask, `soft` may ask haiku.
fn workflows() -> Workflows {
    let one = |name: &str, more: &str| {
        let text = format!(
            "workflow: {name}\nversion: 1\non: {{event: test.{name}}}\nmodel: sonnet\nsteps:\n  - id: ask\n    claude: {{max_tokens: 200, prompt: 'How bad is it?', output: {{type: object, properties: {{level: {{type: string}}}}, required: [level], additionalProperties: false}}{more}}}\n"
        );
        (format!("{name}.yaml"), text)
    };
    Workflows::files(&[
        one("firm", ""),
        one("soft", ", fallback: [haiku]"),
        ("policies.yaml".to_owned(), ALWAYS_HIGH.to_owned()),
    ])
}

fn event(kind: &str, id: usize) -> Value {
    json!({"id": format!("{kind}-{id}"), "source": "tests", "type": format!("test.{kind}"), "data": {}})
}

fn events(kind: &str, count: usize) -> Vec<Value> {
    (0..count).map(|id| event(kind, id)).collect()
}

/// The model that decided each run, and why others did not; from the journal.
async fn spoke(fleet: &Fleet, run: &str) -> (String, Vec<String>) {
    let view = fleet.run(run).await.expect("the run is known");
    let call = view.journal.iter().find_map(|line| {
        let call = &line.entry["call"];
        (line.name == "claude").then(|| call.clone())
    });
    let call = call.unwrap_or_else(|| panic!("nothing decided {run}"));
    let fallbacks = call["fallbacks"].as_array().cloned().unwrap_or_default();
    let told = fallbacks
        .iter()
        .map(|why| why.as_str().unwrap_or_default().to_owned());
    (
        call["model"].as_str().unwrap_or_default().to_owned(),
        told.collect(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_storm_of_529s_the_fleet_backs_off_and_falls_back_only_where_it_may() {
    const RUNS: usize = 60;
    let fleet = Fleet::builder()
        .workflows(workflows())
        .planners(2)
        .executors(0)
        .env("FLOTILLA_PARK_PAUSE", "1s")
        .start()
        .await;
    let storm = json!({"faults": [{"status": 529, "model": SONNET}]});
    fleet.sim.control(storm).await;
    let soft = submit_events(&fleet, &events("soft", RUNS)).await;
    let firm = submit_events(&fleet, &events("firm", RUNS)).await;
    fleet.wait_ends(RUNS, 2 * PATIENCE).await;
    for run in &soft {
        let (model, fallbacks) = spoke(&fleet, run).await;
        assert_eq!(model, HAIKU, "{run}");
        let [why] = fallbacks.try_into().expect("one model was passed over");
        assert!(why.starts_with(SONNET), "{why}");
    }
    // Everybody asked at once and would ask again and again: together they ask far less.
    let before = fleet.sim.calls_to(SONNET).await;
    let asked = before.len();
    assert!(before.iter().all(|call| call.status == 529));
    assert!(
        asked < 4 * RUNS,
        "{asked} calls for {} runs in a storm",
        2 * RUNS
    );
    for run in &firm {
        let view = fleet.run(run).await.expect("it is known");
        assert!(view.run.ended_at.is_none(), "{run} is not given up");
    }

    fleet.sim.control(json!({"faults": null})).await;
    fleet.wait_ends(2 * RUNS, 3 * PATIENCE).await;
    for run in &firm {
        let (model, fallbacks) = spoke(&fleet, run).await;
        assert_eq!((model.as_str(), fallbacks.len()), (SONNET, 0), "{run}");
    }
    let of_firm =
        |call: &flotilla_tests::Call| call.user_id.as_ref().is_some_and(|run| firm.contains(run));
    assert!(!fleet.sim.calls_to(HAIKU).await.iter().any(of_firm));
    let paid = fleet
        .sim
        .ledger()
        .await
        .iter()
        .filter(|call| call.status == 200)
        .count();
    assert_eq!(paid, 2 * RUNS, "one call that counts for each run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_refused_parks_runs_until_a_person_has_mended_it() {
    let fleet = Fleet::builder()
        .workflows(workflows())
        .executors(0)
        .env("FLOTILLA_PARK_PAUSE", "10m")
        .start()
        .await;
    let refused = json!({"faults": [{"status": 401, "message": "invalid x-api-key"}]});
    fleet.sim.control(refused).await;
    let runs = submit_events(&fleet, &events("firm", 3)).await;
    for run in &runs {
        let view = eventually("it waits", PATIENCE, || async {
            let view = fleet.run(run).await;
            view.filter(|view| view.run.status == "parked")
                .ok_or("not yet")
        })
        .await;
        let why = view.run.reason.unwrap_or_default();
        assert!(
            why.contains("401") && why.contains("invalid x-api-key"),
            "{why}"
        );
    }
    fleet.sim.control(json!({"faults": null})).await;
    for run in &runs {
        let told = fleet
            .api()
            .post_json(&format!("/v1/runs/{run}/resume"), &json!({"by": "ann"}))
            .await;
        assert_eq!(told.status, 202, "{}", told.text);
        assert_eq!(fleet.wait_run_end(run).await.status, "completed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_run_looks_again_by_itself_also_when_everything_was_down_at_the_time() {
    let mut fleet = Fleet::builder()
        .workflows(workflows())
        .executors(0)
        .env("FLOTILLA_PARK_PAUSE", "2s")
        .start()
        .await;
    fleet
        .sim
        .control(json!({"faults": [{"status": 403}]}))
        .await;
    let [run] = submit_events(&fleet, &events("firm", 1))
        .await
        .try_into()
        .unwrap();
    eventually("it waits", PATIENCE, || async {
        let view = fleet.run(&run).await;
        view.filter(|view| view.run.status == "parked")
            .map(|_| ())
            .ok_or("not yet")
    })
    .await;
    fleet.planners.clear();
    fleet.nats.kill();
    fleet.sim.control(json!({"faults": null})).await;
    fleet.nats.restart().await;
    let planner = fleet.planner(flotilla_tests::RoleOptions::default()).await;
    assert_eq!(fleet.wait_run_end(&run).await.status, "completed");
    drop(planner);
}
