//! Claims: who may make a call or an effect, and what came out of it.

use std::time::Duration;

use redis::AsyncCommands as _;
use serde::{Serialize, de::DeserializeOwned};

use tokio::time::Instant;

use super::{CLAIM_TTL, Memory, Store, StoreError, Validity, millis};
use crate::{
    io::broken::{self, Rule},
    names::key::EFFECTS_MEMORY,
};

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
    /// Of an effect: what Redis remembers.
    pub memory: Option<Memory>,
    validity: Validity,
}

/// What the script says: the answer, fence or milliseconds, lost, value; and of an effect that is free the memory.
type Answer = (
    String,
    u64,
    u64,
    Option<Vec<u8>>,
    Option<String>,
    Option<u64>,
    Option<u8>,
);

impl Lease {
    /// The same claim, made again: what is known of earlier holders is not forgotten with it, and who looks at its validity sees
    /// the new one.
    pub(super) fn renew(&mut self, again: Self) {
        self.validity.extend(again.validity.end());
        *self = Self {
            lost: self.lost.max(again.lost),
            validity: self.validity.clone(),
            ..again
        };
    }

    /// The claim.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Who holds it: what its scripts compare.
    pub(in crate::io) fn owner(&self) -> &str {
        &self.owner
    }

    /// Until when it certainly lasts.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity.clone()
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
        self.claim_as(key, lease, self.unique(), false).await
    }

    /// Claims the effect `key` for `lease`, and tells with it what Redis remembers.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn claim_effect<T: DeserializeOwned>(
        &self,
        key: String,
        lease: Duration,
    ) -> Result<Claimed<T>, StoreError> {
        self.claim_as(key, lease, self.unique(), true).await
    }

    /// Claims again what an extension said is lost: after Redis was emptied it is free, and stays with its holder.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn reclaim<T: DeserializeOwned>(
        &self,
        lease: &Lease,
    ) -> Result<Claimed<T>, StoreError> {
        let (owner, is_effect) = (lease.owner.clone(), lease.memory.is_some());
        self.claim_as(lease.key.clone(), lease.length, owner, is_effect)
            .await
    }

    async fn claim_as<T: DeserializeOwned>(
        &self,
        key: String,
        lease: Duration,
        owner: String,
        is_effect: bool,
    ) -> Result<Claimed<T>, StoreError> {
        let until = Instant::now() + lease;
        let mut script = self.scripts.claim.key(&key);
        if is_effect {
            script.key(EFFECTS_MEMORY);
        }
        let (answer, number, lost, value, token, since, known): Answer = script
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
                memory: token.map(|token| Memory {
                    token,
                    since,
                    is_known: known == Some(1),
                }),
                validity: Validity::until(until),
            }),
            // As one that was given back before, by somebody who had done nothing.
            "held" | "done" if broken::is(Rule::ClaimIgnored) => Claimed::Free(Lease {
                key,
                owner,
                length: lease,
                fence: 2,
                lost: 0,
                memory: is_effect.then(|| Memory {
                    token: String::new(),
                    since: None,
                    is_known: true,
                }),
                validity: Validity::until(until),
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
        let until = Instant::now() + lease.length;
        let mut script = self.scripts.extend.key(&lease.key);
        let extended: u8 = script
            .arg(&lease.owner)
            .arg(millis(lease.length))
            .invoke_async(&mut self.connection.clone())
            .await?;
        if extended == 1 {
            lease.validity.extend(until);
        }
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
            .arg(self.fence(&lease.key, "owner", &lease.owner).await?)
            .arg(value)
            .arg(millis(CLAIM_TTL))
            .arg(lease.fence)
            .invoke_async(&mut self.connection.clone())
            .await?;
        Ok(finished == 1)
    }

    /// Notes that the holder of a claim waits for its turn and has begun nothing under it, or does so no more: lost while it waits, it
    /// does not count as lost. `false`: somebody else has the claim.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]. It may be noted later all the same: give the claim back.
    pub async fn waits(&self, lease: &Lease, waits: bool) -> Result<bool, StoreError> {
        let mut script = self.scripts.waits.key(&lease.key);
        let noted: u8 = script
            .arg(&lease.owner)
            .arg(u8::from(waits))
            .invoke_async(&mut self.connection.clone())
            .await?;
        Ok(noted == 1)
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
