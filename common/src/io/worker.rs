//! The one pull loop of all roles. It pulls no more than it has free slots for, keeps what it works on alive with in-progress
//! acks, and on shutdown stops pulling, hands back what it has not begun, and waits for the rest.

mod gate;
mod message;
mod settle;

use std::{future::Future, sync::Arc, time::Duration};

use async_nats::jetstream::{self, AckKind, consumer::PullConsumer};
use futures_util::{FutureExt as _, StreamExt as _};
use metrics::{counter, gauge};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, error, info, warn};

use super::{
    broken::{self, Rule},
    journal::Journal,
    telemetry::metric,
};
use gate::Pass;
pub use gate::{Gate, Keeper, Leave};
pub(super) use message::event_in;
pub use message::{Disposition, Form, Incoming};
use settle::settle;

/// Messages asked for at once.
const BATCH_MAX: usize = 256;
/// How long one pull request waits for messages.
const PULL_EXPIRES: Duration = Duration::from_secs(5);
/// Pause after a failed pull.
const PULL_PAUSE: Duration = Duration::from_millis(500);
/// When a message that is handed back at a stop is handed out again. The loop sees to it that it is never sooner: at once would
/// be at once to this very process, again and again, until its connection is closed.
pub const HAND_BACK_PAUSE: Duration = Duration::from_secs(1);
/// How long the end waits for NATS to take the last acks.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// From this many slots on, a second request is on its way while the first is being served.
const SECOND_PULLER_FROM: usize = 64;
/// Deliveries after which a message goes to DEAD: it was handed out so often and never settled. Handlers do that themselves, so
/// that the run shows it; for the case that this is what kills them, the loop does it one delivery later ([`HANDLED_MAX`]).
pub const DELIVERIES_MAX: i64 = 20;
/// [`Loop::deliveries_max`] of who counts every delivery.
pub const HANDLED_MAX: i64 = DELIVERIES_MAX + 1;

/// A pull loop's settings.
#[derive(Debug, Clone)]
pub struct Loop {
    /// Where from.
    pub consumer: PullConsumer,
    /// The role, for dead letters and metrics.
    pub role: &'static str,
    /// The consumer's name, for metrics.
    pub name: String,
    /// Messages in work at once, at least 1.
    pub slots: usize,
    /// The consumer's ack-wait: in-progress acks go out every third of it.
    pub ack_wait: Duration,
    /// How long a shutdown waits for what is in work.
    pub drain: Duration,
    /// What holds it back.
    pub gate: Gate,
    /// Deliveries of a message up to which its handler is asked. Beyond them it goes to DEAD without that, for it may be what kills
    /// the process.
    pub deliveries_max: i64,
}

struct Shared<H> {
    settings: Loop,
    journal: Journal,
    handler: H,
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Pulls and handles until `stop`, then drains. Gives the number of messages that were still in work when the time for draining
/// was over: they will be redelivered.
pub async fn run<H, F>(
    settings: Loop,
    journal: Journal,
    handler: H,
    stop: CancellationToken,
) -> usize
where
    H: Fn(Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = Disposition> + Send + 'static,
{
    let shared = Arc::new(Shared {
        slots: Arc::new(Semaphore::new(settings.slots)),
        settings,
        journal,
        handler,
        tasks: TaskTracker::new(),
        stop,
    });
    for outcome in ["done", "retried", "dead"] {
        let name = shared.settings.name.clone();
        counter!(metric::MESSAGES, "consumer" => name, "outcome" => outcome).increment(0);
    }
    if shared.settings.slots >= SECOND_PULLER_FROM {
        tokio::join!(pull(&shared), pull(&shared));
    } else {
        pull(&shared).await;
    }
    shared.tasks.close();
    let drained = drain(&shared).await;
    // The last acks are on their way to the connection's writer; closing it now would drop them.
    if timeout(FLUSH_TIMEOUT, shared.journal.bus().client.flush())
        .await
        .is_err()
    {
        debug!("the last acks may not have been sent; their messages will be redelivered");
    }
    drained
}

async fn drain<H>(shared: &Shared<H>) -> usize {
    if timeout(shared.settings.drain, shared.tasks.wait())
        .await
        .is_err()
    {
        let left = shared.tasks.len();
        warn!(
            consumer = shared.settings.name,
            left, "still in work when draining ended; they will be redelivered"
        );
        return left;
    }
    0
}

async fn pull<H, F>(shared: &Arc<Shared<H>>)
where
    H: Fn(Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = Disposition> + Send + 'static,
{
    let mut healthy = true;
    while let Some((pass, permits)) = free_slots(shared).await {
        match pull_batch(shared, pass, permits).await {
            Ok(()) => {
                if !healthy {
                    info!(consumer = shared.settings.name, "pulling again");
                }
                healthy = true;
            }
            Err(problem) => {
                if healthy {
                    warn!(consumer = shared.settings.name, %problem, "cannot pull; trying on");
                }
                healthy = false;
                tokio::select! {
                    () = shared.stop.cancelled() => return,
                    () = sleep(PULL_PAUSE) => {}
                }
            }
        }
    }
}

/// At least one free slot, and all others that are free at this moment if the gate lets so many through; `None` on shutdown.
async fn free_slots<H>(shared: &Shared<H>) -> Option<(Pass, OwnedSemaphorePermit)> {
    let mut permits = tokio::select! {
        biased;
        () = shared.stop.cancelled() => return None,
        permit = Arc::clone(&shared.slots).acquire_owned() => permit.ok()?,
    };
    let pass = tokio::select! {
        biased;
        () = shared.stop.cancelled() => return None,
        pass = shared.settings.gate.pass() => pass,
    };
    if pass.is_for_one() {
        return Some((pass, permits));
    }
    let share = if shared.settings.slots >= SECOND_PULLER_FROM {
        shared.slots.available_permits() / 2
    } else {
        shared.slots.available_permits()
    };
    let more = u32::try_from(share.min(BATCH_MAX - 1)).unwrap_or(0);
    if more > 0
        && let Ok(others) = Arc::clone(&shared.slots).try_acquire_many_owned(more)
    {
        permits.merge(others);
    }
    Some((pass, permits))
}

/// One pull request: as many messages as there are permits, each of which goes with its message.
async fn pull_batch<H, F>(
    shared: &Arc<Shared<H>>,
    pass: Pass,
    mut permits: OwnedSemaphorePermit,
) -> Result<(), String>
where
    H: Fn(Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = Disposition> + Send + 'static,
{
    let wanted = permits.num_permits();
    let consumer = &shared.settings.consumer;
    let request = consumer
        .batch()
        .max_messages(wanted)
        .expires(PULL_EXPIRES)
        .messages();
    let mut batch = timeout(PULL_EXPIRES, request)
        .await
        .map_err(|_| "the pull request could not be sent in time".to_owned())?
        .map_err(|e| e.to_string())?;
    let pass = Arc::new(pass);
    loop {
        let message = tokio::select! {
            biased;
            () = over(shared, &pass) => {
                for message in buffered(batch) {
                    match permits.split(1) {
                        Some(permit) => begin(shared, message, permit, &pass),
                        None => break,
                    }
                }
                return Ok(());
            }
            // The server ends a request by itself; this is for a server that does not answer any more.
            message = timeout(PULL_EXPIRES * 3, batch.next()) => message.map_err(|_| "no answer to a pull request".to_owned())?,
        };
        match message {
            None => return Ok(()),
            Some(Err(error)) => return Err(error.to_string()),
            Some(Ok(message)) => match permits.split(1) {
                Some(permit) => begin(shared, message, permit, &pass),
                // More than was asked for: nobody has a slot for it.
                None => drop(message.ack_with(AckKind::Nak(None)).await),
            },
        }
    }
}

/// Waits until nothing may be pulled any more, for good or for now.
async fn over<H>(shared: &Shared<H>, pass: &Pass) {
    tokio::select! {
        () = shared.stop.cancelled() => {}
        () = shared.settings.gate.over(pass) => {}
    }
}

/// What had come in before the stop: its handler hands it back, and knows how. (A bare nak would leave a message that looks as if
/// somebody had worked on it.) The request is closed first: what is handed back must not come to this process again.
fn buffered(mut batch: jetstream::consumer::pull::Batch) -> Vec<jetstream::Message> {
    let mut messages = Vec::new();
    while let Some(Some(Ok(message))) = batch.next().now_or_never() {
        messages.push(message);
    }
    messages
}

fn begin<H, F>(
    shared: &Arc<Shared<H>>,
    message: jetstream::Message,
    permit: OwnedSemaphorePermit,
    pass: &Arc<Pass>,
) where
    H: Fn(Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = Disposition> + Send + 'static,
{
    let (shared, pass) = (Arc::clone(shared), Arc::clone(pass));
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        let name = shared.settings.name.clone();
        gauge!(metric::IN_WORK, "consumer" => name.clone()).increment(1.0);
        handle(&shared, message).await;
        gauge!(metric::IN_WORK, "consumer" => name).decrement(1.0);
        drop((permit, pass));
    });
}

async fn handle<H, F>(shared: &Shared<H>, message: jetstream::Message)
where
    H: Fn(Incoming) -> F + Send + Sync + 'static,
    F: Future<Output = Disposition> + Send + 'static,
{
    let incoming = match Incoming::read(&message) {
        Ok(incoming) => incoming,
        Err(problem) => {
            error!(subject = %message.subject, %problem, "a message without JetStream's own data; left alone");
            return;
        }
    };
    if broken::is(Rule::AckBeforeAppend) {
        drop(message.ack().await);
    }
    let disposition = if incoming.delivered > shared.settings.deliveries_max {
        let reason = format!(
            "it was delivered {} times and never settled",
            incoming.delivered - 1
        );
        Disposition::Dead { reason }
    } else {
        with_progress(
            &message,
            shared.settings.ack_wait / 3,
            (shared.handler)(incoming.clone()),
        )
        .await
    };
    settle(shared, &message, &incoming, disposition).await;
}

/// Runs `work` and tells the server all the while that it goes on.
async fn with_progress<F: Future>(
    message: &jetstream::Message,
    every: Duration,
    work: F,
) -> F::Output {
    tokio::pin!(work);
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            output = &mut work => return output,
            _ = ticks.tick() => {
                if let Err(problem) = message.ack_with(AckKind::Progress).await {
                    debug!(%problem, "an in-progress ack was not sent");
                }
            }
        }
    }
}
