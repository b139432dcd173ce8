//! Redis: per-run state by compare-and-set, claims with fencing tokens, and the index of runs. All of it can be lost: it is
//! folded from the journal again. Every change is one Lua script, and each script may run twice (a timeout does not tell
//! whether it ran).

mod claims;
mod hold;
mod index;
mod memory;
mod plan;
mod process;
mod validity;

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncCommands as _, Client, IntoConnectionInfo as _, Script,
    aio::{ConnectionManager, ConnectionManagerConfig},
    io::tcp::TcpSettings,
};

use super::{
    broken::{self, Rule},
    bus::without_credentials,
};
pub use claims::{Claimed, Lease};
pub use index::{Cursor, INDEX_MAX, IndexBuild, Line, Page, RESTING_MAX, rests};
pub use memory::{Memory, MemoryError};
pub use plan::Planned;
use process::Process;
pub use process::{Loaded, Token};
pub use validity::Validity;

use crate::{ids::RunId, names::key, run::Run};

/// How long a state lives after its last change; a run that waits longer is folded from the journal when it goes on.
pub const STATE_TTL: Duration = Duration::from_secs(7 * 86_400);
/// How long a claim lives after its last change: longer than any run's redeliveries.
pub const CLAIM_TTL: Duration = Duration::from_secs(7 * 86_400);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long what we sent may stay unacknowledged by the other machine before the connection counts as dead.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);

/// Why Redis did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Its address is wrong.
    #[error(
        "FLOTILLA_REDIS_URL `{url}` is not a Redis address: {source}. It looks like redis://127.0.0.1:6379"
    )]
    Address {
        /// What was given, without credentials.
        url: String,
        /// What is wrong.
        source: redis::RedisError,
    },
    /// It does not answer at the start.
    #[error(
        "cannot reach Redis at {url}: {source}. Start one with `redis-server`, or set FLOTILLA_REDIS_URL"
    )]
    Connect {
        /// Where, without credentials.
        url: String,
        /// Why.
        source: redis::RedisError,
    },
    /// It does not answer, or refuses.
    #[error("Redis: {0}")]
    Unavailable(#[from] redis::RedisError),
    /// What is there cannot be read.
    #[error("Redis holds something unreadable under {key}: {source}")]
    Unreadable {
        /// Where.
        key: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

struct Scripts {
    load: Script,
    save: Script,
    claim: Script,
    extend: Script,
    finish: Script,
    release: Script,
    waits: Script,
    plan: Script,
    planned: Script,
}

/// Redis. Clones share one multiplexed connection, which reconnects by itself.
#[derive(Clone)]
pub struct Store {
    connection: ConnectionManager,
    scripts: Arc<Scripts>,
    worker: Arc<str>,
    claims: Arc<AtomicU64>,
    process: Process,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Connects; `worker` names this process in claims.
    ///
    /// # Errors
    /// [`StoreError::Address`], [`StoreError::Connect`].
    pub async fn connect(url: &str, worker: &str) -> Result<Self, StoreError> {
        let shown = without_credentials(url);
        let wrong = |source| StoreError::Address {
            url: shown.clone(),
            source,
        };
        // A peer that is gone without a word is noticed by TCP, not by the next person who looks.
        let tcp = TcpSettings::default().set_user_timeout(UNACKNOWLEDGED_MAX);
        let info = url
            .into_connection_info()
            .map_err(wrong)?
            .set_tcp_settings(tcp);
        let client = Client::open(info).map_err(wrong)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            .set_number_of_retries(3)
            .set_max_delay(Duration::from_secs(1));
        let connection = ConnectionManager::new_with_config(client, config)
            .await
            .map_err(|source| StoreError::Connect { url: shown, source })?;
        let store = Self {
            connection,
            scripts: Arc::new(Scripts::new()),
            worker: worker.into(),
            claims: Arc::default(),
            process: Process::default(),
        };
        store.look_up_process().await?;
        Ok(store)
    }

    /// The shared connection, for the scripts of other adapters.
    pub(crate) fn connection(&self) -> ConnectionManager {
        self.connection.clone()
    }

    /// What this process is called in claims.
    #[must_use]
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn ping(&self) -> Result<(), StoreError> {
        redis::cmd("PING")
            .query_async::<()>(&mut self.connection.clone())
            .await
            .map_err(Into::into)
    }

    /// The folded run, if it is there and readable (an unreadable one is as good as none: the journal has it), and what a save
    /// must bring.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn load(&self, run: &RunId) -> Result<Loaded, StoreError> {
        type Found = (String, String, Option<Vec<u8>>, Option<String>);
        let seen = self.process.last_seen();
        let (last, born, state, process): Found = self
            .scripts
            .load
            .key(key::state(run))
            .arg(self.unique())
            .arg(millis(STATE_TTL))
            .invoke_async(&mut self.connection.clone())
            .await?;
        let process = match &state {
            Some(_) => process.unwrap_or_default(),
            None => seen.clone(),
        };
        Ok(Loaded {
            run: state.and_then(|state| serde_json::from_slice(&state).ok()),
            token: Token {
                last,
                born,
                process,
            },
            seen,
        })
    }

    /// Sets the folded run if nobody has saved and Redis was not emptied since the load that gave this token. Gives the token of
    /// the next save; `None`: load again, and fold the journal, for what is there may know less than this run and more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn save(&self, run: &Run, loaded: &Token) -> Result<Option<Token>, StoreError> {
        let key = key::state(&run.id);
        let state = serde_json::to_vec(run).map_err(|source| StoreError::Unreadable {
            key: key.clone(),
            source,
        })?;
        let token = self.unique();
        let saved: u8 = self
            .scripts
            .save
            .key(&key)
            .arg(self.fence(&key, "token", &loaded.last).await?)
            .arg(&token)
            .arg(state)
            .arg(millis(STATE_TTL))
            .arg(&loaded.process)
            .invoke_async(&mut self.connection.clone())
            .await?;
        Ok((saved == 1).then(|| Token {
            last: token,
            ..loaded.clone()
        }))
    }

    /// Whether nobody has saved, and Redis was not emptied, since the load or save that gave this token.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn is_current(&self, run: &RunId, loaded: &Token) -> Result<bool, StoreError> {
        let mut connection = self.connection.clone();
        let last: Option<String> = connection.hget(key::state(run), "token").await?;
        Ok(last.as_ref() == Some(&loaded.last))
    }

    /// Whether Redis was emptied since the load that gave this token.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn was_emptied(&self, run: &RunId, loaded: &Token) -> Result<bool, StoreError> {
        let mut connection = self.connection.clone();
        let born: Option<String> = connection.hget(key::state(run), "born").await?;
        Ok(born.as_ref() != Some(&loaded.born))
    }

    /// Its connection and this process's name, for another adapter on the same Redis.
    pub(super) fn shared(&self) -> (ConnectionManager, Arc<str>) {
        (self.connection.clone(), Arc::clone(&self.worker))
    }

    /// What a script compares with a field of `key` before it writes: what this process knows of it. Where the rule is broken on
    /// purpose, whatever is there.
    async fn fence<'a>(
        &self,
        key: &str,
        field: &str,
        known: &'a str,
    ) -> Result<Cow<'a, str>, StoreError> {
        if !broken::is(Rule::Fencing) {
            return Ok(Cow::Borrowed(known));
        }
        let there: Option<String> = self.connection.clone().hget(key, field).await?;
        Ok(there.map_or(Cow::Borrowed(known), Cow::Owned))
    }

    /// A text that no other call ever gives.
    fn unique(&self) -> String {
        let number = self.claims.fetch_add(1, Ordering::Relaxed);
        format!("{}.{number}", self.worker)
    }
}

pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Scripts {
    fn new() -> Self {
        Self {
            load: Script::new(include_str!("lua/load.lua")),
            save: Script::new(include_str!("lua/save.lua")),
            claim: Script::new(concat!(
                include_str!("lua/recall.lua"),
                include_str!("lua/claim.lua")
            )),
            extend: Script::new(include_str!("lua/extend.lua")),
            finish: Script::new(include_str!("lua/finish.lua")),
            release: Script::new(include_str!("lua/release.lua")),
            waits: Script::new(include_str!("lua/waits.lua")),
            plan: Script::new(include_str!("lua/plan.lua")),
            planned: Script::new(include_str!("lua/planned.lua")),
        }
    }
}
