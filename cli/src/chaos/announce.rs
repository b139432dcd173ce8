//! What people are told before it begins.

use super::{Options, schedule::Fault};
use crate::style::{bold, dim};

/// What will be done.
pub(super) fn all(options: &Options, schedule: &[Fault]) {
    println!(
        "{} · {} runs, then {} scenes · again with {}",
        bold(format!("chaos, {}", options.profile())),
        options.runs,
        options.scenes.len(),
        bold(format!("--seed {}", options.seed))
    );
    faults(schedule);
}

/// What goes wrong when.
pub(super) fn faults(schedule: &[Fault]) {
    for fault in schedule {
        let at = fault.at_ms / 100;
        let span = fault.span_ms / 100;
        println!(
            "{}",
            dim(format!(
                "  {:>4}.{} s  {:<15} {:>2}.{} s  {}",
                at / 10,
                at % 10,
                fault.kind.name(),
                span / 10,
                span % 10,
                fault.target
            ))
        );
    }
}
