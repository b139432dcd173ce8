//! The breakers of all tools, and what follows from them for pulling.
//!
//! Every version of a tool has one; where a request's parameters choose its host, every host has one in place of that. Messages are
//! pulled by the tool's name. So the pulling stops when no version in use is well, and takes one message at a time while one of them is
//! probed. Where some versions are well, or some hosts, the others' actions are pulled and put off until the cool-down is over: they
//! wait as those in the stream do, and nobody's pulling stops for another's trouble.

mod guarded;
mod one;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flotilla_common::{
    breaker::{Outcome, Pass},
    definition::Catalogue,
    ids::Name,
    io::{
        tools::{ForcedTools, ToolState},
        worker::{Gate, Keeper},
    },
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use guarded::Guarded;

/// The longest time between two looks at what cools down.
const LOOK_AT_LEAST: Duration = Duration::from_secs(60);

/// A breaker that lets nothing through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Open {
    /// Until a call may be tried again.
    pub(crate) left: Duration,
    /// What the last failure said, or who closed it off.
    pub(crate) why: String,
}

/// What is called: a version of a tool, and the host that its parameters chose.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) tool: Name,
    pub(crate) version: u32,
    pub(crate) host: Option<String>,
}

/// A call that was let through. Dropped, it was not made, or nobody knows what became of it.
#[derive(Debug)]
pub(crate) struct Admitted<'a> {
    breakers: &'a Breakers,
    target: Target,
    pass: Option<Pass>,
}

impl Admitted<'_> {
    /// What became of it; `why` of a failure.
    pub(crate) fn ended(mut self, outcome: Outcome, why: &str) {
        self.record(outcome, why);
    }

    fn record(&mut self, outcome: Outcome, why: &str) {
        if let Some(pass) = self.pass.take() {
            self.breakers.record(&self.target, pass, outcome, why);
        }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.record(Outcome::Neutral, "");
    }
}

/// A message of a tool that is in work.
#[derive(Debug)]
pub(crate) struct InWork<'a> {
    breakers: &'a Breakers,
    tool: Name,
}

impl Drop for InWork<'_> {
    fn drop(&mut self) {
        let ended = |guarded: &mut Guarded| guarded.in_work = guarded.in_work.saturating_sub(1);
        self.breakers.with(&self.tool, |guarded, _| ended(guarded));
    }
}

/// The breakers of all tools that this executor has.
#[derive(Debug)]
pub(crate) struct Breakers {
    began: Instant,
    tools: Mutex<BTreeMap<Name, Guarded>>,
    /// How often any of them has changed its state.
    changes: watch::Sender<u64>,
}

impl Breakers {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            tools: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// Takes in what the tools say of their breakers; one of another text begins anew.
    pub(crate) fn update(&self, catalogue: &Catalogue) {
        for tool in catalogue.tools.iter() {
            self.with(&tool.name, |guarded, now| {
                guarded.declare(now, tool.version, tool.breaker.as_ref());
            });
        }
    }

    /// The tool's gate.
    pub(crate) fn gate(&self, tool: &Name) -> Gate {
        self.with(tool, |guarded, _| guarded.keeper.gate())
    }

    /// Closes the tool's gate for somebody who holds it back, or opens it as far as the breakers do. Gives whether it was otherwise.
    pub(crate) fn hold(&self, tool: &Name, holds: bool) -> bool {
        self.with(tool, |guarded, _| guarded.keeper.close(holds))
    }

    /// Takes in what people said.
    pub(crate) fn force(&self, forced: &ForcedTools) {
        let known: Vec<Name> = self.lock().keys().cloned().collect();
        for tool in known.iter().chain(forced.keys()) {
            let said = forced.get(tool).cloned();
            self.with(tool, |guarded, now| guarded.force(now, tool, said));
        }
    }

    /// Counts a message in work.
    pub(crate) fn begin(&self, tool: &Name) -> InWork<'_> {
        self.with(tool, |guarded, _| guarded.in_work += 1);
        InWork {
            breakers: self,
            tool: tool.clone(),
        }
    }

    /// Lets a call through, or not.
    pub(crate) fn admit(&self, target: Target) -> Result<Admitted<'_>, Open> {
        let pass = self.with(&target.tool, |guarded, now| guarded.admit(now, &target))?;
        Ok(Admitted {
            breakers: self,
            target,
            pass: Some(pass),
        })
    }

    /// How long a call would have to wait now.
    pub(crate) fn open(&self, target: &Target) -> Option<Open> {
        self.with(&target.tool, |guarded, now| guarded.open(now, target))
    }

    fn record(&self, target: &Target, pass: Pass, outcome: Outcome, why: &str) {
        self.with(&target.tool, |guarded, now| {
            guarded.record(now, target, pass, outcome, why);
        });
    }

    /// Opens the gates of what has cooled down, until `stop`.
    pub(crate) async fn keep(&self, stop: CancellationToken) {
        let mut changes = self.changes.subscribe();
        loop {
            let next = self.look().unwrap_or(LOOK_AT_LEAST).min(LOOK_AT_LEAST);
            // A timer that is early by less than it can tell would be a busy loop.
            let pause = tokio::time::sleep(next.max(Duration::from_millis(1)));
            tokio::select! {
                () = stop.cancelled() => return,
                _ = changes.changed() => {}
                () = pause => {}
            }
        }
    }

    /// Looks at all of them; gives how long until the next one has cooled down.
    fn look(&self) -> Option<Duration> {
        let tools: Vec<Name> = self.lock().keys().cloned().collect();
        let next = tools.iter().filter_map(|tool| {
            self.with(tool, |guarded, now| {
                Some(guarded.next(now)?.saturating_sub(now))
            })
        });
        next.min()
    }

    /// How often any of them has changed, as a view that tells of the next change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// How they stand: all of them, or those that have changed since this was asked last.
    pub(crate) fn states(&self, worker: &str, all: bool) -> Vec<ToolState> {
        let mut tools = self.lock();
        let now = self.began.elapsed();
        let mut told = Vec::new();
        for (tool, guarded) in tools.iter_mut() {
            if std::mem::take(&mut guarded.has_changed) || all {
                told.push(guarded.told(now, tool, worker));
            }
        }
        told
    }

    /// Does something with a tool's breakers, then lets what follows from it follow, all in one go.
    fn with<T>(&self, tool: &Name, what: impl FnOnce(&mut Guarded, Duration) -> T) -> T {
        let mut tools = self.lock();
        // Read under the lock, so that it never runs backwards.
        let now = self.began.elapsed();
        let guarded = tools.entry(tool.clone());
        let guarded = guarded.or_insert_with(|| Guarded::new(Keeper::new().0));
        let done = what(guarded, now);
        let has_changed = guarded.settle(now, tool);
        drop(tools);
        if has_changed {
            self.changes.send_modify(|changes| *changes += 1);
        }
        done
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Guarded>> {
        self.tools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
