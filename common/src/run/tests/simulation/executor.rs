//! An executor, in the order of its writes: look, claim, run, append the result, mark the claim done, ack.

use super::{
    super::*,
    redis::Claimed,
    world::{Broken, Process},
};
use crate::{
    definition::Effect,
    names::key,
    run::tests::script::{Choices, outcome},
};

/// Handles decisions for ever.
pub(super) async fn executor(process: Process) {
    loop {
        let pulled = process.at_once(|world| {
            let (clock, id) = (world.clock, process.id);
            let pulled = world.executors.pull(id, clock, &mut world.random);
            world.busy.extend(pulled.as_ref().map(|_| id));
            pulled
        });
        let Some((entry, delivered)) = pulled else {
            process.waits(1).await;
            continue;
        };
        process.at_once(|world| {
            world.note(|| format!("executor {} takes #{} ({delivered})", process.id, entry.seq))
        });
        match act(&process, &entry, delivered > 1).await {
            None => {
                process
                    .does(|world| world.executors.ack(entry.seq, world.clock))
                    .await
            }
            Some(after) => {
                process
                    .does(|world| world.executors.hand_back(entry.seq, world.clock + after))
                    .await;
            }
        }
        process.at_once(|world| world.busy.remove(&process.id));
    }
}

/// The result is on the journal, or the message goes back for this time.
async fn act(process: &Process, entry: &Entry, redelivered: bool) -> Option<u64> {
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
    if redelivered && process.does(|world| is_settled(world, &slot)).await {
        return None;
    }
    let claim = key::effect(&entry.address.run, &slot);
    let claimed = match process.at_once(|world| world.broken == Broken::ClaimEffect) {
        true => Claimed::Free {
            owner: 0,
            fence: 2,
            lost: 0,
        },
        false => {
            process
                .does(|world| world.redis.claim(&claim, process.id, world.clock))
                .await
        }
    };
    let (owner, fence, lost) = match claimed {
        Claimed::Held { left } => {
            process.notes("effect held by another");
            return Some(left);
        }
        Claimed::Done(value) => {
            process.notes("done before");
            let resulted: Resulted = serde_json::from_value(value).expect("what was saved");
            process
                .does(|world| world.write(Kind::Resulted, tool.as_str(), &Body::Resulted(resulted)))
                .await;
            return None;
        }
        Claimed::Free { owner, fence, lost } => (owner, fence, lost),
    };
    let effect = process.at_once(|world| {
        let tools = world.workflow.tools();
        let tool = tools
            .iter()
            .find(|known| known.name == *tool && known.version == *version);
        tool.expect("a tool of this workflow").effect
    });
    let key = slot.idempotency_key(&entry.address.run);
    let dares = process.at_once(|world| world.broken == Broken::UnknownStaysUnknown);
    // A first fence on a second delivery: Redis was emptied and knows nothing of the first.
    let in_doubt = effect == Effect::Once && (lost > 0 || (redelivered && fence == 1));
    let outcome = if in_doubt && !dares {
        process.notes("in doubt");
        unknown("an executor was lost")
    } else {
        run(process, &key, effect, with).await
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
        worker: format!("e{}", process.id),
    };
    let value = serde_json::to_value(&resulted).expect("JSON");
    let body = Body::Resulted(resulted);
    process
        .retries(|world| world.write(Kind::Resulted, tool.as_str(), &body))
        .await;
    process
        .retries(|world| world.redis.finish(&claim, owner, fence, &value))
        .await;
    None
}

/// Whether the journal has the result of this action, or the end of its run.
fn is_settled(world: &super::world::World, slot: &Slot) -> bool {
    world.has_ended()
        || world
            .journal
            .iter()
            .any(|entry| matches!(&entry.body, Body::Resulted(r) if r.slot() == *slot))
}

async fn run(process: &Process, key: &str, effect: Effect, with: &Value) -> ToolOutcome {
    let before = process.at_once(|world| world.random.below(4));
    process.waits(before).await;
    let outcome = process.at_once(|world| {
        world.note(|| format!("executor {} does {key}", process.id));
        if let Err(problem) = world.ledger.effect(key, effect, with) {
            world.violated(problem);
        }
        outcome(&mut world.random)
    });
    let after = process.at_once(|world| world.random.below(4));
    process.waits(after).await;
    outcome
}
