//! Money ceilings, end to end: they hold while many race at them, runs that reach one wait with a clear reason, and go on at the
//! same step when it is raised. What was spent is read from the simulated Claude's own ledger.

use std::collections::BTreeSet;

use flotilla_tests::{Fleet, PATIENCE, Summary, Workflows, eventually};
use serde_json::{Value, json};

use crate::flows::{ALWAYS_HIGH, submit_events};

/// Two answers of at most 200 tokens: a call may cost a quarter of a cent, and costs far less.
fn workflow(limits: &str) -> Workflows {
    let answer = "output: {type: object, properties: {level: {type: string}}, required: [level], additionalProperties: false}";
    let text = format!(
        "workflow: costly\nversion: 1\non: {{event: test.costly}}\nlimits: {limits}\nmodel: sonnet\nsteps:\n  - id: first\n    claude: {{max_tokens: 200, prompt: 'How bad is {{{{ event.data.text }}}}?', {answer}}}\n  - id: second\n    claude: {{max_tokens: 200, prompt: 'And how bad is it now?', {answer}}}\n"
    );
    Workflows::files(&[
        ("costly.yaml", text.as_str()),
        ("policies.yaml", ALWAYS_HIGH),
    ])
}

fn costly(id: &str, tenant: &str) -> Value {
    json!({"id": id, "source": "tests", "type": "test.costly", "tenant": tenant, "data": {"text": "a full disk"}})
}

async fn fleet(limits: &str) -> Fleet {
    Fleet::builder()
        .workflows(workflow(limits))
        .planners(2)
        .executors(0)
        .start()
        .await
}

async fn submit(fleet: &Fleet, runs: usize, tenant: &str) {
    let events: Vec<Value> = (0..runs)
        .map(|run| costly(&format!("{tenant}-{run}"), tenant))
        .collect();
    submit_events(fleet, &events).await;
}

/// Waits until no run is running; gives all of them.
async fn settled(fleet: &Fleet, runs: usize) -> Vec<Summary> {
    eventually("every run has ended or waits", PATIENCE, || async {
        let seen = fleet.runs().await;
        let running = seen.iter().filter(|run| run.status == "running").count();
        if seen.len() == runs && running == 0 {
            Ok(seen)
        } else {
            Err(format!("{running} of {} run", seen.len()))
        }
    })
    .await
}

async fn spent(fleet: &Fleet) -> u64 {
    let summary = fleet.sim.summary().await;
    summary["usd_nano"]
        .as_u64()
        .unwrap_or_else(|| panic!("no usd_nano in {summary}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_waits_at_its_ceiling_and_goes_on_at_the_same_step_when_it_is_raised() {
    let fleet = fleet("{usd: 0.01}").await;
    submit(&fleet, 1, "acme").await;
    let [parked] = settled(&fleet, 1).await.try_into().unwrap();
    assert_eq!(parked.status, "parked", "{parked:?}");
    let why = parked.reason.clone().unwrap();
    assert!(why.contains("`limits.usd` is $0.01000"), "{why}");
    let before = fleet.sim.ledger().await.len();
    // Told to look again without more money, it waits again and asks nobody.
    fleet
        .api()
        .post_json(&format!("/v1/runs/{}/resume", parked.id), &json!({}))
        .await;
    eventually("it waits again", PATIENCE, || async {
        let parks = fleet
            .journal(&parked.id)
            .await
            .of("decided", Some("park"))
            .count();
        if parks == 2 { Ok(()) } else { Err(parks) }
    })
    .await;
    assert_eq!(fleet.sim.ledger().await.len(), before);

    let raise = json!({"usd": 1.0, "by": "ann"});
    let raised = fleet
        .api()
        .post_json(&format!("/v1/runs/{}/raise", parked.id), &raise)
        .await;
    assert_eq!(raised.status, 202, "{}", raised.text);
    let ended = fleet.wait_run_end(&parked.id).await;
    assert_eq!(
        (ended.status.as_str(), ended.model_calls),
        ("completed", 2),
        "{ended:?}"
    );
    assert_eq!(fleet.sim.ledger().await.len(), 2, "each call was made once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_runs_racing_at_a_days_ceiling_never_pass_it_and_all_end_when_it_is_raised() {
    const RUNS: usize = 100;
    const CEILING: u64 = 50_000_000;
    let fleet = fleet("{usd_per_day: 0.05}").await;
    fleet.sim.latency_ms(50).await;
    submit(&fleet, RUNS, "acme").await;
    let runs = settled(&fleet, RUNS).await;
    let parked: BTreeSet<_> = runs
        .iter()
        .filter(|run| run.status == "parked")
        .map(|run| &run.id)
        .collect();
    assert!(
        !parked.is_empty() && parked.len() < RUNS,
        "{} of {RUNS} wait",
        parked.len()
    );
    let paid = spent(&fleet).await;
    assert!(paid <= CEILING, "{paid} of {CEILING}");
    assert!(paid > CEILING / 2, "only {paid} of {CEILING} were used");

    let set = fleet
        .api()
        .put("/v1/ceilings/workflow/costly", &json!({"usd": 100.0}))
        .await;
    assert!(set.status < 300, "{}", set.text);
    fleet.wait_ends(RUNS, 2 * PATIENCE).await;
    for run in fleet.runs().await {
        assert_eq!(
            (run.status.as_str(), run.model_calls),
            ("completed", 2),
            "{run:?}"
        );
    }
    assert_eq!(
        fleet.sim.ledger().await.len(),
        2 * RUNS,
        "no call was paid twice"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_ceiling_stops_that_tenant_alone() {
    const RUNS: usize = 20;
    let fleet = fleet("{steps: 5}").await;
    let set = fleet
        .api()
        .put("/v1/ceilings/tenant/acme", &json!({"usd": 0.01}))
        .await;
    assert!(set.status < 300, "{}", set.text);
    tokio::join!(submit(&fleet, RUNS, "acme"), submit(&fleet, RUNS, "other"));
    let runs = settled(&fleet, 2 * RUNS).await;
    let waiting: Vec<_> = runs.iter().filter(|run| run.status == "parked").collect();
    assert!(!waiting.is_empty());
    for run in &waiting {
        let why = run.reason.as_deref().unwrap_or_default();
        assert!(
            why.contains("the tenant's ceiling for today is $0.01000"),
            "{why}"
        );
    }
    let done = runs.iter().filter(|run| run.status == "completed").count();
    assert_eq!(done + waiting.len(), 2 * RUNS);
    assert!(done >= RUNS, "the other tenant's runs do not wait");
}
