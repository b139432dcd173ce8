//! The checks are worth something: each rule of the protocol, broken on purpose, is noticed.

use super::*;

#[track_caller]
fn is_noticed(broken: Broken, as_one_of: &[&str]) {
    let found = (0..2_000).find_map(|seed| simulate(seed, broken).wrong.map(|wrong| (seed, wrong)));
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
fn a_reply_that_is_not_saved_before_the_append_is_noticed() {
    is_noticed(
        Broken::SaveBeforeAppend,
        &["is paid again after its reply was saved"],
    );
}

#[test]
fn states_saved_without_a_comparison_are_noticed() {
    is_noticed(
        Broken::CompareAndSet,
        &[
            "does not know of a cancel",
            "at the end is not what the journal gives",
        ],
    );
}

#[test]
fn states_saved_onto_an_emptied_redis_are_noticed() {
    let forgotten = "does not know of a cancel";
    is_noticed(
        Broken::KeepPlace,
        &[forgotten, "at the end is not what the journal gives"],
    );
}

#[test]
fn a_parked_run_without_a_timer_is_noticed() {
    is_noticed(Broken::WakeAfterCrash, &["no end after"]);
}

#[test]
fn half_a_batch_is_noticed() {
    is_noticed(
        Broken::AtomicBatch,
        &["has no result", "was decided in part"],
    );
}

#[test]
fn a_stale_state_that_is_believed_about_the_last_of_several_results_is_noticed() {
    is_noticed(Broken::DoubtFanIn, &["no end after"]);
}

#[test]
fn effects_without_a_claim_are_noticed() {
    is_noticed(Broken::ClaimEffect, &["and it may be done once"]);
}

#[test]
fn effects_repeated_in_doubt_are_noticed() {
    is_noticed(Broken::UnknownStaysUnknown, &["and it may be done once"]);
}
