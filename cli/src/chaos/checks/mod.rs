//! What must hold, checked against the evidence. All of it is pure.

mod effects;
mod journal;
mod missing;
mod paid;
#[cfg(test)]
mod tests;

use flotilla_common::ids::RunId;

use super::{evidence::Evidence, load::Workload};

pub(super) use effects::{doubled, misapplied, not_undone};
pub(super) use journal::repeated;
pub(super) use missing::missing;
pub(super) use paid::{over_ceilings, paid};

/// Things that must not be, for people, and how many others there were that a fault explains.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) wrong: Vec<String>,
    pub(super) explained: usize,
}

/// Runs that were accepted and did not come to their report.
pub(super) fn lost(evidence: &Evidence) -> Vec<String> {
    let reports = evidence.reports();
    let accepted = evidence.accepted.iter();
    accepted
        .filter(|event| !reports.contains_key(event.run.as_str()))
        .map(|event| format!("{} ({})", event.run, event.workload.workflow(&evidence.kit)))
        .collect()
}

/// The runs of one kind that were accepted.
fn runs_of(evidence: &Evidence, workload: Workload) -> impl Iterator<Item = &RunId> {
    let accepted = evidence.accepted.iter();
    accepted
        .filter(move |event| event.workload == workload)
        .map(|event| &event.run)
}
