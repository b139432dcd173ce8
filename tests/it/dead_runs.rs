//! Runs of which an entry is a dead letter: they wait and say so, and their neighbours do not notice.

use async_nats::jetstream::{self, AckKind, consumer::PullConsumer};
use flotilla_tests::{Fleet, PATIENCE, RoleOptions, Sink, Summary, eventually, run_flotilla};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::{
    dead::{fine, groups, only_letter},
    flows::{assert_each_once, cloud_event, incident, incidents},
};

pub(crate) async fn publish(fleet: &Fleet, subject: &str, payload: &str) {
    let jetstream = fleet.nats.jetstream().await;
    let sent = jetstream.publish(subject.to_owned(), payload.to_owned().into());
    sent.await.unwrap().await.unwrap();
}

/// Waits until a run says that it waits on a dead letter, also where runs are listed.
pub(crate) async fn wait_dead(fleet: &Fleet, run: &str) -> Summary {
    eventually(
        &format!("{run} waits on a dead letter"),
        PATIENCE,
        || async {
            let shown = fleet.run(run).await.map(|view| view.run);
            let listed = fleet.runs().await.into_iter().find(|line| line.id == run);
            let dead = |line: &Option<Summary>| {
                let by = line.as_ref().and_then(|line| line.parked_by.clone());
                by.as_deref() == Some("dead")
            };
            match (dead(&shown), dead(&listed), shown) {
                (true, true, Some(shown)) => Ok(shown),
                (_, _, seen) => Err((seen, listed)),
            }
        },
    )
    .await
}

/// What comes for a run before its beginning would stand in the way of that.
async fn wait_begun(fleet: &Fleet, run: &str) {
    eventually("it has begun", PATIENCE, || async {
        fleet.run(run).await.ok_or("nobody knows it")
    })
    .await;
}

async fn redrive(fleet: &Fleet, letter: &Value) -> Value {
    let path = format!("/v1/dead/{}/redrive", letter["seq"]);
    let body = json!({"by": "ana", "reason": "mended"});
    fine(&fleet.api().post_json(&path, &body).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_with_a_poison_entry_waits_and_its_neighbours_go_on() {
    let sink = Sink::start().await;
    sink.hold("/announce");
    let fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .start()
        .await;
    let mut runs = Vec::new();
    for id in ["a", "b", "c"] {
        runs.extend(fleet.submit(&incident(id)).await.runs);
    }
    let [first, poisoned, last] = runs.try_into().unwrap();
    wait_begun(&fleet, &poisoned).await;
    let signal = format!("runs.{poisoned}.signalled.cancel");
    publish(&fleet, &signal, r#"{"v": 2, "new": true}"#).await;
    let letter = only_letter(&fleet).await;
    assert_eq!(
        (&letter["kind"], &letter["run"]),
        (&json!("version"), &json!(poisoned))
    );
    let line = wait_dead(&fleet, &poisoned).await;
    assert_eq!(line.status, "parked");
    let reason = line.reason.unwrap_or_default();
    let advice = format!("flotilla dead redrive {}", letter["seq"]);
    assert!(
        reason.contains("version 2") && reason.contains(&advice),
        "{reason}"
    );
    let url = fleet.api().base().to_owned();
    let flotilla =
        async |args: &[&str]| run_flotilla(args, &[("FLOTILLA_URL", &url)], PATIENCE).await;
    for args in [vec!["runs"], vec!["show", &poisoned]] {
        let output = flotilla(&args).await.output;
        assert!(output.contains(&advice), "{args:?}: {output}");
    }
    // What is on the journal is not edited.
    let path = format!("/v1/dead/{}/redrive", letter["seq"]);
    let answer = fleet.api().post_json(&path, &json!({"payload": {}})).await;
    assert_eq!(answer.status, 409, "{}", answer.text);

    sink.release();
    for run in [&first, &last] {
        assert_eq!(fleet.wait_run_end(run).await.status, "completed");
    }
    // It may have been asked to announce before anybody gave its entry up, and goes no further.
    assert_eq!(sink.effects_at("/repair").len(), 2);
    let view = fleet.run(&poisoned).await.unwrap();
    assert!(view.run.ended_at.is_none(), "{:?}", view.run);

    // Nobody can read it still, and it has become no part of the run: what was redriven goes on.
    redrive(&fleet, &letter).await;
    assert_eq!(fleet.wait_run_end(&poisoned).await.status, "completed");
    assert_each_once(&fleet, &sink, &[first, poisoned, last].into()).await;
    groups(&fleet, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_entry_at_all_stops_no_run_and_a_broken_run_shows_its_letters() {
    let sink = Sink::start().await;
    sink.hold("/announce");
    let fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .start()
        .await;
    let run = fleet.submit(&incident("a")).await.runs.remove(0);
    wait_begun(&fleet, &run).await;
    publish(&fleet, &format!("runs.{run}.signalled.nonsense"), "{").await;
    let letter = only_letter(&fleet).await;
    assert_eq!(
        (&letter["kind"], &letter["waits"]),
        (&json!("unreadable"), &json!(false))
    );
    sink.release();
    assert_eq!(fleet.wait_run_end(&run).await.status, "completed");

    let broken = format!("run_{}", "b".repeat(32));
    publish(&fleet, &format!("runs.{broken}.started.incident"), "{").await;
    groups(&fleet, 2).await;
    let shown = fine(&fleet.api().get(&format!("/v1/runs/{broken}")).await);
    assert!(shown["broken"].is_string(), "{shown}");
    assert_eq!(
        shown["dead_letters"].as_array().map(Vec::len),
        Some(1),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_definition_nobody_has_waits_and_fails_when_its_letter_is_dropped() {
    let sink = Sink::start().await;
    let fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .ack_wait("500ms")
        .start()
        .await;
    let run = format!("run_{}", "a".repeat(32));
    let started = json!({
        "v": 1, "at": jiff::Timestamp::now(), "event": cloud_event("1"),
        "workflow": {"name": "incident", "version": 9, "digest": "nobody has this"},
    });
    publish(
        &fleet,
        &format!("runs.{run}.started.incident"),
        &started.to_string(),
    )
    .await;
    let line = wait_dead(&fleet, &run).await;
    let reason = line.reason.unwrap_or_default();
    assert!(reason.contains("is not known here"), "{reason}");
    let letter = only_letter(&fleet).await;
    assert_eq!(
        (&letter["kind"], &letter["deliveries"]),
        (&json!("exhausted"), &json!(20))
    );

    let dropped = format!("/v1/dead/{}?by=ana&reason=never%20mind", letter["seq"]);
    fine(&fleet.api().delete(&dropped).await);
    let end = fleet.wait_run_end(&run).await;
    let reason = end.reason.unwrap_or_default();
    assert_eq!(end.status, "failed", "{reason}");
    for part in ["dead letter", "ana", "never mind", "is not known here"] {
        assert!(reason.contains(part), "no {part:?} in {reason}");
    }
    groups(&fleet, 0).await;
}

/// A consumer of RUNS, once its workers have made it.
async fn consumer_of(fleet: &Fleet, name: &str) -> PullConsumer {
    let jetstream = fleet.nats.jetstream().await;
    let stream = jetstream.get_stream("RUNS").await.unwrap();
    let stream = &stream;
    eventually(
        &format!("there is a consumer {name}"),
        PATIENCE,
        || async move {
            let consumer = stream.get_consumer(name).await;
            consumer.map_err(|e| e.to_string())
        },
    )
    .await
}

/// A consumer of RUNS as somebody has changed it.
async fn with_deliveries(fleet: &Fleet, name: &str, most: i64) -> PullConsumer {
    let stream = fleet
        .nats
        .jetstream()
        .await
        .get_stream("RUNS")
        .await
        .unwrap();
    let consumer = consumer_of(fleet, name).await;
    let config = consumer.cached_info().config.clone();
    let config = jetstream::consumer::Config {
        max_deliver: most,
        ..config
    };
    let jetstream::consumer::Config {
        durable_name,
        deliver_policy,
        ack_policy,
        replay_policy,
        ack_wait,
        max_deliver,
        max_ack_pending,
        max_waiting,
        filter_subject,
        filter_subjects,
        ..
    } = config;
    let config = jetstream::consumer::pull::Config {
        durable_name,
        deliver_policy,
        ack_policy,
        replay_policy,
        ack_wait,
        max_deliver,
        max_ack_pending,
        max_waiting,
        filter_subject,
        filter_subjects,
        ..Default::default()
    };
    stream.update_consumer(config).await.unwrap()
}

/// Takes the messages of a consumer and settles none, or ends each, until there is a dead letter.
async fn neglect(fleet: &Fleet, consumer: &PullConsumer, end: bool) {
    eventually("JetStream gives up", PATIENCE, || async {
        let batch = consumer
            .batch()
            .max_messages(8)
            .expires(std::time::Duration::from_millis(300));
        let mut batch = batch.messages().await.map_err(|e| e.to_string())?;
        while let Some(Ok(message)) = batch.next().await {
            if end {
                message
                    .ack_with(AckKind::Term)
                    .await
                    .map_err(|e| e.to_string())?;
            }
        }
        let listed = fine(&fleet.api().get("/v1/dead").await);
        match listed["groups"].as_array() {
            Some(groups) if !groups.is_empty() => Ok(()),
            _ => Err(listed.to_string()),
        }
    })
    .await;
}

/// Hands the messages of a consumer back so often, as if workers had died of them.
async fn hand_back(fleet: &Fleet, name: &str, times: usize) {
    let consumer = consumer_of(fleet, name).await;
    for _ in 0..times {
        let batch = consumer.batch().max_messages(1).expires(PATIENCE);
        let mut batch = batch.messages().await.unwrap();
        let message = batch.next().await.unwrap().unwrap();
        message.ack_with(AckKind::Nak(None)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_kills_its_planners_is_a_letter_and_its_run_goes_on_when_they_are_mended() {
    let sink = Sink::start().await;
    let mut fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .start()
        .await;
    consumer_of(&fleet, "planner").await;
    fleet.planners.remove(0).kill9();
    let run = fleet.submit(&incident("a")).await.runs.remove(0);
    hand_back(&fleet, "planner", 20).await;
    let planner = fleet.planner(RoleOptions::default()).await;
    fleet.planners.push(planner);
    wait_dead(&fleet, &run).await;
    let letter = only_letter(&fleet).await;
    assert_eq!(
        (&letter["kind"], &letter["role"]),
        (&json!("exhausted"), &json!("planner"))
    );
    redrive(&fleet, &letter).await;
    assert_eq!(fleet.wait_run_end(&run).await.status, "completed");
    assert_each_once(&fleet, &sink, &[run].into()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_that_kills_its_executors_fails_and_its_letter_is_for_people_only() {
    let sink = Sink::start().await;
    let mut fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .start()
        .await;
    consumer_of(&fleet, "tool-announce").await;
    fleet.executors.remove(0).kill9();
    let run = fleet.submit(&incident("a")).await.runs.remove(0);
    hand_back(&fleet, "tool-announce", 20).await;
    let executor = fleet.executor(RoleOptions::default()).await;
    fleet.executors.push(executor);
    // Its result says so, and the run goes by that.
    assert_eq!(fleet.wait_run_end(&run).await.status, "failed");
    let letter = only_letter(&fleet).await;
    assert_eq!(
        (&letter["kind"], &letter["waits"]),
        (&json!("exhausted"), &json!(false))
    );
    let path = format!("/v1/dead/{}/redrive", letter["seq"]);
    let refused = fleet.api().post_json(&path, &json!({})).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(sink.effects_at("/announce").is_empty());
}

/// What JetStream gives up on is a letter though no worker is there, and is done once when it is redriven.
async fn given_up(tool: bool, end: bool) {
    let sink = Sink::start().await;
    let mut fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .ack_wait("1s")
        .start()
        .await;
    let name = if tool { "tool-announce" } else { "planner" };
    consumer_of(&fleet, name).await;
    if tool {
        fleet.executors.remove(0).kill9();
    } else {
        fleet.planners.remove(0).kill9();
    }
    let consumer = with_deliveries(&fleet, name, 1).await;
    let run = fleet.submit(&incident("a")).await.runs.remove(0);
    neglect(&fleet, &consumer, end).await;
    let letter = only_letter(&fleet).await;
    let role = if tool { "executor" } else { "planner" };
    assert_eq!(
        (&letter["kind"], &letter["role"]),
        (&json!("abandoned"), &json!(role))
    );
    assert_eq!(
        (&letter["run"], &letter["waits"]),
        (&json!(run), &json!(true))
    );

    with_deliveries(&fleet, name, -1).await;
    if tool {
        let executor = fleet.executor(RoleOptions::default()).await;
        fleet.executors.push(executor);
    } else {
        let planner = fleet.planner(RoleOptions::default()).await;
        fleet.planners.push(planner);
    }
    wait_dead(&fleet, &run).await;
    redrive(&fleet, &letter).await;
    assert_eq!(fleet.wait_run_end(&run).await.status, "completed");
    assert_each_once(&fleet, &sink, &[run].into()).await;
    groups(&fleet, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_that_jetstream_gave_up_on_is_done_once_when_it_is_redriven() {
    given_up(true, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_that_somebody_else_ended_is_done_once_when_it_is_redriven() {
    given_up(true, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beginning_that_jetstream_gave_up_on_begins_when_it_is_redriven() {
    given_up(false, false).await;
}
