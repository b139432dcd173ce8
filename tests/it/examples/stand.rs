//! A fleet with all examples, and a folder for what they leave.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use flotilla_tests::{Entry, Fleet, PATIENCE, Workflows, eventually};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Stand {
    pub(crate) fleet: Fleet,
    pub(crate) folder: TempDir,
}

fn workflows() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("workflows")
}

impl Stand {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let builder = Fleet::builder()
            .workflows(Workflows::at(workflows()))
            .keep_bodies()
            .env("EXAMPLES_DIR", folder.path().to_str().unwrap());
        Self {
            fleet: builder.start().await,
            folder,
        }
    }

    /// Submits an example's own event under this id, with something else in its data; the run that it starts.
    pub(crate) async fn submit(
        &self,
        example: &str,
        id: &str,
        change: impl FnOnce(&mut Value),
    ) -> String {
        let file = workflows().join(example).join("event.json");
        let mut event: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        event["id"] = id.into();
        change(&mut event["data"]);
        let mut runs = self.fleet.submit(&event).await.runs;
        assert_eq!(runs.len(), 1, "{example} alone is started by its event");
        runs.remove(0)
    }

    /// How a run ended, and why.
    pub(crate) async fn end(&self, run: &str) -> (String, String) {
        let end = self.fleet.wait_run_end(run).await;
        (end.status, end.reason.unwrap_or_default())
    }

    /// A run's decisions, in order.
    pub(crate) async fn decisions(&self, run: &str) -> Vec<Entry> {
        let journal = self.fleet.journal(run).await;
        journal.of("decided", None).cloned().collect()
    }

    /// The steps that a run decided, in order.
    pub(crate) async fn decided(&self, run: &str) -> Vec<String> {
        let decisions = self.decisions(run).await;
        let steps = decisions.iter().map(|entry| entry.text("/step").to_owned());
        steps.collect()
    }

    /// Where a run's switches led, in order; empty where one led nowhere else.
    pub(crate) async fn ways(&self, run: &str) -> Vec<String> {
        let decisions = self.decisions(run).await;
        let branches = decisions.iter().filter(|entry| entry.name == "branch");
        let ways = branches.map(|entry| entry.text("/decision/to").to_owned());
        ways.collect()
    }

    /// The models that a run asked, in order.
    pub(crate) async fn models(&self, run: &str) -> Vec<String> {
        let calls = self.fleet.sim.ledger_of(run).await;
        calls.into_iter().filter_map(|call| call.model).collect()
    }

    /// What waits for a person at a step of a run.
    pub(crate) async fn waits(&self, run: &str, step: &str) -> Value {
        let path = format!("/v1/runs/{run}");
        eventually("the run waits for a person", PATIENCE, async || {
            let view: Value = self.fleet.api().get(&path).await.json();
            let mut approvals = view["approvals"].as_array().into_iter().flatten();
            let found = approvals.find(|one| one["step"] == step).cloned();
            found.ok_or(view)
        })
        .await
    }

    /// Says something to a run, as a person.
    pub(crate) async fn tell(&self, run: &str, signal: &str, body: Value) {
        let path = format!("/v1/runs/{run}/{signal}");
        let answer = self.fleet.api().post_json(&path, &body).await;
        assert_eq!(answer.status, 202, "{signal}: {}", answer.text);
    }

    /// What is in a file that an example has left.
    pub(crate) fn file(&self, name: &str) -> String {
        let file = self.folder.path().join(name);
        let left = || format!("no {name}; there are {:?}", self.left());
        fs::read_to_string(file).unwrap_or_else(|_| panic!("{}", left()))
    }

    /// All files and folders that examples have left.
    pub(crate) fn left(&self) -> BTreeSet<String> {
        let mut left = BTreeSet::new();
        collect(self.folder.path(), self.folder.path(), &mut left);
        left
    }
}

fn collect(root: &Path, folder: &Path, left: &mut BTreeSet<String>) {
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        let name = path.strip_prefix(root).unwrap();
        left.insert(name.to_str().unwrap().to_owned());
        if path.is_dir() {
            collect(root, &path, left);
        }
    }
}
