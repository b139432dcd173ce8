//! What came of it, by the books of those outside the fleet: the submitter's, the sink's, and the simulated Claude's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use flotilla_tests::{Call, Effect, Gateway, Sink, eventually};
use serde_json::Value;

use crate::stack::Stack;

/// How long the last runs may take: longer than a lost executor's leases.
const END_WITHIN: Duration = Duration::from_secs(240);
/// Where the simulated Claude serves.
const SIM_PORT: u16 = 8089;

pub(crate) struct Judge {
    gateway: Gateway,
    sim: Gateway,
    /// Every run that was promised, as the gateway tells of it
    runs: BTreeMap<String, Value>,
}

impl Judge {
    /// Waits until all of them have ended.
    pub(crate) async fn wait(stack: &Stack, promised: BTreeMap<usize, String>) -> Self {
        let gateway = Gateway::new(stack.gateway(), stack.token().await);
        let sim = format!("http://{}:{SIM_PORT}", stack.address("sim").await);
        let ids: BTreeSet<String> = promised.values().cloned().collect();
        assert_eq!(ids.len(), promised.len(), "each event has a run of its own");
        let mut runs = BTreeMap::new();
        for id in ids {
            let path = format!("/v1/runs/{id}");
            let run = eventually(&format!("{id} ends"), END_WITHIN, || async {
                let run = gateway.get(&path).await?["run"].take();
                match run["ended_at"].is_string() {
                    true => Ok(run),
                    false => Err(run.to_string()),
                }
            })
            .await;
            assert_eq!(run["status"], "completed", "{run}");
            runs.insert(id, run);
        }
        eprintln!("compose: {} runs have ended", runs.len());
        Self {
            gateway,
            sim: Gateway::new(sim, None),
            runs,
        }
    }

    /// Each effect is done once, or known to be unknown, and the runs' ledgers say what the sink's book says.
    pub(crate) async fn effects(&self, sink: &Sink) {
        let book = sink.effects();
        let (mut told, mut unknown) = (BTreeSet::new(), 0);
        for run in self.runs.keys() {
            let ledger = self.gateway.get(&format!("/v1/runs/{run}/effects")).await;
            let mut ledger = ledger.unwrap();
            let lines = ledger["effects"].take();
            let lines = lines.as_array().unwrap();
            assert_eq!(lines.len(), 2, "{ledger}");
            for line in lines {
                unknown += usize::from(!is_as_told(line, &book));
                told.insert(line["key"].as_str().unwrap().to_owned());
            }
        }
        let done: BTreeSet<String> = book.keys().cloned().collect();
        let foreign: Vec<&String> = done.difference(&told).collect();
        assert!(
            foreign.is_empty(),
            "effects that no run tells of: {foreign:?}"
        );
        eprintln!("compose: {} effects, {unknown} of them unknown", told.len());
        // Two executors died or were cut off, with no more in flight than their bulkheads let through.
        assert!(
            unknown * 10 <= self.runs.len(),
            "{unknown} of {}",
            self.runs.len()
        );
    }

    /// What Claude was paid for is what the runs tell, counted or wasted.
    pub(crate) async fn claude(&self) {
        let ledger = self.sim.get("/ledger").await.unwrap();
        let calls: Vec<Call> = serde_json::from_value(ledger).unwrap();
        let mut paid: BTreeMap<&str, u64> = BTreeMap::new();
        for call in calls.iter().filter(|call| call.status == 200) {
            *paid.entry(call.user_id.as_deref().unwrap()).or_default() += 1;
        }
        let (mut counted, mut wasted) = (0, 0);
        for (run, line) in &self.runs {
            let of = |field: &str| line[field].as_u64().unwrap();
            let told = of("model_calls") + of("wasted_calls");
            assert_eq!(of("model_calls"), 2, "{line}");
            assert_eq!(paid.remove(&**run), Some(told), "{line}");
            counted += of("model_calls");
            wasted += of("wasted_calls");
        }
        assert!(
            paid.is_empty(),
            "calls of runs that nobody submitted: {paid:?}"
        );
        eprintln!("compose: {counted} calls of Claude counted, {wasted} wasted");
    }
}

/// Whether an effect's outcome is known, after its line was held against the sink's book.
fn is_as_told(line: &Value, book: &BTreeMap<String, Effect>) -> bool {
    let effect = book.get(line["key"].as_str().unwrap());
    let done = effect.map_or(0, |effect| effect.executions);
    let asked = effect.map_or(0, |effect| effect.requests);
    match (line["tool"].as_str(), line["outcome"]["kind"].as_str()) {
        (Some("note"), Some("ok")) => assert_eq!(done, 1, "{line}"),
        (Some("send"), Some("ok")) => assert_eq!((done, asked), (1, 1), "{line}"),
        (Some("send"), Some("unknown")) => {
            assert!(asked <= 1, "{line}");
            return false;
        }
        _ => panic!("{line}"),
    }
    true
}
