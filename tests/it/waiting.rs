//! What waits, for a person or for its time, is held by no process: all of them may be killed at once.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_tests::{Fleet, PATIENCE, Sink, Workflows, eventually};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Runs of each workflow that a person must allow, and of the one that sleeps.
const ASKED: usize = 20;
const ASLEEP: usize = 10;

/// The sleep is as long as it takes to begin all of them and to kill everything, on a slow machine.
const WORKFLOWS: &str = "
workflow: question
version: 1
on: {event: test.question}
steps:
  - id: check
    approval: {show: 'May {{ event.data.what }} go on?', timeout: 28d, on_timeout: escalate}
  - {id: act, tool: act@1, with: {what: '{{ event.data.what }}'}}
---
workflow: action
version: 1
on: {event: test.action}
steps:
  - {id: act, tool: risky@1, with: {what: '{{ event.data.what }}'}}
---
workflow: nap
version: 1
on: {event: test.nap}
steps:
  - {id: rest, sleep: 10s}
  - {id: act, tool: act@1, with: {what: '{{ event.data.what }}'}}
";

/// The same tool twice: one needs a person's word.
fn workflows(sink: &Sink) -> Workflows {
    let tool = |name: &str, risk: &str| {
        format!(
            "
  - tool: {name}
    version: 1
    description: Does something that is counted.
    risk: {risk}
    input: {{type: object, properties: {{what: {{type: string}}}}, required: [what], additionalProperties: false}}
    effect: idempotent
    http: {{method: POST, url: '{}', body: {{what: '{{{{ input.what }}}}'}}}}",
            sink.url("/act")
        )
    };
    let tools = format!("\ntools:{}{}\n", tool("act", "low"), tool("risky", "high"));
    let mut files: Vec<(String, String)> = WORKFLOWS
        .split("\n---\n")
        .enumerate()
        .map(|(index, text)| (format!("{index}.yaml"), text.to_owned()))
        .collect();
    files.push(("tools.yaml".to_owned(), tools));
    Workflows::files(&files)
}

/// Starts runs, each of which says what it is: `nap-3`.
async fn begin(fleet: &Fleet, workflow: &str, count: usize) -> Vec<String> {
    let begun = (0..count).map(async |number| {
        let what = format!("{workflow}-{number}");
        let kind = format!("test.{workflow}");
        let event = json!({"id": what, "source": "tests", "type": kind, "data": {"what": what}});
        fleet.submit(&event).await.runs.remove(0)
    });
    join_all(begun).await
}

/// Every question, by its run, once the list is complete and has as many.
async fn questions(fleet: &Fleet, count: usize) -> BTreeMap<String, Value> {
    eventually("all questions are listed", PATIENCE, async || {
        let mut asked = Vec::new();
        let mut path = "/v1/approvals?limit=15".to_owned();
        loop {
            let answer = fleet.api().get(&path).await;
            let page: Value = answer.json();
            if page["complete"] != true {
                return Err(answer.text);
            }
            asked.extend(page["approvals"].as_array().unwrap().clone());
            match page["next"].as_str() {
                Some(next) => path = format!("/v1/approvals?limit=15&cursor={next}"),
                None => break,
            }
        }
        let lines = asked.len();
        let by_run = asked.into_iter();
        let by_run = by_run.map(|one| (one["run"].as_str().unwrap().to_owned(), one));
        let by_run: BTreeMap<_, _> = by_run.collect();
        if (lines, by_run.len()) == (count, count) {
            Ok(by_run)
        } else {
            Err(format!("{lines} lines of {} runs", by_run.len()))
        }
    })
    .await
}

/// When the last of them wakes.
async fn all_asleep(fleet: &Fleet) -> Timestamp {
    eventually("all sleep", PATIENCE, async || {
        let journal = fleet.journal_of_all().await;
        let sleeps = journal.of("decided", Some("sleep"));
        let wake = sleeps.map(|entry| entry.text("/decision/until").parse::<Timestamp>().unwrap());
        let wake: Vec<_> = wake.collect();
        match wake.iter().max() {
            Some(last) if wake.len() == ASLEEP => Ok(*last),
            _ => Err(format!("{} sleep", wake.len())),
        }
    })
    .await
}

async fn allow_all(fleet: &Fleet, questions: &BTreeMap<String, Value>) {
    let said = questions.iter().map(async |(run, question)| {
        let path = format!("/v1/runs/{run}/approve");
        let body = json!({"step": question["step"], "hash": question["hash"], "by": "ana"});
        let answer = fleet.api().post_json(&path, &body).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    });
    join_all(said).await;
}

async fn survives(keep_redis: bool) {
    let sink = Sink::start().await;
    // A second request is seen even if it brings the same key.
    sink.ignore_keys();
    let mut builder = Fleet::builder().workflows(workflows(&sink));
    if keep_redis {
        builder = builder.keep_redis();
    }
    let mut fleet = builder.start().await;
    let mut asked = begin(&fleet, "question", ASKED).await;
    asked.extend(begin(&fleet, "action", ASKED).await);
    let naps = begin(&fleet, "nap", ASLEEP).await;
    let before = questions(&fleet, asked.len()).await;
    let awake_at = all_asleep(&fleet).await;

    fleet.kill_all();
    assert_eq!(sink.effects().len(), 0, "nothing is done before its time");
    eventually("their time comes", PATIENCE, async || {
        let now = Timestamp::now();
        if now > awake_at { Ok(()) } else { Err(now) }
    })
    .await;
    fleet.start_all().await;
    assert_eq!(questions(&fleet, asked.len()).await, before);
    fleet.wait_ends(ASLEEP, PATIENCE).await;

    // Nobody is there to do what is allowed; then nobody is there at all.
    for executor in &mut fleet.executors {
        executor.kill9();
    }
    allow_all(&fleet, &before).await;
    fleet.kill_all();
    assert_eq!(sink.effects().len(), ASLEEP);
    fleet.start_all().await;

    let all: BTreeSet<String> = asked.into_iter().chain(naps).collect();
    let ends = fleet.wait_ends(all.len(), 2 * PATIENCE).await;
    for (run, outcome, reason) in &ends {
        assert_eq!(outcome, "completed", "{run}: {reason}");
    }
    let ended: BTreeSet<String> = ends.into_iter().map(|(run, ..)| run).collect();
    assert_eq!(ended, all);
    for (key, effect) in sink.effects() {
        assert_eq!(effect.executions, 1, "{key}: {effect:?}");
    }
    let done = sink.effects().into_values();
    let done: BTreeSet<String> = done.map(|effect| effect.bodies[0].to_string()).collect();
    assert_eq!(done.len(), all.len(), "each did its own");
    let journal = fleet.journal_of_all().await;
    for (slot, times) in journal.decisions() {
        // A tool that a person must allow is asked for and then decided, at the same step.
        let asks = journal.of("decided", Some("approval"));
        let asked = asks.filter(|ask| ask.run == slot.0 && ask.text("/step") == slot.1);
        assert!(times == 1 || (times, asked.count()) == (2, 1), "{slot:?}");
    }
    assert_eq!(journal.of("signalled", None).count(), 2 * ASKED);
    questions(&fleet, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_survives_a_crash_of_everything_at_once() {
    survives(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_survives_a_crash_of_everything_and_the_loss_of_all_of_redis() {
    survives(false).await;
}
