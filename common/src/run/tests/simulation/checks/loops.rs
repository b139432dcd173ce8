//! Loops keep their width, and runs their number of decisions.

use std::collections::BTreeMap;

use super::{super::super::*, Track};
use crate::definition::{EachStep, Step, StepKind};

/// Items in work at once, by what executors have in hand.
pub(super) fn within_width(track: &Track) -> Option<String> {
    let steps = track.workflow.all_steps();
    let loops = steps.into_iter().filter_map(|step| match &step.kind {
        // What took too long is over for its loop, and may still be in somebody's hands.
        StepKind::Each(each) if step.tree().iter().all(|step| step.timeout.is_none()) => {
            Some((step, each))
        }
        _ => None,
    });
    loops
        .into_iter()
        .find_map(|(step, each)| too_wide(track, step, each))
}

fn too_wide(track: &Track, step: &Step, each: &EachStep) -> Option<String> {
    let within: Vec<&Name> = step
        .tree()
        .into_iter()
        .skip(1)
        .map(|step| &step.id)
        .collect();
    let depth = depth(&track.workflow.steps, &step.id, 0)?;
    let mut open: BTreeMap<u64, (Vec<u32>, u32)> = BTreeMap::new();
    for entry in &track.journal {
        match &entry.body {
            Body::Decided(link)
                if matches!(link.decision, Decision::Act { .. }) && link.step.aside.is_none() =>
            {
                let items = &link.step.items;
                if within.contains(&&link.step.step)
                    && let Some(item) = items.get(depth)
                {
                    open.insert(entry.seq, (items[..depth].to_vec(), *item));
                    let around = &items[..depth];
                    let here: BTreeSet<u32> = open
                        .values()
                        .filter(|(one, _)| one == around)
                        .map(|(_, item)| *item)
                        .collect();
                    if here.len() > each.width as usize {
                        return Some(format!(
                            "loop `{}` has {} items in work, and its width is {}",
                            step.id,
                            here.len(),
                            each.width
                        ));
                    }
                }
            }
            Body::Resulted(resulted) => drop(open.remove(&resulted.decided)),
            _ => {}
        }
    }
    None
}

/// How many loops are around a step.
fn depth(steps: &[Step], id: &Name, around: usize) -> Option<usize> {
    steps.iter().find_map(|step| {
        let deeper = around + usize::from(matches!(step.kind, StepKind::Each(_)));
        if step.id == *id {
            Some(around)
        } else {
            depth(step.within(), id, deeper)
        }
    })
}

/// Decisions until the run fails or ends.
pub(super) fn within_limit(track: &Track) -> Option<String> {
    let decisions = track.journal.iter().filter_map(|entry| match &entry.body {
        Body::Decided(decided) => Some(&decided.decision),
        _ => None,
    });
    let before = decisions
        .take_while(|decision| !matches!(decision, Decision::Undo { .. } | Decision::End { .. }));
    // What a person wants begun anew is begun anew.
    let counts = |decision: &&Decision| {
        !matches!(
            decision,
            Decision::Park { .. } | Decision::Abandon {} | Decision::Again { until: None, .. }
        )
    };
    let count = before.filter(counts).count();
    let most = track.workflow.limits.steps as usize;
    (count > most).then(|| format!("{count} decisions, and limits.steps is {most}"))
}
