//! What the stack runs: two questions to Claude, an effect that may be repeated and one that may not.

use flotilla_tests::Sink;
use serde_json::json;

/// What an event must be to start it.
pub(crate) const EVENT: &str = "test.compose";

const WORKFLOW: &str = "
workflow: compose
version: 1
on: {event: test.compose}
limits: {steps: 20, duration: 1h}
model: haiku
steps:
  - {id: first, claude: {prompt: 'First of {{ event.data.n }}?'}}
  - {id: note, tool: note, with: {n: '{{ event.data.n }}'}}
  - {id: second, claude: {prompt: 'Second of {{ event.data.n }}?'}}
  - {id: send, tool: send, with: {n: '{{ event.data.n }}'}, on_error: continue}
";

const POLICIES: &str = "
policies:
  - policy: any
    when: true
    rules:
      - say: fine
";

/// The folder's files.
pub(crate) fn files(sink: &Sink) -> Vec<(&'static str, String)> {
    let tool = |name: &str, effect: &str| sink.tool(name, effect, json!({"timeout": "20s"}));
    let tools = json!({"tools": [tool("note", "idempotent"), tool("send", "once")]});
    vec![
        ("workflow.yaml", WORKFLOW.to_owned()),
        ("tools.yaml", tools.to_string()),
        ("sim.yaml", POLICIES.to_owned()),
    ]
}
