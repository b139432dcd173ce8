//! The tools that this executor has, each version with its guard.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use flotilla_common::{
    definition::{Catalogue, Tool},
    ids::Name,
    io::telemetry::metric,
};
use metrics::counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::guard::{Guard, Permit};

/// A tool ready to run.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) tool: Arc<Tool>,
    guard: Guard,
}

/// Leave to run one tool once.
#[derive(Debug)]
pub(crate) struct Entered {
    _tool: Permit,
    _process: Option<OwnedSemaphorePermit>,
}

/// All tools.
#[derive(Debug)]
pub(crate) struct Tools {
    ready: HashMap<(Name, u32), Ready>,
    /// Tools running at once in this process, if that has a bound of its own.
    process: Option<Arc<Semaphore>>,
    slots: usize,
}

impl Tools {
    pub(crate) fn new(catalogue: &Catalogue, slots: Option<usize>) -> Self {
        let ready = catalogue.tools.iter().map(|tool| {
            let ready = Ready {
                tool: Arc::clone(tool),
                guard: Guard::new(tool),
            };
            ((tool.name.clone(), tool.version), ready)
        });
        let slots = slots.map(|slots| slots.clamp(1, Semaphore::MAX_PERMITS));
        let tools = Self {
            ready: ready.collect(),
            process: slots.map(|slots| Arc::new(Semaphore::new(slots))),
            slots: slots.unwrap_or(usize::MAX),
        };
        for (name, _) in tools.consumers() {
            for outcome in ["ok", "failed", "unknown"] {
                // So that a rate over these sees the first one, too.
                counter!(metric::ACTIONS, "tool" => name.to_string(), "outcome" => outcome)
                    .absolute(0);
            }
        }
        tools
    }

    /// One consumer per name, for all its versions, with as many slots as its widest version.
    pub(crate) fn consumers(&self) -> BTreeMap<Name, usize> {
        let mut consumers = BTreeMap::new();
        for ready in self.ready.values() {
            let width = usize::try_from(ready.tool.concurrency).unwrap_or(usize::MAX);
            let slots = consumers.entry(ready.tool.name.clone()).or_insert(1);
            *slots = width.min(self.slots).max(*slots);
        }
        consumers
    }

    pub(crate) fn get(&self, name: &Name, version: u32) -> Option<&Ready> {
        self.ready.get(&(name.clone(), version))
    }

    /// Waits for the tool's guard, then for the process's bound; `None` when `stop` came first.
    pub(crate) async fn enter(&self, ready: &Ready, stop: &CancellationToken) -> Option<Entered> {
        let tool = ready.guard.enter(stop).await?;
        let process = match &self.process {
            None => None,
            Some(process) => Some(tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                permit = Arc::clone(process).acquire_owned() => permit.ok()?,
            }),
        };
        Some(Entered {
            _tool: tool,
            _process: process,
        })
    }
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
