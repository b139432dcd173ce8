//! Workflows that a clock starts. Each has one message schedule on the stream CRON, at its next due time; nats-server fires it, also
//! when everything was down at the time. Whoever takes what it fired starts the run and sets the next one before it acknowledges, so
//! there is always one that will fire or something that has fired and is not acknowledged.

mod plan;

use std::{sync::Arc, time::Duration};

use flotilla_common::{
    definition::Workflow,
    event::Event,
    ids::{Name, RunId},
    io::{
        clock,
        journal::JournalError,
        schedules::{Due, Schedules},
        telemetry::metric,
        worker::{Disposition, HAND_BACK_PAUSE, Incoming},
    },
    names::{self, subject},
};
use jiff::Timestamp;
use metrics::{counter, gauge};
use serde_json::json;
use tokio::time::sleep;
use tracing::{info, warn};

use self::plan::{Plan, Skipped};
use crate::{
    intake::{Intake, Stop},
    patience::patiently,
    promise::Promise,
    triggers::{Triggers, Verdict},
};

/// What has fallen due that one gateway works on at once.
pub(crate) const SLOTS: usize = 16;
/// Tries to set a schedule that others change at the same time: each that fails is one that succeeded elsewhere.
const TRIES: u32 = 20;
/// Deliveries of what has fallen due by definitions that are not (or no longer) known here, before it is settled by those that are:
/// in a rolling deploy, a gateway that knows them is there.
const LOOKED_FOR_MAX: i64 = 10;
/// Between them.
const LOOKED_FOR_EVERY: Duration = Duration::from_secs(1);
/// Pause before schedules that could not be set are tried again.
const FAILED_PAUSE: Duration = Duration::from_secs(5);

/// Sets schedules, and starts what they fire for.
#[derive(Debug, Clone)]
pub(crate) struct Crons {
    schedules: Schedules,
    intake: Intake,
}

impl Crons {
    pub(crate) fn new(schedules: Schedules, intake: Intake) -> Self {
        Self { schedules, intake }
    }

    /// Makes sure that every workflow with a cron expression has its schedule, and no other has one.
    pub(crate) async fn ensure(&self) -> Result<(), JournalError> {
        let triggers = self.intake.current.triggers();
        let known = triggers.by_clock();
        for workflow in known.values() {
            self.ensure_one(workflow).await?;
        }
        for name in self.schedules.workflows().await? {
            if !known.contains_key(&name)
                && let Some(pending) = self.schedules.pending(&name).await?
            {
                self.schedules.remove(&name, pending.seq).await?;
                gauge!(metric::CRON_NEXT, "workflow" => name.to_string()).set(0.0);
                info!(workflow = %name, "no workflow of that name goes by a clock; its schedule is removed");
            }
        }
        Ok(())
    }

    /// Does the same each time the definitions change, until the stop.
    pub(crate) async fn keep_current(self) {
        let mut changes = self.intake.current.changes();
        let mut failed = false;
        loop {
            tokio::select! {
                biased;
                () = self.intake.stop.cancelled() => return,
                _ = changes.changed() => {}
                () = sleep(FAILED_PAUSE), if failed => {}
            }
            let ensured = tokio::select! {
                biased;
                () = self.intake.stop.cancelled() => return,
                ensured = self.ensure() => ensured,
            };
            if let Err(problem) = &ensured
                && !failed
            {
                warn!(%problem, "the schedules cannot be set; trying on");
            }
            failed = ensured.is_err();
        }
    }

    async fn ensure_one(&self, workflow: &Workflow) -> Result<(), JournalError> {
        let name = &workflow.pin.name;
        let plan = |pending: Option<&Due>| plan::at_start(workflow, pending, clock::now());
        for _ in 0..TRIES {
            match self.carry_out(name, plan).await {
                Err(JournalError::Conflict(_)) => {}
                settled => return settled,
            }
        }
        Err(JournalError::Conflict(subject::cron_timer(name)))
    }

    /// Looks at a workflow's schedule and does what follows.
    async fn carry_out(
        &self,
        name: &Name,
        plan: impl Fn(Option<&Due>) -> Plan,
    ) -> Result<(), JournalError> {
        let pending = self.schedules.pending(name).await?;
        let (seq, due) = pending.map_or((0, None), |pending| (pending.seq, pending.due));
        let next = match plan(due.as_ref()) {
            Plan::Keep { due } => Some(due),
            Plan::Set(due) => {
                self.schedules.set(&due, seq).await?;
                info!(workflow = %name, due = %due.due, cron = due.cron, timezone = due.timezone, "falls due next");
                Some(due.due)
            }
            Plan::Nothing => None,
        };
        if let Some(next) = next {
            #[expect(
                clippy::cast_precision_loss,
                reason = "seconds since 1970 fit into 53 bits"
            )]
            let seconds = next.as_second() as f64;
            gauge!(metric::CRON_NEXT, "workflow" => name.to_string()).set(seconds);
            counter!(metric::CRON_FIRED, "workflow" => name.to_string()).increment(0);
        }
        Ok(())
    }

    /// One message of `cron.due.>`.
    pub(crate) async fn handle(self, message: Incoming) -> Disposition {
        let due = match read(&message) {
            Ok(due) => due,
            Err(reason) => return Disposition::Dead { reason },
        };
        let triggers = self.intake.current.triggers();
        let handled = self.handle_due(&triggers, &due, &message).await;
        // Who brought the schedules up to date when the definitions changed may not have seen the one that was set here.
        if !Arc::ptr_eq(&triggers, &self.intake.current.triggers())
            && let Err(problem) = self.ensure().await
        {
            return retry(problem.to_string());
        }
        handled
    }

    async fn handle_due(&self, triggers: &Triggers, due: &Due, message: &Incoming) -> Disposition {
        match triggers.by_clock().get(&due.workflow) {
            Some(workflow) if plan::is_ours(workflow, due) => {
                self.start(workflow, due, message).await
            }
            Some(workflow)
                if plan::is_older(workflow, due) && message.delivered < LOOKED_FOR_MAX =>
            {
                looked_for(due)
            }
            Some(workflow) => {
                info!(workflow = %due.workflow, due = %due.due, cron = due.cron, timezone = due.timezone,
                    "fell due by an expression that the workflow does not have; not started");
                self.settle(workflow, due, message, Ok(())).await
            }
            None if message.delivered < LOOKED_FOR_MAX => looked_for(due),
            None if self.intake.current.catalogue().has(&due.workflow) => {
                info!(workflow = %due.workflow, due = %due.due, "fell due, and no version that goes by a clock is active; not started");
                Disposition::Ack
            }
            None => Disposition::Dead {
                reason: format!(
                    "workflow `{}` fell due at {}, and no gateway has one of that name with a cron expression",
                    due.workflow, due.due
                ),
            },
        }
    }

    async fn start(&self, workflow: &Arc<Workflow>, due: &Due, message: &Incoming) -> Disposition {
        let started = match event(due) {
            Ok(event) => {
                // A candidate that goes by no clock leaves the due time to the version that does.
                let run = RunId::derive(&due.workflow, &event.source, &event.id);
                let catalogue = self.intake.current.catalogue();
                let picked = catalogue.pick(&due.workflow, &run);
                let picked = picked.filter(|picked| picked.on.cron.is_some());
                let verdict = Verdict::over([picked.unwrap_or(workflow)], &event);
                let promise = Promise::from(&verdict);
                self.intake
                    .start(&event, promise, message.published, None)
                    .await
            }
            Err(reason) => Err(Stop::Dead(reason)),
        };
        self.settle(workflow, due, message, started).await
    }

    /// Sets the next schedule, whatever became of the run.
    async fn settle(
        &self,
        workflow: &Workflow,
        due: &Due,
        message: &Incoming,
        started: Result<(), Stop>,
    ) -> Disposition {
        if let Err(Stop::Wait(why)) = started {
            return retry(why);
        }
        // A clock that is behind nats-server's must not see what has just fired as still to come.
        let now = clock::now().max(message.published);
        if let Err(Stop::Wait(why) | Stop::Dead(why)) = self.follow(workflow, due, now).await {
            return retry(why);
        }
        counter!(metric::CRON_FIRED, "workflow" => due.workflow.to_string()).increment(1);
        match started {
            Err(Stop::Dead(reason)) => Disposition::Dead { reason },
            Ok(()) | Err(Stop::Wait(_)) => Disposition::Ack,
        }
    }

    async fn follow(&self, workflow: &Workflow, handled: &Due, now: Timestamp) -> Result<(), Stop> {
        let skipped = plan::skipped(workflow, handled.due, now);
        let plan = |pending: Option<&Due>| plan::after(workflow, pending, handled.due, now);
        for _ in 0..TRIES {
            let attempt = || self.carry_out(&workflow.pin.name, plan);
            match patiently(&self.intake.stop, attempt).await? {
                Ok(()) => {
                    if skipped != Skipped::NONE {
                        warn!(workflow = %workflow.pin.name, handled = %handled.due, %skipped,
                            "due times were missed while nobody was there; they are skipped");
                    }
                    return Ok(());
                }
                Err(JournalError::Conflict(_)) => {}
                Err(error) => return Err(Stop::Wait(error.to_string())),
            }
        }
        Err(Stop::Wait("its schedule is changed again and again".into()))
    }
}

fn read(message: &Incoming) -> Result<Due, String> {
    let due: Due = serde_json::from_slice(&message.payload)
        .map_err(|error| format!("this says of no workflow that it is due: {error}"))?;
    if subject::cron_due(&due.workflow) == message.subject {
        Ok(due)
    } else {
        Err(format!("this is about workflow `{}`", due.workflow))
    }
}

/// What starts the run. Of the same due time it is always the same.
fn event(due: &Due) -> Result<Event, String> {
    let kind = names::event::CRON
        .parse()
        .map_err(|error| format!("{error}"))?;
    let source = names::event::cron_source(&due.workflow);
    let data = json!({"due": due.due, "workflow": due.workflow});
    let mut event = Event::new(kind, source, due.due.to_string(), data);
    event.time = Some(due.due);
    Ok(event)
}

fn looked_for(due: &Due) -> Disposition {
    Disposition::Retry {
        after: LOOKED_FOR_EVERY,
        why: format!(
            "workflow `{}` fell due by version {}, which this gateway does not know",
            due.workflow, due.version
        ),
    }
}

fn retry(why: String) -> Disposition {
    Disposition::Retry {
        after: HAND_BACK_PAUSE,
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::triggers::tests::triggers;

    fn due(time: &str) -> Due {
        let triggers = triggers();
        let weekly = &triggers.by_clock()[&"weekly".parse().unwrap()];
        Due::of(weekly, time.parse().unwrap()).unwrap()
    }

    fn message(subject: &str, due: &Due) -> Incoming {
        Incoming {
            subject: subject.into(),
            seq: 7,
            payload: serde_json::to_vec(due).unwrap().into(),
            published: Timestamp::UNIX_EPOCH,
            delivered: 1,
            ..Incoming::default()
        }
    }

    #[test]
    fn a_due_time_is_an_event_and_its_condition_counts() {
        let starts = |time: &str| {
            let event = event(&due(time)).unwrap();
            let triggers = triggers();
            let weekly = &triggers.by_clock()[&due(time).workflow];
            let verdict = Verdict::over([weekly], &event);
            assert!(verdict.faults.is_empty(), "{verdict:?}");
            (event, verdict.starts.len())
        };
        let (january, runs) = starts("2026-01-05T09:00:00Z");
        assert_eq!(runs, 1);
        assert_eq!(
            serde_json::to_value(&january).unwrap(),
            json!({"specversion": "1.0", "id": "2026-01-05T09:00:00Z", "source": "flotilla:cron/weekly",
                "type": "flotilla.cron", "time": "2026-01-05T09:00:00Z",
                "data": {"due": "2026-01-05T09:00:00Z", "workflow": "weekly"}})
        );
        assert_eq!(starts("2026-08-03T09:00:00Z").1, 0);
    }

    #[test]
    fn what_says_of_no_workflow_that_it_is_due_is_told_with_its_reason() {
        let january = due("2026-01-05T09:00:00Z");
        assert_eq!(
            read(&message("cron.due.weekly", &january)),
            Ok(january.clone())
        );
        let other = read(&message("cron.due.other", &january)).unwrap_err();
        assert!(other.contains("about workflow `weekly`"), "{other}");
        let mut rubbish = message("cron.due.weekly", &january);
        rubbish.payload = "soon".into();
        assert!(read(&rubbish).unwrap_err().contains("of no workflow"));
    }
}
