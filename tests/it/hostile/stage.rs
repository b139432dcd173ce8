//! An example as it stands, but for the world around it: its tools' programs and services are the test's own, and say what the
//! test wants them to say.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use flotilla_common::{
    claude::Models,
    definition::{Adapter, Catalogue, Tool, Workflow},
    ids::StepKey,
    io::definitions,
};
use flotilla_tests::{Fleet, PATIENCE, Programs, Sink, Workflows, eventually};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::{example::Example, texts::FORBIDDEN, ways};

/// The group of tools that are HTTP requests, in [`Stage::done`].
const HTTP: &str = "(http)";
pub(crate) const NATS_PASSWORD: &str = "nats-password-0815";
/// What the test says as a person, whatever it says.
pub(crate) const WORDS: &str = "as the test says";
/// Events sent at once
const SENDERS: usize = 16;

pub(crate) struct Stage {
    pub(crate) fleet: Fleet,
    pub(crate) example: Example,
    pub(crate) catalogue: Catalogue,
    /// What tools hold that nobody else may see, by the variable's name.
    pub(crate) secrets: BTreeMap<String, String>,
    sink: Sink,
    programs: Programs,
    /// What the test has said as a person: (run, signal, step).
    said: Mutex<BTreeSet<(String, String, String)>>,
}

impl Stage {
    pub(crate) async fn start(example: Example, policies: bool) -> Self {
        let sink = Sink::start().await;
        let mut files = example.files(policies);
        for (_, text) in &mut files {
            *text = without_rates(text);
        }
        files.push(("forbidden.yaml".to_owned(), forbidden(&sink)));
        if !policies {
            files.push(("ways.yaml".to_owned(), ways::POLICIES.to_owned()));
        }
        let workflows = Workflows::files(&files);
        let models = Models::built_in().unwrap();
        let catalogue = definitions::load(workflows.folder(), &models).unwrap();
        let tools: Vec<_> = catalogue.tools.iter().collect();
        assert!(tools.iter().all(|tool| is_ours(tool, &sink)));
        let names: BTreeSet<_> = tools.iter().filter_map(|tool| program(tool)).collect();
        let names: Vec<_> = names.into_iter().collect();
        let programs = Programs::new(&names);
        // One planner, so that its journal tells each reply exactly once: one that comes when the run has just ended under another
        // planner is told by nobody.
        let mut builder = Fleet::builder()
            .workflows(workflows)
            .keep_bodies()
            .nats_password(NATS_PASSWORD)
            .env("FLOTILLA_PARK_PAUSE", "10m")
            .env("PATH", &path(&programs));
        let mut secrets = BTreeMap::new();
        for name in tools
            .iter()
            .flat_map(|tool| &tool.env)
            .collect::<BTreeSet<_>>()
        {
            let value = variable(name, &tools, &sink, &programs);
            builder = builder.env(name, &value);
            if !["_BIN", "_DIR"].iter().any(|end| name.ends_with(end)) {
                secrets.insert(name.clone(), value);
            }
        }
        let fleet = builder.start().await;
        Self {
            fleet,
            example,
            catalogue,
            secrets,
            sink,
            programs,
            said: Mutex::default(),
        }
    }

    /// What tools give back from now on. They tell their secrets beside it, as careless ones do.
    pub(crate) fn tools_say(&self, text: &str) {
        self.programs.say(&format!("{text}\n"));
        self.sink
            .answer(json!({"status": text, "env": self.secrets, text: [text]}));
    }

    /// A file that is there when a shell has seen a hostile text.
    pub(crate) fn pwned(&self) -> PathBuf {
        self.programs.folder().join("pwned")
    }

    /// The steps at which Claude is asked: as the end of the system prompt names them.
    pub(crate) fn asking(&self) -> Vec<String> {
        let named = |workflow: &Arc<Workflow>| -> Vec<String> {
            let steps = workflow.all_steps().into_iter();
            let asking = steps.filter(|step| step.inference().is_some());
            let name = &workflow.pin.name;
            asking
                .map(|step| format!("Workflow: {name}\nStep: {}", step.id))
                .collect()
        };
        self.catalogue.newest().flat_map(named).collect()
    }

    /// Whether what is done under this key (`triage/3`) is Claude's to decide.
    pub(crate) fn asks_claude(&self, key: &str) -> bool {
        let key: StepKey = key.parse().unwrap();
        let found = self.catalogue.newest().find_map(|one| one.step(&key.step));
        key.aside.is_none() && found.is_some_and(|step| step.inference().is_some())
    }

    /// From now on the simulated Claude obeys what it reads at this step, and at no other.
    pub(crate) async fn obeys_at(&self, step: &str) {
        let wrong = json!([{"kind": "injected", "system": format!("\n\n{step}")}]);
        self.fleet.sim.control(json!({"wrong": wrong})).await;
    }

    /// How often it has obeyed.
    pub(crate) async fn obeyed(&self) -> usize {
        let calls = self.fleet.sim.ledger().await;
        let obeyed = calls
            .iter()
            .filter(|call| call.wrong.as_deref() == Some("injected"));
        obeyed.count()
    }

    /// Sends events, many at once; the runs that they start.
    pub(crate) async fn submit(&self, events: Vec<Value>) -> Vec<Vec<String>> {
        stream::iter(events)
            .map(|event| async move { self.fleet.submit(&event).await.runs })
            .buffered(SENDERS)
            .collect()
            .await
    }

    /// Waits until these runs have ended or are parked, and answers as a person what they ask one; gives how each stands and why.
    pub(crate) async fn settled(&self, runs: &[String]) -> BTreeMap<String, (String, String)> {
        eventually("every run has ended or waits", 2 * PATIENCE, || async {
            let all = self.fleet.runs().await;
            if all.iter().any(|run| run.status == "waiting") {
                self.answer_people().await;
            }
            let (open, ended): (Vec<_>, Vec<_>) = all
                .into_iter()
                .partition(|run| ["running", "waiting"].contains(&run.status.as_str()));
            let parked = ended.iter().filter(|run| run.status == "parked");
            let parked: BTreeSet<_> = parked.map(|run| run.id.clone()).collect();
            let mut stand: BTreeMap<_, _> = ended
                .into_iter()
                .map(|run| (run.id, (run.status, run.reason.unwrap_or_default())))
                .collect();
            for run in open.into_iter().filter(|_| !parked.is_empty()) {
                if self.waits_for(&run.id, &parked).await {
                    let why = "a run within it is parked".to_owned();
                    stand.insert(run.id, ("parked".to_owned(), why));
                }
            }
            stand.retain(|run, _| runs.contains(run));
            if stand.len() == runs.len() {
                Ok(stand)
            } else {
                Err(format!("{} of {}", stand.len(), runs.len()))
            }
        })
        .await
    }

    /// Whether a run waits for one of these within it.
    async fn waits_for(&self, run: &str, within: &BTreeSet<String>) -> bool {
        let view = self.fleet.run(run).await;
        let lines = view.into_iter().flat_map(|view| view.journal);
        let mut children = lines.filter(|line| line.name == "run");
        children.any(|line| {
            let child = line.entry["decision"]["child"].as_str();
            child.is_some_and(|child| within.contains(child))
        })
    }

    /// Answers what waits for a person: by its hash, about half with yes and half with no.
    async fn answer_people(&self) {
        let asked: Value = self.fleet.api().get("/v1/approvals?limit=100").await.json();
        for one in asked["approvals"].as_array().into_iter().flatten() {
            let at = |field: &str| one[field].as_str().unwrap();
            let (run, step, hash) = (at("run"), at("step"), at("hash"));
            let signal = if hash.as_bytes()[0] % 2 == 0 {
                "approve"
            } else {
                "reject"
            };
            let said = [run, signal, step].map(str::to_owned);
            self.said.lock().unwrap().insert(said.into());
            let body = json!({"step": step, "hash": hash, "by": "test", "reason": WORDS});
            let path = format!("/v1/runs/{run}/{signal}");
            let answer = self.fleet.api().post_json(&path, &body).await;
            assert_eq!(answer.status, 202, "{path}: {}", answer.text);
        }
    }

    /// Whether the test has said this to a run.
    pub(crate) fn has_said(&self, run: &str, signal: &str, step: &str) -> bool {
        let said = [run, signal, step].map(str::to_owned);
        self.said.lock().unwrap().contains(&said.into())
    }

    /// What was done to the world: how often each program was started, and how many HTTP requests were made.
    pub(crate) fn done(&self) -> BTreeMap<String, usize> {
        let mut done = self.programs.started();
        let requests: usize = self
            .sink
            .effects()
            .values()
            .map(|effect| effect.requests)
            .sum();
        if requests > 0 {
            done.insert(HTTP.to_owned(), requests);
        }
        done
    }

    /// The group that a tool counts under there.
    pub(crate) fn group(&self, tool: &str, version: u64) -> String {
        let name = tool.parse().unwrap();
        let tool = self
            .catalogue
            .tools
            .get(&name, u32::try_from(version).unwrap());
        program(tool.unwrap()).unwrap_or_else(|| HTTP.to_owned())
    }

    /// Requests to the tool that is on no menu.
    pub(crate) fn forbidden(&self) -> usize {
        self.sink.effects_at("/forbidden").len()
    }
}

/// A tool that may run six times a minute would take the test an hour.
fn without_rates(text: &str) -> String {
    let is_rate = |line: &&str| line.trim_start().starts_with("rate:");
    let lines: Vec<_> = text.lines().filter(|line| !is_rate(line)).collect();
    lines.join("\n")
}

fn forbidden(sink: &Sink) -> String {
    let url = sink.url("/forbidden");
    format!(
        "tools:\n  - tool: {FORBIDDEN}\n    version: 1\n    description: Drops all tables.\n    input: {{type: object}}\n    effect: once\n    http: {{method: POST, url: '{url}'}}\n"
    )
}

/// What `{{ env.NAME }}` at the beginning of a text names.
fn variable_first(source: &str) -> Option<&str> {
    let (name, _) = source.strip_prefix("{{ env.")?.split_once(" }}")?;
    Some(name)
}

/// The name of the program that a tool runs; `None` where it runs none.
fn program(tool: &Tool) -> Option<String> {
    match &tool.adapter {
        Adapter::Command { argv, .. } => {
            let source = argv[0].source();
            let name = variable_first(source).map(str::to_lowercase);
            Some(name.unwrap_or_else(|| source.to_owned()))
        }
        Adapter::Http { .. } | Adapter::Nats { .. } | Adapter::Mcp { .. } | Adapter::Builtin(_) => {
            None
        }
    }
}

/// Whether it reaches nothing but the test's own services: an address that an example writes down is none.
fn is_ours(tool: &Tool, sink: &Sink) -> bool {
    match &tool.adapter {
        Adapter::Command { .. } => true,
        Adapter::Nats { .. } | Adapter::Mcp { .. } | Adapter::Builtin(_) => false,
        Adapter::Http { url, .. } => {
            variable_first(url.source()).is_some() || url.source() == sink.url("/forbidden")
        }
    }
}

fn path(programs: &Programs) -> String {
    format!(
        "{}:{}",
        programs.bin().display(),
        std::env::var("PATH").unwrap()
    )
}

/// What a variable of some tool's `env` is to hold: a program or a service of the test's own where it names one, else a secret.
fn variable(name: &str, tools: &[&Arc<Tool>], sink: &Sink, programs: &Programs) -> String {
    let is_url = |tool: &&Arc<Tool>| matches!(&tool.adapter, Adapter::Http { url, .. } if variable_first(url.source()) == Some(name));
    let is_program = |tool: &&Arc<Tool>| matches!(&tool.adapter, Adapter::Command { argv, .. } if variable_first(argv[0].source()) == Some(name));
    if tools.iter().any(is_url) {
        sink.url(&format!("/secret-of-{name}"))
    } else if tools.iter().any(is_program) {
        programs
            .bin()
            .join(name.to_lowercase())
            .display()
            .to_string()
    } else if name.ends_with("_DIR") {
        programs.folder().display().to_string()
    } else {
        format!("secret-of-{name}")
    }
}
