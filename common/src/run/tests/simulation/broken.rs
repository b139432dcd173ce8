//! The checks are worth something: each rule of the protocol, broken on purpose, is noticed.

use super::{schedule::Fault, *};

/// Seeds within which each broken rule must be noticed.
const SEEDS: u64 = 4_000;

/// Planners crash, and nothing else breaks.
fn crashes(fault: Fault) -> Fault {
    match fault {
        Fault::Crash(place) | Fault::Stall(place, _) | Fault::Skew(place, _) => {
            Fault::Crash(place % 2)
        }
        Fault::Empty | Fault::Redeliver | Fault::Repeat => Fault::Crash(0),
        Fault::Restart | Fault::FireAgain => Fault::Crash(1),
    }
}

/// What is in work comes again, and planners crash.
fn comes_again(fault: Fault) -> Fault {
    match fault {
        Fault::Crash(_) | Fault::Stall(..) | Fault::Skew(..) => crashes(fault),
        Fault::Empty | Fault::Restart | Fault::Redeliver | Fault::Repeat | Fault::FireAgain => {
            Fault::Redeliver
        }
    }
}

#[track_caller]
fn is_noticed(broken: Broken, as_one_of: &[&str]) {
    is_noticed_where(broken, as_one_of, |fault| fault);
}

/// The same with other faults: some rules only matter where the right ones come together.
#[track_caller]
fn is_noticed_where(broken: Broken, as_one_of: &[&str], instead: fn(Fault) -> Fault) {
    let found = (0..SEEDS).find_map(|seed| {
        let mut schedule = Schedule::of(seed);
        for (_, fault) in &mut schedule.faults {
            *fault = instead(*fault);
        }
        let wrong = simulate(&schedule, broken, false).wrong?;
        Some((seed, wrong))
    });
    let (seed, wrong) = found.expect("no schedule shows it");
    println!("{broken:?}: seed {seed}: {wrong}");
    assert!(
        as_one_of.iter().any(|known| wrong.contains(known)),
        "seed {seed}: {wrong}"
    );
}

#[test]
fn appends_that_expect_nothing_are_noticed() {
    is_noticed(
        Broken::ExpectedSequence,
        &[
            "decided twice",
            "is broken at entry",
            "does not fold",
            "the run ended",
        ],
    );
}

#[test]
fn a_result_folded_twice_is_noticed() {
    is_noticed(
        Broken::FoldOnce,
        &["is broken at entry", "is not what the journal gives"],
    );
}

#[test]
fn a_timer_folded_twice_is_noticed() {
    is_noticed(
        Broken::FireOnce,
        &["is broken at entry", "is not what the journal gives"],
    );
}

#[test]
fn a_timer_that_is_lost_when_it_is_set_again_is_noticed() {
    is_noticed(Broken::ReplacedTimer, &["is lost: nothing will wake it"]);
}

#[test]
fn a_verdict_on_something_else_is_noticed() {
    is_noticed(
        Broken::ApprovalHash,
        &[
            "before anybody said yes",
            "is broken at entry",
            "is not what the journal gives",
        ],
    );
}

#[test]
fn effects_that_are_not_undone_after_a_crash_are_noticed() {
    is_noticed_where(Broken::UndoAfterCrash, &["was not undone"], crashes);
}

#[test]
fn a_run_within_a_run_that_is_started_twice_is_noticed() {
    is_noticed(Broken::ChildOnce, &["a run was started 2 times"]);
}

#[test]
fn a_run_within_a_run_that_is_not_started_after_a_crash_is_noticed() {
    let known = ["is lost: nothing will wake it"];
    is_noticed_where(Broken::ChildAfterCrash, &known, crashes);
}

#[test]
fn a_reply_that_is_not_saved_before_the_append_is_noticed() {
    is_noticed(
        Broken::SaveBeforeAppend,
        &["is paid again after its reply was saved"],
    );
}

#[test]
fn calls_without_a_claim_are_noticed() {
    is_noticed(
        Broken::ClaimCall,
        &["is paid again after its reply was saved", "wasted of"],
    );
}

#[test]
fn a_state_that_hides_the_old_copy_it_rests_on_is_noticed() {
    let known = ["does not know of", "is lost"];
    is_noticed_where(Broken::DoubtHandedOn, &known, |fault| match fault {
        Fault::Stall(..) | Fault::Empty => Fault::Restart,
        other => other,
    });
}

#[test]
fn replies_that_two_planners_tell_are_noticed() {
    is_noticed(Broken::TellOnce, &["twice"]);
}

#[test]
fn entries_that_are_acknowledged_while_the_handling_that_took_them_in_goes_on_are_noticed() {
    let known = ["is lost: nothing will wake it"];
    is_noticed_where(Broken::HoldHanded, &known, comes_again);
}

#[test]
fn money_that_is_not_held_is_noticed() {
    is_noticed(Broken::HoldMoney, &["and may cost"]);
}

#[test]
fn states_saved_without_a_comparison_are_noticed() {
    let forgotten = "does not know of";
    is_noticed(
        Broken::CompareAndSet,
        &[
            forgotten,
            "at the end is not what the journal gives",
            "is lost",
        ],
    );
}

#[test]
fn states_saved_onto_an_emptied_redis_are_noticed() {
    let forgotten = "does not know of";
    let known = [
        forgotten,
        "at the end is not what the journal gives",
        "is lost",
    ];
    is_noticed_where(Broken::KeepPlace, &known, |fault| match fault {
        Fault::Crash(_) | Fault::Restart => Fault::Empty,
        other => other,
    });
}

#[test]
fn a_waiting_run_without_a_timer_is_noticed() {
    let known = ["is lost: nothing will wake it"];
    is_noticed_where(Broken::WakeAfterCrash, &known, crashes);
}

#[test]
fn half_a_batch_is_noticed() {
    is_noticed(
        Broken::AtomicBatch,
        &["has no result", "was decided in part", "is broken at entry"],
    );
}

#[test]
fn a_stale_state_that_is_believed_about_the_last_of_several_results_is_noticed() {
    let known = ["is lost: nothing will wake it", "does not know of"];
    is_noticed(Broken::DoubtFanIn, &known);
}

#[test]
fn effects_without_a_claim_are_noticed() {
    is_noticed(Broken::ClaimEffect, &["and it may be done once"]);
}

#[test]
fn effects_repeated_in_doubt_are_noticed() {
    is_noticed(Broken::UnknownStaysUnknown, &["and it may be done once"]);
}
