//! How the breakers of tools stand, in a key-value bucket: every executor writes what it knows, which goes with it, and gateways
//! write what people said, which executors watch.

mod value;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_nats::{
    HeaderMap,
    header::NATS_MESSAGE_TTL,
    jetstream::kv::{Entry, Operation, Store, Watch},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    bus::Bus,
    entries::{self, PATIENCE, Silent, patiently},
    streams::{StreamError, ensure_tools},
};
use crate::{
    breaker::{Forced, State},
    ids::Name,
    names::bucket,
};
pub use value::{Force, HostState, ToolState, VersionState};

/// How often executors say how their tools stand, if nothing changes.
pub const TELL_EVERY: Duration = Duration::from_secs(10);
/// After so long, what an executor said is gone: it missed two times.
const TOLD_FOR: Duration = Duration::from_secs(30);
/// What people said, by tool.
pub type ForcedTools = Arc<BTreeMap<Name, Force>>;

/// Why the bucket can be neither read nor written now.
#[derive(Debug, thiserror::Error)]
#[error("the states of tools cannot be reached: {0}")]
pub struct Unreachable(String);

impl Unreachable {
    fn of(problem: impl fmt::Display) -> Self {
        Self(problem.to_string())
    }
}

impl From<Silent> for Unreachable {
    fn from(silent: Silent) -> Self {
        Self::of(silent)
    }
}

/// All that the bucket says.
#[derive(Debug, Default, Clone)]
pub struct Told {
    /// What people said.
    pub forced: BTreeMap<Name, Force>,
    /// What executors say of their tools, by tool and worker.
    pub states: Vec<ToolState>,
}

impl Told {
    /// Where a tool's breakers stand: what a person decided, or else the worst of these executors and versions, hosts of parameters
    /// left aside.
    #[must_use]
    pub fn breaker(&self, tool: &Name, executors: &[&ToolState]) -> State {
        match self.forced.get(tool).map(|said| said.state) {
            Some(Forced::Open) => return State::Open,
            Some(Forced::Closed) => return State::Closed,
            None => {}
        }
        let versions = executors.iter().flat_map(|state| &state.versions);
        let worst = versions.map(|version| version.state).max();
        worst.unwrap_or(State::Closed)
    }
}

/// The bucket. Clones share one connection.
#[derive(Debug, Clone)]
pub struct ToolStates {
    store: Store,
    bus: Bus,
}

impl ToolStates {
    /// Opens the bucket: created when missing, checked when there.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn open(bus: &Bus) -> Result<Self, StreamError> {
        Ok(Self {
            store: ensure_tools(bus).await?,
            bus: bus.clone(),
        })
    }

    /// Says what a person decided about a tool's breakers; `None`: they decide for themselves again.
    ///
    /// # Errors
    /// [`Unreachable`]: whether it was said is not known, and saying it again is harmless.
    pub async fn force(&self, tool: &Name, force: Option<&Force>) -> Result<(), Unreachable> {
        let key = bucket::forced(tool);
        match force {
            Some(force) => {
                let value = serde_json::to_vec(force).map_err(Unreachable::of)?;
                patiently(self.store.put(key, value.into())).await?;
            }
            None => patiently(self.store.delete(key)).await?,
        }
        Ok(())
    }

    /// Says how an executor's tool stands. It is not waited for: the next time says it again.
    pub async fn tell(&self, state: &ToolState) {
        let key = bucket::tool_state(&state.tool, &state.worker);
        let Ok(value) = serde_json::to_vec(state) else {
            return;
        };
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_TTL, TOLD_FOR.as_secs().to_string());
        let subject = bucket::subject(bucket::TOOLS, &key);
        let client = &self.bus.client;
        let sent = client.publish_with_headers(subject, headers, value.into());
        if let Err(problem) = sent.await {
            debug!(%problem, tool = %state.tool, "how a tool stands was not said");
        }
    }

    /// All there is.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub async fn list(&self) -> Result<Told, Unreachable> {
        let (entries, _) = Box::pin(entries::load(&self.store, entries::ALL, PATIENCE)).await?;
        let mut told = Told::default();
        let mut states = BTreeMap::new();
        for entry in entries {
            if entry.key.contains('.') {
                let state = value::state(&entry);
                states.extend(state.map(|state| (entry.key.clone(), state)));
            } else {
                take(&mut told.forced, &entry);
            }
        }
        told.states = states.into_values().collect();
        Ok(told)
    }

    /// What people said, kept current until `stop`. It knows all that was said before.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub async fn watch(
        &self,
        stop: CancellationToken,
    ) -> Result<watch::Receiver<ForcedTools>, Unreachable> {
        let (forced, _) = self.forced().await?;
        let (sender, receiver) = watch::channel(Arc::new(forced));
        let states = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = Box::pin(states.follow(&sender)) => {}
            }
        });
        Ok(receiver)
    }

    async fn follow(&self, sender: &watch::Sender<ForcedTools>) {
        let show = |forced: &BTreeMap<Name, Force>| {
            sender.send_if_modified(|known| {
                let changed = **known != *forced;
                if changed {
                    *known = Arc::new(forced.clone());
                }
                changed
            });
        };
        entries::follow("what people say of tools is", || self.forced(), take, show).await;
    }

    async fn forced(&self) -> Result<(BTreeMap<Name, Force>, Watch), Unreachable> {
        let (entries, changes) =
            Box::pin(entries::load(&self.store, bucket::ALL_FORCED, PATIENCE)).await?;
        let mut forced = BTreeMap::new();
        for entry in &entries {
            take(&mut forced, entry);
        }
        Ok((forced, changes))
    }
}

fn take(forced: &mut BTreeMap<Name, Force>, entry: &Entry) {
    let Ok(tool) = entry.key.parse::<Name>() else {
        return debug!(key = entry.key, "not a tool; left out");
    };
    match entry.operation {
        Operation::Put => match value::force(entry) {
            Ok(force) => drop(forced.insert(tool, force)),
            // Nobody knows what was meant: what held before goes on to hold.
            Err(problem) => {
                warn!(%tool, problem, "what somebody said of this tool cannot be read; say it again (`flotilla tools`)");
            }
        },
        Operation::Delete | Operation::Purge => drop(forced.remove(&tool)),
    }
}
