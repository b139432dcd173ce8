//! Ceilings of a day that people set on a running fleet, in a key-value bucket: gateways write them, planners watch them. A
//! workflow's own `limits.usd_per_day` holds where nothing is set.

mod value;

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_nats::jetstream::kv::{Entry, Store, Watch};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub use value::{Payer, Set, Standing, Whose};

use self::value::{key, standing, whose};
use super::{
    bus::Bus,
    entries::{self, PATIENCE, Silent, patiently},
    streams::{StreamError, ensure_ceilings},
};
use crate::{entry::Account, money::Usd};

/// A value, and which change of the bucket it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The bucket's sequence: higher is later.
    pub revision: u64,
    /// What holds since then.
    pub standing: Standing,
}

/// The day's ceilings that people set for an account; `None`: nothing is set.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct DayCeilings {
    /// The workflow's.
    pub workflow: Option<Usd>,
    /// The tenant's.
    pub tenant: Option<Usd>,
}

/// Why a ceiling can be neither read nor set now.
#[derive(Debug, thiserror::Error)]
#[error("the ceilings cannot be reached: {0}")]
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

type Known = BTreeMap<Whose, Standing>;

/// The bucket. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Ceilings {
    store: Store,
}

impl Ceilings {
    /// Opens the bucket: created when missing, checked when there.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn open(bus: &Bus) -> Result<Self, StreamError> {
        let store = ensure_ceilings(bus).await?;
        Ok(Self { store })
    }

    /// What holds for one; `None` when nothing was ever set.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub async fn get(&self, whose: &Whose) -> Result<Option<Change>, Unreachable> {
        let entry = patiently(self.store.entry(key(whose))).await?;
        Ok(entry.map(|entry| Change {
            revision: entry.revision,
            standing: standing(&entry),
        }))
    }

    /// Sets one; gives the change.
    ///
    /// # Errors
    /// [`Unreachable`]: whether it is set is not known, and setting it again is harmless.
    pub async fn set(&self, whose: &Whose, set: Set) -> Result<Change, Unreachable> {
        let value = serde_json::to_vec(&set).map_err(Unreachable::of)?;
        let revision = patiently(self.store.put(key(whose), value.into())).await?;
        Ok(Change {
            revision,
            standing: Standing::Set(set),
        })
    }

    /// Goes back to what the definition says; gives the change, `None` when nothing was ever set.
    ///
    /// # Errors
    /// [`Unreachable`]: as for [`Ceilings::set`].
    pub async fn clear(&self, whose: &Whose) -> Result<Option<Change>, Unreachable> {
        match self.get(whose).await? {
            None => Ok(None),
            Some(change) if change.standing == Standing::Cleared => Ok(Some(change)),
            Some(_) => {
                patiently(self.store.delete(key(whose))).await?;
                self.get(whose).await
            }
        }
    }

    /// All that are set, and those that cannot be read.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub async fn list(&self) -> Result<BTreeMap<Whose, Standing>, Unreachable> {
        let (mut known, _) = Box::pin(self.load()).await?;
        known.retain(|_, standing| *standing != Standing::Cleared);
        Ok(known)
    }

    /// A view that is kept current until `stop`.
    #[must_use]
    pub fn watch(&self, stop: CancellationToken) -> Watched {
        let (sender, known) = watch::channel(None);
        let ceilings = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = Box::pin(ceilings.follow(&sender)) => {}
            }
        });
        Watched { known }
    }

    async fn follow(&self, sender: &watch::Sender<Option<Arc<Known>>>) {
        let show = |known: &Known| drop(sender.send_replace(Some(Arc::new(known.clone()))));
        entries::follow("the ceilings are", || self.load(), take, show).await;
    }

    /// All there is, and what comes after it.
    async fn load(&self) -> Result<(Known, Watch), Unreachable> {
        let (entries, changes) =
            Box::pin(entries::load(&self.store, entries::ALL, PATIENCE)).await?;
        let mut known = Known::new();
        for entry in &entries {
            take(&mut known, entry);
        }
        Ok((known, changes))
    }
}

/// A view of the ceilings that a task keeps current. Clones share it.
#[derive(Debug, Clone)]
pub struct Watched {
    known: watch::Receiver<Option<Arc<Known>>>,
}

impl Watched {
    /// What is set for this account now. `None`: not known, because nothing was loaded yet or what is there cannot be read; then
    /// nobody may take it for "no ceiling".
    #[must_use]
    pub fn of(&self, account: &Account) -> Option<DayCeilings> {
        let known = self.known.borrow().clone()?;
        Some(DayCeilings {
            workflow: limit(&known, Payer::Workflow, &account.workflow)?,
            tenant: limit(&known, Payer::Tenant, &account.tenant)?,
        })
    }
}

/// Outer `None`: not known. What is no name can have nothing set.
fn limit(known: &Known, payer: Payer, name: &str) -> Option<Option<Usd>> {
    let Ok(name) = name.parse() else {
        return Some(None);
    };
    match known.get(&(payer, name)) {
        Some(Standing::Set(set)) => Some(Some(set.usd_nano)),
        None | Some(Standing::Cleared) => Some(None),
        Some(Standing::Unreadable) => None,
    }
}

fn take(known: &mut Known, entry: &Entry) {
    match whose(&entry.key) {
        Ok(whose) => drop(known.insert(whose, standing(entry))),
        Err(problem) => debug!(key = entry.key, problem, "not a ceiling; left out"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Name;

    fn account(workflow: &str, tenant: &str) -> Account {
        Account {
            tenant: tenant.into(),
            workflow: workflow.into(),
        }
    }

    fn watched(known: Option<Known>) -> Watched {
        let (_, known) = watch::channel(known.map(Arc::new));
        Watched { known }
    }

    fn set(usd: u64) -> Standing {
        Standing::Set(Set::now(Usd::from_nano(usd), None, None))
    }

    #[test]
    fn what_is_not_known_is_not_taken_for_no_ceiling() {
        let asked = account("w", "acme");
        assert_eq!(watched(None).of(&asked), None);
        assert_eq!(
            watched(Some(Known::new())).of(&asked),
            Some(DayCeilings::default())
        );
        let whose: Whose = (Payer::Tenant, "acme".parse().unwrap());
        let known = Known::from([(whose, Standing::Unreadable)]);
        let watched = watched(Some(known));
        assert_eq!(watched.of(&asked), None);
        assert_eq!(
            watched.of(&account("w", "default")),
            Some(DayCeilings::default())
        );
    }

    #[test]
    fn a_workflow_and_a_tenant_of_one_name_have_each_their_own() {
        let name: Name = "a".parse().unwrap();
        let known = Known::from([
            ((Payer::Workflow, name.clone()), set(1)),
            ((Payer::Tenant, name), set(2)),
            ((Payer::Workflow, "b".parse().unwrap()), Standing::Cleared),
        ]);
        let watched = watched(Some(known));
        let of = |workflow: &str, tenant: &str| {
            let found = watched.of(&account(workflow, tenant)).unwrap();
            (found.workflow.map(Usd::nano), found.tenant.map(Usd::nano))
        };
        assert_eq!(of("a", "a"), (Some(1), Some(2)));
        assert_eq!(of("b", "not a name"), (None, None));
    }
}
