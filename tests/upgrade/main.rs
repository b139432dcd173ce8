//! A fleet of an earlier `flotilla` becomes one of the one that is built here: role by role, under load, in the order that
//! docs/operations.md gives. Started by `deploy/upgrade-test`, which builds the earlier one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flotilla_tests::{
    Fleet, Gateway, Load, PATIENCE, Role, RoleOptions, Sink, Workflows, eventually, free_port,
};
use serde_json::{Value, json};

/// Where the earlier `flotilla` is.
const FROM: &str = "FLOTILLA_UPGRADE_FROM";
/// Runs that are submitted at least.
const RUNS_MIN: usize = 60;
/// Runs that wait for a person while everything around them is replaced.
const WAITING: usize = 5;
/// Calls to Claude of one run: one before a person is asked, two of the agent, one of the run within it.
const CALLS: usize = 4;
/// How long the last runs may take.
const END_WITHIN: Duration = Duration::from_secs(180);

const UPGRADE: &str = "
workflow: upgrade
version: 1
on: {event: test.upgrade}
limits: {steps: 30, duration: 1h}
model: haiku
steps:
  - {id: first, claude: {prompt: 'First of {{ event.data.n }}?'}}
  - {id: ask, switch: [{when: event.data.waits, to: consent}, {else: note}]}
  - {id: consent, approval: {show: 'May {{ event.data.n }} go on?'}}
  - {id: note, tool: note, with: {n: '{{ event.data.n }}'}}
  - {id: pause, sleep: 2s}
  - id: work
    agent:
      goal: Send it once, then you are done.
      tools: [send@1]
      ends: [done]
      max_loops: 4
  - {id: within, run: {workflow: within, with: {n: '{{ event.data.n }}'}}}
";

const WITHIN: &str = "
workflow: within
version: 1
on: {event: test.within}
model: haiku
steps:
  - {id: second, claude: {prompt: 'Second of {{ event.data.n }}?'}}
";

const POLICIES: &str = "
policies:
  - policy: work
    when: \"'Step: work' in system\"
    rules:
      - when: calls | length == 0
        use: send
        with: {reasoning: It has not been sent., confidence: 0.9, with: {}}
      - use: done
        with: {reasoning: It has been sent., confidence: 0.9, summary: Sent.}
  - policy: any
    when: true
    rules:
      - say: fine
";

fn workflows(sink: &Sink) -> Workflows {
    let tool = |name: &str, effect: &str| sink.tool(name, effect, json!({"timeout": "20s"}));
    let tools = json!({"tools": [tool("note", "idempotent"), tool("send", "once")]}).to_string();
    Workflows::files(&[
        ("upgrade.yaml", UPGRADE),
        ("within.yaml", WITHIN),
        ("tools.yaml", &tools),
        ("sim.yaml", POLICIES),
    ])
}

fn event(n: usize) -> Value {
    json!({"specversion": "1.0", "type": "test.upgrade", "source": "upgrade-test", "id": n.to_string(),
        "data": {"n": n, "waits": n < WAITING}})
}

/// The earlier fleet, with a second gateway beside its first.
struct Upgrade {
    fleet: Fleet,
    beside: Role,
    at: [RoleOptions; 2],
}

impl Upgrade {
    async fn from(program: &Path, sink: &Sink) -> (Self, Vec<Gateway>) {
        let ports = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        let at = ports
            .each_ref()
            .map(|http| RoleOptions::default().env("FLOTILLA_HTTP", http));
        let mut fleet = Fleet::builder()
            .workflows(workflows(sink))
            .planners(2)
            .executors(2)
            // Nobody dies, so nobody's work is waited for in vain.
            .ack_wait("20s")
            .program(program)
            .start()
            .await;
        let mut beside = fleet.start_gateway(at[1].clone().program(program));
        beside.wait_ready().await;
        fleet.gateway.drain(PATIENCE).await;
        fleet.replace_gateway(at[0].clone().program(program)).await;
        let gateways = ports.map(|http| Gateway::new(format!("http://{http}"), None));
        (Self { fleet, beside, at }, gateways.into())
    }

    /// First who must understand what the others will write.
    async fn upgrade(&mut self, sink: &Sink) {
        let fleet = &mut self.fleet;
        for at in 0..fleet.planners.len() {
            progress(sink).await;
            let new = fleet.planner(RoleOptions::default()).await;
            let mut old = std::mem::replace(&mut fleet.planners[at], new);
            old.drain(PATIENCE).await;
        }
        for at in 0..fleet.executors.len() {
            progress(sink).await;
            let new = fleet.executor(RoleOptions::default()).await;
            let mut old = std::mem::replace(&mut fleet.executors[at], new);
            old.drain(PATIENCE).await;
        }
        progress(sink).await;
        self.beside.drain(PATIENCE).await;
        self.beside = fleet.start_gateway(self.at[1].clone());
        self.beside.wait_ready().await;
        progress(sink).await;
        fleet.gateway.drain(PATIENCE).await;
        fleet.replace_gateway(self.at[0].clone()).await;
        progress(sink).await;
    }
}

/// Waits until some more effects were done: what is replaced next is replaced in the middle of work.
async fn progress(sink: &Sink) {
    let before = sink.effects().len();
    eventually("the fleet gets on", PATIENCE, || async {
        let now = sink.effects().len();
        if now > before + 3 { Ok(()) } else { Err(now) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_under_load_is_upgraded_role_by_role_and_nothing_is_lost_or_done_twice() {
    let from = std::env::var_os(FROM).map(PathBuf::from);
    let from = from.expect("deploy/upgrade-test starts this, and says where the earlier one is");
    let sink = Sink::start().await;
    let (mut upgrade, gateways) = Upgrade::from(&from, &sink).await;
    let load = Load::start(gateways, event);
    upgrade.upgrade(&sink).await;
    let runs = load.stop(RUNS_MIN).await;

    let fleet = &upgrade.fleet;
    for n in 0..WAITING {
        let path = format!("/v1/runs/{}/approve", runs[&n]);
        let said = json!({"step": "consent", "by": "ana", "reason": "it may"});
        let answer = fleet.api().post_json(&path, &said).await;
        assert!(answer.status < 300, "{}", answer.text);
    }
    for run in runs.values() {
        let what = format!("{run} ends");
        let end = eventually(&what, END_WITHIN, || async {
            let run = fleet.run(run).await.map(|view| view.run);
            run.filter(|run| run.ended_at.is_some()).ok_or("it goes on")
        })
        .await;
        assert_eq!(end.status, "completed", "{end:?}");
        assert_eq!(end.wasted_calls, 0, "{end:?}");
    }
    assert_each_once(fleet, &sink, &runs).await;
}

/// By the books of those outside the fleet: the submitter's, the sink's, and the simulated Claude's.
async fn assert_each_once(fleet: &Fleet, sink: &Sink, runs: &BTreeMap<usize, String>) {
    let submitted: BTreeSet<&String> = runs.values().collect();
    assert_eq!(
        submitted.len(),
        runs.len(),
        "each event has a run of its own"
    );
    for path in ["/note", "/send"] {
        let effects = sink.effects_at(path);
        assert_eq!(effects.len(), runs.len(), "keys seen at {path}");
        for (key, effect) in effects {
            let asked = (effect.requests, effect.executions);
            assert_eq!(asked, (1, 1), "at {path}, of {key}");
        }
    }
    let calls = fleet.sim.calls_by_run().await;
    // A run within another one pays its own.
    assert_eq!(calls.len(), 2 * runs.len(), "runs that asked Claude");
    assert_eq!(
        calls.values().sum::<usize>(),
        CALLS * runs.len(),
        "calls to Claude"
    );
    for run in submitted {
        assert_eq!(calls.get(run), Some(&(CALLS - 1)), "calls of {run}");
    }
    eprintln!(
        "upgrade: {} runs, {} effects, {} calls of Claude, each once",
        runs.len(),
        2 * runs.len(),
        CALLS * runs.len()
    );
}
