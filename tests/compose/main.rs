//! The shipped `docker-compose.yml`, unchanged, under load and in trouble: scaled, killed, paused, cut off. Started by
//! `deploy/compose-test`, which sees to Docker and the images.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on stops where it is"
)]

mod judge;
mod stack;
mod trouble;
mod workflows;

use std::net::Ipv4Addr;

use flotilla_tests::{Gateway, Load, Sink};
use serde_json::{Value, json};

use judge::Judge;
use stack::{Compose, Stack};

/// Runs that are submitted at least, however quick the trouble is over.
const RUNS_MIN: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_run_is_lost_and_no_effect_doubled_whatever_happens_to_containers() {
    let mut stack = Stack::create(Compose::V1, &["docker-compose.yml"]).await;
    let sink = Sink::start_at(stack.host().await).await;
    stack.workflows(&workflows::files(&sink));
    stack.up(2, 2).await;
    stack.is_confined().await;

    let load = load(&stack).await;
    trouble::all(&mut stack, &sink).await;
    let runs = load.stop(RUNS_MIN).await;
    let judge = Judge::wait(&stack, runs).await;
    judge.effects(&sink).await;
    judge.claude().await;

    stack.tells_how_full_nats_is().await;
    stack.nobody_was_refused().await;
    stack.stops_gracefully().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_three_loses_a_server_and_no_run() {
    let files = ["docker-compose.yml", "deploy/compose/cluster.yml"];
    let mut stack = Stack::create(Compose::V1, &files).await;
    let sink = Sink::start_at(stack.host().await).await;
    stack.workflows(&workflows::files(&sink));
    stack.up(1, 1).await;

    let load = load(&stack).await;
    for server in ["nats", "nats-2", "nats-3"] {
        trouble::progress(&sink).await;
        stack.kill(&stack.container(server).await).await;
        trouble::progress(&sink).await;
        stack.start(server).await;
    }
    let runs = load.stop(1).await;
    let judge = Judge::wait(&stack, runs).await;
    judge.effects(&sink).await;
    stack.nobody_was_refused().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chaos_profile_prints_a_scorecard_that_passes_though_a_planner_is_killed() {
    let mut stack = Stack::create(Compose::V2, &["docker-compose.yml"]).await;
    let sink = Sink::start_at(stack.host().await).await;
    stack.workflows(&workflows::files(&sink));
    stack.up(1, 1).await;

    stack.start_chaos().await;
    stack.kill(&stack.container("planner").await).await;
    stack.start("planner").await;
    let (code, log) = stack.chaos_ended().await;
    assert_eq!(code, 0, "{log}");
    for told in ["runs lost", "calls paid twice", "passed: nothing was lost"] {
        assert!(log.contains(told), "{told}: {log}");
    }
    stack.nobody_was_refused().await;
}

async fn load(stack: &Stack) -> Load {
    let gateway = Gateway::new(stack.gateway(), stack.token().await);
    Load::start(vec![gateway], event)
}

fn event(n: usize) -> Value {
    json!({"specversion": "1.0", "type": workflows::EVENT, "source": "compose-test", "id": n.to_string(), "data": {"n": n}})
}

/// An address as Docker writes it.
fn address(text: &str) -> Ipv4Addr {
    text.trim().parse().expect("an address")
}
