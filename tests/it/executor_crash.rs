//! An executor that dies after the effect: done once, where the tool lets us know it; and never blindly again.

use flotilla_tests::{Effect, Fleet, PATIENCE, RoleOptions, Sink, eventually};

use crate::flows::{incident, incidents};

const REPAIR: &str = "/repair";

/// Runs one incident whose executor dies when the repair is done and not yet answered; another takes its place.
async fn crash_in_the_repair(effect: &str) -> (Fleet, Sink, String) {
    let sink = Sink::start().await;
    sink.hold(REPAIR);
    let mut fleet = Fleet::builder()
        .workflows(incidents(&sink, effect))
        .start()
        .await;
    let [run] = fleet.submit(&incident("a")).await.runs.try_into().unwrap();
    eventually("the repair is done", PATIENCE, || {
        let effects = sink.effects_at(REPAIR);
        std::future::ready(if effects.is_empty() {
            Err(sink.effects())
        } else {
            Ok(())
        })
    })
    .await;

    fleet.executors.remove(0).kill9();
    sink.release();
    let other = fleet.executor(RoleOptions::default()).await;
    fleet.executors.push(other);
    (fleet, sink, run)
}

fn only_effect(sink: &Sink) -> Effect {
    let effects = sink.effects_at(REPAIR);
    assert_eq!(effects.len(), 1, "one key for one effect: {effects:?}");
    effects.into_values().next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotent_effect_is_asked_for_again_with_its_key_and_done_once() {
    let (fleet, sink, run) = crash_in_the_repair("idempotent").await;
    assert_eq!(fleet.wait_run_end(&run).await.status, "completed");

    let effect = only_effect(&sink);
    assert_eq!((effect.requests, effect.executions), (2, 1));
    assert_eq!(effect.bodies[0], effect.bodies[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_of_once_is_never_repeated_and_its_unknown_outcome_is_seen() {
    let (fleet, sink, run) = crash_in_the_repair("once").await;
    // The agent is told, and its policy hands what is unknown to a person.
    let end = fleet.wait_run_end(&run).await;
    assert_eq!(end.status, "escalated");
    let reason = end.reason.unwrap_or_default();
    assert!(reason.contains("unknown"), "{reason}");

    let effect = only_effect(&sink);
    assert_eq!((effect.requests, effect.executions), (1, 1));
    let journal = fleet.journal(&run).await;
    let outcomes: Vec<_> = journal
        .of("resulted", Some("repair"))
        .map(|entry| entry.text("/outcome/kind"))
        .collect();
    assert_eq!(outcomes, ["unknown"]);
}
