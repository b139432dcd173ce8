//! Dead letters: when a message becomes one, and runs that have one. A gateway tells the run of it, by a signal; what is here must
//! not need the run's definition, for that may be just what is missing.

use flotilla_common::{
    entry::{Body, Entry, Outcome, RESERVED_END},
    ids::{Name, RunId, StepKey},
    io::worker::{DELIVERIES_MAX, Disposition, Incoming},
    run::{SIGNAL_DEAD, SIGNAL_DROP, SIGNAL_REDRIVE},
};
use tracing::warn;

use crate::{
    handle::{CONFLICTS_MAX, Planner},
    session::Session,
    stop::{Stop, retry},
};

/// What becomes of a message whose handling ended before its time.
pub(crate) fn stopped(entry: &Entry, incoming: &Incoming, stop: Stop) -> Disposition {
    match stop {
        Stop::Retry { why, .. } if incoming.delivered >= DELIVERIES_MAX => {
            let tries = incoming.delivered;
            bury(entry, format!("given up after {tries} deliveries: {why}"))
        }
        Stop::Retry { after, why } => Disposition::Retry { after, why },
        Stop::Dead(reason) => bury(entry, reason),
    }
}

/// Gives up on a message. Its run waits from when a gateway has told it.
pub(crate) fn bury(entry: &Entry, reason: String) -> Disposition {
    warn!(run = %entry.address.run, seq = entry.seq, reason, "giving up on this entry");
    Disposition::Dead { reason }
}

/// Whether an entry has what was a dead letter handled again.
pub(crate) fn is_redrive(entry: &Entry) -> bool {
    is_signal(entry, SIGNAL_REDRIVE)
}

fn is_signal(entry: &Entry, name: &str) -> bool {
    matches!(entry.body, Body::Signalled(_)) && entry.address.name.as_str() == name
}

impl Planner {
    /// That a run has a dead letter, or that one was dropped; `None` for every other entry.
    pub(crate) async fn settle_letter(
        &self,
        entry: &Entry,
        incoming: &Incoming,
    ) -> Option<Disposition> {
        let run = &entry.address.run;
        let done = if is_signal(entry, SIGNAL_DEAD) {
            self.note_letter(run).await
        } else if is_signal(entry, SIGNAL_DROP) {
            self.end_as_dropped(entry).await
        } else {
            return None;
        };
        // Whoever works on the run must see it.
        self.nudge(run);
        Some(match done {
            Ok(()) => Disposition::Ack,
            Err(Stop::Retry { after, why }) if incoming.delivered < DELIVERIES_MAX => {
                Disposition::Retry { after, why }
            }
            // Its letter says what is wrong already: another one about that would help nobody.
            Err(Stop::Retry { why, .. } | Stop::Dead(why)) => {
                warn!(%run, why, "a run cannot show that it has a dead letter");
                Disposition::Ack
            }
        })
    }

    /// Saves the state, so that lists show it.
    async fn note_letter(&self, run: &RunId) -> Result<(), Stop> {
        for _ in 0..CONFLICTS_MAX {
            let rebuild = || Session::rebuild(&self.journal, &self.store, run, "dead");
            let mut session = self.patient(rebuild).await??;
            if self.save(&mut session).await? {
                return Ok(());
            }
        }
        Err(retry("other planners keep writing to this run"))
    }

    /// A letter of the run was dropped: it ends as failed, where its journal can still take that.
    async fn end_as_dropped(&self, entry: &Entry) -> Result<(), Stop> {
        let Body::Signalled(signalled) = &entry.body else {
            return Ok(());
        };
        let why = signalled.reason.as_deref().unwrap_or("it was dropped");
        let by = signalled.by.as_deref().unwrap_or("somebody");
        let letter = signalled.letter.as_ref().map(|letter| letter.letter);
        let letter = letter.map(|letter| format!(" {letter}"));
        let letter = letter.unwrap_or_default();
        let reason = format!("dead letter{letter} was dropped by {by}: {why}");
        let end: Name = RESERVED_END.parse()?;
        for _ in 0..CONFLICTS_MAX {
            let run = &entry.address.run;
            let rebuild = || Session::rebuild(&self.journal, &self.store, run, "dead");
            let mut session = self.patient(rebuild).await??;
            if session.run.begun.is_some() && session.run.end.is_none() {
                let step = StepKey::step(&end);
                let outcome = Outcome::Failed;
                let draft = session.run.ending(step, outcome, Some(reason.clone()));
                if !self.append(&mut session, vec![draft]).await? {
                    continue;
                }
            }
            if session.run.end.is_some() {
                self.end_family(&session.run, None, true).await?;
            }
            if self.save(&mut session).await? {
                return Ok(());
            }
        }
        Err(retry("other planners keep writing to this run"))
    }
}
