//! What must hold at every moment, and when everything is over.

use super::{super::*, world::World};

/// What a planner knows when it acknowledges is what the journal gives of the same entries.
pub(super) fn known_rebuilds(world: &mut World, run: &Run) {
    let chain = world
        .journal
        .iter()
        .filter(|entry| entry.address.kind == Kind::Decided && entry.seq <= run.chain);
    let mut known: BTreeSet<u64> = run.pending.iter().copied().collect();
    for link in chain {
        known.insert(link.seq);
        if let Body::Decided(decided) = &link.body {
            known.extend(&decided.rests);
        }
    }
    let entries = world
        .journal
        .iter()
        .filter(|entry| known.contains(&entry.seq))
        .cloned();
    // Nothing rests on pending entries yet, so a rebuild takes them in the journal's order, whatever order they arrived in.
    let in_order = run.pending.is_sorted();
    match Run::rebuild(&run.id, entries) {
        Ok(rebuilt) if !in_order || rebuilt == *run => {}
        Ok(_) => world.violated("what a planner knows is not what the journal gives".into()),
        Err(error) => world.violated(error.to_string()),
    }
}

/// A turn in which several tools were picked, and of which not all were decided.
fn in_part(journal: &[Entry]) -> Option<String> {
    let decided = |entry: &Entry| match &entry.body {
        Body::Decided(decided) if matches!(decided.decision, Decision::Act { .. }) => {
            Some((**decided).clone())
        }
        Body::Decided(_)
        | Body::Started(_)
        | Body::Resulted(_)
        | Body::Signalled(_)
        | Body::Fired(_) => None,
    };
    let acts: Vec<Decided> = journal.iter().filter_map(decided).collect();
    acts.iter().find_map(|first| {
        let picked = first.call.as_ref()?.attempts.last()?;
        let picked = picked
            .content
            .iter()
            .filter(|block| block["type"] == "tool_use");
        let (picked, step) = (picked.count(), &first.step);
        let there = acts.iter().filter(|act| act.step == *step).count();
        (picked != there).then(|| format!("{step} was decided in part: {there} of {picked}"))
    })
}

/// When nothing is underway any more.
pub(super) fn at_the_end(world: &mut World) {
    let mut decided = BTreeSet::new();
    let mut ends = 0;
    let mut problems = Vec::new();
    problems.extend(in_part(&world.journal));
    for entry in &world.journal {
        match &entry.body {
            Body::Decided(link) if matches!(link.decision, Decision::End { .. }) => ends += 1,
            Body::Decided(link) if matches!(link.decision, Decision::Park { .. }) => {}
            Body::Decided(link) => {
                if !decided.insert((link.step.clone(), link.branch)) {
                    problems.push(format!("{} was decided twice", link.step));
                }
            }
            Body::Resulted(resulted) => {
                let key = resulted.slot().idempotency_key(&world.id);
                if matches!(resulted.outcome, ToolOutcome::Ok { .. })
                    && !world.ledger.was_done(&key)
                {
                    problems.push(format!("{key} has a result and was never done"));
                }
            }
            Body::Started(_) | Body::Signalled(_) | Body::Fired(_) => {}
        }
    }
    if ends != 1 {
        problems.push(format!("the run ended {ends} times"));
    }
    match Run::rebuild(&world.id, world.journal.clone()) {
        Err(error) => problems.push(error.to_string()),
        Ok(run) if run.end.is_none() => problems.push("the journal has no end".into()),
        Ok(run) => {
            let live = world.redis.state();
            // It may be empty, or have an old state again after everybody has finished.
            if !world.redis.stale && live.is_some_and(|live| live != run) {
                problems.push("what Redis holds at the end is not what the journal gives".into());
            }
        }
    }
    for problem in problems {
        world.violated(problem);
    }
}
