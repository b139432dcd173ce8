//! What Redis knows of items of batches: that one is about to be sent, and which batch has it. It stands in the claim of the
//! item's call, so it is lost with it or not at all; then the journal knows, or the provider is asked what it has.

use std::{collections::BTreeSet, sync::LazyLock, time::Duration};

use jiff::Timestamp;
use redis::{AsyncCommands as _, Script};
use serde::{Deserialize, Serialize};

use super::store::{CLAIM_TTL, Lease, Store, StoreError, millis};
use crate::{
    entry::{Held, Item},
    names::key,
};

/// How long the set of saved batches lives: longer than its members.
const SAVED_TTL: Duration = Duration::from_secs(8 * 86_400);

static NOTED: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/noted.lua")));
static INTEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/intend.lua")));
static BATCHED: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/batched.lua")));
static RETRACT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/retract.lua")));
static MEMORY: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/memory.lua")));
static SAVED: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/saved.lua")));

/// The items of this fleet.
#[derive(Debug, Clone)]
pub struct Slips {
    store: Store,
}

/// What a claim says of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slip {
    /// Its name.
    pub custom_id: String,
    /// What was written down before it was sent; `None` where Redis was emptied since.
    pub item: Option<Item>,
    /// The batch that has it, if that is known.
    pub batch: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Intent {
    item: Item,
    /// Who sends it, for people who look.
    by: String,
}

impl Slips {
    /// On this Redis.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Money is about to be held for an item that is to be sent under this claim, which begins with [`Slips::intend`]. `false`:
    /// somebody else has the claim.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note(&self, lease: &Lease, held: &Held) -> Result<bool, StoreError> {
        let text = text(lease, held)?;
        let mut script = NOTED.key(lease.key());
        script.arg(lease.owner()).arg(text);
        let noted: u8 = script.invoke_async(&mut self.store.connection()).await?;
        Ok(noted == 1)
    }

    /// What may be held under this claim for an item that nobody has begun to send.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn noted(&self, claim: &str) -> Result<Option<Held>, StoreError> {
        let held: Option<String> = self.store.connection().hget(claim, "held").await?;
        Ok(held.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// An item is about to be sent under this claim; `by` names who sends it. `false`: it may not be, somebody else has the claim
    /// or it was sent already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn intend(&self, lease: &Lease, item: &Item, by: &str) -> Result<bool, StoreError> {
        let intent = Intent {
            item: item.clone(),
            by: by.to_owned(),
        };
        let text = text(lease, &intent)?;
        let mut script = INTEND.key(lease.key());
        script.arg(lease.owner()).arg(&item.custom_id).arg(text);
        let may: u8 = script.invoke_async(&mut self.store.connection()).await?;
        Ok(may == 1)
    }

    /// The item under this claim is in this batch.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn batched(
        &self,
        claim: &str,
        custom_id: &str,
        batch: &str,
    ) -> Result<(), StoreError> {
        let mut script = BATCHED.key(claim);
        script.arg(custom_id).arg(batch).arg(millis(CLAIM_TTL));
        let _: u8 = script.invoke_async(&mut self.store.connection()).await?;
        Ok(())
    }

    /// The item was certainly not sent.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn retract(&self, claim: &str, custom_id: &str) -> Result<(), StoreError> {
        let mut script = RETRACT.key(claim);
        script.arg(custom_id);
        let _: u8 = script.invoke_async(&mut self.store.connection()).await?;
        Ok(())
    }

    /// The last item that was sent, or about to be, under this claim.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn read(&self, claim: &str) -> Result<Option<Slip>, StoreError> {
        let fields = &["item", "intent", "batch"];
        let (item, intent, batch): (Option<String>, Option<String>, Option<String>) =
            self.store.connection().hmget(claim, fields).await?;
        // One that is not readable is as good as none: the provider is asked.
        let intent = intent.and_then(|text| serde_json::from_str::<Intent>(&text).ok());
        Ok(item.map(|custom_id| Slip {
            item: intent
                .map(|intent| intent.item)
                .filter(|item| item.custom_id == custom_id),
            custom_id,
            batch,
        }))
    }

    /// Every item of this batch knows it by now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn all_saved(&self, batch: &str) -> Result<(), StoreError> {
        let mut script = SAVED.key(key::BATCHES_SAVED);
        script
            .arg(batch)
            .arg(millis(CLAIM_TTL))
            .arg(millis(SAVED_TTL));
        let _: u8 = script.invoke_async(&mut self.store.connection()).await?;
        Ok(())
    }

    /// Batches whose items all know it: an item that a claim read *after* this does not name is in none of them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn saved(&self) -> Result<BTreeSet<String>, StoreError> {
        let mut connection = self.store.connection();
        Ok(connection.zrange(key::BATCHES_SAVED, 0, -1).await?)
    }

    /// Since when Redis remembers every item that was sent; before that, a claim that names none proves nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn remembers_since(&self) -> Result<Timestamp, StoreError> {
        let script = MEMORY.key(key::BATCHES_MEMORY);
        let since: i64 = script.invoke_async(&mut self.store.connection()).await?;
        Ok(Timestamp::from_millisecond(since).unwrap_or(Timestamp::MAX))
    }
}

fn text<T: Serialize>(lease: &Lease, what: &T) -> Result<String, StoreError> {
    serde_json::to_string(what).map_err(|source| StoreError::Unreadable {
        key: lease.key().to_owned(),
        source,
    })
}
