//! What was accepted survives nats-server.

use std::collections::BTreeSet;
use std::time::Duration;

use flotilla_tests::{Api, Fleet, PATIENCE, Proxy, Role, RoleOptions, Sink, Submitted, eventually};
use futures_util::future::join_all;

use crate::flows::{incident, incidents, submit_many};

const BEFORE: usize = 40;
const DURING: usize = 20;

/// Sends an event until it is accepted, as a good client does.
async fn submit_until_accepted(api: &Api, id: String) -> String {
    let event = incident(&id).to_string();
    let accepted: Submitted = eventually("the event is accepted", PATIENCE, || async {
        let answer = api
            .try_post("/v1/events", "application/json", event.as_str())
            .await;
        match answer {
            Ok(answer) if answer.status == 202 => Ok(answer.json()),
            // It may not say that it has what it does not have; and what it says is to the point.
            Ok(answer) => {
                assert_eq!(
                    (answer.status, answer.content_type.as_str()),
                    (503, "application/problem+json")
                );
                Err(answer.text)
            }
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
    let [run] = accepted.runs.try_into().expect("one workflow is for it");
    run
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nats_server_killed_under_load_loses_nothing_that_was_accepted() {
    let sink = Sink::start().await;
    let workflows = incidents(&sink, "idempotent");
    let mut fleet = Fleet::builder()
        .workflows(workflows)
        .planners(2)
        .executors(2)
        .start()
        .await;
    // So that there is a middle
    fleet.sim.latency_ms(200).await;

    let mut runs = submit_many(&fleet, (0..BEFORE).map(|n| n.to_string())).await;
    fleet.wait_ends(1, PATIENCE).await;
    fleet.nats.kill();
    let api = fleet.api().clone();
    let late = (BEFORE..BEFORE + DURING).map(|n| submit_until_accepted(&api, n.to_string()));
    let (late, ()) = tokio::join!(join_all(late), fleet.nats.restart());
    runs.extend(late);

    let ends = fleet.wait_ends(BEFORE + DURING, 2 * PATIENCE).await;
    let ended: BTreeSet<_> = ends.iter().map(|(run, ..)| run.clone()).collect();
    assert_eq!(ended, runs);
    for (run, outcome, reason) in ends {
        assert_eq!(outcome, "completed", "{run}: {reason}");
    }
    let journal = fleet.journal_of_all().await;
    for (slot, times) in journal.decisions() {
        assert_eq!(times, 1, "decisions of {slot:?}");
    }
    // A result that could not be appended is asked for again, with its key: so requests may be more than one.
    for path in ["/announce", "/repair"] {
        let effects = sink.effects_at(path);
        assert_eq!(effects.len(), runs.len(), "keys seen at {path}");
        assert!(effects.values().all(|effect| effect.executions == 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_end_at_once_when_told_to_while_nats_is_away() {
    let sink = Sink::start().await;
    let mut fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .start()
        .await;
    fleet.nats.kill();
    let limit = Duration::from_secs(30);
    fleet.gateway.terminate(limit).await;
    fleet.planners[0].terminate(limit).await;
    fleet.executors[0].terminate(limit).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_that_are_not_ready_yet_end_when_told_to_though_nats_does_not_answer() {
    let sink = Sink::start().await;
    let mut fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .start()
        .await;
    let far = Proxy::to(fleet.nats.port()).await;
    let slow = || RoleOptions::default().nats(far.url("nats"));
    // What is asked of NATS at the start takes seconds by this way, so they are in the middle of it.
    far.delay(Duration::from_millis(50));
    let gateway = fleet.start_gateway(slow());
    eventually("the gateway opens what it serves", PATIENCE, || {
        let opens = gateway.log().contains("gateway ready");
        async move { if opens { Ok(()) } else { Err("not yet") } }
    })
    .await;
    assert_ends_unanswered(gateway, &far).await;
    assert_ends_unanswered(fleet.planner(slow()).await, &far).await;
    assert_ends_unanswered(fleet.executor(slow()).await, &far).await;
}

/// The role ends well when it is told to, though NATS does not answer from now on.
async fn assert_ends_unanswered(mut role: Role, to_nats: &Proxy) {
    to_nats.pause_upstream().await;
    assert!(role.terminate(PATIENCE).await.success());
    to_nats.resume();
}
