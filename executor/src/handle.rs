//! One decision: its effect claimed, its tool run, its result appended.

use std::{fmt::Display, future::Future, time::Duration};

use flotilla_common::{
    definition::Effect,
    entry::{Resulted, ToolOutcome},
    io::{
        beat::Work,
        clock,
        definitions::Live,
        journal::{Journal, JournalError},
        store::{Lease, Store, StoreError},
        worker::{DELIVERIES_MAX, Disposition, HAND_BACK_PAUSE, HANDLED_MAX, Incoming},
    },
};
use jiff::SignedDuration;
use metrics::histogram;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, info, info_span, warn};

use crate::{
    Config,
    action::Action,
    adapter::{
        Adapters,
        failure::{Class, Failure},
    },
    breakers::Breakers,
    claim::{Claim, recovered, verdict},
    memory::Counting,
    rates::Rates,
    result::Seen,
    run::Begin,
    spans,
    tools::{Ready, Tools},
};

/// The role's name in dead letters and metrics.
pub(crate) const ROLE: &str = "executor";
/// Longest pause between tries while NATS or Redis do not answer.
const OUTAGE_PAUSE: Duration = Duration::from_secs(1);
/// How long a result may take to the journal when this executor's work is over.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a handling ends before its time.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Hand the message back.
    Retry { after: Duration, why: String },
    /// Nobody can handle it.
    Dead(String),
    /// The same, and its run has a result nevertheless.
    Settled(String),
}

pub(crate) fn retry(after: Duration, why: impl Into<String>) -> Stop {
    let why = why.into();
    Stop::Retry { after, why }
}

/// Errors of NATS and Redis, as far as they pass by themselves.
pub(crate) trait Outage: Display {
    fn passes(&self) -> bool;
}

impl Outage for JournalError {
    fn passes(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Conflict(_) => true,
            Self::Refused { .. } | Self::Entry(_) | Self::TooLong { .. } => false,
        }
    }
}

impl Outage for StoreError {
    fn passes(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Unavailable(_) => true,
            Self::Address { .. } | Self::Unreadable { .. } => false,
        }
    }
}

/// Handles decisions; shared by all messages in work.
#[derive(Debug)]
pub(crate) struct Executor {
    pub(crate) journal: Journal,
    pub(crate) store: Store,
    pub(crate) tools: Tools,
    pub(crate) definitions: Live,
    pub(crate) counting: Counting,
    pub(crate) breakers: Breakers,
    pub(crate) rates: Rates,
    pub(crate) adapters: Adapters,
    pub(crate) worker: String,
    /// What it has in work.
    pub(crate) work: Work,
    /// Length of a claim's lease.
    pub(crate) lease: Duration,
    /// No new work, and no more waiting for anything.
    pub(crate) stop: CancellationToken,
    /// Running tools end, too.
    abandoned: CancellationToken,
}

impl Executor {
    pub(crate) fn new(config: &Config, adapters: Adapters, stop: CancellationToken) -> Self {
        Self {
            journal: config.journal.clone(),
            store: config.store.clone(),
            tools: Tools::new(&config.definitions.current(), config.slots),
            definitions: config.definitions.clone(),
            counting: Counting::default(),
            breakers: Breakers::new(),
            rates: Rates::new(&config.store),
            adapters,
            worker: config.worker.clone(),
            work: Work::default(),
            lease: config.ack_wait,
            stop,
            abandoned: CancellationToken::new(),
        }
    }

    /// Waits for the stop and the time for draining after it, then ends what still runs.
    pub(crate) async fn abandon_after(&self, drain: Duration) {
        self.stop.cancelled().await;
        sleep(drain).await;
        self.abandoned.cancel();
    }

    /// Handles one message of a tool's consumer.
    pub(crate) async fn handle(&self, incoming: Incoming) -> Disposition {
        let action = match Action::read(&incoming) {
            Ok(action) => action,
            Err(reason) => return Disposition::Dead { reason },
        };
        let _in_work = self.breakers.begin(&action.tool);
        let logged = info_span!("act", run = %action.run, step = %action.slot, tool = %action.tool, attempt = incoming.delivered);
        let traced = spans::act(&action, &incoming);
        let done = traced
            .within(self.act(&action, &incoming).instrument(logged.clone()))
            .await;
        if let Err(Stop::Dead(reason)) = &done {
            traced
                .within(self.mourn(&action, reason).instrument(logged))
                .await;
        }
        spans::acted(traced, &action, &incoming, &done);
        match done {
            Ok(()) => Disposition::Ack,
            Err(Stop::Retry { after, why }) => Disposition::Retry { after, why },
            Err(Stop::Settled(reason) | Stop::Dead(reason)) => Disposition::Dead { reason },
        }
    }

    /// What nobody can handle has a result, too, or its run would wait for ever.
    async fn mourn(&self, action: &Action, reason: &str) {
        let message = format!("it was given up, so nobody knows whether it was done: {reason}");
        let outcome = ToolOutcome::Unknown { message };
        let mut resulted = self.resulted(action, outcome, Duration::ZERO, 0);
        let appended = self
            .unless_abandoned(self.append(action, &mut resulted))
            .await;
        if !matches!(appended, Some(Ok(()))) {
            warn!("its run does not know of it");
        }
    }

    async fn act(&self, action: &Action, incoming: &Incoming) -> Result<(), Stop> {
        let incoming = &self.unplanned(action, incoming).await?;
        if incoming.delivered > HANDLED_MAX {
            let deliveries = incoming.delivered - 1;
            let reason = format!("it was delivered {deliveries} times and never settled");
            return Err(Stop::Dead(reason));
        }
        if incoming.is_redelivery() {
            recovered("message", 1);
        }
        if (incoming.is_redelivery() || !is_fresh(action, self.lease))
            && self.is_over(action, incoming.is_redelivery()).await?
        {
            return Ok(());
        }
        let definitions = self.definitions.current();
        if let Some(switch) = definitions.switches().tool(&action.tool, action.version) {
            return self.switched_off(action, switch, incoming).await;
        }
        let Some(ready) = self.ready(action, incoming).await else {
            return self.pass_on(action, incoming).await;
        };
        if let Err(faults) = ready.tool.input.check(&action.with) {
            let message = format!("the parameters do not fit the tool's schema: {faults}");
            return self
                .refuse(action, Failure::new(Class::Input, message))
                .await;
        }
        let mut held = match self.claim(action, incoming).await? {
            Claim::Done(resulted) => return self.append_again(action, *resulted).await,
            Claim::Ours(held) => held,
        };
        // Nothing but the journal knows now, and what it said before the claim may be too old.
        if held.forgotten
            && self
                .or_doubt(&mut held.lease, self.is_over(action, true))
                .await?
        {
            self.abandon(&held.lease).await;
            return Ok(());
        }
        match verdict(action, ready.tool.effect, &held, incoming) {
            None => {
                let begin = Begin::of(incoming);
                self.run(action, &ready, held.lease, begin).await
            }
            Some(ToolOutcome::Unknown { message }) => {
                let may_run = incoming.delivered < DELIVERIES_MAX;
                let begin = Begin::of(incoming);
                let doubt = Self::doubt_of_others(&held.lease, message, may_run, begin);
                self.clear_up(action, &ready, held.lease, doubt).await
            }
            Some(outcome @ (ToolOutcome::Ok { .. } | ToolOutcome::Failed { .. })) => {
                self.settle(action, outcome, held.lease).await
            }
        }
    }

    /// Whether the journal has the action's result, or the end of its run; then it has a result now. `given`: to somebody before,
    /// who may have begun it.
    async fn is_over(&self, action: &Action, given: bool) -> Result<bool, Stop> {
        match self.look(action).await? {
            Seen::Resulted => Ok(true),
            Seen::Ended => {
                let message = if given {
                    "its run has ended; this executor did nothing, and whether another one had begun it is not known"
                } else {
                    "its run had ended before it was begun; nothing was done"
                };
                let failure = Failure::new(Class::Ended, message);
                self.refuse(action, failure).await.map(|()| true)
            }
            Seen::Nothing => Ok(false),
        }
    }

    /// What becomes of an action whose tool was killed in the middle of its work by our own end.
    pub(crate) async fn interrupted(
        &self,
        action: &Action,
        ready: &Ready,
        lease: Lease,
    ) -> Result<(), Stop> {
        let tool = &action.tool;
        if ready.tool.effect != Effect::Once {
            self.release(&lease).await;
            let why = "stopped in the middle of the tool's work";
            return Err(retry(HAND_BACK_PAUSE, why));
        }
        if ready.tool.reconcile.is_some() {
            return self.leave_in_doubt(lease).await;
        }
        let message = format!(
            "`{tool}` was running when its executor was stopped, so nobody knows whether it was done; it is not repeated"
        );
        let outcome = ToolOutcome::Unknown { message };
        let resulted = self.resulted(action, outcome, Duration::ZERO, attempts(&lease));
        self.finish(action, resulted, lease).await
    }

    /// Ends an action without running its tool.
    async fn settle(
        &self,
        action: &Action,
        outcome: ToolOutcome,
        lease: Lease,
    ) -> Result<(), Stop> {
        let dead = match &outcome {
            ToolOutcome::Failed { message, .. } => Some(message.clone()),
            ToolOutcome::Ok { .. } | ToolOutcome::Unknown { .. } => None,
        };
        let lost = u32::try_from(lease.lost).unwrap_or(u32::MAX);
        let resulted = self.resulted(action, outcome, Duration::ZERO, lost);
        self.finish(action, resulted, lease).await?;
        // The run goes on with the failure; the message is kept for people.
        dead.map_or(Ok(()), |reason| Err(Stop::Settled(reason)))
    }

    /// Appends the result, then marks the claim done with it. When NATS stays away until the end, the claim alone keeps it, and
    /// whoever comes after appends it.
    pub(crate) async fn finish(
        &self,
        action: &Action,
        mut resulted: Resulted,
        mut lease: Lease,
    ) -> Result<(), Stop> {
        let append = self.append(action, &mut resulted);
        let appended = self.holding(&mut lease, append);
        let appended = tokio::select! {
            biased;
            appended = appended => Some(appended),
            () = self.last_words() => None,
        };
        self.keep(&lease, &resulted).await;
        appended
            .unwrap_or_else(|| Err(retry(HAND_BACK_PAUSE, "stopping, and NATS does not answer")))
    }

    pub(crate) async fn append_again(
        &self,
        action: &Action,
        mut resulted: Resulted,
    ) -> Result<(), Stop> {
        if resulted.slot() != action.slot {
            return Err(Stop::Dead(format!(
                "the claim of `{}` holds a result of `{}`: two steps have the same key",
                action.slot,
                resulted.slot()
            )));
        }
        info!("it was run before; its result is appended again");
        self.unless_abandoned(self.append(action, &mut resulted))
            .await
            .unwrap_or_else(|| Err(retry(HAND_BACK_PAUSE, "stopping, and NATS does not answer")))
    }

    /// Over a moment after this executor's work is.
    async fn last_words(&self) {
        self.abandoned.cancelled().await;
        sleep(LAST_WORDS).await;
    }

    /// `None` when this executor's work is over.
    pub(crate) async fn unless_abandoned<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            value = work => Some(value),
            () = self.abandoned.cancelled() => None,
        }
    }

    /// Asks NATS or Redis until they answer. The message stays in work meanwhile, so an outage costs no delivery.
    pub(crate) async fn patient<T, E: Outage, F>(&self, ask: impl Fn() -> F) -> Result<T, Stop>
    where
        F: Future<Output = Result<T, E>>,
    {
        let mut pause = Duration::from_millis(50);
        loop {
            let error = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.passes() => error,
                Err(error) => return Err(Stop::Dead(error.to_string())),
            };
            debug!(%error, "waiting for it to pass");
            tokio::select! {
                () = self.stop.cancelled() => {
                    return Err(retry(HAND_BACK_PAUSE, format!("stopping while {error}")));
                }
                () = sleep(pause) => pause = (pause * 2).min(OUTAGE_PAUSE),
            }
        }
    }
}

pub(crate) fn attempts(lease: &Lease) -> u32 {
    u32::try_from(lease.lost.saturating_add(1)).unwrap_or(u32::MAX)
}

/// Two processes' readings of one clock differ by less than this.
const APART_MAX: SignedDuration = SignedDuration::from_secs(1);

/// Whether a decision is so young that nobody can have done it yet. Any other is looked for on the journal, for a consumer that
/// was made anew delivers all that was ever decided as if for the first time. One from the future is of a clock that is wrong, unless
/// two processes have only read nats-server's clock a little apart.
fn is_fresh(action: &Action, lease: Duration) -> bool {
    let age = clock::now().duration_since(action.at);
    let lease = SignedDuration::try_from(lease).unwrap_or(SignedDuration::ZERO);
    (-APART_MAX..lease).contains(&age)
}

pub(crate) fn observe(metric: &'static str, ready: &Ready, took: Duration) {
    histogram!(metric, "tool" => ready.tool.name.to_string()).record(took.as_secs_f64());
}
