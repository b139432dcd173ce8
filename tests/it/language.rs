//! The whole workflow language in real parts: side by side, for each item, runs within runs, time, and the way back.

use std::collections::BTreeMap;

use flotilla_tests::{Fleet, Journal, PATIENCE, Sink, Workflows, eventually};
use serde_json::{Value, json};

const ORDER: &str = r#"
workflow: order
version: 1
on: {event: test.order}
limits: {steps: 60, duration: 30m, usd: 5}
model: haiku
steps:
  - id: aspects
    parallel:
      - {id: law, claude: {prompt: 'The law of {{ event.data.id }}?'}}
      - {id: money, claude: {prompt: 'The money of {{ event.data.id }}?'}}
      - {id: risk, claude: {prompt: 'The risk of {{ event.data.id }}?'}}
      - {id: pause, sleep: 200ms}
  - id: route
    switch:
      - {when: 'event.data.items | length == 0', to: last}
  - id: items
    for_each:
      in: event.data.items
      width: 2
      steps:
        - {id: book, tool: book, with: {id: '{{ event.data.id }}-{{ item }}'}}
  - id: check
    run: {workflow: check, with: {id: '{{ event.data.id }}'}, usd: 1}
  - id: last
    tool: book
    with: {id: '{{ event.data.id }}-{{ steps.aspects.law }}-{{ steps.check and steps.check.output.verdict }}'}
"#;

const CHECK: &str = r#"
workflow: check
version: 1
on: {event: test.check}
model: haiku
output: {verdict: '{{ steps.look.verdict }}'}
steps:
  - id: look
    claude:
      prompt: 'Is {{ event.data.id }} right?'
      output: {type: object, properties: {verdict: {type: string}}, required: [verdict], additionalProperties: false}
"#;

const TRIP: &str = r#"
workflow: trip
version: 1
on: {event: test.trip}
steps:
  - {id: hotel, tool: book, with: {id: '{{ event.data.id }}-hotel'}}
  - {id: train, tool: book, with: {id: '{{ event.data.id }}-train'}}
  - {id: car, tool: nothing, with: {}, retry: {times: 1, pause: 100ms}}
on_failure: {compensate: true}
"#;

const POLICIES: &str = r#"
policies:
  - policy: look
    when: "'Step: look' in system"
    rules:
      - use: answer
        with: {reasoning: It is., confidence: 0.9, with: {verdict: right}}
  - policy: any
    when: true
    rules:
      - say: fine
"#;

async fn fleet(sink: &Sink) -> Fleet {
    let tools = format!(
        r"
tools:
  - tool: book
    version: 1
    description: Books something.
    input: {{type: object, properties: {{id: {{type: string}}}}, required: [id], additionalProperties: false}}
    effect: idempotent
    compensate: {{tool: unbook, with: {{id: '{{{{ input.id }}}}'}}}}
    http: {{method: POST, url: '{book}', body: {{id: '{{{{ input.id }}}}'}}}}
  - tool: unbook
    version: 1
    description: Gives a booking back.
    input: {{type: object, properties: {{id: {{type: string}}}}, required: [id], additionalProperties: false}}
    effect: idempotent
    http: {{method: POST, url: '{unbook}', body: {{id: '{{{{ input.id }}}}'}}}}
  - tool: nothing
    version: 1
    description: Does not work.
    input: {{type: object}}
    effect: read
    command: ['false']
",
        book = sink.url("/book"),
        unbook = sink.url("/unbook"),
    );
    let files = [
        ("order.yaml", ORDER),
        ("check.yaml", CHECK),
        ("trip.yaml", TRIP),
        ("tools.yaml", tools.as_str()),
        ("policies.yaml", POLICIES),
    ];
    let workflows = Workflows::files(&files);
    let builder = Fleet::builder().workflows(workflows).ack_wait("2s");
    builder.planners(2).executors(2).start().await
}

fn event(kind: &str, id: &str, data: Value) -> Value {
    json!({"specversion": "1.0", "type": kind, "source": "test", "id": id, "data": data})
}

/// Waits until something holds.
async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let look = || {
        let holds = holds();
        async move { if holds.await { Ok(()) } else { Err("not yet") } }
    };
    eventually(what, PATIENCE, look).await;
}

/// What was posted to a path, by its `id`, and how often.
fn posted(sink: &Sink, path: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for effect in sink.effects_at(path).into_values() {
        let id = effect.bodies[0]["id"].as_str().unwrap_or_default();
        *counts.entry(id.to_owned()).or_default() += effect.executions;
    }
    counts
}

const RUNS: usize = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_step_survives_dead_planners_and_executors() {
    let sink = Sink::start().await;
    let mut fleet = fleet(&sink).await;
    fleet.sim.latency_ms(100).await;
    let mut runs = Vec::new();
    for n in 0..RUNS {
        let id = format!("o{n}");
        let items = if n % 4 == 0 {
            json!([])
        } else {
            json!([1, 2, 3])
        };
        let data = json!({"id": id, "items": items});
        let submitted = fleet.submit(&event("test.order", &id, data)).await;
        runs.extend(submitted.runs);
    }
    until("some runs to be in the middle", || async {
        sink.effects_at("/book").len() > RUNS / 4
    })
    .await;
    fleet.planners[0].kill9();
    fleet.executors[0].kill9();
    for run in &runs {
        let end = fleet.wait_run_end(run).await;
        assert_eq!(end.status, "completed", "{run}: {:?}", end.reason);
    }
    let mut expected = BTreeMap::new();
    for n in 0..RUNS {
        let verdict = if n % 4 == 0 { "null" } else { "right" };
        expected.insert(format!("o{n}-fine-{verdict}"), 1);
        let items = if n % 4 == 0 { 0 } else { 3 };
        expected.extend((1..=items).map(|item| (format!("o{n}-{item}"), 1)));
    }
    assert_eq!(posted(&sink, "/book"), expected);
    let journal = fleet.journal_of_all().await;
    paid_as_told(&fleet, &journal).await;
    let children = journal.0.iter().filter(|entry| {
        entry.kind == "resulted" && entry.name == "run" && entry.at("/usd_nano").as_u64() > Some(0)
    });
    assert!(
        children.count() >= RUNS * 3 / 4,
        "each parent knows what its child cost"
    );
}

/// Every call that Claude billed is on the journal, as one that counted or as one that was lost.
async fn paid_as_told(fleet: &Fleet, journal: &Journal) {
    let calls = journal.0.iter().filter(|entry| entry.kind == "decided");
    let told = calls.map(|entry| {
        let replies = entry.at("/call/attempts").as_array().map_or(0, Vec::len) as u64;
        replies + entry.at("/call/wasted").as_u64().unwrap_or_default()
    });
    let told: u64 = told.sum();
    let billed = fleet.sim.ledger().await.len() as u64;
    assert!(
        billed <= told,
        "{billed} calls were billed, {told} are told"
    );
    // A planner that died may have been about to ask for each of its claims, and none of them may have been sent.
    let claims = (RUNS * 4) as u64;
    assert!(
        told <= billed + claims,
        "{told} are told, {billed} were billed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failed_run_did_is_undone_once_and_in_reverse_whatever_dies() {
    let sink = Sink::start().await;
    let mut fleet = fleet(&sink).await;
    let mut runs = Vec::new();
    for n in 0..RUNS {
        let id = format!("t{n}");
        let submitted = fleet
            .submit(&event("test.trip", &id, json!({"id": id})))
            .await;
        runs.extend(submitted.runs);
    }
    until("something to be undone", || async {
        !sink.effects_at("/unbook").is_empty()
    })
    .await;
    fleet.executors[0].kill9();
    fleet.planners[1].kill9();
    fleet.redis.flush().await;
    for run in &runs {
        let end = fleet.wait_run_end(run).await;
        assert_eq!(end.status, "failed", "{run}: {:?}", end.reason);
        let journal = fleet.journal(run).await;
        let undone: Vec<&str> = journal
            .0
            .iter()
            .filter(|entry| entry.kind == "decided" && entry.name == "unbook")
            .map(|entry| entry.text("/step"))
            .collect();
        assert_eq!(undone, ["train!undo", "hotel!undo"], "{run}");
        let again = journal
            .0
            .iter()
            .filter(|entry| entry.name == "again")
            .count();
        assert_eq!(again, 1, "the car was tried twice");
    }
    let both = |n: usize| [format!("t{n}-hotel"), format!("t{n}-train")];
    let expected: BTreeMap<String, usize> = (0..RUNS).flat_map(both).map(|id| (id, 1)).collect();
    assert_eq!(posted(&sink, "/book"), expected);
    assert_eq!(posted(&sink, "/unbook"), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_run_takes_the_run_within_it_along_and_stops_what_is_asked() {
    let sink = Sink::start().await;
    let fleet = fleet(&sink).await;
    let data = json!({"id": "c1", "items": [1]});
    let submitted = fleet.submit(&event("test.order", "c1", data)).await;
    let run = submitted.runs[0].clone();
    until("the run within it", || async {
        fleet.runs().await.len() == 2
    })
    .await;
    // Whatever is asked from here on takes longer than anybody waits.
    fleet.sim.latency_ms(120_000).await;
    let second = fleet
        .submit(&event("test.order", "c2", json!({"id": "c2", "items": []})))
        .await;
    let second = second.runs[0].clone();
    until("its questions", || async {
        fleet
            .journal(&second)
            .await
            .0
            .iter()
            .any(|entry| entry.name == "sleep")
    })
    .await;
    for run in [&run, &second] {
        let cancel = fleet
            .api()
            .post_json(
                &format!("/v1/runs/{run}/cancel"),
                &json!({"reason": "enough"}),
            )
            .await;
        // The first one may have been too quick.
        assert!([202, 409].contains(&cancel.status), "{}", cancel.status);
    }
    let end = fleet.wait_run_end(&second).await;
    assert_eq!(end.status, "cancelled");
    let first = fleet.wait_run_end(&run).await;
    assert!(["cancelled", "completed"].contains(&first.status.as_str()));
    until("all runs to end", || async {
        fleet.runs().await.iter().all(|run| run.status != "running")
    })
    .await;
}
