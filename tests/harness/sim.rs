//! The simulated Claude, as a process, and what it says it was asked.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Api;
use crate::binary::flotilla;
use crate::ports::free_port;
use crate::process::Process;
use crate::wait::{PATIENCE, eventually};

/// A running `flotilla sim`.
#[derive(Debug)]
pub struct Sim {
    process: Process,
    port: u16,
    api: Api,
}

/// One call that it answered, or would have answered to a client that was gone by then.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Call {
    /// Its place in the ledger, from 1
    pub n: u64,
    /// `metadata.user_id`: the run
    pub user_id: Option<String>,
    /// The model asked for
    pub model: Option<String>,
    /// The policy that answered
    pub policy: Option<String>,
    /// Assistant turns in the conversation before this answer
    pub turns: u64,
    /// HTTP status of the answer
    pub status: u16,
    /// Tools that the answer uses
    pub tools_used: Vec<String>,
    /// In which way the answer was wrong on purpose
    pub wrong: Option<String>,
    /// What it cost, in billionths of a dollar
    pub usd_nano: u64,
    /// Whether its client was still there
    pub delivered: bool,
    /// Whether it came in a batch, at half the price
    pub batch: bool,
    /// The request as it came in; null unless bodies are kept ([`crate::Builder::keep_bodies`]) and asked for
    pub body: Value,
}

impl Sim {
    /// Starts it with the policies in a folder, perhaps keeping what it is asked, and waits until it answers. It answers at once, unless told otherwise.
    ///
    /// # Panics
    /// When it does not start, with its log.
    pub async fn start(policies: &Path, folder: &Path, keep_bodies: bool) -> Self {
        let port = free_port();
        let http = format!("127.0.0.1:{port}");
        let policies = policies
            .to_str()
            .expect("a scratch folder has a plain name");
        let ledger = folder.join("ledger.jsonl");
        let ledger = ledger.to_str().expect("a scratch folder has a plain name");
        let mut args = vec![
            "sim",
            "--http",
            &http,
            "--policies",
            policies,
            "--latency",
            "0s",
            "--ledger",
            ledger,
        ];
        if keep_bodies {
            args.push("--keep-bodies");
        }
        let env = [
            (
                "FLOTILLA_DATA".to_owned(),
                folder.join("sim-data").display().to_string(),
            ),
            ("RUST_LOG".to_owned(), "info".to_owned()),
            ("NO_COLOR".to_owned(), "1".to_owned()),
        ];
        let mut sim = Self {
            process: Process::start("sim", flotilla(), &args, &env, &folder.join("sim.log")),
            port,
            api: Api::new(&format!("http://{http}")),
        };
        sim.wait_ready().await;
        sim
    }

    async fn wait_ready(&mut self) {
        let (process, api) = (&mut self.process, self.api.clone());
        eventually("the simulated Claude answers", PATIENCE, || {
            if let Some(status) = process.exited() {
                panic!(
                    "sim ended ({status}) before it answered:\n{}",
                    process.log_tail()
                );
            }
            let api = api.clone();
            async move {
                api.try_get("/ledger/summary")
                    .await
                    .map_err(|error| error.to_string())
            }
        })
        .await;
    }

    /// What `ANTHROPIC_BASE_URL` is to be.
    pub fn url(&self) -> String {
        self.api.base().to_owned()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Every call that it has answered, in order.
    ///
    /// # Panics
    /// When it does not say.
    pub async fn ledger(&self) -> Vec<Call> {
        self.read("/ledger").await
    }

    /// The calls after this place in the ledger, with their bodies: of the last 1,000 calls.
    ///
    /// # Panics
    /// When it does not say.
    pub async fn requests(&self, since: u64) -> Vec<Call> {
        self.read(&format!("/ledger?since={since}&bodies=1")).await
    }

    async fn read(&self, path: &str) -> Vec<Call> {
        let answer = self.api.get(path).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    /// The same, asked of one model.
    pub async fn calls_to(&self, model: &str) -> Vec<Call> {
        let mut calls = self.ledger().await;
        calls.retain(|call| call.model.as_deref() == Some(model));
        calls
    }

    /// The ledger's totals.
    ///
    /// # Panics
    /// When it does not say.
    pub async fn summary(&self) -> Value {
        self.api.get("/ledger/summary").await.json()
    }

    /// The same, of one run.
    pub async fn ledger_of(&self, run: &str) -> Vec<Call> {
        let mut calls = self.ledger().await;
        calls.retain(|call| call.user_id.as_deref() == Some(run));
        calls
    }

    /// What one run asked, in order: the requests' bodies, as they came in. For fleets that keep them.
    ///
    /// # Panics
    /// When it does not say.
    pub async fn bodies_of(&self, run: &str) -> Vec<Value> {
        let answer = self.api.get("/ledger?bodies=1").await;
        let mut calls: Vec<Value> = answer.json();
        calls.retain(|call| call["user_id"] == run);
        let bodies = calls.into_iter().map(|mut call| call["body"].take());
        bodies.collect()
    }

    /// How many calls it has answered, by run.
    pub async fn calls_by_run(&self) -> BTreeMap<String, usize> {
        let mut calls = BTreeMap::new();
        for call in self.ledger().await {
            *calls.entry(call.user_id.unwrap_or_default()).or_default() += 1;
        }
        calls
    }

    /// The ids of all batches, the newest first.
    ///
    /// # Panics
    /// When it does not say.
    pub async fn batches(&self) -> Vec<String> {
        let page: Value = self
            .api
            .get_keyed("/v1/messages/batches?limit=1000")
            .await
            .json();
        let ids = page["data"].as_array().into_iter().flatten();
        ids.filter_map(|batch| batch["id"].as_str().map(str::to_owned))
            .collect()
    }

    /// Changes how it answers: `{"latency_ms": 50}`, `{"faults": […]}`, `{"limits": […]}`, as its crate's documentation
    /// lists them.
    ///
    /// # Panics
    /// When it does not take that.
    pub async fn control(&self, change: Value) {
        let answer = self.api.put("/control", &change).await;
        assert!(
            answer.status < 300,
            "for {change}: {} {}",
            answer.status,
            answer.text
        );
    }

    /// From now on every answer takes this long.
    pub async fn latency_ms(&self, latency_ms: u64) {
        self.control(json!({"latency_ms": latency_ms})).await;
    }
}
