//! What the tests of a running fleet stand on: a workflow `w` whose versions differ in their steps.

use std::{collections::BTreeMap, sync::Arc};

use flotilla_common::{
    claude::Models,
    definition::{Catalogue, Sources},
    ids::Name,
    io::{
        bus::Bus,
        definitions::{Activate, Apply, Definitions, Live, Outcome},
    },
};
use flotilla_tests::{Fleet, Journal, PATIENCE, Sink, Workflows, eventually, within};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Workflow `w`: its first version notes `a` and `b`, every other one `a`, `c` and `d`, each by the tool of its own version.
pub(super) fn files(sink: &Sink, version: u32) -> [(String, String); 2] {
    let steps = if version == 1 { "ab" } else { "acd" };
    let step =
        |id: char| format!("  - {{id: {id}, tool: note@{version}, with: {{what: '{id}'}}}}\n");
    let steps: String = steps.chars().map(step).collect();
    let workflow =
        format!("workflow: w\nversion: {version}\non: {{event: test.w}}\nsteps:\n{steps}");
    let tool = format!(
        "tools:
  - tool: note
    version: {version}
    description: Notes something.
    input: {{type: object, properties: {{what: {{type: string}}}}, required: [what], additionalProperties: false}}
    effect: idempotent
    http: {{method: POST, url: '{}', body: {{what: '{{{{ input.what }}}}'}}}}
",
        sink.url(&format!("/note{version}"))
    );
    [
        (format!("w{version}.yaml"), workflow),
        (format!("note{version}.yaml"), tool),
    ]
}

/// The steps of a version.
pub(super) fn steps(version: u64) -> &'static [&'static str] {
    if version == 1 {
        &["a", "b"]
    } else {
        &["a", "c", "d"]
    }
}

/// A fleet, and the bucket of its definitions.
pub(super) struct Stage {
    pub(super) fleet: Fleet,
    pub(super) sink: Sink,
    pub(super) definitions: Definitions,
    pub(super) live: Live,
    _stop: CancellationToken,
}

impl Stage {
    /// With version 1 of `w` in its folder.
    pub(super) async fn new(planners: usize, executors: usize) -> Self {
        Self::with(planners, executors, &[]).await
    }

    /// With more files.
    pub(super) async fn with(planners: usize, executors: usize, more: &[(&str, &str)]) -> Self {
        let sink = Sink::start().await;
        let mut all = files(&sink, 1).to_vec();
        let more = more.iter();
        all.extend(more.map(|(path, text)| ((*path).to_owned(), (*text).to_owned())));
        let fleet = Fleet::builder()
            .workflows(Workflows::files(&all))
            .planners(planners)
            .executors(executors)
            .start()
            .await;
        let bus = Bus::connect(&fleet.nats.url(), "test").await.unwrap();
        let definitions = Definitions::open(&bus).await.unwrap();
        let stop = CancellationToken::new();
        let models = Arc::new(Models::built_in().unwrap());
        let live = definitions.follow(models, stop.clone());
        Self {
            live: Box::pin(live).await.unwrap(),
            definitions,
            fleet,
            sink,
            _stop: stop,
        }
    }

    /// Applies these files as `flotilla apply` does.
    pub(super) async fn apply(&self, files: &[(String, String)], activate: Activate) {
        let sources = Sources(files.iter().cloned().collect());
        let models = Models::built_in().unwrap();
        let fleet = self.live.current();
        let catalogue = Catalogue::parse_beside(&sources, &models, &fleet);
        let catalogue = catalogue.unwrap_or_else(|problems| panic!("{problems}"));
        let bundles = catalogue.bundles(&sources, &models).unwrap();
        let apply = Apply {
            activate,
            ..Apply::default()
        };
        let applied = Box::pin(self.definitions.apply(&bundles, &apply)).await;
        for one in applied.unwrap() {
            assert_eq!(one.outcome, Outcome::Created, "{one:?}");
        }
    }

    /// Waits until every role of the fleet says this of a metric.
    pub(super) async fn until_all_say(&self, metric: &str, value: f64) {
        let roles = self.fleet.planners.iter().chain(&self.fleet.executors);
        for role in roles.chain([&self.fleet.gateway]) {
            let what = format!("{} knows that {metric} is {value}", role.name());
            eventually(&what, PATIENCE, || async {
                let found = role.metric(metric).await;
                if (found - value).abs() < 1e-9 {
                    Ok(())
                } else {
                    Err(found)
                }
            })
            .await;
        }
    }

    /// Waits until every role knows that so many tools and steps are switched off.
    pub(super) async fn until_off(&self, count: u32) {
        self.until_all_say("flotilla_switched_off", f64::from(count))
            .await;
    }

    /// Sends events of these ids over HTTP; gives their runs, by id.
    pub(super) async fn send(&self, ids: impl Iterator<Item = u32>) -> BTreeMap<u32, String> {
        let mut runs = BTreeMap::new();
        for id in ids {
            let submitted = self.fleet.submit(&event("test.w", &id.to_string())).await;
            let [run] = &submitted.runs[..] else {
                panic!("one run: {submitted:?}");
            };
            runs.insert(id, run.clone());
        }
        runs
    }
}

pub(super) fn event(kind: &str, id: &str) -> Value {
    json!({"specversion": "1.0", "type": kind, "source": "test", "id": id, "data": {}})
}

pub(super) fn w() -> Name {
    "w".parse().unwrap()
}

/// The version of `w` that each run is pinned to.
pub(super) fn pinned(journal: &Journal) -> BTreeMap<String, u64> {
    let started = journal.of("started", Some("w"));
    let version = |entry: &flotilla_tests::Entry| entry.at("/workflow/version").as_u64();
    started
        .map(|entry| (entry.run.clone(), version(entry).expect("a version")))
        .collect()
}

/// Every run has completed, with exactly the steps of the version that it is pinned to, each done once.
pub(super) fn assert_each_its_own(journal: &Journal) {
    let ends = journal.ends();
    let mut done: BTreeMap<&str, Vec<(&str, u64)>> = BTreeMap::new();
    for entry in journal.of("decided", Some("note")) {
        let version = entry.at("/decision/version").as_u64().expect("a version");
        let steps = done.entry(entry.run.as_str()).or_default();
        steps.push((entry.text("/step"), version));
    }
    for (run, version) in pinned(journal) {
        assert_eq!(ends[&run].0, "completed", "{run}: {:?}", ends[&run]);
        let expected: Vec<_> = steps(version).iter().map(|step| (*step, version)).collect();
        assert_eq!(done[run.as_str()], expected, "{run}");
    }
}

/// Waits for the view of the test itself.
pub(super) async fn until(live: &Live, what: &str, is: impl Fn(&Catalogue) -> bool) {
    let mut live = live.clone();
    let seen = async {
        while !is(&live.current()) {
            live.changed().await;
        }
    };
    within(what, PATIENCE, seen).await;
}
