//! The simulated Claude: how it is made to misbehave, and its ledger.

use anyhow::ensure;
use flotilla_common::ids::RunId;
use serde::Deserialize;
use serde_json::{Value, json};

/// What the ledger says of one call, as far as the scorecard needs it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Call {
    /// Whose key it came with, as a digest.
    pub(super) key: String,
    /// The run.
    pub(super) user_id: Option<String>,
    /// What was made to go wrong with it.
    pub(super) fault: Option<String>,
    pub(super) status: u16,
    pub(super) usage: Option<Usage>,
    pub(super) usd_nano: u64,
    pub(super) body_sha256: String,
    pub(super) started_ms: i64,
    pub(super) finished_ms: i64,
    pub(super) delivered: bool,
}

/// Tokens of one call.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Usage {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
}

impl Call {
    /// All its tokens.
    pub(super) fn tokens(&self) -> u64 {
        let usage = self.usage.unwrap_or_default();
        usage.input_tokens
            + usage.cache_creation_input_tokens
            + usage.cache_read_input_tokens
            + usage.output_tokens
    }

    /// Whether it was answered, whole and right, and paid.
    pub(super) fn is_paid_reply(&self) -> bool {
        self.status == 200 && self.delivered
    }
}

/// The server.
#[derive(Debug, Clone)]
pub(super) struct Claude {
    http: reqwest::Client,
    url: String,
}

impl Claude {
    pub(super) fn at(url: &str) -> Self {
        Self {
            http: reqwest::Client::new(),
            url: url.to_owned(),
        }
    }

    /// From now on this goes wrong with its calls; an empty list ends that, and lets go on what hangs.
    pub(super) async fn faults(&self, faults: Value) -> anyhow::Result<()> {
        self.change(json!({ "faults": faults })).await
    }

    async fn change(&self, change: Value) -> anyhow::Result<()> {
        let request = self.http.put(format!("{}/control", self.url)).json(&change);
        let answer = request.send().await?;
        ensure!(
            answer.status().is_success(),
            "the simulated Claude does not take {change}: {}",
            answer.text().await?
        );
        Ok(())
    }

    /// From now on it answers by these policies first: the text of a policy file; an empty one ends that.
    pub(super) async fn policies(&self, text: &str) -> anyhow::Result<()> {
        self.change(json!({ "policies": text })).await
    }

    /// How many calls it has begun and not ended.
    pub(super) async fn in_flight(&self) -> anyhow::Result<u64> {
        let answer = self.http.get(format!("{}/ledger/summary", self.url));
        let summary: Value = answer.send().await?.error_for_status()?.json().await?;
        Ok(summary["in_flight"].as_u64().unwrap_or_default())
    }

    /// Every call.
    pub(super) async fn calls(&self) -> anyhow::Result<Vec<Call>> {
        let answer = self.http.get(format!("{}/ledger", self.url));
        Ok(answer.send().await?.error_for_status()?.json().await?)
    }

    /// How many replies each of these runs has, as far as it knows; the fewest.
    pub(super) async fn fewest_replies(&self, runs: &[RunId]) -> anyhow::Result<usize> {
        let calls = self.calls().await?;
        let of = |run: &RunId| {
            let own = calls.iter().filter(|call| call.is_paid_reply());
            own.filter(|call| call.user_id.as_deref() == Some(run.as_str()))
                .count()
        };
        Ok(runs.iter().map(of).min().unwrap_or_default())
    }
}
