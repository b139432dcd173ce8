//! A real Prometheus with the rules that are shipped, and what it is asked.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Stdio, time::Duration};

use flotilla_tests::{PATIENCE, Process, eventually, free_port, within};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, process::Command};

use super::shipped::root;

/// For one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Where `deploy/get-tools --prometheus` puts them.
fn program(name: &str) -> PathBuf {
    let program = root().join(".tools/prometheus").join(name);
    assert!(
        program.exists(),
        "there is no {}; `deploy/get-tools --prometheus` fetches it",
        program.display()
    );
    program
}

/// The program that checks rules and metrics.
pub(crate) fn promtool() -> PathBuf {
    program("promtool")
}

/// A role's name and where it tells its metrics: `127.0.0.1:PORT`.
pub(crate) type Targets = Vec<(String, String)>;

/// A running Prometheus that scrapes and evaluates every second.
pub(crate) struct Prometheus {
    _process: Process,
    _folder: TempDir,
    base: String,
    client: Client,
}

fn configuration(targets: &Targets) -> Value {
    let jobs = targets
        .iter()
        .map(|(job, at)| json!({"job_name": job, "static_configs": [{"targets": [at]}]}));
    let rules = root().join("deploy/prometheus/rules/*.yml");
    json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [rules],
        "scrape_configs": jobs.collect::<Vec<_>>(),
    })
}

impl Prometheus {
    /// Starts it, and waits until it answers.
    pub(crate) async fn start(targets: &Targets) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prometheus.yml");
        // JSON is YAML, too.
        fs::write(&file, configuration(targets).to_string()).unwrap();
        let at = format!("127.0.0.1:{}", free_port());
        let arguments = [
            format!("--config.file={}", file.display()),
            format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ),
            format!("--web.listen-address={at}"),
        ];
        let log = folder.path().join("prometheus.log");
        let process = Process::start("prometheus", &program("prometheus"), &arguments, &[], &log);
        let prometheus = Self {
            _process: process,
            _folder: folder,
            base: format!("http://{at}"),
            client: Client::new(),
        };
        eventually("Prometheus answers", PATIENCE, || prometheus.ask("1")).await;
        prometheus
    }

    /// The values of an expression now.
    async fn ask(&self, expression: &str) -> Result<Vec<f64>, String> {
        let encoded: String = expression
            .bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect();
        let url = format!("{}/api/v1/query?query={encoded}", self.base);
        let answer = self.client.get(url).timeout(ANSWER_WITHIN).send().await;
        let answer = answer.map_err(|e| e.to_string())?;
        let answer = answer.text().await.map_err(|e| e.to_string())?;
        let answer: Value = serde_json::from_str(&answer).map_err(|e| e.to_string())?;
        if answer["status"] != "success" {
            return Err(answer["error"].to_string());
        }
        let data = &answer["data"];
        if data["resultType"] == "scalar" {
            return Ok(number(&data["result"]).into_iter().collect());
        }
        let series = data["result"].as_array().into_iter().flatten();
        Ok(series.filter_map(|one| number(&one["value"])).collect())
    }

    /// Those of these expressions that are wrong, or have no data: no series, or none with a number.
    pub(crate) async fn missing(&self, expressions: &BTreeMap<String, String>) -> Vec<String> {
        let mut missing = Vec::new();
        for (at, expression) in expressions {
            match self.ask(expression).await {
                Ok(values) if values.iter().any(|value| value.is_finite()) => {}
                Ok(_) => missing.push(format!("{at}: {expression}")),
                Err(problem) => missing.push(format!("{at}: {expression}: {problem}")),
            }
        }
        missing
    }

    /// Waits until it has read the metrics of all of them.
    pub(crate) async fn until_scraped(&self, targets: &Targets) {
        eventually("every role is scraped", PATIENCE, || async {
            match self.ask("sum(up)").await?[..] {
                [up] if up as usize == targets.len() => Ok(()),
                ref seen => Err(format!("{seen:?} of {}", targets.len())),
            }
        })
        .await;
    }
}

/// The value in `[time, "value"]`.
fn number(pair: &Value) -> Option<f64> {
    pair[1].as_str()?.parse().ok()
}

/// What promtool says of a role's metrics must be nothing.
pub(crate) async fn promtool_check_metrics(role: &str, text: &str) {
    let mut child = Command::new(promtool())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(text.as_bytes()).await.unwrap();
    drop(input);
    let ran = within("promtool ends", PATIENCE, child.wait_with_output()).await;
    let ran = ran.unwrap();
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{role}: {}: {said}", ran.status);
}
