//! A fleet in one loop: the real definitions, core, tools and simulated Claude, without NATS and Redis between them.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use flotilla_common::{
    claude::{Models, Reply, Request, Tier},
    definition::{Catalogue, Sources, Workflow},
    entry::{
        Address, Answered, Body, Decided, Decision, Entry, Kind, Outcome, Resulted, Started,
        ToolOutcome,
    },
    event::Event,
    ids::{RunId, Slot},
    money::Usd,
    run::{Ask, Draft, Next, Run, Settled},
};
use flotilla_executor::adapter::{Adapters, Call, Environment, HttpClient};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{ROLE, serving};
use crate::demo::probe;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../workflows");

/// One planner and one executor in one loop.
pub(super) struct Fleet {
    workflow: Arc<Workflow>,
    catalogue: Catalogue,
    adapters: Adapters,
    pub(super) client: reqwest::Client,
    claude: String,
    _stop: DropGuard,
}

pub(super) fn definitions() -> Catalogue {
    let mut sources = Sources::default();
    let mut folders = vec![Path::new(FOLDER).to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path
                    .strip_prefix(FOLDER)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                sources.0.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    Catalogue::parse(&sources, &Models::built_in().unwrap())
        .unwrap_or_else(|problems| panic!("{problems}"))
}

/// A program that takes `flotilla demo-service …`.
pub(super) fn flotilla(dir: &Path) -> String {
    let program = dir.join("flotilla");
    let this = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\nargs=$(printf ',\"%s\"' \"$@\")\nout=$({ROLE}=\"serve [${{args#,}}]\" '{}' --exact {} --nocapture)\ncode=$?\necho \"$out\" | grep -o '{{.*}}'\nexit $code\n",
        this.display(),
        serving()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program.to_str().unwrap().to_owned()
}

impl Fleet {
    /// `flotilla` is the program that restarts.
    pub(super) async fn new(base: &Path, http: SocketAddr, flotilla: String) -> Self {
        let client = probe::client().unwrap();
        let catalogue = definitions();
        let workflow = catalogue
            .newest()
            .find(|workflow| workflow.pin.name.as_str() == "incident-triage")
            .unwrap()
            .clone();
        let environment: Environment = [
            ("PATH".to_owned(), std::env::var("PATH").unwrap()),
            ("DEMO_DIR".to_owned(), base.to_str().unwrap().to_owned()),
            ("DEMO_URL".to_owned(), format!("http://{http}")),
            ("FLOTILLA_BIN".to_owned(), flotilla),
        ]
        .into_iter()
        .collect();
        let policies = flotilla_sim::Config {
            policies: vec![FOLDER.into()],
            quiet: true,
            ..flotilla_sim::Config::default()
        };
        let claude = flotilla_sim::bind(policies)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        let stop = CancellationToken::new();
        let address = claude.addr();
        tokio::spawn(claude.serve(stop.clone()));
        Self {
            workflow,
            catalogue,
            adapters: Adapters::new(environment, HttpClient::new().unwrap()),
            client,
            claude: format!("http://{address}/v1/messages"),
            _stop: stop.drop_guard(),
        }
    }

    /// One run, from the event's data to its end.
    pub(super) async fn run(&self, data: Value) -> Story {
        let event = Event::new(
            "alertmanager.alert".parse().unwrap(),
            "alertmanager".into(),
            "1".into(),
            data,
        );
        let id = RunId::derive(&self.workflow.pin.name, &event.source, &event.id);
        let mut story = Story {
            run: Run::new(id),
            journal: Vec::new(),
        };
        story.append(
            Kind::Started,
            "incident-triage",
            &Body::Started(Started {
                workflow: self.workflow.pin.clone(),
                event,
                parent: None,
                lessons: Vec::new(),
                forked: None,
                received: None,
            }),
        );
        for _ in 0..100 {
            match story.run.next(&self.workflow, Timestamp::now()) {
                Next::Ask(asks, _) => story.decide(self.ask(&asks[0]).await),
                Next::Decide(drafts) => story.decide(drafts),
                Next::Wait(_) => self.act(&mut story).await,
                Next::Ended(_) => return story,
            }
        }
        panic!("a run without end: {:?}", story.journal)
    }

    async fn ask(&self, ask: &Ask) -> Vec<Draft> {
        let mut replies = Vec::new();
        loop {
            match ask.settle(&replies) {
                Settled::Decided(drafts) => return drafts,
                Settled::Again(request) => {
                    let reply = self.post(&request).await;
                    replies.push(Answered {
                        usd_nano: ask.models[0].cost(&reply.usage, Tier::Standard),
                        reply,
                        fallbacks: Vec::new(),
                        request_id: None,
                        batch: None,
                        took_ms: 1,
                        heard: 0,
                        wasted: 0,
                        wasted_usd_nano: Usd::default(),
                    });
                }
            }
        }
    }

    async fn post(&self, request: &Request) -> Reply {
        let headers = [("x-api-key", "test"), ("anthropic-version", "2023-06-01")];
        let post = headers
            .iter()
            .fold(self.client.post(&self.claude), |post, (name, value)| {
                post.header(*name, *value)
            });
        let answer = post.json(request).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn act(&self, story: &mut Story) {
        let (decided, decision) = story.journal.last().unwrap();
        let (step, branch) = (decision.step.clone(), decision.branch);
        let Decision::Act {
            tool,
            version,
            with,
        } = &decision.decision
        else {
            panic!("it waits for nothing: {decision:?}")
        };
        let (slot, decided) = (
            Slot {
                step: step.clone(),
                branch,
            },
            *decided,
        );
        let tool = self.catalogue.tools.get(tool, *version).unwrap();
        let output = self
            .adapters
            .run(&Call::new(tool, with, &story.run.id, &slot))
            .await;
        let result = Resulted {
            step,
            branch,
            decided,
            tool: tool.name.clone(),
            outcome: output.outcome,
            took_ms: 1,
            attempts: 1,
            usd_nano: None,
            reconciled: None,
            worker: "test".into(),
        };
        println!("  <- {}", result_line(&result.outcome));
        story.append(
            Kind::Resulted,
            result.tool.as_str(),
            &Body::Resulted(result.clone()),
        );
    }
}

fn result_line(outcome: &ToolOutcome) -> String {
    serde_json::to_string(outcome)
        .unwrap()
        .chars()
        .take(400)
        .collect()
}

/// A run and what was decided in it, each with its sequence.
pub(super) struct Story {
    run: Run,
    pub(super) journal: Vec<(u64, Decided)>,
}

impl Story {
    fn append(&mut self, kind: Kind, name: &str, body: &Body) {
        let address = Address {
            run: self.run.id.clone(),
            kind,
            name: name.parse().unwrap(),
        };
        self.fold(address, &body.encode(Timestamp::now()).unwrap());
    }

    fn decide(&mut self, drafts: Vec<Draft>) {
        for link in self.run.link(drafts, Timestamp::now()).unwrap() {
            self.fold(link.address, &link.payload);
        }
    }

    fn fold(&mut self, address: Address, payload: &[u8]) {
        let entry = Entry::decode(self.run.version + 1, address, payload).unwrap();
        self.run.fold(&entry).unwrap();
        if let Body::Decided(decided) = entry.body {
            println!(
                "{} {:?} {} {}",
                decided.step,
                decided.confidence,
                json!(decided.decision),
                decided.reasoning.as_deref().unwrap_or("-")
            );
            self.journal.push((entry.seq, *decided));
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        self.run.end.as_ref().unwrap().outcome
    }

    /// The tools that were run, in order, and the ends.
    pub(super) fn path(&self) -> Vec<&str> {
        self.journal
            .iter()
            .filter_map(|(_, decided)| {
                if let Decision::Act { tool: name, .. } | Decision::Finish { end: name, .. } =
                    &decided.decision
                {
                    Some(name.as_str())
                } else {
                    None
                }
            })
            .collect()
    }

    pub(super) fn answer(&self, step: &str) -> &Value {
        let answers = self
            .journal
            .iter()
            .filter(|(_, decided)| decided.step.step.as_str() == step);
        let mut answers = answers.filter_map(|(_, decided)| {
            if let Decision::Answer { output } = &decided.decision {
                Some(output)
            } else {
                None
            }
        });
        answers.next().unwrap()
    }
}
