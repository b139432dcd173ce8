//! A planner, in the order of its writes: load or rebuild, fold, next, claim, call, save the reply, append, save the state, ack.
//! It follows the planner's own code as far as that is about runs.

use super::{lanes, process::Process, queue::Message, session::Retry, work::Work};

/// Handles messages for ever.
pub(super) async fn planner(process: Process) {
    loop {
        let pulled = process.at_once(|world| {
            let (clock, task) = (world.clock, process.task);
            let pulled = world.planners.pull(task, clock, &mut world.random);
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
                    "planner {} takes #{} ({})",
                    process.task, entry.seq, message.delivered
                )
            })
        });
        match handle(&process, &message).await {
            Ok(()) => process.does(|world| world.planners.ack(entry)).await,
            Err(Retry(after)) => {
                process
                    .does(|world| world.planners.hand_back(entry.seq, world.clock + after))
                    .await;
            }
        }
        process.at_once(|world| {
            world.redis.abandon(process.task);
            world.busy.remove(&process.task);
        });
    }
}

async fn handle(process: &Process, message: &Message) -> Result<(), Retry> {
    if !lanes::enter(process, message).await {
        return Ok(());
    }
    let mut work = Work::new(process, message);
    let done = work.plan().await;
    lanes::leave(process, &message.entry.address.run, &work.handed);
    done
}
