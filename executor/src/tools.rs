//! The tools that this executor has, each version with its guard.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use flotilla_common::{
    definition::{Catalogue, Tool},
    ids::Name,
    io::telemetry::metric,
};
use metrics::{counter, gauge};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::guard::{Guard, Permit};

/// How long a tool is waited for that was decided on and is not known here.
const BEHIND_MAX: Duration = Duration::from_secs(3);

/// A tool ready to run.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) tool: Arc<Tool>,
    guard: Guard,
}

impl Ready {
    /// Waits for the tool's guard; `None` when `stop` came first.
    pub(crate) async fn enter(&self, stop: &CancellationToken) -> Option<Permit> {
        self.guard.enter(stop).await
    }
}

/// Room for one more tool in this process.
#[derive(Debug)]
pub(crate) struct Room {
    _process: Option<OwnedSemaphorePermit>,
}

type Known = HashMap<(Name, u32), Arc<Ready>>;

/// All tools, as far as this executor knows. None of them ever goes.
#[derive(Debug)]
pub(crate) struct Tools {
    ready: watch::Sender<Known>,
    /// Tools running at once in this process, if that has a bound of its own.
    process: Option<Arc<Semaphore>>,
    slots: usize,
}

impl Tools {
    pub(crate) fn new(catalogue: &Catalogue, slots: Option<usize>) -> Self {
        let slots = slots.map(|slots| slots.clamp(1, Semaphore::MAX_PERMITS));
        let tools = Self {
            ready: watch::Sender::new(Known::new()),
            process: slots.map(|slots| Arc::new(Semaphore::new(slots))),
            slots: slots.unwrap_or(usize::MAX),
        };
        tools.update(catalogue);
        tools
    }

    /// Takes in what is new. A tool with another text (of somebody who edits and starts again) has a guard of its own from now on.
    pub(crate) fn update(&self, catalogue: &Catalogue) {
        self.ready.send_if_modified(|known| {
            let mut has_changed = false;
            for tool in catalogue.tools.iter() {
                let key = (tool.name.clone(), tool.version);
                let before = known.get(&key);
                if before.is_some_and(|before| Arc::ptr_eq(&before.tool, tool)) {
                    continue;
                }
                if before.is_none() {
                    begin_counting(&tool.name);
                }
                let ready = Ready {
                    tool: Arc::clone(tool),
                    guard: Guard::new(tool),
                };
                known.insert(key, Arc::new(ready));
                has_changed = true;
            }
            has_changed
        });
        for (tool, slots) in self.consumers() {
            let slots = u32::try_from(slots).unwrap_or(u32::MAX);
            gauge!(metric::BULKHEAD_LIMIT, "tool" => tool.to_string()).set(f64::from(slots));
        }
    }

    /// One consumer per name, for all its versions, with as many slots as its widest version.
    pub(crate) fn consumers(&self) -> BTreeMap<Name, usize> {
        let mut consumers = BTreeMap::new();
        for ready in self.ready.borrow().values() {
            let width = usize::try_from(ready.tool.concurrency).unwrap_or(usize::MAX);
            let slots = consumers.entry(ready.tool.name.clone()).or_insert(1);
            *slots = width.min(self.slots).max(*slots);
        }
        consumers
    }

    pub(crate) fn get(&self, name: &Name, version: u32) -> Option<Arc<Ready>> {
        let key = (name.clone(), version);
        self.ready.borrow().get(&key).map(Arc::clone)
    }

    /// The same, and a moment of waiting for it: who decided on it has seen it, and this executor may be behind.
    pub(crate) async fn get_soon(&self, name: &Name, version: u32) -> Option<Arc<Ready>> {
        let key = (name.clone(), version);
        let mut known = self.ready.subscribe();
        let found = known.wait_for(|known| known.contains_key(&key));
        match timeout(BEHIND_MAX, found).await {
            Ok(Ok(known)) => known.get(&key).map(Arc::clone),
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// Waits for the process's bound; `None` when `stop` came first.
    pub(crate) async fn enter(&self, stop: &CancellationToken) -> Option<Room> {
        let process = match &self.process {
            None => None,
            Some(process) => Some(tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                permit = Arc::clone(process).acquire_owned() => permit.ok()?,
            }),
        };
        Some(Room { _process: process })
    }
}

/// So that a rate over these sees the first one, too.
fn begin_counting(tool: &Name) {
    for outcome in ["ok", "failed", "unknown"] {
        counter!(metric::ACTIONS, "tool" => tool.to_string(), "outcome" => outcome).increment(0);
    }
    for reason in ["retry", "breaker"] {
        counter!(metric::ACTIONS_PUT_OFF, "tool" => tool.to_string(), "reason" => reason)
            .increment(0);
    }
    gauge!(metric::BULKHEAD_IN_USE, "tool" => tool.to_string()).increment(0.0);
    gauge!(metric::TOOL_BREAKER, "tool" => tool.to_string()).increment(0.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use flotilla_common::{claude::Models, definition::Sources};

    #[test]
    fn versions_share_a_consumer_as_wide_as_the_widest() -> Result<(), Box<dyn std::error::Error>> {
        let tool = |name: &str, version: u32, concurrency: u32| {
            format!(
                "- {{tool: {name}, version: {version}, description: d, effect: read, input: {{type: object}}, command: [ls], concurrency: {concurrency}}}\n"
            )
        };
        let yaml = format!(
            "tools:\n{}{}{}",
            tool("a", 1, 3),
            tool("a", 2, 5),
            tool("b", 1, 2)
        );
        let sources = Sources([("t.yaml".to_owned(), yaml)].into());
        let catalogue = Catalogue::parse(&sources, &Models::built_in()?)?;
        let slots = |bound| -> Vec<usize> {
            Tools::new(&catalogue, bound)
                .consumers()
                .into_values()
                .collect()
        };
        assert_eq!(slots(None), [5, 2]);
        assert_eq!(slots(Some(4)), [4, 2]);
        Ok(())
    }
}
