//! Planners killed at every point of the order of writes, over a thousand runs: what a kill costs is one call at most, only while
//! that call is in flight, and the journal says so.

use std::collections::BTreeSet;

use flotilla_tests::{Fleet, PATIENCE, Role, RoleOptions, Sink, eventually};

use crate::flows::{CALLS, assert_decided_and_done_once, incidents, submit_many};

/// Runs for each of the points.
const RUNS: usize = 200;
const PLANNERS: usize = 4;
/// Kills for each of the points.
const KILLS: usize = 12;
/// Passages of a point before the kill: different for each, so that it meets different calls of different runs.
const PASSAGES: [usize; 4] = [3, 11, 7, 16];

/// Runs that many events while planners die at `point`, each as soon as it has passed it a few times, until there were enough
/// kills. Gives how often it happened.
async fn kill_at(fleet: &mut Fleet, point: &str, ended: usize) -> usize {
    let ids = (0..RUNS).map(|n| format!("{point}-{n}"));
    let submitted = submit_many(fleet, ids).await;
    assert_eq!(submitted.len(), RUNS);
    let mut kills = 0;
    let mut planners: Vec<Role> = Vec::new();
    // One slot each: a kill meets one run.
    let one = || RoleOptions::default().env("FLOTILLA_SLOTS", "1");
    let deadly = |kills: usize| {
        let passages = PASSAGES[kills % PASSAGES.len()];
        one().env("FLOTILLA_KILL_AT", format!("{point}:{passages}"))
    };
    for place in 0..PLANNERS {
        planners.push(fleet.planner(deadly(place)).await);
    }
    while kills < KILLS {
        let dead = eventually("a planner dies where it should", PATIENCE, || {
            let dead = planners
                .iter_mut()
                .position(|planner| planner.exited().is_some());
            async move { dead.ok_or("all of them live") }
        })
        .await;
        kills += 1;
        let next = if kills + PLANNERS <= KILLS {
            deadly(kills)
        } else {
            one()
        };
        planners[dead] = fleet.planner(next).await;
    }
    fleet.wait_ends(ended + RUNS, 3 * PATIENCE).await;
    kills
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_thousand_runs_a_kill_costs_one_call_in_flight_and_nothing_after_the_reply_is_saved()
{
    let sink = Sink::start().await;
    let mut fleet = Fleet::builder()
        .workflows(incidents(&sink, "idempotent"))
        .planners(0)
        .executors(2)
        .start()
        .await;
    let mut before = BTreeSet::new();
    let points = [
        "claimed",
        "replied",
        "reply_saved",
        "appended",
        "state_saved",
    ];
    for point in points {
        let kills = kill_at(&mut fleet, point, before.len()).await;
        let mut runs = fleet.runs().await;
        runs.retain(|run| !before.contains(&run.id));
        assert_eq!(runs.len(), RUNS);
        for run in &runs {
            let seen = (run.status.as_str(), run.model_calls);
            assert_eq!(seen, ("completed", CALLS as u64), "{}", run.id);
        }
        let wasted: u64 = runs.iter().map(|run| run.wasted_calls).sum();
        let ledger = fleet.sim.calls_by_run().await;
        let paid: usize = runs.iter().filter_map(|run| ledger.get(&run.id)).sum();
        println!(
            "{point}: {kills} kills, {paid} calls paid for {RUNS} runs of {CALLS}, {wasted} told as wasted"
        );
        if point == "replied" {
            assert_eq!(paid, RUNS * CALLS + kills, "one call for each kill");
            assert_eq!(wasted, kills as u64, "and each of them is told");
        } else {
            assert_eq!(paid, RUNS * CALLS, "no call is paid twice");
        }
        before.extend(runs.into_iter().map(|run| run.id));
    }
    assert_decided_and_done_once(&fleet, &sink, &before).await;
}
