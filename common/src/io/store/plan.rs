//! Work that is put off on purpose: what its claim remembers of it until it is handed out again.

use std::time::Duration;

use super::{CLAIM_TTL, Lease, Store, StoreError, millis};

/// What a claim remembers; the default is one that nobody has put off.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// How often its work was put off. Each time cost a delivery that says nothing about it.
    pub put_off: u64,
    /// How often it was tried, by those who lived to say so.
    pub tries: u32,
    /// How long ago it was tried first.
    pub since_first: Option<Duration>,
    /// How long until it is due.
    pub left: Duration,
}

impl Store {
    /// What is planned of the work under a claim.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn planned(&self, key: &str) -> Result<Planned, StoreError> {
        let mut connection = self.connection.clone();
        let script = self.scripts.planned.key(key);
        let found = script.invoke_async(&mut connection).await?;
        let (put_off, tries, since, left): (u64, u32, i64, u64) = found;
        Ok(Planned {
            put_off,
            tries,
            since_first: u64::try_from(since).ok().map(Duration::from_millis),
            left: Duration::from_millis(left),
        })
    }

    /// Gives a claim back until later: it was tried so often, first so long ago, and is due again after `left`. `false`: the lease
    /// was lost before, or this was said already.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn put_off(
        &self,
        lease: &Lease,
        tries: u32,
        since_first: Option<Duration>,
        left: Duration,
    ) -> Result<bool, StoreError> {
        let since = since_first.map(|since| millis(since).to_string());
        let mut script = self.scripts.plan.key(lease.key());
        let put_off: u8 = script
            .arg(lease.owner())
            .arg(tries)
            .arg(since.unwrap_or_default())
            .arg(millis(left))
            .arg(millis(CLAIM_TTL))
            .invoke_async(&mut self.connection.clone())
            .await?;
        Ok(put_off == 1)
    }
}
