//! A fleet for tests of people in the loop: its definitions, and what its tests do again and again.

use flotilla_tests::{Answer, Entry, Fleet, PATIENCE, Sink, Workflows, eventually};
use serde_json::{Value, json};

/// An agent whose only tool a person must allow.
const DESK: &str = "
workflow: desk
version: 1
on: {event: test.desk}
model: haiku
lessons: 3
steps:
  - id: work
    agent:
      goal: Repair what is broken.
      tools: [repair@1]
      ends: [resolve, escalate]
      max_loops: 4
";

/// A question that nobody answers in time.
const LATE: &str = "
workflow: late-THEN
version: 1
on: {event: test.late-THEN}
steps:
  - id: check
    approval: {show: 'Is {{ event.data.what }} fine?', timeout: 1s, on_timeout: THEN}
  - id: after
    end: {outcome: completed, reason: it went on}
";

/// A tool that nobody allows in time.
const LATE_TOOL: &str = "
workflow: late-tool
version: 1
on: {event: test.late-tool}
approvals: {timeout: 1s, on_timeout: reject}
steps:
  - {id: fix, tool: repair@1, with: {part: disk}}
";

/// A repair; what becomes of it is what the agent ends with.
const POLICIES: &str = "
policies:
  - policy: work
    rules:
      - when: calls | length == 0
        use: repair
        with: {reasoning: It is the disk., confidence: 0.9, with: {part: disk}}
      - when: last.error
        use: escalate
        with: {reasoning: It is not to be., confidence: 0.9, summary: 'told: {{ last.result }}'}
      - use: resolve
        with: {reasoning: It is repaired., confidence: 0.9, summary: The disk is repaired.}
";

/// A fleet whose repairs wait for people.
pub(crate) struct Desk {
    pub(crate) fleet: Fleet,
    sink: Sink,
}

impl Desk {
    pub(crate) async fn start() -> Self {
        let sink = Sink::start().await;
        let tools = format!(
            "
tools:
  - tool: repair
    version: 1
    description: Repairs a part.
    risk: high
    input: {{type: object, properties: {{part: {{type: string, enum: [disk, fan]}}}}, required: [part], additionalProperties: false}}
    effect: idempotent
    http: {{method: POST, url: '{}', body: {{part: '{{{{ input.part }}}}'}}}}
",
            sink.url("/repair")
        );
        let mut files = vec![
            ("desk.yaml".to_owned(), DESK.to_owned()),
            ("late-tool.yaml".to_owned(), LATE_TOOL.to_owned()),
            ("tools.yaml".to_owned(), tools),
            ("policies.yaml".to_owned(), POLICIES.to_owned()),
        ];
        for then in ["approve", "reject", "escalate", "fail"] {
            files.push((format!("late-{then}.yaml"), LATE.replace("THEN", then)));
        }
        let builder = Fleet::builder().workflows(Workflows::files(&files));
        let fleet = builder.keep_bodies().start().await;
        Self { fleet, sink }
    }

    pub(crate) async fn submit(&self, workflow: &str, id: &str) -> String {
        let kind = format!("test.{workflow}");
        let event = json!({"id": id, "source": "tests", "type": kind, "data": {"what": "it"}});
        self.fleet.submit(&event).await.runs.remove(0)
    }

    /// A run of the desk whose repair waits for a person.
    pub(crate) async fn waiting(&self, id: &str) -> String {
        let run = self.submit("desk", id).await;
        self.waits(&run, "work/1").await;
        run
    }

    /// What waits at a step of a run.
    pub(crate) async fn waits(&self, run: &str, step: &str) -> Value {
        eventually("the run waits for a person", PATIENCE, async || {
            let view: Value = self.view(run).await;
            let mut approvals = view["approvals"].as_array().into_iter().flatten();
            let found = approvals.find(|one| one["step"] == step).cloned();
            found.ok_or(view)
        })
        .await
    }

    pub(crate) async fn view(&self, run: &str) -> Value {
        self.fleet
            .api()
            .get(&format!("/v1/runs/{run}"))
            .await
            .json()
    }

    pub(crate) async fn tell(&self, run: &str, signal: &str, body: Value) -> Answer {
        let path = format!("/v1/runs/{run}/{signal}");
        self.fleet.api().post_json(&path, &body).await
    }

    pub(crate) async fn accepted(&self, run: &str, signal: &str, body: Value) -> Value {
        let answer = self.tell(run, signal, body).await;
        assert_eq!(answer.status, 202, "{signal}: {}", answer.text);
        answer.json()
    }

    pub(crate) async fn refused(
        &self,
        run: &str,
        signal: &str,
        body: Value,
        status: u16,
    ) -> String {
        let answer = self.tell(run, signal, body).await;
        assert_eq!(answer.status, status, "{signal}: {}", answer.text);
        answer.json::<Value>()["detail"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// The status and the reason of a run's end.
    pub(crate) async fn end(&self, run: &str) -> (String, String) {
        let end = self.fleet.wait_run_end(run).await;
        (end.status, end.reason.unwrap_or_default())
    }

    pub(crate) async fn entries(&self, run: &str, kind: &str, name: &str) -> Vec<Entry> {
        let journal = self.fleet.journal(run).await;
        journal.of(kind, Some(name)).cloned().collect()
    }

    /// What was done, and how often: the parts that were repaired.
    pub(crate) fn repaired(&self) -> Vec<String> {
        let effects = self.sink.effects_at("/repair").into_values();
        let parts = effects.flat_map(|effect| {
            let part = effect.bodies[0]["part"].as_str().unwrap().to_owned();
            std::iter::repeat_n(part, effect.executions)
        });
        parts.collect()
    }

    /// Waits until the planners have dealt with all that is on the journal now.
    pub(crate) async fn wait_planned(&self) {
        let jetstream = self.fleet.nats.jetstream().await;
        let stream = jetstream.get_stream("RUNS").await.unwrap();
        eventually("all is planned", PATIENCE, async || {
            let state = stream.consumer_info("planner").await;
            let state = state.map_err(|error| error.to_string())?;
            match (state.num_pending, state.num_ack_pending) {
                (0, 0) => Ok(()),
                waiting => Err(format!("{waiting:?}")),
            }
        })
        .await;
    }

    pub(crate) async fn last_request(&self, run: &str) -> String {
        let mut bodies = self.fleet.sim.bodies_of(run).await;
        bodies.pop().expect("Claude was asked").to_string()
    }
}
