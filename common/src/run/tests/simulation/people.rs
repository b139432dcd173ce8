//! What people do: verdicts, right and wrong ones, and everything else that a run can be told.

use super::{super::*, ledger::Asked, schedule::Deed, world::World};
use crate::{entry::Judged, run::tests::script::Choices};

/// What people let a run cost that waits for them.
const RAISED: u64 = 1_000_000_000;

/// One deed, at whatever run and question comes to hand.
pub(super) fn does(world: &mut World, deed: Deed) {
    world.note(|| format!("a person: {deed:?}"));
    let runs: Vec<RunId> = world.tracks.keys().cloned().collect();
    let run = world.random.pick(&runs).clone();
    let told = Signalled {
        id: format!("p{}", world.unique()),
        ..Signalled::default()
    };
    match deed {
        Deed::Approve | Deed::Modify | Deed::Reject | Deed::Wrong => {
            if let Some(asked) = world.ledger.asked.last().cloned() {
                judge(world, &asked, deed);
            }
        }
        Deed::Old => {
            if !world.ledger.asked.is_empty() {
                let asked = world.random.pick(&world.ledger.asked).clone();
                judge(world, &asked, Deed::Approve);
            }
        }
        Deed::Cancel { compensate } => {
            world.signal(&run, SIGNAL_CANCEL, Signalled { compensate, ..told })
        }
        Deed::Pause => world.signal(&run, SIGNAL_PAUSE, told),
        Deed::Resume => world.signal(&run, SIGNAL_RESUME, told),
        Deed::Retry(n) => {
            let workflow = Arc::clone(&world.tracks[&run].workflow);
            let steps: Vec<_> = workflow
                .steps
                .iter()
                .flat_map(crate::definition::Step::tree)
                .collect();
            let step = steps.get(n % steps.len()).map(|step| step.id.clone());
            world.signal(&run, SIGNAL_RETRY, Signalled { step, ..told });
        }
        Deed::Message => world.signal(
            &run,
            SIGNAL_MESSAGE,
            Signalled {
                text: Some("Mind the step.".into()),
                ..told
            },
        ),
        Deed::Raise => raise(world, &run, None, 200_000),
    }
}

fn raise(world: &mut World, run: &RunId, step: Option<&Name>, usd: u64) {
    world.ledger.raised(run, step, usd);
    let told = Signalled {
        id: format!("p{}", world.unique()),
        usd_nano: Some(Usd::from_nano(usd)),
        step: step.cloned(),
        ..Signalled::default()
    };
    world.signal(run, SIGNAL_RAISE, told);
}

fn judge(world: &mut World, asked: &Asked, deed: Deed) {
    let with = asked
        .with
        .clone()
        .filter(|_| deed == Deed::Modify)
        .map(|_| json!({"id": "modified"}));
    let hash = if deed == Deed::Wrong {
        "00".repeat(32)
    } else {
        asked.hash.clone()
    };
    let name = if deed == Deed::Reject {
        SIGNAL_REJECT
    } else {
        SIGNAL_APPROVE
    };
    let signalled = Signalled {
        id: format!("p{}", world.unique()),
        by: Some("ann".into()),
        approval: Some(Judged {
            step: asked.slot.step.clone(),
            branch: asked.slot.branch,
            hash,
            with,
        }),
        ..Signalled::default()
    };
    world.signal(&asked.run, name, signalled);
}

/// Gives a run what it waits for, if that is a person. `false`: it does not wait for one.
pub(super) fn help(world: &mut World, id: &RunId) -> bool {
    let run = match Run::rebuild(id, world.tracks[id].journal.clone()) {
        Ok(run) => run,
        Err(error) => {
            world.violated(error.to_string());
            return false;
        }
    };
    let told = Signalled {
        id: format!("p{}", world.unique()),
        ..Signalled::default()
    };
    if run.paused.is_some() {
        world.signal(id, SIGNAL_RESUME, told);
        return true;
    }
    let open: Vec<String> = run
        .approvals()
        .map(|(_, approval, _)| approval.hash.clone())
        .collect();
    if let Some(hash) = open.first() {
        let asked = world
            .ledger
            .asked
            .iter()
            .find(|asked| asked.run == *id && asked.hash == *hash);
        let asked = asked.cloned().expect("what waits was asked");
        let deed = *world
            .random
            .pick(&[Deed::Approve, Deed::Approve, Deed::Modify, Deed::Reject]);
        judge(world, &asked, deed);
        return true;
    }
    let Some(parked) = run
        .parked
        .iter()
        .find(|parked| !parked.awake && parked.until.is_none())
    else {
        return false;
    };
    let is_child = run.depth() > 0;
    match parked.by {
        // What it may cost is its parent's to say.
        ParkedBy::Ceiling if is_child => world.signal(id, SIGNAL_CANCEL, told),
        ParkedBy::Ceiling => {
            raise(world, id, None, RAISED);
            raise(world, id, Some(&parked.step.step), RAISED);
        }
        ParkedBy::Blocked | ParkedBy::Unavailable | ParkedBy::Batch => {
            world.signal(id, SIGNAL_RESUME, told)
        }
        // No decision says so.
        ParkedBy::Dead => return false,
    }
    true
}
