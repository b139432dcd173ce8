//! A planner, in the order of its writes: load or rebuild, fold, next, claim, call, save the reply, append, save the state, ack.

use super::{
    super::*,
    redis::Claimed,
    world::{Broken, Process, World},
};
use crate::run::tests::script::Choices;
use crate::{
    names::key,
    run::tests::script::{claude, unanswered},
};

/// How long a message may be held without a sign of life; before that, it has one holder.
const ACK_WAIT: SignedDuration = SignedDuration::from_millis(1_000);

/// The message goes back, to be handed out again after this time.
struct Retry(u64);

/// A run's state while it is worked on.
struct Session {
    run: Run,
    /// What a save must bring.
    token: u64,
    /// The digest of the state that Redis has, as far as this session knows.
    saved: Option<String>,
}

/// Handles messages for ever.
pub(super) async fn planner(process: Process) {
    loop {
        let pulled = process.at_once(|world| {
            let (clock, id) = (world.clock, process.id);
            let pulled = world.planners.pull(id, clock, &mut world.random);
            world.busy.extend(pulled.as_ref().map(|_| id));
            pulled
        });
        let Some((entry, delivered)) = pulled else {
            process.waits(1).await;
            continue;
        };
        process.at_once(|world| {
            world.note(|| format!("planner {} takes #{} ({delivered})", process.id, entry.seq))
        });
        match plan(&process, &entry, delivered > 1).await {
            Ok(()) => {
                process
                    .does(|world| world.planners.ack(entry.seq, world.clock))
                    .await
            }
            Err(Retry(after)) => {
                process
                    .does(|world| world.planners.hand_back(entry.seq, world.clock + after))
                    .await;
            }
        }
        process.at_once(|world| world.busy.remove(&process.id));
    }
}

async fn plan(process: &Process, entry: &Entry, redelivered: bool) -> Result<(), Retry> {
    let mut session = open(process, entry, redelivered).await?;
    let workflow = process.at_once(|world| Arc::clone(&world.workflow));
    if matches!(entry.body, Body::Started(_)) && workflow.limits.duration.is_some() {
        process
            .does(|world| world.timer = world.timer.or(Some(60_000)))
            .await;
    }
    // One of several results: only the journal says which of them is the last.
    let mut doubted = !redelivered && matches!(entry.body, Body::Resulted(_));
    loop {
        let now = process.at_once(|world| world.now());
        let drafts = match session.run.next(&workflow, now) {
            Next::Wait(_) if doubted && session.run.awaits_others() => {
                doubted = false;
                process.notes("fan-in");
                if process.at_once(|world| world.broken != Broken::DoubtFanIn) {
                    session = rebuild(process).await?;
                }
                continue;
            }
            ref waits @ (Next::Ended(_) | Next::Wait(_)) => {
                let alarm = if let Next::Wait(alarm) = waits {
                    *alarm
                } else {
                    None
                };
                // Set again whenever a parked run is seen: who parked it may have died before its timer was set.
                if let Some(until) = alarm {
                    let skipped = redelivered
                        && process.at_once(|world| world.broken == Broken::WakeAfterCrash);
                    let left = until.duration_since(now).as_millis().max(0);
                    process
                        .does(|world| {
                            if !skipped {
                                world.wake = Some(world.clock + u64::try_from(left).unwrap_or(0));
                            }
                        })
                        .await;
                }
                if save(process, &mut session).await {
                    process.at_once(|world| super::checks::known_rebuilds(world, &session.run));
                    return Ok(());
                }
                None
            }
            Next::Decide(drafts) => Some(drafts),
            Next::Ask(asks, _) => {
                if save(process, &mut session).await {
                    Some(ask(process, &session.run, &asks[0]).await?)
                } else {
                    None
                }
            }
        };
        let appended = match drafts {
            Some(drafts) => append(process, &mut session, drafts).await?,
            None => false,
        };
        doubted = false;
        if !appended {
            session = rebuild(process).await?;
        }
    }
}

async fn open(process: &Process, entry: &Entry, redelivered: bool) -> Result<Session, Retry> {
    let forgotten = process.at_once(|world| world.planners.cancel_acked());
    let session = load(process, entry, redelivered).await?;
    // What a planner has acknowledged is known to all who come after, unless Redis lost it.
    process.at_once(|world| {
        let run = &session.run;
        if forgotten.is_some() && run.cancel.is_none() && run.end.is_none() && !world.redis.stale {
            world.violated(format!(
                "planner {} does not know of a cancel that was acknowledged",
                process.id
            ));
        }
    });
    Ok(session)
}

async fn load(process: &Process, entry: &Entry, redelivered: bool) -> Result<Session, Retry> {
    if redelivered {
        return rebuild(process).await;
    }
    let (found, token) = process.does(|world| world.redis.load()).await;
    let saved = found.as_ref().map(|run| run.digest.clone());
    // Looked at after Redis was: nobody else can have been given so young a message.
    let young = process.at_once(|world| world.now().duration_since(entry.at) < ACK_WAIT);
    let mut run = match found {
        Some(run) => run,
        None if matches!(entry.body, Body::Started(_)) && young => {
            Run::new(entry.address.run.clone())
        }
        None => return rebuild(process).await,
    };
    if process.at_once(|world| world.broken == Broken::FoldOnce) {
        forget_outcome(&mut run, entry);
    }
    match run.fold(entry) {
        Ok(_) => Ok(Session { run, token, saved }),
        Err(_) => rebuild(process).await,
    }
}

/// What breaks the rule that the first result counts.
fn forget_outcome(run: &mut Run, entry: &Entry) {
    let Body::Resulted(resulted) = &entry.body else {
        return;
    };
    for state in run.steps.values_mut() {
        let acts: &mut [Act] = if let StepState::Tool(act) = state {
            std::slice::from_mut(act)
        } else if let StepState::Agent(agent) = state
            && let Some(turn) = agent.turns.last_mut()
        {
            turn.acts.as_mut_slice()
        } else {
            continue;
        };
        for act in acts
            .iter_mut()
            .filter(|act| act.decided == resulted.decided)
        {
            act.outcome = None;
        }
    }
}

async fn rebuild(process: &Process) -> Result<Session, Retry> {
    // The token first: whoever saves after this look makes our save fail, not the other way round.
    let (found, token) = process.does(|world| world.redis.load()).await;
    let saved = found.map(|run| run.digest);
    let (id, journal) = process
        .does(|world| (world.id.clone(), world.journal.clone()))
        .await;
    process.notes("rebuilt");
    match Run::rebuild(&id, journal) {
        Ok(run) => Ok(Session { run, token, saved }),
        Err(error) => {
            process.at_once(|world| world.violated(error.to_string()));
            Err(Retry(1_000))
        }
    }
}

async fn save(process: &Process, session: &mut Session) -> bool {
    if session.saved.as_ref() == Some(&session.run.digest) {
        return true;
    }
    let (run, token) = (&session.run, session.token);
    let fresh = process.at_once(|world| world.redis.unique());
    let saved = process
        .retries(|world| world.redis.save(run, token, fresh, world.broken))
        .await;
    if saved {
        session.token = fresh;
        session.saved = Some(session.run.digest.clone());
    } else {
        process.notes("save refused");
    }
    saved
}

/// `false`: the chain has grown, perhaps by this very append whose answer was lost.
async fn append(
    process: &Process,
    session: &mut Session,
    drafts: Vec<Draft>,
) -> Result<bool, Retry> {
    let now = process.at_once(|world| world.now());
    let links = session.run.link(drafts, now).expect("a link");
    let expected = session.run.chain;
    let Some(entries) = process
        .retries(|world| world.append_links(&links, expected))
        .await
    else {
        process.notes("append refused");
        return Ok(false);
    };
    if links.len() > 1 {
        process.notes("batch");
    }
    for entry in entries {
        if let Err(error) = session.run.fold(&entry) {
            process.at_once(|world| {
                world.violated(format!("its own decision does not fold: {error}"))
            });
            return Err(Retry(1_000));
        }
    }
    Ok(true)
}

async fn ask(process: &Process, run: &Run, ask: &Ask) -> Result<Vec<Draft>, Retry> {
    let mut replies = ask.replies.clone();
    loop {
        let request = match ask.settle(&replies) {
            Settled::Decided(drafts) => return Ok(drafts),
            Settled::Again(request) => request,
        };
        match asked(process, run, ask, replies.len(), &request).await? {
            Some(answered) => replies.push(answered),
            None => return Ok(vec![process.at_once(|world| gone(world, ask, &replies))]),
        }
    }
}

/// Claude does not answer: the step escalates, or the run waits for a timer or a person.
fn gone(world: &mut World, ask: &Ask, replies: &[Answered]) -> Draft {
    let until = Some(world.now() + SignedDuration::from_millis(400));
    match world.random.below(3) {
        0 => ask.give_up("it never came back", replies, Wasted::default()),
        1 => ask.park(
            ParkedBy::Unavailable,
            "no answer",
            until,
            replies,
            Wasted::default(),
        ),
        _ => ask.park(
            ParkedBy::Ceiling,
            "a ceiling",
            None,
            replies,
            Wasted::default(),
        ),
    }
}

/// One attempt under its claim; `None`: no reply, and no second try would help.
async fn asked(
    process: &Process,
    run: &Run,
    ask: &Ask,
    attempt: usize,
    request: &Request,
) -> Result<Option<Answered>, Retry> {
    let key = key::call(&run.id, &ask.step, attempt);
    let (claimed, granted_at) = process
        .does(|world| {
            (
                world.redis.claim(&key, process.id, world.clock),
                world.clock,
            )
        })
        .await;
    let (owner, fence, lost) = match claimed {
        Claimed::Done(value) => {
            process.notes("saved reply taken");
            return Ok(Some(serde_json::from_value(value).expect("what was saved")));
        }
        Claimed::Held { left } => {
            process.notes("call held by another");
            return Err(Retry(left));
        }
        Claimed::Free { owner, fence, lost } => (owner, fence, lost),
    };
    let call = process.at_once(|world| {
        if let Some(problem) = unanswered(request) {
            world.violated(problem);
        }
        world.note(|| format!("planner {} asks for {} ({attempt})", process.id, ask.step));
        let what = format!("{} attempt {attempt}", ask.step);
        let call = world.ledger.call(&what, granted_at, world.redis.flushed_at);
        call.map_err(|problem| world.violated(problem)).ok()
    });
    let thinking = process.at_once(|world| 1 + world.random.below(6));
    process.waits(thinking).await;
    let Some(reply) = process.at_once(|world| claude(request, &mut world.random)) else {
        process.does(|world| world.redis.release(&key, owner)).await;
        return Ok(None);
    };
    let answered = Answered {
        wasted: lost,
        ..answered(reply)
    };
    let value = serde_json::to_value(&answered).expect("JSON");
    let saved = process
        .retries(|world| {
            // Safe is what Redis has taken, whether or not its answer arrives.
            let skipped = world.broken == Broken::SaveBeforeAppend;
            let saved = skipped || world.redis.finish(&key, owner, fence, &value);
            if let Some(call) = call.filter(|_| saved) {
                world.ledger.is_safe(call, world.clock);
            }
            saved
        })
        .await;
    if !saved {
        return Err(Retry(0));
    }
    Ok(Some(answered))
}
