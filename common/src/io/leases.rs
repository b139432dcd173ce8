//! Work that one process of a fleet does at a time: whoever puts its name on it first. A name goes by NATS's clock, so work whose
//! holder died is free again.

use std::{fmt::Display, time::Duration};

use async_nats::jetstream::kv::{self, CreateErrorKind};
use tokio::time::timeout;

use super::{
    bus::Bus,
    streams::{StreamError, ensure_leases},
};

/// How long a name holds: work under it must be over before.
pub const LEASE: Duration = Duration::from_secs(300);
/// How long one question to NATS may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// NATS cannot say who holds a lease.
#[derive(Debug, thiserror::Error)]
#[error("nobody can say who does this: {0}")]
pub struct LeaseError(String);

/// The leases. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Leases(kv::Store);

impl Leases {
    /// Opens them: created when missing, checked when there.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn open(bus: &Bus) -> Result<Self, StreamError> {
        Ok(Self(Box::pin(ensure_leases(bus)).await?))
    }

    /// Takes some work for [`LEASE`]; false: somebody else has it.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn take(&self, work: &str, holder: &str) -> Result<bool, LeaseError> {
        let taken = self.0.create(work, holder.to_owned().into());
        match timeout(PATIENCE, taken).await.map_err(unreachable)? {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(unreachable(error)),
        }
    }

    /// Gives it back.
    ///
    /// # Errors
    /// [`LeaseError`]: then it is free when its time is over.
    pub async fn give_back(&self, work: &str) -> Result<(), LeaseError> {
        let gone = timeout(PATIENCE, self.0.delete(work)).await;
        gone.map_err(unreachable)?.map_err(unreachable)
    }
}

fn unreachable(problem: impl Display) -> LeaseError {
    LeaseError(problem.to_string())
}
