//! A smaller schedule that fails too: parts are left out one by one, for as long as it goes on failing.

use std::rc::Rc;

use super::{
    fleet::simulate,
    schedule::{Definition, Schedule},
    world::Broken,
};

/// Schedules that may be run to find a smaller one.
const RUNS_MAX: usize = 600;
/// Interleavings that are tried of each: what is left out changes all that follows by chance.
const SEEDS: u64 = 3;

/// The smallest one found, and what is wrong there.
pub(super) fn shrink(
    mut schedule: Schedule,
    mut wrong: String,
    broken: Broken,
) -> (Schedule, String) {
    let mut runs = 0;
    'smaller: loop {
        for smaller in candidates(&schedule) {
            for seed in 0..SEEDS {
                let seed = schedule.seed.wrapping_add(seed);
                let one = Schedule {
                    seed,
                    ..smaller.clone()
                };
                if runs == RUNS_MAX {
                    return (schedule, wrong);
                }
                runs += 1;
                let found = simulate(&one, broken, false).wrong;
                if let Some(found) = found.filter(|found| kind(found) == kind(&wrong)) {
                    (schedule, wrong) = (one, found);
                    continue 'smaller;
                }
            }
        }
        return (schedule, wrong);
    }
}

/// What is wrong, without what it is about.
fn kind(wrong: &str) -> String {
    let words: Vec<&str> = wrong.split_whitespace().collect();
    let last = words.len().saturating_sub(4);
    words[last..]
        .join(" ")
        .replace(|c: char| c.is_ascii_digit(), "")
}

fn candidates(schedule: &Schedule) -> Vec<Schedule> {
    let mut all = Vec::new();
    for at in 0..schedule.faults.len() {
        let mut one = schedule.clone();
        one.faults.remove(at);
        all.push(one);
    }
    for at in 0..schedule.deeds.len() {
        let mut one = schedule.clone();
        one.deeds.remove(at);
        all.push(one);
    }
    let flows = schedule.definition.flow.smaller().into_iter();
    let right = flows.filter_map(|flow| Definition::compile(flow).ok());
    all.extend(right.map(|definition| Schedule {
        definition: Rc::new(definition),
        ..schedule.clone()
    }));
    all
}
