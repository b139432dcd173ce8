//! All definitions that are known: every version of every workflow, which of them new runs get, the tools, and what is switched off.

mod read;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Active, BundleError, Inlets, Problem, Switch, Switched, Switches, Tool, ToolText, Tools,
    VersionRef, Workflow,
};
use crate::{
    entry::Pin,
    ids::{Name, RunId},
};

/// All definitions. A clone shares what is in it.
#[derive(Debug, Default, Clone)]
pub struct Catalogue {
    /// By name, each list by version; texts of one version that took each other's place in that order.
    workflows: BTreeMap<Name, Vec<Known>>,
    active: BTreeMap<Name, Active>,
    /// The tools.
    pub tools: Tools,
    /// How events come in.
    pub inlets: Inlets,
    switches: Switches,
    warnings: Vec<Problem>,
}

/// A version of a workflow.
#[derive(Debug, Clone)]
struct Known {
    workflow: Arc<Workflow>,
    /// The same, with its steps that are switched off saying so.
    marked: Option<Arc<Workflow>>,
    /// The files that it was read from.
    origin: Option<Arc<Origin>>,
}

/// Where a version was read.
#[derive(Debug)]
struct Origin {
    file: String,
    beside: BTreeSet<String>,
}

impl Catalogue {
    /// What works in these definitions, and should be changed all the same.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The tools that these definitions call deprecated, each with what to use in its place.
    #[must_use]
    pub fn deprecated(&self) -> BTreeMap<(Name, u32), String> {
        let tools = self.tools.iter();
        tools
            .filter_map(|tool| {
                let instead = tool.deprecated.clone()?;
                Some(((tool.name.clone(), tool.version), instead))
            })
            .collect()
    }

    /// Every version of every workflow.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<Workflow>> {
        self.workflows.values().flatten().map(Known::shown)
    }

    /// Every workflow that there is any version of.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.workflows.keys()
    }

    /// Whether there is any version of a workflow.
    #[must_use]
    pub fn has(&self, name: &Name) -> bool {
        self.workflows.contains_key(name)
    }

    /// The newest version of each workflow, whichever is active.
    pub fn newest(&self) -> impl Iterator<Item = &Arc<Workflow>> {
        let newest = self.workflows.values().filter_map(|all| all.last());
        newest.map(Known::shown)
    }

    /// The workflows that new runs are started of, each with which versions they get.
    pub fn active(&self) -> impl Iterator<Item = (&Name, &Active)> {
        self.active.iter()
    }

    /// The version of a workflow that new runs get, those of a candidate left aside.
    #[must_use]
    pub fn stable(&self, name: &Name) -> Option<&Arc<Workflow>> {
        self.version(name, &self.active.get(name)?.stable)
    }

    /// The version that a part of a workflow's new runs gets.
    #[must_use]
    pub fn candidate(&self, name: &Name) -> Option<&Arc<Workflow>> {
        let candidate = self.active.get(name)?.candidate.as_ref()?;
        self.version(name, &candidate.version)
    }

    /// The version of a workflow that this run gets, if it begins now. One that nobody here can read is no candidate.
    #[must_use]
    pub fn pick(&self, name: &Name, run: &RunId) -> Option<&Arc<Workflow>> {
        let active = self.active.get(name)?;
        self.version(name, active.pick(run))
            .or_else(|| self.version(name, &active.stable))
    }

    /// Exactly the version a run is pinned to.
    #[must_use]
    pub fn pinned(&self, pin: &Pin) -> Option<&Arc<Workflow>> {
        self.known(&pin.name, pin.version, &pin.digest)
            .map(Known::shown)
    }

    /// The same as its author wrote it: nothing in it is switched off.
    #[must_use]
    pub fn as_written(&self, pin: &Pin) -> Option<&Arc<Workflow>> {
        self.known(&pin.name, pin.version, &pin.digest)
            .map(|known| &known.workflow)
    }

    /// What is switched off.
    #[must_use]
    pub fn switches(&self) -> &Switches {
        &self.switches
    }

    /// Whether something can be switched off: it is here, and every version that has it can go on without it.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn can_be_off(&self, what: &Switched) -> Result<(), String> {
        match what {
            Switched::Tool { name, version } => {
                let named = |tool: &&Arc<Tool>| {
                    tool.name == *name && version.is_none_or(|version| version == tool.version)
                };
                let found = self.tools.iter().find(named);
                found
                    .map(drop)
                    .ok_or_else(|| format!("there is no {what} here"))
            }
            Switched::Step { workflow, step } => {
                let versions = self.workflows.get(workflow);
                let versions =
                    versions.ok_or_else(|| format!("there is no workflow `{workflow}` here"))?;
                let has = |known: &&Known| known.workflow.step(step).is_some();
                let mut with = versions.iter().filter(has).peekable();
                if with.peek().is_none() {
                    return Err(format!("no version of `{workflow}` has a step `{step}`"));
                }
                with.try_for_each(|known| known.workflow.can_be_off(step))
            }
        }
    }

    /// Takes in a version of a workflow. One that is there already stays.
    pub fn add(&mut self, workflow: Arc<Workflow>) {
        if self.as_written(&workflow.pin).is_none() {
            self.put(workflow, None);
        }
    }

    /// Takes in a tool, in the place of one with the same name and version.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn add_tool(&mut self, text: &ToolText) -> Result<(), BundleError> {
        self.tools.put(text.compile()?, &text.source);
        Ok(())
    }

    /// Says which version of a workflow new runs get; `None`: none.
    pub fn set_active(&mut self, name: &Name, active: Option<Active>) {
        match active {
            Some(active) => drop(self.active.insert(name.clone(), active)),
            None => drop(self.active.remove(name)),
        }
    }

    /// Switches something off, or on again with `None`.
    pub fn set_switch(&mut self, what: &Switched, switch: Option<Switch>) {
        self.switches.set(what, switch);
        let Switched::Step { workflow, .. } = what else {
            return;
        };
        for known in self.workflows.get_mut(workflow).into_iter().flatten() {
            known.marked = self.switches.marked(&known.workflow).map(Arc::new);
        }
    }

    fn put(&mut self, workflow: Arc<Workflow>, origin: Option<Arc<Origin>>) {
        let marked = self.switches.marked(&workflow).map(Arc::new);
        let (name, version) = (workflow.pin.name.clone(), workflow.pin.version);
        let versions = self.workflows.entry(name).or_default();
        let at = versions.partition_point(|known| known.workflow.pin.version <= version);
        let known = Known {
            workflow,
            marked,
            origin,
        };
        versions.insert(at, known);
    }

    fn version(&self, name: &Name, version: &VersionRef) -> Option<&Arc<Workflow>> {
        self.known(name, version.version, &version.digest)
            .map(Known::shown)
    }

    fn known(&self, name: &Name, version: u32, digest: &str) -> Option<&Known> {
        let versions = self.workflows.get(name)?;
        let from = versions.partition_point(|known| known.workflow.pin.version < version);
        let mut same = versions.iter().skip(from);
        same.find(|known| {
            known.workflow.pin.version == version && known.workflow.pin.digest == digest
        })
    }
}

impl Known {
    fn shown(&self) -> &Arc<Workflow> {
        self.marked.as_ref().unwrap_or(&self.workflow)
    }
}
