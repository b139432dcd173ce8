//! When workflows with a cron expression fall due: one message schedule for each, on the stream CRON. nats-server fires it, also when
//! it was down at the time.

use std::time::Duration;

use async_nats::{
    header::{NATS_SCHEDULE, NATS_SCHEDULE_TARGET},
    jetstream::stream::{LastRawMessageErrorKind, Stream},
};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::journal::{Journal, JournalError, expecting, unavailable};
use crate::{
    definition::Workflow,
    ids::Name,
    names::{stream, subject},
};

/// How long one question to JetStream may take; who asks decides whether to ask again.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// That a workflow falls due: what a schedule holds, and what it becomes when it fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// Which workflow.
    pub workflow: Name,
    /// When.
    pub due: Timestamp,
    /// Which version of the workflow said so.
    pub version: u32,
    /// Its expression.
    pub cron: String,
    /// The expression's time zone.
    pub timezone: String,
}

impl Due {
    /// That this workflow falls due then; `None` when it goes by no clock.
    #[must_use]
    pub fn of(workflow: &Workflow, due: Timestamp) -> Option<Self> {
        let cron = workflow.on.cron.as_ref()?;
        Some(Self {
            workflow: workflow.pin.name.clone(),
            due,
            version: workflow.pin.version,
            cron: cron.expression().to_owned(),
            timezone: cron.timezone().to_owned(),
        })
    }
}

/// A schedule that has not fired yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its sequence in the stream.
    pub seq: u64,
    /// What it holds; `None` where that cannot be read.
    pub due: Option<Due>,
}

/// The schedules. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Schedules {
    journal: Journal,
}

impl Schedules {
    /// The schedules on the journal's connection; the streams must have been ensured.
    #[must_use]
    pub fn new(journal: Journal) -> Self {
        Self { journal }
    }

    /// The schedule of a workflow, if there is one.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    pub async fn pending(&self, workflow: &Name) -> Result<Option<Pending>, JournalError> {
        let subject = subject::cron_timer(workflow);
        let question = async {
            let stream = self.stream().await?;
            match stream.get_last_raw_message_by_subject(&subject).await {
                Ok(message) => Ok(Some(Pending {
                    seq: message.sequence,
                    due: serde_json::from_slice(&message.payload).ok(),
                })),
                Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => {
                    Ok(None)
                }
                Err(error) => Err(unavailable(error)),
            }
        };
        in_time(question).await
    }

    /// Sets a workflow's schedule, in the place of the one with that sequence; 0: where there is none. A time that is over fires at once.
    ///
    /// # Errors
    /// [`JournalError::Conflict`] when the schedule is another by now, or has fired.
    pub async fn set(&self, due: &Due, instead_of: u64) -> Result<(), JournalError> {
        let subject = subject::cron_timer(&due.workflow);
        let payload = serde_json::to_vec(due).map_err(|error| JournalError::Refused {
            subject: subject.clone(),
            problem: error.to_string(),
        })?;
        let mut headers = expecting(instead_of, &subject);
        headers.insert(NATS_SCHEDULE, format!("@at {}", due.due));
        headers.insert(NATS_SCHEDULE_TARGET, subject::cron_due(&due.workflow));
        let set = self.journal.publish(subject, headers, payload.into());
        set.await.map(drop)
    }

    /// The workflows that have a schedule.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    pub async fn workflows(&self) -> Result<Vec<Name>, JournalError> {
        let question = async {
            let stream = self.stream().await?;
            let timers = stream.info_with_subjects(subject::ALL_CRON_TIMERS);
            let timers = timers.await.map_err(unavailable)?;
            let mut workflows = Vec::new();
            let mut timers = std::pin::pin!(timers);
            while let Some(timer) = timers.next().await {
                let (subject, _) = timer.map_err(unavailable)?;
                workflows.extend(subject::cron_timer_workflow(&subject));
            }
            Ok(workflows)
        };
        in_time(question).await
    }

    /// Removes a workflow's schedule with that sequence, if it is still there.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`].
    pub async fn remove(&self, workflow: &Name, seq: u64) -> Result<(), JournalError> {
        let question = async {
            let removed = self.stream().await?.delete_message(seq).await;
            removed.map(drop).map_err(unavailable)
        };
        match in_time(question).await {
            Ok(()) => Ok(()),
            // nats-server has one error (10057, seen on 2.15.1) for what is gone and for what it cannot do: look.
            Err(problem) => match self.pending(workflow).await? {
                Some(pending) if pending.seq == seq => Err(problem),
                Some(_) | None => Ok(()),
            },
        }
    }

    async fn stream(&self) -> Result<Stream<()>, JournalError> {
        let stream = self
            .journal
            .bus()
            .jetstream
            .get_stream_no_info(stream::CRON);
        stream.await.map_err(unavailable)
    }
}

async fn in_time<T>(
    question: impl Future<Output = Result<T, JournalError>>,
) -> Result<T, JournalError> {
    let answer = timeout(ANSWER_WITHIN, question).await;
    answer.unwrap_or_else(|_| Err(unavailable("JetStream does not answer in time")))
}
