//! Claims: who may make a call or an effect, and what came out of it.

use std::time::Duration;

use redis::AsyncCommands as _;
use serde::{Serialize, de::DeserializeOwned};

use super::{CLAIM_TTL, Store, StoreError, millis};

/// What a claim found.
#[derive(Debug)]
pub enum Claimed<T> {
    /// It is yours until the lease ends.
    Free(Lease),
    /// Somebody else holds it for this much longer.
    Held(Duration),
    /// It is done; this is what came out.
    Done {
        /// What came out.
        value: T,
        /// How many holders were lost before it was done.
        lost: u64,
    },
}

/// A claim you hold.
#[derive(Debug, Clone)]
pub struct Lease {
    key: String,
    owner: String,
    length: Duration,
    /// The fencing token: 1 for the first holder ever, more for each later one.
    pub fence: u64,
    /// How many holders before were lost without saying what came out.
    pub lost: u64,
}

impl Lease {
    /// The claim.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Who holds it: what its scripts compare.
    pub(in crate::io) fn owner(&self) -> &str {
        &self.owner
    }

    /// How long it lasts from each extension.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.length
    }
}

impl Store {
    /// Claims `key` for `lease`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn claim<T: DeserializeOwned>(
        &self,
        key: String,
        lease: Duration,
    ) -> Result<Claimed<T>, StoreError> {
        self.claim_as(key, lease, self.unique()).await
    }

    /// Claims again what an extension said is lost: after Redis was emptied it is free, and stays with its holder.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn reclaim<T: DeserializeOwned>(
        &self,
        lease: &Lease,
    ) -> Result<Claimed<T>, StoreError> {
        self.claim_as(lease.key.clone(), lease.length, lease.owner.clone())
            .await
    }

    async fn claim_as<T: DeserializeOwned>(
        &self,
        key: String,
        lease: Duration,
        owner: String,
    ) -> Result<Claimed<T>, StoreError> {
        let (answer, number, lost, value): (String, u64, u64, Option<Vec<u8>>) = self
            .scripts
            .claim
            .key(&key)
            .arg(&owner)
            .arg(millis(lease))
            .arg(millis(CLAIM_TTL))
            .invoke_async(&mut self.connection.clone())
            .await?;
        Ok(match answer.as_str() {
            "free" => Claimed::Free(Lease {
                key,
                owner,
                length: lease,
                fence: number,
                lost,
            }),
            "held" => Claimed::Held(Duration::from_millis(number)),
            _ => {
                let value = serde_json::from_slice(&value.unwrap_or_default())
                    .map_err(|source| StoreError::Unreadable { key, source })?;
                Claimed::Done { value, lost }
            }
        })
    }

    /// Whether a claim was ever made on `key` since Redis was last empty.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn is_known(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.connection.clone().exists(key).await?)
    }

    /// Makes a lease last again from now. `false`: it is lost, somebody else holds the claim.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn extend(&self, lease: &Lease) -> Result<bool, StoreError> {
        let mut script = self.scripts.extend.key(&lease.key);
        let extended: u8 = script
            .arg(&lease.owner)
            .arg(millis(lease.length))
            .invoke_async(&mut self.connection.clone())
            .await?;
        Ok(extended == 1)
    }

    /// Marks a claim done with what came out. `false`: the lease was lost, and what came out was not kept.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn finish<T: Serialize>(&self, lease: &Lease, value: &T) -> Result<bool, StoreError> {
        let value = serde_json::to_vec(value).map_err(|source| StoreError::Unreadable {
            key: lease.key.clone(),
            source,
        })?;
        let finished: u8 = self
            .scripts
            .finish
            .key(&lease.key)
            .arg(&lease.owner)
            .arg(value)
            .arg(millis(CLAIM_TTL))
            .arg(lease.fence)
            .invoke_async(&mut self.connection.clone())
            .await?;
        Ok(finished == 1)
    }

    /// Gives a claim back undone; so many calls or effects that were begun under it are lost with it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn give_back(&self, lease: &Lease, lost: u64) -> Result<(), StoreError> {
        let mut script = self.scripts.release.key(&lease.key);
        let mut connection = self.connection.clone();
        let _: u8 = script
            .arg(&lease.owner)
            .arg(lost)
            .invoke_async(&mut connection)
            .await?;
        Ok(())
    }
}
