//! What people switch off on a running fleet: a tool, or a step of a workflow.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Step, StepKind, Workflow,
    active::{ValueError, check_version},
};
use crate::ids::{IdError, Name};

/// The value version this code writes, and the only one it reads.
const VERSION: u32 = 1;

/// That something is switched off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// Which shape this is.
    v: u32,
    /// Since when.
    pub off_since: Timestamp,
    /// Who said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of a tool: what is decided for it waits until it is switched on again, instead of being refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold: bool,
}

impl Switch {
    /// Off from now on.
    #[must_use]
    pub fn off(
        off_since: Timestamp,
        by: Option<String>,
        reason: Option<String>,
        hold: bool,
    ) -> Self {
        Self {
            v: VERSION,
            off_since,
            by,
            reason,
            hold,
        }
    }

    /// What stands for a switch that cannot be read: what somebody wanted off is not used, and what is decided for it waits.
    #[must_use]
    pub fn unreadable(off_since: Timestamp) -> Self {
        let reason = "this version of flotilla cannot read who switched it off, and why";
        Self::off(off_since, None, Some(reason.to_owned()), true)
    }

    /// As the bucket keeps it.
    ///
    /// # Errors
    /// [`ValueError::Shape`]; never for what this code makes.
    pub fn encode(&self) -> Result<Vec<u8>, ValueError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Reads what the bucket has.
    ///
    /// # Errors
    /// [`ValueError`].
    pub fn read(bytes: &[u8]) -> Result<Self, ValueError> {
        check_version(bytes)?;
        Ok(serde_json::from_slice(bytes)?)
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("switched off")?;
        if let Some(by) = &self.by {
            write!(f, " by {by}")?;
        }
        write!(f, " at {}", self.off_since)?;
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

/// What can be switched off.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Switched {
    /// A tool, all versions or one.
    Tool {
        /// Which.
        name: Name,
        /// `None`: every version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u32>,
    },
    /// A step, in every version of a workflow that has it.
    Step {
        /// Of this workflow.
        workflow: Name,
        /// Its id.
        step: Name,
    },
}

impl Switched {
    /// A tool as people name it: `name` for all versions, `name@2` for one.
    ///
    /// # Errors
    /// What is wrong with the name, for people.
    pub fn tool(text: &str) -> Result<Self, String> {
        let (name, version) = match text.split_once('@') {
            None => (text, None),
            Some((name, version)) => {
                let number = version.parse::<u32>().ok().filter(|number| *number > 0);
                let number = number.ok_or_else(|| {
                    let version = version.escape_debug();
                    format!("`{version}` is no version of a tool; write `name` or `name@2`")
                })?;
                (name, Some(number))
            }
        };
        let name = name
            .parse()
            .map_err(|problem: IdError| problem.to_string())?;
        Ok(Self::Tool { name, version })
    }
}

impl fmt::Display for Switched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tool {
                name,
                version: None,
            } => write!(f, "tool `{name}`"),
            Self::Tool {
                name,
                version: Some(version),
            } => write!(f, "tool `{name}@{version}`"),
            Self::Step { workflow, step } => write!(f, "step `{step}` of workflow `{workflow}`"),
        }
    }
}

/// All that is switched off.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Switches(BTreeMap<Switched, Arc<Switch>>);

impl Switches {
    /// Everything, with since when and why.
    pub fn iter(&self) -> impl Iterator<Item = (&Switched, &Switch)> {
        self.0.iter().map(|(what, switch)| (what, switch.as_ref()))
    }

    /// Whether a tool is off: all versions of it, or this one.
    #[must_use]
    pub fn tool(&self, name: &Name, version: u32) -> Option<&Switch> {
        self.of_tool(name, None)
            .or_else(|| self.of_tool(name, Some(version)))
    }

    /// Whether what is decided for a tool, whatever the version, waits in the stream.
    #[must_use]
    pub fn holds(&self, name: &Name) -> bool {
        self.of_tool(name, None).is_some_and(|switch| switch.hold)
    }

    fn of_tool(&self, name: &Name, version: Option<u32>) -> Option<&Switch> {
        let name = name.clone();
        self.0
            .get(&Switched::Tool { name, version })
            .map(AsRef::as_ref)
    }

    pub(super) fn set(&mut self, what: &Switched, switch: Option<Switch>) {
        match switch {
            Some(switch) => drop(self.0.insert(what.clone(), Arc::new(switch))),
            None => drop(self.0.remove(what)),
        }
    }

    /// The same workflow, with its steps that are off saying so; `None` where none is.
    pub(super) fn marked(&self, workflow: &Workflow) -> Option<Workflow> {
        let name = &workflow.pin.name;
        let off: BTreeMap<&Name, &Arc<Switch>> = self
            .0
            .iter()
            .filter_map(|(what, switch)| match what {
                Switched::Step { workflow, step } if workflow == name => Some((step, switch)),
                Switched::Step { .. } | Switched::Tool { .. } => None,
            })
            .filter(|(step, _)| workflow.can_be_off(step).is_ok())
            .collect();
        if off.is_empty() {
            return None;
        }
        let mut marked = workflow.clone();
        mark(&mut marked.steps, &off);
        mark(&mut marked.on_failure.steps, &off);
        Some(marked)
    }
}

fn mark(steps: &mut [Step], off: &BTreeMap<&Name, &Arc<Switch>>) {
    for step in steps {
        step.off = off.get(&step.id).map(|switch| Arc::clone(switch));
        mark(step.within_mut(), off);
    }
}

impl Workflow {
    /// Whether a step may be skipped because somebody switched it off.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn can_be_off(&self, id: &Name) -> Result<(), String> {
        let (name, version) = (&self.pin.name, self.pin.version);
        let Some(step) = self.step(id) else {
            return Err(format!(
                "workflow `{name}` version {version} has no step `{id}`"
            ));
        };
        for inner in step.tree() {
            let why = match inner.kind {
                StepKind::Approval(_) => "a person's say cannot be skipped",
                StepKind::End(_) => "a run that should end there would go on",
                StepKind::Claude(_)
                | StepKind::Tool(_)
                | StepKind::Agent(_)
                | StepKind::Switch(_)
                | StepKind::Parallel(_)
                | StepKind::Each(_)
                | StepKind::Steps(_)
                | StepKind::Sleep(_)
                | StepKind::Run(_) => continue,
            };
            let within = if inner.id == *id {
                String::new()
            } else {
                format!("`{}` is within it, and ", inner.id)
            };
            return Err(format!(
                "step `{id}` of workflow `{name}` version {version} cannot be switched off: {within}{why}"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_named_with_or_without_its_version() {
        let named = |text| Switched::tool(text).map(|what| what.to_string());
        assert_eq!(named("disk_free").unwrap(), "tool `disk_free`");
        assert_eq!(named("disk_free@2").unwrap(), "tool `disk_free@2`");
        for bad in [
            "", "@1", "a@", "a@x", "a@0", "a b", "a@1@2", "a/b", "a@\u{1b}",
        ] {
            let problem = named(bad).unwrap_err();
            assert!(!problem.is_empty() && !problem.contains('\u{1b}'), "{bad}");
        }
    }
}
