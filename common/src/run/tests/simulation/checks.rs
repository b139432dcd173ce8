//! What must hold at every moment, and when everything is over. Most of it is read off the journal, not off the fold.

mod approvals;
mod loops;
mod undone;
mod used;

use super::{
    super::*,
    world::{Track, World},
};
use crate::run::tests::script::Choices;

pub(super) use approvals::is_allowed;

/// How many states are compared with what the journal gives: one in so many.
const COMPARED: usize = 3;

/// The entries of a journal in the order in which decisions rest on them; what no decision rests on is not among them.
fn folded(journal: &[Entry]) -> Vec<&Entry> {
    let of = |seq: &u64| journal.iter().find(|entry| entry.seq == *seq);
    let links = journal.iter().filter_map(|entry| match &entry.body {
        Body::Decided(decided) => Some((entry, decided)),
        _ => None,
    });
    let all = links.flat_map(|(link, decided)| decided.rests.iter().filter_map(of).chain([link]));
    all.collect()
}

/// The entries that are folded into a state.
fn known(journal: &[Entry], run: &Run) -> BTreeSet<u64> {
    let mut known: BTreeSet<u64> = run.pending.iter().copied().collect();
    for entry in journal.iter().filter(|entry| entry.seq <= run.chain) {
        if let Body::Decided(decided) = &entry.body {
            known.insert(entry.seq);
            known.extend(&decided.rests);
        }
    }
    known
}

/// What planners have acknowledged is known to all who come after, or changes nothing. Where Redis had an old state again, it is to
/// whoever is to wait for others: nobody would come after. Where Redis was emptied, a beginning that comes late is taken for new.
pub(super) fn knows(world: &mut World, run: &Run, acked: &BTreeSet<u64>) {
    let begins = run.version == 1 && world.redis.lost_at.is_some();
    let excused = begins || (world.redis.stale && !run.awaits_others());
    if excused || run.end.is_some() || !world.random.once_in(COMPARED) {
        return;
    }
    let journal = &world.tracks[&run.id].journal;
    let known = known(journal, run);
    let forgotten = journal.iter().find(|entry| {
        let is_unknown = acked.contains(&entry.seq) && !known.contains(&entry.seq);
        is_unknown && run.clone().fold(entry) == Ok(Folded::New)
    });
    if let Some(entry) = forgotten {
        let seq = entry.seq;
        world.violated(format!(
            "a planner does not know of #{seq}, which was acknowledged"
        ));
    }
}

/// What a planner knows when it acknowledges is what the journal gives of the same entries.
pub(super) fn known_rebuilds(world: &mut World, run: &Run) {
    // Nothing rests on pending entries yet, so a rebuild takes them in the journal's order, whatever order they arrived in.
    if !run.pending.is_sorted() || !world.random.once_in(COMPARED) {
        return;
    }
    let journal = &world.tracks[&run.id].journal;
    let known = known(journal, run);
    let entries = journal
        .iter()
        .filter(|entry| known.contains(&entry.seq))
        .cloned();
    match Run::rebuild(&run.id, entries.collect::<Vec<_>>()) {
        Ok(rebuilt) if rebuilt == *run => {}
        Ok(_) => world.violated("what a planner knows is not what the journal gives".into()),
        Err(error) => world.violated(error.to_string()),
    }
}

/// Nobody is at work, and no message is on its way: each run that goes on waits for time, a person, or a run within it.
pub(super) fn none_is_lost(world: &mut World, open: &[RunId]) {
    let journal = |id: &RunId| world.tracks[id].journal.clone();
    let lost = open.iter().filter(|id| !world.is_timed(id)).find_map(|id| {
        let run = Run::rebuild(id, journal(id)).ok()?;
        let by_person = run.paused.is_some() || run.approvals().next().is_some();
        let parked = run
            .parked
            .iter()
            .any(|parked| !parked.awake && parked.until.is_none());
        let within = run.children().any(|child| open.contains(&child.run));
        (!by_person && !parked && !within)
            .then(|| format!("run {id:.6} is lost: nothing will wake it"))
    });
    if let Some(lost) = lost {
        world.violated(lost);
    }
}

/// When nothing is underway any more.
pub(super) fn at_the_end(world: &mut World) {
    let mut problems: Vec<String> = used::as_runs_say(world).into_iter().collect();
    for (id, track) in &world.tracks {
        problems.extend(in_part(&track.journal));
        problems.extend(once(track));
        problems.extend(done(world, id, track));
        problems.extend(world.ledger.all_told(id));
        problems.extend(undone::complete(track));
        problems.extend(loops::within_width(track));
        problems.extend(loops::within_limit(track));
        match Run::rebuild(id, track.journal.clone()) {
            Err(error) => problems.push(error.to_string()),
            Ok(run) if run.end.is_none() => problems.push("the journal has no end".into()),
            Ok(run) => {
                let live = world.redis.state(id);
                // It may be empty, or have an old state again after everybody has finished.
                if !world.redis.stale && live.is_some_and(|live| *live != run) {
                    problems
                        .push("what Redis holds at the end is not what the journal gives".into());
                }
            }
        }
    }
    for problem in problems {
        world.violated(problem);
    }
}

/// A turn in which several tools were picked, and of which not all were decided.
fn in_part(journal: &[Entry]) -> Option<String> {
    let decided = journal.iter().filter_map(|entry| match &entry.body {
        Body::Decided(decided) if decided.step.turn.is_some() && decided.step.aside.is_none() => {
            Some(decided)
        }
        _ => None,
    });
    let is_use =
        |decision: &Decision| matches!(decision, Decision::Act { .. } | Decision::Approve(_));
    let uses: Vec<&Decided> = decided
        .filter(|link| is_use(&link.decision))
        .map(|link| &**link)
        .collect();
    uses.iter().find_map(|first| {
        let taken = first
            .call
            .as_ref()?
            .attempts
            .last()
            .filter(|last| last.complaint.is_none())?;
        let picked = taken
            .content
            .iter()
            .filter(|block| block["type"] == "tool_use");
        let (picked, step) = (picked.count(), &first.step);
        let branches: BTreeSet<u32> = uses
            .iter()
            .filter(|one| one.step == *step)
            .map(|one| one.branch)
            .collect();
        let there = branches.len();
        (picked != there).then(|| format!("{step} was decided in part: {there} of {picked}"))
    })
}

/// It was started once, and ended once.
fn once(track: &Track) -> Option<String> {
    let count =
        |is: fn(&Body) -> bool| track.journal.iter().filter(|entry| is(&entry.body)).count();
    let ends = count(
        |body| matches!(body, Body::Decided(d) if matches!(d.decision, Decision::End { .. })),
    );
    let begins = count(|body| matches!(body, Body::Started(_)));
    if begins != 1 {
        return Some(format!("a run was started {begins} times"));
    }
    (ends != 1).then(|| format!("the run ended {ends} times"))
}

/// What has a good result was done.
fn done(world: &World, id: &RunId, track: &Track) -> Option<String> {
    track.journal.iter().find_map(|entry| match &entry.body {
        Body::Resulted(resulted) if matches!(resulted.outcome, ToolOutcome::Ok { .. }) => {
            let key = resulted.slot().idempotency_key(id);
            let is_run = resulted.tool.as_str() == crate::entry::RESERVED_RUN;
            (!is_run && !world.ledger.was_done(&key))
                .then(|| format!("{} has a result and was never done", resulted.slot()))
        }
        _ => None,
    })
}
