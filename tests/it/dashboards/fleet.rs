//! A fleet in which everything happens that dashboards show: runs that end well and badly, wait and park, a tool that is ill, a
//! Claude that refuses and errs, a dead letter.

use std::collections::BTreeMap;

use flotilla_tests::{Fleet, PATIENCE, Workflows};
use serde_json::{Value, json};

use super::prometheus::Targets;

/// One action by an agent, and its end; and an answer to whoever asks for one.
const POLICIES: &str = r#"
policies:
  - policy: agent
    when: "'Workflow: agent' in system"
    rules:
      - when: calls | length == 0
        use: fine
        with: {reasoning: It may help., confidence: 0.9, with: {}}
      - use: resolve
        with: {reasoning: It has helped., confidence: 0.9, summary: It is well.}
  - policy: others
    rules:
      - use: answer
        with: {reasoning: It is said., confidence: 0.9, with: {level: high}}
"#;

/// Of each kind of run, so many in each round.
const RUNS: usize = 4;
/// Kinds of runs that come to an end.
const ENDING: [&str; 5] = ["plain", "fatal", "ask", "agent", "later"];
/// Kinds of runs that do not.
const WAITING: [&str; 3] = ["shaky", "capped", "desk"];
/// Makes a prompt long enough to be cached.
const WORDS: usize = 3_000;

/// What must have happened before things happen again: an increase from nothing is none.
pub(crate) fn seen_once() -> BTreeMap<String, String> {
    let each = [
        r#"flotilla_runs_finished_total{outcome="failed"}"#,
        r#"flotilla_llm_calls_total{outcome="rate_limited"}"#,
        r#"flotilla_llm_calls_total{outcome="overloaded"}"#,
        r#"flotilla_llm_tokens_total{kind="cache_read"}"#,
        r#"flotilla_plan_adherence_total{outcome="repaired"}"#,
        r#"flotilla_runs_parked_total{by="ceiling"}"#,
        r#"flotilla_tool_breaker_transitions_total{outcome="open"}"#,
        r#"flotilla_runs_active{status="waiting"}"#,
        r#"flotilla_runs_active{status="parked"}"#,
        r#"flotilla_runs_stuck{by="ceiling"}"#,
        r#"flotilla_run_end_to_end_seconds_count{workflow="ask"}"#,
        r#"flotilla_limit_wait_seconds_count{model="tool:fine"}"#,
        "flotilla_llm_cost_wasted_nanousd_total",
        "flotilla_llm_tokens_wasted_total",
        "flotilla_llm_batch_wait_seconds_count",
        "flotilla_step_retries_total",
        "flotilla_dead_letters_total",
        "flotilla_dead_letters",
        "flotilla_budget_remaining_nanousd",
        "flotilla_llm_ratelimit_remaining",
    ];
    each.map(|series| (series.to_owned(), format!("{series} > 0")))
        .into()
}

/// Its definitions.
fn workflows() -> Workflows {
    let workflow = |name: &str, more: &str, steps: &str| {
        let text = format!(
            "workflow: {name}\nversion: 1\non: {{event: test.{name}}}\nmodel: sonnet\n{more}\nsteps:\n{steps}"
        );
        (format!("{name}.yaml"), text)
    };
    let tool = |name: &str, more: &str, script: &str| {
        format!(
            "  - {{tool: {name}, version: 1, description: d, effect: idempotent, input: {{type: object}}, {more}, command: [sh, -c, '{script}']}}\n"
        )
    };
    let ask = |prompt: &str, more: &str| {
        format!(
            "  - id: ask\n    claude: {{max_tokens: 200, prompt: '{prompt}', output: {{type: object, properties: {{level: {{type: string}}}}, required: [level], additionalProperties: false}}{more}}}\n"
        )
    };
    let ill = "concurrency: 2, retry: {times: 9, pause: 100ms, on: [exit]}, breaker: {failures: 3, cool: {min: 20m, max: 20m}}";
    let tools = [
        "tools:\n".to_owned(),
        tool("fine", "rate: {limit: 50/s, per: fleet}", "exit 0"),
        tool("fatal", "concurrency: 2", "exit 1"),
        tool("shaky", ill, "exit 75"),
    ];
    let long = format!("How bad is it? {}", "It is bad. ".repeat(WORDS / 3));
    Workflows::files(&[
        ("tools.yaml".to_owned(), tools.concat()),
        ("policies.yaml".to_owned(), POLICIES.to_owned()),
        workflow("plain", "", "  - {id: act, tool: fine}\n"),
        workflow("fatal", "", "  - {id: act, tool: fatal}\n"),
        workflow("shaky", "", "  - {id: act, tool: shaky}\n"),
        workflow("ask", "limits: {usd_per_day: 50}", &ask(&long, "")),
        workflow(
            "agent",
            "limits: {steps: 20}",
            &format!("  - id: work\n    agent: {{goal: '{long}', tools: [fine@1], ends: [resolve], max_loops: 4}}\n"),
        ),
        workflow("later", "", &ask("How bad is it?", ", batch: true")),
        workflow("capped", "limits: {usd: 0.000001}", &ask("How bad is it?", "")),
        workflow("desk", "", "  - id: check\n    approval: {show: 'Is it fine?'}\n"),
        (
            "tick.yaml".to_owned(),
            "workflow: tick\nversion: 1\non: {cron: '0 0 1 1 *'}\nsteps:\n  - {id: act, tool: fine}\n".to_owned(),
        ),
    ])
}

/// The fleet, and how many of its runs should have ended.
pub(crate) struct Troubled {
    fleet: Fleet,
    ended: usize,
}

impl Troubled {
    pub(crate) async fn start() -> Self {
        let fleet = Fleet::builder()
            .workflows(workflows())
            .env("FLOTILLA_BATCH_LINGER", "300ms")
            .env("FLOTILLA_BATCH_LOOK", "500ms")
            .start()
            .await;
        let limits =
            json!([{"requests": 5_000, "input_tokens": 50_000_000, "output_tokens": 5_000_000}]);
        fleet.sim.control(json!({"limits": limits})).await;
        // A limit that NATS can tell how much is used of.
        let jetstream = fleet.nats.jetstream().await;
        let runs = jetstream.get_stream("RUNS").await.unwrap();
        let limited = async_nats::jetstream::stream::Config {
            max_bytes: 1 << 30,
            ..runs.cached_info().config.clone()
        };
        jetstream.update_stream(limited).await.unwrap();
        Self { fleet, ended: 0 }
    }

    /// Where its roles tell their metrics.
    pub(crate) fn targets(&self) -> Targets {
        let roles = [
            ("gateway", &self.fleet.gateway),
            ("planner", &self.fleet.planners[0]),
            ("executor", &self.fleet.executors[0]),
        ];
        let at = roles.map(|(name, role)| {
            let base = role.api().base();
            (name.to_owned(), base.replace("http://", ""))
        });
        at.into()
    }

    /// A bit of everything; waits for the runs that end.
    pub(crate) async fn trouble(&mut self, round: &str) {
        let fleet = &self.fleet;
        let faults = json!([
            {"status": 429, "retry_after_ms": 50, "count": 2, "batch": false},
            {"status": 529, "count": 1, "batch": false},
        ]);
        let wrong = json!([{"kind": "bad_parameters", "count": 1, "system": "Workflow: ask"}]);
        fleet
            .sim
            .control(json!({"faults": faults, "wrong": wrong}))
            .await;
        for kind in ENDING.into_iter().chain(WAITING) {
            for number in 0..RUNS {
                let id = format!("{kind}-{round}-{number}");
                let event = json!({"id": id, "source": "tests", "type": format!("test.{kind}"), "data": {}});
                fleet.submit(&event).await;
            }
        }
        let nobodys = json!({"round": round});
        fleet.publish_event("test.nobodys", &nobodys, None).await;
        // Gateways look at the fleet every two seconds while somebody asks.
        let seen: Value = fleet.api().get("/v1/fleet").await.json();
        assert!(seen["workers"].is_array(), "{seen}");
        self.ended += RUNS * ENDING.len();
        self.fleet.wait_ends(self.ended, 2 * PATIENCE).await;
    }

    /// What each role exposes, by its name.
    pub(crate) async fn exposed(&self) -> BTreeMap<String, String> {
        let mut exposed = BTreeMap::new();
        let fleet = &self.fleet;
        for (name, role) in [
            ("gateway", &fleet.gateway),
            ("planner", &fleet.planners[0]),
            ("executor", &fleet.executors[0]),
        ] {
            let text = role.api().get("/metrics").await.text;
            exposed.insert(name.to_owned(), text);
        }
        exposed
    }
}
