//! The fleet in small: planners and executors that follow the real order of writes, with people, timers and runs within runs,
//! interleaved at every point where they wait for somebody else; with crashes, redeliveries, stalls, clocks that are wrong and a
//! Redis that forgets. One seed is one schedule of one definition, always the same.
//!
//! A seed that fails is printed, with the smallest schedule that was found from it. `FLOTILLA_SIM_SEED=n cargo test -p
//! flotilla-common simulation::replays -- --nocapture` replays one and shows all that happened; `FLOTILLA_SIM_SCHEDULES=n` sets how
//! many are run, `FLOTILLA_SIM_FROM=n` from which on.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "checks look for one kind of entry among all; what a new kind does to them, schedules show"
)]

mod asking;
mod broken;
mod checks;
mod claude;
mod executor;
mod family;
mod fleet;
mod flow;
mod lanes;
mod ledger;
mod people;
mod planner;
mod process;
mod questions;
mod queue;
mod redis;
mod schedule;
mod session;
mod shrink;
mod work;
mod world;

use std::time::Instant;

use fleet::simulate;
use ledger::Seen;
use schedule::Schedule;
use shrink::shrink;
use world::Broken;

/// Schedules of one `cargo test`.
const SCHEDULES: u64 = 20_000;

/// All that schedules must have met: those in which nothing happens would show nothing.
const KINDS: [&str; 30] = [
    "call",
    "effect",
    "approval",
    "append refused",
    "save refused",
    "rebuilt",
    "saved reply taken",
    "call held by another",
    "effect held by another",
    "done before",
    "in doubt",
    "batch",
    "fan-in",
    "doubted",
    "handed over",
    "side by side",
    "unwanted",
    "given up",
    "landed unknown",
    "parked",
    "money held by others",
    "child",
    "each",
    "sleep",
    "again",
    "undo",
    "review",
    "fail",
    "run",
    "undone",
];

fn number(name: &str) -> Option<u64> {
    let given = std::env::var(name).ok()?;
    Some(
        given
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not {given}")),
    )
}

/// A schedule that breaks a promise: how to see it again, and the smallest one that was found from it.
fn tell(seed: u64, wrong: &str, broken: Broken) -> String {
    let (small, found) = shrink(Schedule::of(seed), wrong.to_owned(), broken);
    let trace = simulate(&small, broken, true).trace.join("\n");
    format!(
        "{trace}\n\nthe smallest schedule found: {found}\n{small}\nseed {seed}: {wrong}\nreplay: FLOTILLA_SIM_SEED={seed} cargo test -p flotilla-common simulation::replays -- --nocapture"
    )
}

/// Runs schedules: so many seeds from `FLOTILLA_SIM_FROM` on.
fn schedules(seeds: std::ops::Range<u64>) {
    let from = number("FLOTILLA_SIM_FROM").unwrap_or(0);
    let seeds = from + seeds.start..from + seeds.end;
    let (began, count) = (Instant::now(), seeds.end - seeds.start);
    let mut seen = Seen::default();
    for seed in seeds {
        let report = simulate(&Schedule::of(seed), Broken::Nothing, false);
        if let Some(wrong) = report.wrong {
            panic!("{}", tell(seed, &wrong, Broken::Nothing));
        }
        seen.add(report.seen);
    }
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    println!(
        "{count} schedules, {:.0} a minute: {seen:?}",
        count as f64 / minutes
    );
    let rare: Vec<&str> = KINDS
        .into_iter()
        .filter(|kind| seen.count(kind) < 3)
        .collect();
    assert!(
        count < SCHEDULES / 2 || rare.is_empty(),
        "too rare: {rare:?}"
    );
}

// Two halves, for two cores.
#[test]
fn whatever_breaks_and_whoever_comes_between_every_promise_is_kept() {
    schedules(0..number("FLOTILLA_SIM_SCHEDULES").unwrap_or(SCHEDULES) / 2);
}

#[test]
fn whatever_breaks_and_whoever_comes_between_every_promise_is_kept_in_other_workflows() {
    let all = number("FLOTILLA_SIM_SCHEDULES").unwrap_or(SCHEDULES);
    schedules(all / 2..all);
}

#[test]
fn replays() {
    let seed = number("FLOTILLA_SIM_SEED");
    let schedule = Schedule::of(seed.unwrap_or(1));
    let (one, other) = (
        simulate(&schedule, Broken::Nothing, true),
        simulate(&schedule, Broken::Nothing, true),
    );
    assert_eq!(one.trace, other.trace, "a seed is one schedule");
    if seed.is_some() {
        println!("{}\n\n{schedule}", one.trace.join("\n"));
    }
    if let Some(wrong) = one.wrong {
        panic!("{}", tell(schedule.seed, &wrong, Broken::Nothing));
    }
}
