//! The definitions that the tests run, with the policy by which the simulated Claude answers them.

use std::collections::BTreeSet;

use flotilla_tests::{Fleet, Sink, Workflows};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

/// Calls to Claude that one incident takes: one for `classify`, two for the agent.
pub(crate) const CALLS: usize = 3;

/// Events sent at once
const SENDERS: usize = 32;

const POLICIES: &str = r#"
policies:
  - policy: classify
    when: "'Step: classify' in system"
    rules:
      - use: answer
        with: {reasoning: The event says so itself., confidence: 0.9, with: {level: high}}
  - policy: work
    when: "'Step: work' in system"
    rules:
      - when: calls | length == 0
        use: repair
        with: {reasoning: Nothing has been tried yet., confidence: 0.9, with: {part: disk}}
      - when: last.error
        use: escalate
        with: {reasoning: The repair did not say that it worked., confidence: 0.9, summary: 'repair said: {{ last.result }}'}
      - use: resolve
        with: {reasoning: The repair said that it worked., confidence: 0.9, summary: The disk is repaired.}
"#;

/// A policy by which whoever must answer says `{level: high}`.
pub(crate) const ALWAYS_HIGH: &str = r#"
policies:
  - policy: any
    rules:
      - use: answer
        with: {reasoning: It is said., confidence: 0.9, with: {level: high}}
"#;

const INCIDENT: &str = r#"
workflow: incident
version: 1
on: {event: test.incident}
limits: {steps: 20, duration: 30m}
model: haiku
steps:
  - id: classify
    claude:
      prompt: 'How bad is this? {{ event.data.text }}'
      output: {type: object, properties: {level: {type: string}}, required: [level], additionalProperties: false}
  - id: announce
    tool: announce
    with: {text: '{{ event.data.text }}', level: '{{ steps.classify.level }}'}
  - id: work
    agent:
      goal: Repair what is broken, then resolve; escalate what you cannot repair.
      tools: [repair@1]
      ends: [resolve, escalate]
      max_loops: 4
"#;

const ALERT: &str = r#"
workflow: alert
version: 1
on: {event: alertmanager.alert, when: 'event.data.status == "firing"'}
steps:
  - id: announce
    tool: announce
    with: {text: '{{ event.data.labels.alertname }}', level: '{{ event.data.labels.severity }}'}
"#;

/// An incident: a Claude step, a tool step, and an agent with one tool, whose effect is as given. And a workflow for
/// Alertmanager's alerts, of one tool step. Tools post to the sink, at `/announce` and `/repair`.
pub(crate) fn incidents(sink: &Sink, effect: &str) -> Workflows {
    let tools = format!(
        r#"
tools:
  - tool: announce
    version: 1
    description: Tells people that something happened.
    input:
      type: object
      properties: {{text: {{type: string}}, level: {{type: string}}}}
      required: [text, level]
      additionalProperties: false
    effect: idempotent
    http: {{method: POST, url: '{announce}', body: {{text: '{{{{ input.text }}}}', level: '{{{{ input.level }}}}'}}}}
  - tool: repair
    version: 1
    description: Repairs a part.
    input:
      type: object
      properties: {{part: {{type: string}}}}
      required: [part]
      additionalProperties: false
    effect: {effect}
    http: {{method: POST, url: '{repair}', body: {{part: '{{{{ input.part }}}}'}}}}
"#,
        announce = sink.url("/announce"),
        repair = sink.url("/repair"),
    );
    Workflows::files(&[
        ("incident.yaml", INCIDENT),
        ("alert.yaml", ALERT),
        ("tools.yaml", &tools),
        ("policies.yaml", POLICIES),
    ])
}

/// An event that starts an incident.
pub(crate) fn incident(id: &str) -> Value {
    json!({
        "id": id,
        "source": "tests",
        "type": "test.incident",
        "data": {"text": format!("the disk of host {id} is full")},
    })
}

/// The same as a CloudEvent in structured form.
pub(crate) fn cloud_event(id: &str) -> Value {
    let mut event = incident(id);
    event["specversion"] = json!("1.0");
    event
}

/// Sends that many incidents, many at once, and gives their runs.
pub(crate) async fn submit_many(
    fleet: &Fleet,
    ids: impl IntoIterator<Item = String>,
) -> BTreeSet<String> {
    let events: Vec<_> = ids.into_iter().map(|id| incident(&id)).collect();
    let runs = submit_events(fleet, &events).await;
    runs.into_iter().collect()
}

/// Sends these events, many at once, and gives their runs in the order of the events.
pub(crate) async fn submit_events(fleet: &Fleet, events: &[Value]) -> Vec<String> {
    stream::iter(events)
        .map(|event| async move {
            let submitted = fleet.submit(event).await;
            let [run] = submitted.runs.try_into().expect("one workflow is for it");
            run
        })
        .buffered(SENDERS)
        .collect()
        .await
}

/// Asserts what must hold after any trouble, of incidents that all went well: each step decided once, each call to Claude
/// made once, each effect asked for once (twice is right too where `crashed` says that someone died in it).
pub(crate) async fn assert_each_once(fleet: &Fleet, sink: &Sink, runs: &BTreeSet<String>) {
    assert_decided_and_done_once(fleet, sink, runs).await;
    let calls = fleet.sim.calls_by_run().await;
    for run in runs {
        assert_eq!(calls.get(run), Some(&CALLS), "calls to Claude for {run}");
    }
}

/// The same without the calls.
pub(crate) async fn assert_decided_and_done_once(
    fleet: &Fleet,
    sink: &Sink,
    runs: &BTreeSet<String>,
) {
    let journal = fleet.journal_of_all().await;
    let ends = journal.ends();
    let ended: BTreeSet<_> = ends.keys().cloned().collect();
    assert_eq!(ended, *runs, "the runs that ended");
    for (run, (outcome, reason)) in &ends {
        assert_eq!(outcome, "completed", "{run}: {reason}");
    }
    for (slot, times) in journal.decisions() {
        assert_eq!(times, 1, "decisions of {slot:?}");
    }

    for path in ["/announce", "/repair"] {
        let effects = sink.effects_at(path);
        assert_eq!(effects.len(), runs.len(), "keys seen at {path}");
        for (key, effect) in effects {
            assert_eq!(
                (effect.requests, effect.executions),
                (1, 1),
                "at {path}, of {key}"
            );
        }
    }
}
