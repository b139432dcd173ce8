//! Twenty tools, three of which are in trouble: the others do not notice, and nothing is lost or repeated.

use std::collections::BTreeMap;

use flotilla_tests::{Answer, Fleet, PATIENCE, Sink, Workflows, eventually, run_flotilla};
use serde_json::{Value, json};

const WELL: usize = 17;
/// Runs of each tool.
const RUNS: usize = 15;
/// Calls of a tool in trouble at once.
const SLOTS: usize = 4;
const FAILURES: usize = 3;

fn well() -> Vec<String> {
    (0..WELL)
        .map(|number| format!("well-{number:02}"))
        .collect()
}

/// A workflow of one step for every tool. `failing` fails until there is a file; `hanging` does not answer while the sink holds it,
/// and its breaker stays open for longer than this test.
fn files(sink: &Sink, flag: &str) -> Vec<(String, String)> {
    let post = |name: &str, more: &str| {
        let url = sink.url(&format!("/{name}"));
        format!(
            "  - {{tool: {name}, version: 1, description: d, effect: idempotent, input: {{type: object}}, {more}, http: {{method: POST, url: '{url}'}}}}\n"
        )
    };
    let mut tools = "tools:\n".to_owned();
    for name in well() {
        tools += &post(&name, "concurrency: 2");
    }
    let breaker = format!("concurrency: {SLOTS}, breaker: {{failures: {FAILURES}, cool: {{min: ");
    tools += &post(
        "hanging",
        &format!("timeout: 500ms, {breaker}20m, max: 20m}}}}"),
    );
    tools += &post("limited", "rate: {limit: 10/s, per: fleet}");
    tools += &format!(
        "  - {{tool: failing, version: 1, description: d, effect: idempotent, input: {{type: object}}, {breaker}2s, max: 2s}}}}, command: [sh, -c, 'test -e {flag} || exit 75']}}\n"
    );
    let mut files = vec![("tools.yaml".to_owned(), tools)];
    for name in well()
        .iter()
        .map(String::as_str)
        .chain(["hanging", "limited", "failing"])
    {
        let workflow = format!(
            "workflow: {name}\nversion: 1\non: {{event: test.{name}}}\nsteps:\n  - {{id: act, tool: {name}}}\n"
        );
        files.push((format!("{name}.yaml"), workflow));
    }
    files
}

struct Stage {
    fleet: Fleet,
    sink: Sink,
    folder: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let (sink, folder) = (Sink::start().await, tempfile::tempdir().unwrap());
        let flag = folder.path().join("well").display().to_string();
        let fleet = Fleet::builder()
            .workflows(Workflows::files(&files(&sink, &flag)))
            .start()
            .await;
        Self {
            fleet,
            sink,
            folder,
        }
    }

    async fn send(&self, tool: &str) {
        for id in 0..RUNS {
            let event = json!({"specversion": "1.0", "type": format!("test.{tool}"), "source": "test", "id": id.to_string(), "data": {}});
            let kind = format!("test.{tool}");
            self.fleet.publish_event(&kind, &event, None).await;
        }
    }

    /// What the gateway says of a tool.
    async fn tool(&self, tool: &str) -> Value {
        let answer: Answer = self.fleet.api().get(&format!("/v1/tools/{tool}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    async fn until(&self, tool: &str, state: &str) -> Value {
        eventually(&format!("{tool} is {state}"), PATIENCE, || async {
            let told = self.tool(tool).await;
            if told["breaker"] == state {
                Ok(told)
            } else {
                Err(told)
            }
        })
        .await
    }

    /// Deliveries of a tool's messages, and those in hand that are delivered again.
    async fn delivered(&self, tool: &str) -> (usize, usize) {
        let stream = self.fleet.nats.jetstream().await.get_stream("RUNS").await;
        let info = stream.unwrap().consumer_info(format!("tool-{tool}")).await;
        let info = info.unwrap();
        let deliveries = usize::try_from(info.delivered.consumer_sequence).unwrap();
        (deliveries, info.num_redelivered)
    }

    /// How many runs of each workflow ended so.
    async fn ended(&self, outcome: &str) -> BTreeMap<String, usize> {
        let journal = self.fleet.journal_of_all().await;
        let ends = journal.ends();
        let mut ended = BTreeMap::new();
        for started in journal.of("started", None) {
            if ends
                .get(&started.run)
                .is_some_and(|(how, _)| how == outcome)
            {
                *ended.entry(started.name.clone()).or_default() += 1;
            }
        }
        ended
    }

    async fn until_completed(&self, tools: &[String], count: usize) {
        eventually("their runs complete", PATIENCE, || async {
            let completed = self.ended("completed").await;
            let of = |tool: &String| completed.get(tool).copied().unwrap_or_default();
            if tools.iter().all(|tool| of(tool) == count) {
                Ok(())
            } else {
                Err(completed)
            }
        })
        .await;
    }

    /// Changes of a tool's breaker to a state, by the executor's own metrics.
    async fn changes(&self, tool: &str, to: &str) -> usize {
        let text = self.fleet.executors[0].api().get("/metrics").await.text;
        let line = |line: &&str| {
            line.starts_with("flotilla_tool_breaker_transitions_total{")
                && line.contains(&format!("tool=\"{tool}\""))
                && line.contains(&format!("outcome=\"{to}\""))
        };
        let found = text
            .lines()
            .find(line)
            .and_then(|line| line.rsplit(' ').next());
        found.map_or(0, |count| count.parse().unwrap())
    }

    async fn told(&self, args: &[&str]) -> String {
        let env = [("FLOTILLA_URL", self.fleet.api().base()), ("USER", "ann")];
        let told = run_flotilla(args, &env, PATIENCE).await;
        assert!(told.status.success(), "{args:?}: {}", told.output);
        told.output
    }
}

fn since(told: &Value) -> String {
    told["executors"][0]["versions"][0]["since"].to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_tools_in_trouble_are_nobody_elses_trouble_and_nothing_of_theirs_is_redelivered() {
    let stage = Stage::new().await;
    stage.sink.hold("/hanging");
    for tool in ["hanging", "failing", "limited"] {
        stage.send(tool).await;
    }
    let open = stage.until("hanging", "open").await;
    let before = stage.delivered("hanging").await;
    assert!(before.0 <= FAILURES + SLOTS && before.1 == 0, "{before:?}");

    let all = well();
    for tool in &all {
        stage.send(tool).await;
    }
    stage.until_completed(&all, RUNS).await;
    stage.until_completed(&["limited".to_owned()], RUNS).await;
    for tool in &all {
        assert_eq!(stage.sink.effects_at(&format!("/{tool}")).len(), RUNS);
    }
    // All this time its breaker was open, and nobody was handed anything.
    let still = stage.until("hanging", "open").await;
    assert_eq!(since(&still), since(&open));
    assert_eq!(stage.delivered("hanging").await, before);
    let asked = stage.sink.effects_at("/hanging").len();
    assert!((FAILURES..=FAILURES + SLOTS).contains(&asked), "{asked}");
    assert_eq!(still["waiting"].as_u64().unwrap() as usize + before.0, RUNS);

    // The other one has been probed, one action at a time, each of which has its own result.
    let failed = stage.ended("failed").await;
    assert!(failed["failing"] >= FAILURES, "{failed:?}");
    assert_eq!(
        failed
            .keys()
            .filter(|tool| tool.starts_with("well"))
            .count(),
        0
    );

    // A person lets the one go that would be left alone for long.
    stage.sink.release();
    let told = stage
        .told(&["tools", "close", "hanging", "--reason", "it is mended"])
        .await;
    assert!(told.contains("whatever comes of it"), "{told}");
    eventually("all its runs have ended", PATIENCE, || async {
        let (completed, failed) = (stage.ended("completed").await, stage.ended("failed").await);
        let of = |ended: &BTreeMap<String, usize>| ended.get("hanging").copied().unwrap_or(0);
        match of(&completed) + of(&failed) {
            RUNS => Ok(()),
            few => Err(few),
        }
    })
    .await;
    let shown = stage.told(&["tools", "hanging"]).await;
    assert!(
        shown.contains("whatever comes of it by ann") && shown.contains("it is mended"),
        "{shown}"
    );
    let listed = stage.told(&["tools"]).await;
    assert_eq!(listed.lines().count(), WELL + 3 + 1, "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_that_is_well_again_is_found_so_after_one_cool_down() {
    let stage = Stage::new().await;
    stage.send("failing").await;
    stage.until("failing", "open").await;
    // It is mended when it has just been found ill again, so that no probe is under way.
    let ill = eventually("a probe has failed", PATIENCE, || async {
        match stage.changes("failing", "open").await {
            few @ 0..2 => Err(few),
            ill => Ok(ill),
        }
    })
    .await;
    std::fs::write(stage.folder.path().join("well"), "").unwrap();
    stage.until("failing", "closed").await;
    eventually("all its runs have ended", PATIENCE, || async {
        let (completed, failed) = (stage.ended("completed").await, stage.ended("failed").await);
        let of = |ended: &BTreeMap<String, usize>| ended.get("failing").copied().unwrap_or(0);
        match (of(&completed) + of(&failed), of(&failed)) {
            (RUNS, failed) => Ok(failed),
            seen => Err(seen),
        }
    })
    .await;
    // One cool-down, one half-open stretch of probes that went well, and it was closed.
    assert_eq!(stage.changes("failing", "open").await, ill);
    assert_eq!(stage.changes("failing", "half_open").await, ill);
    assert_eq!(stage.changes("failing", "closed").await, 1);
    let failed = stage.ended("failed").await["failing"];
    assert!(failed <= FAILURES + SLOTS + ill, "{failed}");
    // What had been pulled when it opened came once more each, and nothing else did.
    let (deliveries, redelivered) = stage.delivered("failing").await;
    assert!(
        deliveries <= RUNS + SLOTS && redelivered == 0,
        "{deliveries} {redelivered}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_decided_about_a_tool_is_refused() {
    let stage = Stage::new().await;
    let put = async |tool: &str, body: &Value| {
        let path = format!("/v1/tools/{tool}/breaker");
        stage.fleet.api().put(&path, body).await.status
    };
    assert_eq!(put("limited", &json!({"state": "ajar"})).await, 400);
    assert_eq!(put("limited", &json!({})).await, 400);
    assert_eq!(
        put("limited", &json!({"state": "open", "why": "x"})).await,
        400
    );
    assert_eq!(put("nothing", &json!({"state": "open"})).await, 404);
    assert_eq!(put("a b", &json!({"state": "open"})).await, 400);
    assert_eq!(stage.fleet.api().get("/v1/tools/nothing").await.status, 404);
    assert_eq!(put("limited", &json!({"state": "open"})).await, 200);
    assert_eq!(stage.tool("limited").await["forced"]["state"], "open");
    assert_eq!(put("limited", &json!({"state": "auto"})).await, 200);
    assert!(stage.tool("limited").await["forced"].is_null());
}
