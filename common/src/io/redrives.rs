//! What became of dead letters, and those that are settled many at a time: a job is kept with how far it came, so that another
//! gateway goes on with it when the one that worked on it is gone.

use std::{collections::BTreeMap, fmt, time::Duration};

use async_nats::jetstream::kv::{self, UpdateErrorKind};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{
    bus::Bus,
    entries::{self, Silent, within},
    streams::{StreamError, ensure_redrives},
};

/// How long one question to NATS may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// What is done with a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// What it is about is handled again.
    Redrive,
    /// It is given up for good.
    Drop,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Redrive => "redriven",
            Self::Drop => "dropped",
        })
    }
}

/// Who wanted something done with letters, and why.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Because {
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What became of a letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledLetter {
    /// Its sequence on DEAD.
    pub seq: u64,
    /// What was done.
    pub action: Action,
    /// By whom, and why.
    #[serde(flatten)]
    pub because: Because,
    /// When.
    pub at: Timestamp,
    /// Whether another payload took the place of its own.
    #[serde(default)]
    pub edited: bool,
    /// Where it came from.
    pub subject: String,
    /// Why it was a dead letter.
    pub was: String,
    /// Which letters had the same cause.
    pub fingerprint: String,
}

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Some gateway works on it, or will.
    Running,
    /// All its letters were looked at.
    Done,
}

/// Letters of one cause that are settled in the background.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Which.
    pub id: String,
    /// What is done with them.
    pub action: Action,
    /// Which letters.
    pub fingerprint: String,
    /// Letters a minute, at most.
    pub per_minute: u32,
    /// By whom, and why.
    #[serde(flatten)]
    pub because: Because,
    /// How it stands.
    pub state: JobState,
    /// When it began.
    pub at: Timestamp,
    /// When somebody was last heard to work on it.
    pub seen: Timestamp,
    /// Who works on it.
    #[serde(default)]
    pub worker: Option<String>,
    /// Letters up to this one are its own; what comes later is not.
    pub upto: u64,
    /// All letters up to this one were looked at.
    pub through: u64,
    /// How many there were when it began.
    pub total: u64,
    /// Letters that were settled.
    pub done: u64,
    /// Letters that could not be, and are still there.
    pub refused: u64,
    /// Why the last of those could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Why nothing can be read or written now.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// Not now.
    #[error("what became of dead letters cannot be reached: {0}")]
    Unreachable(String),
    /// Another gateway works on it.
    #[error("another gateway works on this")]
    Taken,
}

fn unreachable(problem: impl fmt::Display) -> RedriveError {
    RedriveError::Unreachable(problem.to_string())
}

impl From<Silent> for RedriveError {
    fn from(silent: Silent) -> Self {
        unreachable(silent)
    }
}

/// A job, and which change of the bucket it came with.
pub type Revised = (Job, u64);

/// The buckets. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Redrives {
    settled: kv::Store,
    jobs: kv::Store,
}

impl Redrives {
    /// Opens them: created when missing, checked when there.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn open(bus: &Bus) -> Result<Self, StreamError> {
        let (settled, jobs) = Box::pin(ensure_redrives(bus)).await?;
        Ok(Self { settled, jobs })
    }

    /// Keeps what becomes of a letter.
    ///
    /// # Errors
    /// [`RedriveError::Unreachable`].
    pub async fn note(&self, settled: &SettledLetter) -> Result<(), RedriveError> {
        let value = serde_json::to_vec(settled).map_err(unreachable)?;
        let put = self.settled.put(settled.seq.to_string(), value.into());
        within(PATIENCE, put).await?;
        Ok(())
    }

    /// What became of a letter.
    ///
    /// # Errors
    /// [`RedriveError::Unreachable`].
    pub async fn settled(&self, seq: u64) -> Result<Option<SettledLetter>, RedriveError> {
        let value = within(PATIENCE, self.settled.get(seq.to_string())).await?;
        Ok(value.and_then(|value| serde_json::from_slice(&value).ok()))
    }

    /// A job.
    ///
    /// # Errors
    /// [`RedriveError::Unreachable`].
    pub async fn job(&self, id: &str) -> Result<Option<Revised>, RedriveError> {
        let entry = within(PATIENCE, self.jobs.entry(id)).await?;
        Ok(entry.and_then(|entry| {
            let job = serde_json::from_slice(&entry.value).ok()?;
            Some((job, entry.revision))
        }))
    }

    /// Keeps a job, if nobody else has changed it since `revision` (0: it is new). Gives its new revision.
    ///
    /// # Errors
    /// [`RedriveError::Taken`] when somebody has.
    pub async fn keep(&self, job: &Job, revision: u64) -> Result<u64, RedriveError> {
        let value = serde_json::to_vec(job).map_err(unreachable)?;
        let update = self.jobs.update(&job.id, value.into(), revision);
        match timeout(PATIENCE, update).await.map_err(unreachable)? {
            Ok(revision) => Ok(revision),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                Err(RedriveError::Taken)
            }
            Err(error) => Err(unreachable(error)),
        }
    }

    /// Jobs that are not done, with their revisions.
    ///
    /// # Errors
    /// [`RedriveError::Unreachable`].
    pub async fn running(&self) -> Result<Vec<Revised>, RedriveError> {
        let mut all = self.all().await?;
        all.retain(|(job, _)| job.state == JobState::Running);
        Ok(all)
    }

    /// All jobs that are kept, whatever their state.
    ///
    /// # Errors
    /// [`RedriveError::Unreachable`].
    pub async fn jobs(&self) -> Result<Vec<Job>, RedriveError> {
        Ok(self.all().await?.into_iter().map(|(job, _)| job).collect())
    }

    async fn all(&self) -> Result<Vec<Revised>, RedriveError> {
        let (entries, _) = Box::pin(entries::load(&self.jobs, entries::ALL, PATIENCE)).await?;
        let mut found = BTreeMap::new();
        for entry in entries {
            if let Ok(job) = serde_json::from_slice::<Job>(&entry.value) {
                found.insert(entry.key.clone(), (job, entry.revision));
            }
        }
        Ok(found.into_values().collect())
    }
}
