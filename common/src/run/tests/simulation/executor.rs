//! An executor, in the order of its writes: look, claim, run, append the result, mark the claim done, ack.

use super::{
    super::*,
    checks,
    process::Process,
    queue::{ACK_WAIT, Message},
    redis::{Claimed, Lease},
    world::{Broken, World},
};
use crate::{definition::Effect, names::key, run::tests::script::Choices};

/// Handles decisions for ever.
pub(super) async fn executor(process: Process) {
    loop {
        let pulled = process.at_once(|world| {
            let (clock, task) = (world.clock, process.task);
            let pulled = world.executors.pull(task, clock, &mut world.random);
            world.busy.extend(pulled.as_ref().map(|_| task));
            pulled
        });
        let Some(message) = pulled else {
            process.waits(1).await;
            continue;
        };
        let entry = &message.entry;
        process.at_once(|world| {
            world.note(|| {
                format!(
                    "executor {} takes #{} ({})",
                    process.task, entry.seq, message.delivered
                )
            })
        });
        match act(&process, &message).await {
            None => process.does(|world| world.executors.ack(entry)).await,
            Some(after) => {
                process
                    .does(|world| world.executors.hand_back(entry.seq, world.clock + after))
                    .await;
            }
        }
        process.at_once(|world| {
            world.redis.abandon(process.task);
            world.busy.remove(&process.task);
        });
    }
}

/// The result is on the journal, or the message goes back for this time.
async fn act(process: &Process, message: &Message) -> Option<u64> {
    let entry = &message.entry;
    let run = &entry.address.run;
    let Body::Decided(decided) = &entry.body else {
        panic!("executors get decisions");
    };
    let Decision::Act {
        tool,
        version,
        with,
    } = &decided.decision
    else {
        panic!("executors get actions");
    };
    let slot = Slot {
        step: decided.step.clone(),
        branch: decided.branch,
    };
    let redelivered = message.delivered > 1;
    let age = process.now().duration_since(entry.at).as_millis();
    let fresh = u64::try_from(age).is_ok_and(|age| age < ACK_WAIT);
    if (redelivered || !fresh) && process.does(|world| is_settled(world, run, &slot)).await {
        return None;
    }
    let claim = key::effect(run, &slot);
    let claimed = process.does(|world| match world.broken {
        Broken::ClaimEffect => Claimed::Free(Lease::unclaimed(&claim, 2)),
        _ => world.redis.claim(&claim, process.task, world.clock),
    });
    let lease = match claimed.await {
        Claimed::Held { left } => {
            process.notes("effect held by another");
            return Some(left);
        }
        Claimed::Done(value) => {
            process.notes("done before");
            let resulted: Resulted = serde_json::from_value(value).expect("what was saved");
            let body = Body::Resulted(resulted);
            process
                .does(|world| world.write(run, Kind::Resulted, tool.as_str(), &body, process.skew))
                .await;
            return None;
        }
        Claimed::Free(lease) => lease,
    };
    let effect = process.at_once(|world| world.tool(run, tool, *version).effect);
    let dares = process.at_once(|world| world.broken == Broken::UnknownStaysUnknown);
    // A first fence on a second delivery: Redis was emptied and knows nothing of the first.
    let in_doubt = effect == Effect::Once && (lease.lost > 0 || (redelivered && lease.fence == 1));
    let outcome = if in_doubt && !dares {
        process.notes("in doubt");
        unknown("an executor was lost")
    } else {
        runs(process, entry, &slot, effect, with).await
    };
    let resulted = Resulted {
        step: slot.step,
        branch: slot.branch,
        decided: entry.seq,
        tool: tool.clone(),
        outcome,
        took_ms: 1,
        attempts: 1,
        usd_nano: None,
        reconciled: None,
        worker: format!("e{}", process.task),
    };
    let value = serde_json::to_value(&resulted).expect("JSON");
    let body = Body::Resulted(resulted);
    process
        .retries(|world| world.write(run, Kind::Resulted, tool.as_str(), &body, process.skew))
        .await;
    process
        .retries(|world| world.redis.finish(&lease, &value, world.clock))
        .await;
    None
}

/// Whether the journal has the result of this action, or the end of its run.
fn is_settled(world: &World, run: &RunId, slot: &Slot) -> bool {
    let track = &world.tracks[run];
    let is_result = |entry: &Entry| matches!(&entry.body, Body::Resulted(r) if r.slot() == *slot);
    track.ended || track.journal.iter().any(is_result)
}

async fn runs(
    process: &Process,
    entry: &Entry,
    slot: &Slot,
    effect: Effect,
    with: &Value,
) -> ToolOutcome {
    let run = &entry.address.run;
    let before = process.at_once(|world| world.random.below(4));
    process.waits(before).await;
    let key = slot.idempotency_key(run);
    let outcome = process.at_once(|world| {
        world.note(|| format!("executor {} does {slot} of {run:.6}", process.task));
        if let Err(problem) = world.ledger.effect(&key, effect, with) {
            world.violated(problem);
        }
        if let Err(problem) = checks::is_allowed(&world.tracks[run], entry) {
            world.violated(problem);
        }
        outcome(world)
    });
    let after = process.at_once(|world| world.random.below(4));
    process.waits(after).await;
    outcome
}

fn outcome(world: &mut World) -> ToolOutcome {
    match world.random.below(10) {
        0 | 1 => failed("status 1"),
        2 => unknown("the line broke"),
        n => ok(json!({"n": n})),
    }
}
