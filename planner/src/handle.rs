//! One entry of the journal: fold it, do what must happen next, until somebody else must act.

use std::{sync::Arc, time::Duration};

use flotilla_common::{
    definition::{Catalogue, Workflow},
    entry::{Entry, Kind, Outcome, RESERVED_END},
    ids::{Name, RunId, StepKey},
    io::{
        journal::{Journal, JournalError, Raw, decode},
        killpoint,
        store::Store,
        telemetry::metric,
        worker::{DELIVERIES_MAX, Disposition, Incoming},
    },
    run::{Draft, Next, Run, TIMER_DEADLINE, TIMER_WAKE},
};
use jiff::Timestamp;
use metrics::counter;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, info_span, warn};

use crate::{
    batch::Batches,
    caller::Caller,
    lanes::Lanes,
    observe::observe,
    session::Session,
    stop::{IsOutage, Stop, retry},
};

/// Rounds of one handling: decisions of its own, and conflicts with other planners. More is a fault somewhere.
const ROUNDS_MAX: u32 = 1_000;
/// Times a state may be folded anew in one handling because somebody else wrote.
const CONFLICTS_MAX: u32 = 20;
/// Pause between tries while NATS or Redis do not answer.
const OUTAGE_PAUSE: Duration = Duration::from_secs(1);

/// Handles entries; shared by all messages in work.
pub(crate) struct Planner {
    journal: Journal,
    pub(crate) store: Store,
    catalogue: Arc<Catalogue>,
    pub(crate) caller: Caller,
    pub(crate) batches: Batches,
    lanes: Lanes,
    pub(crate) lease: Duration,
    pub(crate) stop: CancellationToken,
    /// Cancelled when the time for draining is over: what is still in work is handed back.
    pub(crate) abandon: CancellationToken,
}

impl Planner {
    pub(crate) fn new(
        journal: Journal,
        store: Store,
        catalogue: Arc<Catalogue>,
        caller: Caller,
        batches: Batches,
        abandon: CancellationToken,
    ) -> Self {
        Self {
            journal,
            store,
            catalogue,
            lanes: Lanes::default(),
            lease: caller.lease,
            stop: caller.stop.clone(),
            caller,
            batches,
            abandon,
        }
    }

    /// Handles one message of the stream RUNS.
    pub(crate) async fn handle(&self, incoming: Incoming) -> Disposition {
        if self.stop.is_cancelled() {
            return Disposition::Retry {
                after: Duration::ZERO,
                why: "shutting down".into(),
            };
        }
        let raw = Raw {
            seq: incoming.seq,
            subject: incoming.subject.clone(),
            payload: incoming.payload.clone(),
        };
        let entry = match decode(&raw) {
            Ok(Some(entry)) => entry,
            Ok(None) => return Disposition::Ack,
            Err(problem) => {
                return Disposition::Dead {
                    reason: problem.to_string(),
                };
            }
        };
        let run = entry.address.run.clone();
        let span = info_span!("plan", %run, seq = entry.seq, kind = %entry.address.kind);
        async {
            let _turn = self.lanes.enter(&run).await;
            if incoming.delivered > DELIVERIES_MAX {
                let reason = format!(
                    "it was delivered {} times and never settled",
                    incoming.delivered - 1
                );
                return self.bury(&entry, reason).await;
            }
            let stop = match self
                .plan(&entry, incoming.is_redelivery(), incoming.published)
                .await
            {
                Ok(()) => return Disposition::Ack,
                Err(stop) => stop,
            };
            match stop {
                Stop::Retry { why, .. } if incoming.delivered >= DELIVERIES_MAX => {
                    self.bury(
                        &entry,
                        format!("given up after {} deliveries: {why}", incoming.delivered),
                    )
                    .await
                }
                Stop::Retry { after, why } => Disposition::Retry { after, why },
                Stop::Dead(reason) => self.bury(&entry, reason).await,
            }
        }
        .instrument(span)
        .await
    }

    async fn plan(&self, entry: &Entry, redelivered: bool, now: Timestamp) -> Result<(), Stop> {
        let mut session = self
            .patient(|| Session::open(&self.journal, &self.store, entry, redelivered, now))
            .await??;
        let Some(begun) = session.run.begun.clone() else {
            return Err(Stop::Dead("nothing started this run".into()));
        };
        let workflow = self.catalogue.pinned(&begun.pin).map(Arc::clone).ok_or_else(|| Stop::Retry {
            after: self.lease,
            why: format!(
                "workflow {} version {} (digest {:.12}) is not loaded here; put that version back into FLOTILLA_WORKFLOWS",
                begun.pin.name, begun.pin.version, begun.pin.digest
            ),
        })?;
        if entry.address.kind == Kind::Started {
            self.begin(&session.run, &workflow, redelivered).await?;
        }
        // What such an entry leads to, nobody has begun before.
        let leads = matches!(entry.address.kind, Kind::Started | Kind::Resulted);
        let mut fresh = leads && session.fresh;
        let mut conflicts = 0;
        let mut emptied = false;
        // One of several results: only the journal says which of them is the last.
        let mut doubted = !redelivered && entry.address.kind == Kind::Resulted;
        for _ in 0..ROUNDS_MAX {
            let drafts = match session.run.next(&workflow, now) {
                Next::Wait if doubted && session.run.awaits_fan_in() => {
                    doubted = false;
                    let id = &session.run.id;
                    let rebuild = || Session::rebuild(&self.journal, &self.store, id, "fan_in");
                    session = self.patient(rebuild).await??;
                    continue;
                }
                Next::Ended(_) | Next::Wait => {
                    self.set_alarm(&session.run).await?;
                    if self.save(&mut session).await? {
                        return Ok(());
                    }
                    emptied = self.patient(|| session.was_emptied(&self.store)).await??;
                    None
                }
                // This entry had led to no more than waiting. What follows now follows from later ones, whose planners are at
                // work, but Redis was emptied and forgot their claims. They make them anew; until then, hands off.
                Next::Decide(_) | Next::Ask(_) if emptied => {
                    let why = "Redis was emptied while others went on with this run".to_owned();
                    return Err(Stop::Retry {
                        after: self.lease / 2,
                        why,
                    });
                }
                Next::Decide(drafts) => Some(drafts),
                Next::Ask(ask) => {
                    if self.save(&mut session).await? {
                        Some(self.ask(&session.run, &ask, fresh).await?)
                    } else {
                        None
                    }
                }
            };
            let appended = match drafts {
                Some(drafts) => self.append(&mut session, drafts).await?,
                None => false,
            };
            // What follows is its own doing, or told by the journal.
            doubted = false;
            fresh = appended;
            if !appended {
                conflicts += 1;
                if conflicts > CONFLICTS_MAX {
                    return Err(retry("other planners keep writing to this run"));
                }
                let id = &session.run.id;
                session = self
                    .patient(|| Session::rebuild(&self.journal, &self.store, id, "conflict"))
                    .await??;
            }
        }
        Err(Stop::Dead(format!(
            "it took more than {ROUNDS_MAX} rounds to plan"
        )))
    }

    /// The first thing of a run: its clock.
    async fn begin(&self, run: &Run, workflow: &Workflow, redelivered: bool) -> Result<(), Stop> {
        if !redelivered {
            counter!(metric::RUNS_STARTED, "workflow" => workflow.pin.name.to_string())
                .increment(1);
        }
        if let Some(deadline) = run.deadline(workflow) {
            let timer = timer(TIMER_DEADLINE)?;
            self.patient(|| self.journal.schedule(&run.id, &timer, deadline))
                .await??;
        }
        Ok(())
    }

    /// The timer of a parked run: set by whoever sees it, because who parked it may have died before.
    async fn set_alarm(&self, run: &Run) -> Result<(), Stop> {
        if let Some(until) = run.wakes_at() {
            let timer = timer(TIMER_WAKE)?;
            self.patient(|| self.journal.schedule(&run.id, &timer, until))
                .await??;
        }
        Ok(())
    }

    /// Saves state and index. `false`: another planner saved in between.
    async fn save(&self, session: &mut Session) -> Result<bool, Stop> {
        let mut pause = Duration::from_millis(50);
        loop {
            match session.save(&self.store).await {
                Ok(false) => return Ok(false),
                Ok(true) => break,
                Err(error) => self.outage(error.to_string(), &mut pause).await?,
            }
        }
        killpoint::pass("state_saved");
        if let Some(summary) = session.run.summary()
            && let Err(error) = self.store.index(&summary).await
        {
            // The index is rebuilt from the journal; a run must not wait for it.
            debug!(%error, "not indexed");
        }
        Ok(true)
    }

    /// Appends decisions. `false`: the chain has grown in the meantime.
    async fn append(&self, session: &mut Session, drafts: Vec<Draft>) -> Result<bool, Stop> {
        let left = drafts.iter().find_map(|draft| draft.left.clone());
        let links = session.run.link(drafts, Timestamp::now())?;
        let dead = |error: &dyn std::fmt::Display| Stop::Dead(error.to_string());
        // What could not be read again must not be written: it would be there for ever.
        for link in &links {
            Entry::decode(0, link.address.clone(), &link.payload).map_err(|e| dead(&e))?;
        }
        let (id, chain) = (session.run.id.clone(), session.run.chain);
        let first = match self
            .patient(|| self.journal.append(&id, &links, chain))
            .await?
        {
            Ok(first) => first,
            Err(JournalError::Conflict(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        killpoint::pass("appended");
        if let Some(left) = left {
            self.leave_behind(&id, &left).await;
        }
        for (seq, link) in (first..).zip(links) {
            let entry = Entry::decode(seq, link.address, &link.payload).map_err(|e| dead(&e))?;
            session.run.fold(&entry).map_err(|e| dead(&e))?;
            observe(&session.run, &entry);
        }
        Ok(true)
    }

    /// Does something that needs Redis or NATS until they answer; the message stays in work, so an outage costs no delivery.
    /// The inner error is one that does not pass by itself.
    pub(crate) async fn patient<T, E, F>(&self, what: impl Fn() -> F) -> Result<Result<T, E>, Stop>
    where
        E: IsOutage + std::fmt::Display,
        F: Future<Output = Result<T, E>>,
    {
        let mut pause = Duration::from_millis(50);
        loop {
            match what().await {
                Err(error) if error.is_outage() => {
                    self.outage(error.to_string(), &mut pause).await?
                }
                done => return Ok(done),
            }
        }
    }

    pub(crate) async fn outage(&self, error: String, pause: &mut Duration) -> Result<(), Stop> {
        debug!(%error, "waiting for it to pass");
        let wait = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        *pause = (*pause * 2).min(OUTAGE_PAUSE);
        tokio::select! {
            () = self.stop.cancelled() => {
                Err(Stop::Retry { after: Duration::ZERO, why: format!("stopping while {error}") })
            }
            () = sleep(wait) => Ok(()),
        }
    }

    /// Gives up on a message: the run must show it, so it ends as failed where its journal can still take that.
    async fn bury(&self, entry: &Entry, reason: String) -> Disposition {
        warn!(reason, "giving up on this entry");
        match self.end_as_failed(&entry.address.run, &reason).await {
            // Not before its run shows it.
            Err(Stop::Retry { after, why }) => Disposition::Retry { after, why },
            Err(Stop::Dead(problem)) => {
                warn!(problem, "its run cannot be ended either");
                Disposition::Dead { reason }
            }
            Ok(()) => Disposition::Dead { reason },
        }
    }

    async fn end_as_failed(&self, run: &RunId, reason: &str) -> Result<(), Stop> {
        let end: Name = RESERVED_END
            .parse()
            .map_err(|e| Stop::Dead(format!("{e}")))?;
        for _ in 0..CONFLICTS_MAX {
            let rebuild = || Session::rebuild(&self.journal, &self.store, run, "dead");
            let mut session = self.patient(rebuild).await??;
            if session.run.begun.is_some() && session.run.end.is_none() {
                let reason = format!("dead letter: {reason}");
                let step = StepKey::step(&end);
                let draft = session.run.ending(step, Outcome::Failed, Some(reason));
                if !self.append(&mut session, vec![draft]).await? {
                    continue;
                }
            }
            if self.save(&mut session).await? {
                return Ok(());
            }
        }
        Err(retry("other planners keep writing to this run"))
    }
}

fn timer(name: &str) -> Result<Name, Stop> {
    name.parse().map_err(|e| Stop::Dead(format!("{e}")))
}
