//! What people change on a running fleet: which version new runs get, and what is switched off.

mod ending;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use tracing::{debug, info};

use super::{Definitions, Silent, Unreachable, active, patiently};
use crate::{
    definition::{Active, Candidate, Catalogue, Percent, Switch, Switched, ValueError, VersionRef},
    ids::Name,
    io::clock,
    names::bucket,
};

/// Looks at what is active: one more when somebody else changes it at the same moment.
const TRIES: u32 = 20;

/// Who changes something, and why.
#[derive(Debug, Default, Clone)]
pub struct Said {
    /// Who.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

impl Said {
    /// All runs get this version.
    pub(super) fn active(&self, stable: VersionRef, at: Timestamp) -> Active {
        Active {
            by: self.by.clone(),
            reason: self.reason.clone(),
            ..Active::only(stable, at)
        }
    }
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// NATS does not answer. Whether it is made is not known; look before it is made again.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// There is no such version.
    #[error(
        "workflow `{name}` has no version {version}; it has: {known}. `flotilla apply` brings one"
    )]
    NoVersion {
        /// The workflow.
        name: Name,
        /// What was asked for.
        version: u32,
        /// The versions that there are, for people.
        known: String,
    },
    /// No version is active.
    #[error("no version of workflow `{0}` is active; activate one first")]
    NotActive(Name),
    /// All runs get this version already.
    #[error("workflow `{name}` version {version} gets all runs already")]
    ActiveAlready {
        /// The workflow.
        name: Name,
        /// Its version.
        version: u32,
    },
    /// No part of the runs gets another version, or another one than was named.
    #[error("{0}")]
    NoRollout(String),
    /// Nothing was active before.
    #[error(
        "no other version of workflow `{0}` was active before, so there is nothing to go back to; activate one"
    )]
    NoneBefore(Name),
    /// Somebody else changed it at the same moment.
    #[error("somebody else has just changed what is active of workflow `{0}`; look, and try again")]
    Busy(Name),
    /// What is there was written by another flotilla.
    #[error("what is active of workflow `{name}` cannot be read: {problem}")]
    Unreadable {
        /// The workflow.
        name: Name,
        /// Why.
        problem: ValueError,
    },
    /// It cannot be switched off, or is not off.
    #[error("{0}")]
    Switch(String),
}

impl Definitions {
    /// All new runs get this version.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn activate(
        &self,
        name: &Name,
        version: u32,
        said: &Said,
    ) -> Result<Active, ChangeError> {
        let version = self.version(name, version).await?;
        let at = clock::now();
        let change = |current: Option<&Active>| {
            let considered = current.map_or(0, |current| current.considered);
            Ok(Some(Active {
                considered: considered.max(version.version),
                ..said.active(version.clone(), at)
            }))
        };
        self.changed(name, change).await
    }

    /// A part of the new runs gets this version, the others what they got before.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn rollout(
        &self,
        name: &Name,
        version: u32,
        percent: Percent,
        said: &Said,
    ) -> Result<Active, ChangeError> {
        let version = self.version(name, version).await?;
        let at = clock::now();
        let change = |current: Option<&Active>| {
            let current = of_running(name, current)?;
            if current.stable == version {
                return Err(ChangeError::ActiveAlready {
                    name: name.clone(),
                    version: version.version,
                });
            }
            Ok(Some(Active {
                considered: current.considered.max(version.version),
                candidate: Some(Candidate {
                    version: version.clone(),
                    percent,
                }),
                ..said.active(current.stable.clone(), at)
            }))
        };
        self.changed(name, change).await
    }

    /// Back to what all new runs got before: a rollout ends, and else the version that was active before this one is again. Made
    /// twice, it goes there and back.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn rollback(&self, name: &Name, said: &Said) -> Result<Active, ChangeError> {
        let history = self.revisions(name).await?;
        let Some(((revision, current), earlier)) = history.split_first() else {
            return Err(ChangeError::NotActive(name.clone()));
        };
        let Some(current) = current else {
            return Err(ChangeError::NotActive(name.clone()));
        };
        let earlier = earlier.iter().filter_map(|(_, active)| active.as_ref());
        let back = before(current, earlier).ok_or_else(|| ChangeError::NoneBefore(name.clone()))?;
        let active = Active {
            considered: current.considered,
            ..said.active(back, clock::now())
        };
        match self.write_active(name, &active, *revision).await? {
            true => Ok(active),
            false => Err(ChangeError::Busy(name.clone())),
        }
    }

    /// No run is started of the workflow any more, until a version is activated. Those that run go on.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn deactivate(&self, name: &Name, said: &Said) -> Result<Active, ChangeError> {
        let at = clock::now();
        let change = |current: Option<&Active>| {
            let current = of_running(name, current)?;
            Ok(Some(Active {
                considered: current.considered,
                retired: true,
                ..said.active(current.stable.clone(), at)
            }))
        };
        self.changed(name, change).await
    }

    /// What was active, newest first, as far as the bucket remembers: 64 changes.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn history(&self, name: &Name) -> Result<Vec<Active>, ChangeError> {
        let revisions = self.revisions(name).await?.into_iter();
        let mut history: Vec<Active> = revisions.filter_map(|(_, active)| active).collect();
        // Where only which versions were considered has changed, new runs get what they got.
        history.dedup_by(|one, other| {
            one.considered = other.considered;
            one == other
        });
        Ok(history)
    }

    /// Switches a tool or a step off, as far as `known` (what the fleet has) says that it can be.
    ///
    /// # Errors
    /// [`ChangeError::Switch`], [`ChangeError::Unreachable`].
    pub async fn switch_off(
        &self,
        known: &Catalogue,
        what: &Switched,
        switch: &Switch,
    ) -> Result<(), ChangeError> {
        known.can_be_off(what).map_err(ChangeError::Switch)?;
        let value = switch.encode().map_err(Unreachable::of)?;
        self.write(&bucket::switch(what), value, None).await?;
        info!(%what, %switch, hold = switch.hold, "switched off");
        Ok(())
    }

    /// Switches it on again.
    ///
    /// # Errors
    /// [`ChangeError::Switch`] where it is not off, [`ChangeError::Unreachable`].
    pub async fn switch_on(&self, what: &Switched) -> Result<(), ChangeError> {
        let key = bucket::switch(what);
        let entry = self.entry(&key).await?;
        if entry.as_ref().and_then(super::value).is_none() {
            return Err(ChangeError::Switch(format!("{what} is not switched off")));
        }
        patiently(self.store.delete(&key))
            .await
            .map_err(Unreachable::of)?;
        info!(%what, "switched on");
        Ok(())
    }

    /// Exactly the version of a number.
    async fn version(&self, name: &Name, version: u32) -> Result<VersionRef, ChangeError> {
        if let Some(bundle) = self.get(name, version).await? {
            return Ok(bundle.version());
        }
        let keys = self.keys(&bucket::workflow_versions(name)).await?;
        let mut known: Vec<u32> = keys
            .iter()
            .filter_map(|key| key.split('.').nth(2)?.parse().ok())
            .collect();
        known.sort_unstable();
        known.dedup();
        let known: Vec<String> = known.iter().map(u32::to_string).collect();
        let known = match known.as_slice() {
            [] => "none".to_owned(),
            known => known.join(", "),
        };
        let name = name.clone();
        Err(ChangeError::NoVersion {
            name,
            version,
            known,
        })
    }

    /// What is active, and what was before, newest first, each with its sequence; `None` where it was taken away.
    async fn revisions(&self, name: &Name) -> Result<Vec<(u64, Option<Active>)>, ChangeError> {
        let question = async {
            let history = self.store.history(bucket::active(name)).await;
            let mut history = history.map_err(Silent::of)?;
            let mut entries = Vec::new();
            while let Some(entry) = history.next().await {
                entries.push(entry.map_err(Silent::of)?);
            }
            Ok::<_, Silent>(entries)
        };
        let mut entries = patiently(question).await.map_err(Unreachable::of)?;
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.revision));
        let read = entries.iter().map(|entry| {
            let active = active(entry).map_err(|problem| ChangeError::Unreadable {
                name: name.clone(),
                problem,
            })?;
            Ok((entry.revision, active))
        });
        read.collect()
    }

    /// As [`Definitions::change`], for what cannot leave everything as it was.
    async fn changed(
        &self,
        name: &Name,
        change: impl Fn(Option<&Active>) -> Result<Option<Active>, ChangeError>,
    ) -> Result<Active, ChangeError> {
        let now = self.change(name, change).await?;
        now.ok_or_else(|| ChangeError::NotActive(name.clone()))
    }

    /// Changes what is active, however many do so at the same time; gives what is active then. `change` gives `None` where all
    /// stays as it is.
    pub(super) async fn change(
        &self,
        name: &Name,
        change: impl Fn(Option<&Active>) -> Result<Option<Active>, ChangeError>,
    ) -> Result<Option<Active>, ChangeError> {
        for _ in 0..TRIES {
            let entry = self.entry(&bucket::active(name)).await?;
            let revision = entry.as_ref().map_or(0, |entry| entry.revision);
            let current = entry.as_ref().map(active).transpose();
            let current = current.map_err(|problem| ChangeError::Unreadable {
                name: name.clone(),
                problem,
            })?;
            let current = current.flatten();
            let Some(wanted) = change(current.as_ref())? else {
                return Ok(current);
            };
            // It may be what this very change has written, and its answer was lost.
            if current.as_ref() == Some(&wanted)
                || self.write_active(name, &wanted, revision).await?
            {
                return Ok(Some(wanted));
            }
            debug!(workflow = %name, "somebody else has changed what is active; looking again");
        }
        Err(ChangeError::Busy(name.clone()))
    }

    /// `false`: somebody else was quicker.
    async fn write_active(
        &self,
        name: &Name,
        active: &Active,
        instead_of: u64,
    ) -> Result<bool, Unreachable> {
        let key = bucket::active(name);
        let value = active.encode().map_err(Unreachable::of)?;
        let written = self.write(&key, value, Some((instead_of, &key))).await?;
        if written.is_some() {
            let version = active.stable.version;
            info!(workflow = %name, version, retired = active.retired, candidate = ?active.candidate, "what is active has changed");
        }
        Ok(written.is_some())
    }
}

/// What is active, where something is.
fn of_running<'a>(name: &Name, current: Option<&'a Active>) -> Result<&'a Active, ChangeError> {
    let running = current.filter(|current| !current.retired);
    running.ok_or_else(|| ChangeError::NotActive(name.clone()))
}

/// The version that all runs got before: a part of them does not count.
fn before<'a>(current: &Active, earlier: impl Iterator<Item = &'a Active>) -> Option<VersionRef> {
    if current.candidate.is_some() {
        return Some(current.stable.clone());
    }
    let mut others = earlier
        .filter(|active| !active.retired && (current.retired || active.stable != current.stable));
    others.next().map(|active| active.stable.clone())
}

#[cfg(test)]
mod tests;
