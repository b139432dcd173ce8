//! What the raw journal must look like.

use std::collections::BTreeSet;

use flotilla_common::{
    entry::{Body, Decision, Entry},
    ids::RunId,
    run::Run,
};

use super::super::{evidence::Evidence, poison::POISONED_RUN};

/// Steps that were decided twice, runs that ended twice, and chains that do not hold.
pub(in crate::chaos) fn repeated(evidence: &Evidence) -> Vec<String> {
    let mut wrong = evidence.unreadable.clone();
    for (run, entries) in &evidence.journal {
        if run.as_str() != POISONED_RUN {
            wrong.extend(of_run(run, entries));
        }
    }
    wrong
}

fn of_run(run: &RunId, entries: &[Entry]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut decided = BTreeSet::new();
    let mut ends = 0;
    for entry in entries {
        let Body::Decided(link) = &entry.body else {
            continue;
        };
        match &link.decision {
            // These may come as often as they are needed.
            Decision::Park { .. } | Decision::Abandon {} | Decision::Again { .. } => {}
            Decision::End { .. } => ends += 1,
            Decision::Act { .. }
            | Decision::Answer { .. }
            | Decision::Finish { .. }
            | Decision::Branch { .. }
            | Decision::Skip {}
            | Decision::Begin { .. }
            | Decision::Each { .. }
            | Decision::Sleep { .. }
            | Decision::Approve(_)
            | Decision::Run { .. }
            | Decision::Review { .. }
            | Decision::Fail { .. }
            | Decision::Undo { .. } => {
                let name = entry.address.name.to_string();
                let slot = (link.step.to_string(), link.branch, name);
                if !decided.insert(slot) {
                    wrong.push(format!("{} of {run} was decided twice", link.step));
                }
            }
        }
    }
    if ends > 1 {
        wrong.push(format!("{run} ended {ends} times"));
    }
    if let Err(problem) = Run::rebuild(run, entries.iter().cloned()) {
        wrong.push(problem.to_string());
    }
    wrong
}
