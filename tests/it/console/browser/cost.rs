//! What was spent, as people see it, against what Claude charged.

use std::collections::BTreeMap;

use flotilla_tests::{Fleet, PATIENCE, Workflows, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use super::in_chromium;
use crate::access::{Asker, first_token};

/// A tenant, its workflow, and the model that nobody else asks.
const SPENDERS: [(&str, &str, &str); 2] = [
    ("acme", "thrift", "haiku"),
    ("globex", "splendour", "sonnet"),
];
/// Runs of each: what they cost must be cents, or there would be none to compare.
const RUNS: usize = 24;

fn workflows() -> Workflows {
    let files = SPENDERS.map(|(_, workflow, model)| {
        let long = "Say what you think of it, at length. ".repeat(600);
        let text = format!(
            "workflow: {workflow}\nversion: 1\non: {{event: test.{workflow}}}\nmodel: {model}\nsteps:\n  - {{id: say, claude: {{prompt: '{long}'}}}}\n"
        );
        (format!("{workflow}.yaml"), text)
    });
    Workflows::files(&files)
}

/// Sends a tenant's events; gives their runs.
async fn spend(tenant: &Asker, workflow: &str) -> Vec<String> {
    let mut runs = Vec::new();
    for id in 0..RUNS {
        let event = json!({"type": format!("test.{workflow}"), "id": id.to_string(), "source": workflow, "data": {}});
        let (status, sent) = tenant.send(Method::POST, "/v1/events", &event).await;
        assert_eq!(status, 202, "{sent}");
        runs.push(sent["runs"][0].as_str().unwrap().to_owned());
    }
    runs
}

/// Waits until the ledger has the ends of so many runs.
async fn settled(admin: &Asker, runs: usize) {
    eventually("the ledger has all runs", PATIENCE, async || {
        let (_, used) = admin
            .send(Method::GET, "/v1/usage?by=day", &json!(null))
            .await;
        let ended = used["total"]["runs"]["completed"] == json!(runs);
        if ended && used["complete"] == true {
            Ok(())
        } else {
            Err(used)
        }
    })
    .await;
}

/// What Claude charged for these runs: the sum, how many calls, and the model that was asked.
async fn charged(fleet: &Fleet, runs: &[String]) -> (u64, usize, String) {
    let calls = fleet.sim.ledger().await;
    let is_theirs = |run: &Option<String>| run.as_ref().is_some_and(|run| runs.contains(run));
    let paid: Vec<_> = calls
        .iter()
        .filter(|call| call.status == 200 && is_theirs(&call.user_id))
        .collect();
    let sum = paid.iter().map(|call| call.usd_nano).sum();
    (sum, paid.len(), paid[0].model.clone().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_spent_is_shown_as_claude_charged_it_and_to_each_tenant_its_own() {
    let fleet = Fleet::builder()
        .workflows(workflows())
        .env("FLOTILLA_AUTH", "tokens")
        .start()
        .await;
    let first = first_token(&fleet);
    let admin = Asker::new(fleet.api().base(), &first);
    let mut tokens = BTreeMap::from([("all", first.clone())]);
    let mut runs = BTreeMap::new();
    for (tenant, workflow, _) in SPENDERS {
        let wanted = json!({"name": tenant, "tenant": tenant, "scopes": ["admin"]});
        let token = admin.make(&wanted).await;
        let asker = Asker::new(fleet.api().base(), &token);
        runs.insert(workflow, spend(&asker, workflow).await);
        tokens.insert(tenant, token);
    }
    settled(&admin, SPENDERS.len() * RUNS).await;
    let mut of: BTreeMap<&str, Value> = BTreeMap::new();
    for (tenant, workflow, _) in SPENDERS {
        let (usd_nano, calls, model) = charged(&fleet, &runs[workflow]).await;
        assert_eq!(calls, RUNS, "calls of {workflow}");
        assert!(usd_nano > 10_000_000, "{workflow} cost no cent: {usd_nano}");
        let line = json!({"usd_nano": usd_nano, "calls": calls, "model": model, "tenant": tenant});
        of.insert(workflow, line);
    }
    let bill = json!({"of": of, "tokens": tokens}).to_string();
    in_chromium(&fleet, "cost.mjs", &[&bill]).await;
}
