//! One entry of the journal: whose turn it is, and what becomes of its message.

use std::{sync::Arc, time::Duration};

use flotilla_common::{
    entry::Entry,
    ids::RunId,
    io::{
        clock,
        definitions::Live,
        journal::{Journal, JournalError, Raw, decode},
        killpoint,
        lessons::Lessons,
        store::Store,
        worker::{DELIVERIES_MAX, Disposition, Incoming},
    },
    run::Draft,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, info_span, warn};

use crate::{
    batch::Batches,
    caller::Caller,
    dead::{bury, is_redrive, stopped},
    lanes::{Entered, Lanes},
    observe::{Recovered, observe},
    session::Session,
    spans,
    stop::{IsOutage, Stop},
    work::Work,
};

/// Times a state may be folded anew in one handling because somebody else wrote.
pub(crate) const CONFLICTS_MAX: u32 = 20;
/// Pause between tries while NATS or Redis do not answer.
const OUTAGE_PAUSE: Duration = Duration::from_secs(1);

/// Handles entries; shared by all messages in work.
pub(crate) struct Planner {
    pub(crate) journal: Journal,
    pub(crate) store: Store,
    pub(crate) definitions: Live,
    pub(crate) caller: Caller,
    pub(crate) batches: Batches,
    pub(crate) lessons: Lessons,
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
        definitions: Live,
        caller: Caller,
        batches: Batches,
        lessons: Lessons,
        abandon: CancellationToken,
    ) -> Self {
        Self {
            journal,
            store,
            definitions,
            lanes: Lanes::default(),
            lease: caller.lease,
            stop: caller.stop.clone(),
            caller,
            batches,
            lessons,
            abandon,
        }
    }

    /// Handles one message of the stream RUNS.
    pub(crate) async fn handle(self: &Arc<Self>, incoming: Incoming) -> Disposition {
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
        let run = &entry.address.run;
        let logged = info_span!("plan", %run, seq = entry.seq, kind = %entry.address.kind);
        let traced = spans::plan(&entry, &incoming);
        let disposition = traced
            .within(self.plan(&entry, &incoming).instrument(logged))
            .await;
        spans::planned(traced, &disposition);
        disposition
    }

    async fn plan(self: &Arc<Self>, entry: &Entry, incoming: &Incoming) -> Disposition {
        if let Some(done) = self.settle_letter(entry, incoming).await {
            return done;
        }
        // What was a dead letter may have been handled in part, and is on the journal only.
        let anew = incoming.is_redelivery() || is_redrive(entry);
        let turn = match self.lanes.enter(&entry.address.run, entry, anew).await {
            Entered::Turn(turn) => turn,
            Entered::Done(Ok(())) => return Disposition::Ack,
            Entered::Done(Err(stop)) => return stopped(entry, incoming, stop),
        };
        if incoming.delivered > DELIVERIES_MAX {
            let reason = format!(
                "it was delivered {} times and never settled",
                incoming.delivered - 1
            );
            return bury(entry, reason);
        }
        if incoming.is_redelivery() {
            Recovered::Message.count(1);
        }
        let work = Work::new(self, &turn, entry, anew, incoming.published);
        match work.plan().await {
            Ok(()) => Disposition::Ack,
            Err(stop) => stopped(entry, incoming, stop),
        }
    }

    /// Tells the handling of a run, if this process has one, that somebody has sent it a signal.
    pub(crate) fn nudge(&self, run: &RunId) {
        self.lanes.nudge(run);
    }

    /// Saves state and index. `false`: another planner saved in between.
    pub(crate) async fn save(&self, session: &mut Session) -> Result<bool, Stop> {
        let was_saved = session.is_saved();
        let mut pause = Duration::from_millis(50);
        loop {
            match session.save(&self.store).await {
                Ok(false) => return Ok(false),
                Ok(true) => break,
                Err(error) => self.outage(error.to_string(), &mut pause).await?,
            }
        }
        if was_saved {
            return Ok(true);
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
    pub(crate) async fn append(
        &self,
        session: &mut Session,
        drafts: Vec<Draft>,
    ) -> Result<bool, Stop> {
        let left: Vec<_> = drafts.iter().flat_map(|draft| draft.left.clone()).collect();
        let links = session.run.link(drafts, clock::now())?;
        let dead = |error: &dyn std::fmt::Display| Stop::Dead(error.to_string());
        // What could not be read again must not be written: it would be there for ever.
        // Nor what could not be folded.
        let mut after = session.run.clone();
        let mut entries = Vec::with_capacity(links.len());
        for (seq, link) in (session.run.chain + 1..).zip(&links) {
            let entry = Entry::decode(seq, link.address.clone(), &link.payload);
            let entry = entry.map_err(|e| dead(&e))?;
            if let Err(problem) = after.fold(&entry) {
                warn!(%problem, "a decision does not fit the run any more");
                return Ok(false);
            }
            entries.push(entry);
        }
        let (id, chain) = (session.run.id.clone(), session.run.chain);
        let first = match self
            .patient(|| self.journal.append(&id, &links, chain))
            .await?
        {
            Ok(first) => first,
            Err(JournalError::Conflict(_)) => {
                session.tried = links.into_iter().next();
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        killpoint::pass("appended");
        for left in left {
            self.leave_behind(&id, &left).await;
        }
        for (seq, mut entry) in (first..).zip(entries) {
            entry.seq = seq;
            session.run.fold(&entry).map_err(|e| dead(&e))?;
            observe(&session.run, &entry);
            spans::decided(&entry);
        }
        if session.run.end.is_some() {
            self.trace_end(&session.run).await;
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
}
