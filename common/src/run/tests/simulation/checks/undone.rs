//! What a failed run did is undone: all of it, once, the last first, one after the other; and nothing where nobody asked for it.

use super::{super::super::*, Track, folded};
use crate::{
    definition::{OnError, StepKind},
    ids::Aside,
};

/// Something that was done and has a way back.
struct Done {
    slot: Slot,
    /// Where its result stands in the journal.
    at: u64,
}

pub(super) fn complete(track: &Track) -> Option<String> {
    let entries = folded(&track.journal);
    let failing = entries
        .iter()
        .position(|entry| is(entry, |decision| matches!(decision, Decision::Undo { .. })));
    let cancels = entries.iter().find_map(|entry| match &entry.body {
        Body::Signalled(signalled) if entry.address.name.as_str() == SIGNAL_CANCEL => {
            Some(signalled.compensate)
        }
        _ => None,
    });
    let by_definition = track.workflow.on_failure.compensate;
    let asked = cancels == Some(true);
    let outcome = entries.iter().find_map(|entry| match &entry.body {
        Body::Decided(link) => match &link.decision {
            Decision::End { outcome, .. } => Some(*outcome),
            _ => None,
        },
        _ => None,
    });
    let must = match outcome {
        Some(Outcome::Failed) => by_definition,
        Some(Outcome::Cancelled) => asked,
        Some(Outcome::Escalated | Outcome::Completed) | None => false,
    };
    let Some(failing) = failing else {
        return must.then(|| "the run ended, and undid nothing".to_owned());
    };
    let undone: Vec<(usize, Slot)> = undone(&entries).collect();
    if !(by_definition || asked) {
        let partly = track
            .workflow
            .all_steps()
            .iter()
            .any(|step| step.on_error == OnError::Compensate);
        return undone
            .first()
            .filter(|_| !partly)
            .map(|(_, slot)| format!("{slot} was undone, and nobody asked for it"));
    }
    let done = done(track, &entries);
    let missing = done
        .iter()
        .find(|done| !undone.iter().any(|(_, slot)| *slot == done.slot));
    if let Some(missing) = missing {
        return Some(format!("{} was not undone", missing.slot));
    }
    let mut before = u64::MAX;
    for (_, slot) in undone.iter().filter(|(at, _)| *at > failing) {
        let Some(done) = done.iter().find(|done| done.slot == *slot) else {
            return Some(format!("{slot} was undone, and it was not done"));
        };
        if done.at > before {
            return Some(format!("{slot} was undone out of order"));
        }
        before = done.at;
    }
    in_turn(&entries, failing)
}

fn is(entry: &Entry, what: impl Fn(&Decision) -> bool) -> bool {
    matches!(&entry.body, Body::Decided(link) if what(&link.decision))
}

/// What was undone, as what was done.
fn undone<'e>(entries: &'e [&Entry]) -> impl Iterator<Item = (usize, Slot)> + 'e {
    entries
        .iter()
        .enumerate()
        .filter_map(|(at, entry)| match &entry.body {
            Body::Decided(link) if link.step.aside == Some(Aside::Undo) => {
                let step = StepKey {
                    aside: None,
                    ..link.step.clone()
                };
                Some((
                    at,
                    Slot {
                        step,
                        branch: link.branch,
                    },
                ))
            }
            _ => None,
        })
}

fn done(track: &Track, entries: &[&Entry]) -> Vec<Done> {
    let acts = entries
        .iter()
        .filter(|entry| is(entry, |decision| matches!(decision, Decision::Act { .. })));
    let done = acts.filter_map(|entry| {
        let Body::Decided(link) = &entry.body else {
            return None;
        };
        let Decision::Act { tool, .. } = &link.decision else {
            return None;
        };
        if link.step.aside.is_some() || !has_way_back(track, link, tool) {
            return None;
        }
        let (at, outcome) = entries.iter().find_map(|one| match &one.body {
            Body::Resulted(resulted) if resulted.decided == entry.seq => {
                Some((one.seq, &resulted.outcome))
            }
            _ => None,
        })?;
        let slot = Slot {
            step: link.step.clone(),
            branch: link.branch,
        };
        matches!(
            outcome,
            ToolOutcome::Ok { .. } | ToolOutcome::Unknown { .. }
        )
        .then_some(Done { slot, at })
    });
    done.collect()
}

fn has_way_back(track: &Track, link: &Decided, tool: &Name) -> bool {
    match track.workflow.step(&link.step.step).map(|step| &step.kind) {
        Some(StepKind::Tool(step)) => step.compensate.is_some() || step.tool.compensate.is_some(),
        Some(StepKind::Agent(agent)) => agent
            .tools
            .iter()
            .any(|one| one.name == *tool && one.compensate.is_some()),
        _ => false,
    }
}

/// One after the other: the next is decided when the one before has its result.
fn in_turn(entries: &[&Entry], failing: usize) -> Option<String> {
    let mut open: Option<u64> = None;
    for entry in entries.iter().skip(failing) {
        match &entry.body {
            Body::Decided(link) if link.step.aside == Some(Aside::Undo) => {
                if open.is_some() {
                    return Some(format!(
                        "{} was begun before the one before it was over",
                        link.step
                    ));
                }
                open = Some(entry.seq);
            }
            Body::Resulted(resulted) if open == Some(resulted.decided) => open = None,
            _ => {}
        }
    }
    None
}
