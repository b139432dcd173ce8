//! Runs folded again, asked again, and gone on from: by the command line, as people do it.

mod again;
mod elsewhere;
mod fork;

use flotilla_tests::{Finished, Fleet, PATIENCE, Sink, Workflows, run_flotilla};
use serde_json::{Value, json};

/// A shape, a tool, an agent with a tool, a text.
const INCIDENT: &str = r#"
workflow: incident
version: 1
on: {event: test.incident}
model: haiku
steps:
  - id: classify
    claude:
      prompt: 'How bad is this? {{ event.data.text }}'
      output: {type: object, properties: {level: {type: string}}, required: [level], additionalProperties: false}
  - id: both
    parallel:
      - {id: announce, tool: repair, with: {part: '{{ event.data.text }}'}}
  - id: work
    agent:
      goal: Repair what is broken, then resolve.
      tools: [repair@1]
      ends: [resolve, escalate]
      max_loops: 4
  - id: sum
    claude: {prompt: 'Sum up {{ steps.work.summary }} of {{ event.data.text }}'}
"#;

/// It runs an incident's little brother.
const PARENT: &str = r"
workflow: parent
version: 1
on: {event: test.parent}
steps:
  - id: child
    run: {workflow: child, with: {text: '{{ event.data.text }}'}}
";

const CHILD: &str = r"
workflow: child
version: 1
on: {event: test.child}
model: haiku
steps:
  - id: sum
    claude: {prompt: 'Sum up {{ event.data.text }}'}
";

/// Of the second wording, it finds what is odd less bad.
const POLICIES: &str = r#"
policies:
  - policy: classify
    when: "'Step: classify' in system"
    rules:
      - when: "'Second wording' in user and 'odd' in user"
        use: answer
        with: {reasoning: It is odd., confidence: 0.9, with: {level: low}}
      - use: answer
        with: {reasoning: It says so itself., confidence: 0.9, with: {level: high}}
  - policy: work
    when: "'Step: work' in system"
    rules:
      - when: calls | length == 0
        use: repair
        with: {reasoning: Nothing has been tried yet., confidence: 0.9, with: {part: disk}}
      - use: resolve
        with: {reasoning: It worked., confidence: 0.9, summary: The disk is repaired.}
  - policy: sum
    when: "'Step: sum' in system"
    rules:
      - say: 'In short: {{ user }}'
"#;

fn tools(sink: &Sink) -> String {
    format!(
        r"
tools:
  - tool: repair
    version: 1
    description: Repairs a part.
    input: {{type: object, properties: {{part: {{type: string}}}}, required: [part], additionalProperties: false}}
    effect: idempotent
    http: {{method: POST, url: '{}', body: {{part: '{{{{ input.part }}}}'}}}}
",
        sink.url("/repair")
    )
}

/// The definitions, with other words for the incident's.
fn workflows(sink: &Sink, from: &str, to: &str) -> Workflows {
    let incident = INCIDENT.replace(from, to);
    let tools = tools(sink);
    Workflows::files(&[
        ("incident/incident.yaml", incident.as_str()),
        ("parent.yaml", PARENT),
        ("child.yaml", CHILD),
        ("tools.yaml", &tools),
        ("policies.yaml", POLICIES),
    ])
}

async fn fleet(sink: &Sink) -> Fleet {
    let builder = Fleet::builder().workflows(workflows(sink, "", ""));
    builder.ack_wait("20s").keep_bodies().start().await
}

/// Runs `flotilla` for people who have the fleet's definitions and its Claude.
async fn typed(fleet: &Fleet, args: &[&str]) -> Finished {
    let (url, claude) = (fleet.api().base().to_owned(), fleet.sim.url());
    let folder = fleet.workflows().folder().display().to_string();
    let env = [
        ("FLOTILLA_URL", url.as_str()),
        ("FLOTILLA_WORKFLOWS", &folder),
        ("ANTHROPIC_BASE_URL", &claude),
        ("ANTHROPIC_API_KEY", "test"),
    ];
    run_flotilla(args, &env, PATIENCE).await
}

/// The objects among what was printed.
fn objects(output: &str) -> Vec<Value> {
    let lines = output.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn incident(id: usize, text: &str) -> Value {
    json!({"id": id.to_string(), "source": "tests", "type": "test.incident", "data": {"text": text}})
}
