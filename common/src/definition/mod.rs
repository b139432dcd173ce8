//! Definitions: workflows and tools from YAML, checked and compiled before anything runs. No IO: the files come in as texts.

mod cron;
mod need;
mod parse;
mod problem;
mod runs;
mod schema;
mod step;
mod template;
mod tool;
mod tools;
mod words;
mod workflow;
mod yaml;

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use serde_saphyr::Location;

pub use cron::Cron;
pub use problem::{Problem, Problems};
pub use schema::Schema;
pub use step::{
    AgentStep, ApprovalStep, ApprovalTerms, Case, ClaudeStep, Compensate, EachStep, EndStep, Floor,
    Inference, Notify, OnError, OnTimeout, Retry, Review, RunStep, Sleep, Step, StepKind, Target,
    ToolStep, Unavailable,
};
pub use template::{
    Context, Formula, Shape, Template, TemplateError, mark_as_data, percent_encoded,
};
pub use tool::{Adapter, Effect, Risk, Tool};
pub use tools::Tools;
pub use workflow::{Limits, OnFailure, Trigger, Workflow};

use crate::{
    claude::Models,
    entry::Pin,
    ids::{EventType, Name},
};
use parse::Parsed;
use problem::Report;

/// Definition files by path, relative to the definitions' folder, with `/` between folders.
#[derive(Debug, Default, Clone)]
pub struct Sources(pub BTreeMap<String, String>);

impl Sources {
    /// The text of `path` as seen from the folder of `file`.
    fn beside(&self, file: &str, path: &str) -> Result<&str, String> {
        if path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return Err(format!("`{path}` leads out of the workflow's folder"));
        }
        let path = path.trim_start_matches("./");
        let full = file
            .rsplit_once('/')
            .map_or_else(|| path.to_owned(), |(folder, _)| format!("{folder}/{path}"));
        self.0
            .get(&full)
            .map(String::as_str)
            .ok_or_else(|| format!("there is no file `{full}`"))
    }
}

/// All definitions.
#[derive(Debug, Default, Clone)]
pub struct Catalogue {
    workflows: Vec<Arc<Workflow>>,
    /// The tools.
    pub tools: Tools,
}

/// Which kind of file it is: the key counts, whatever it holds.
#[derive(Deserialize)]
struct Probe {
    #[serde(default, deserialize_with = "present")]
    workflow: bool,
    #[serde(default, deserialize_with = "present")]
    tools: bool,
    #[serde(default, deserialize_with = "present")]
    policies: bool,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl Catalogue {
    /// Reads all definitions. A YAML file is what its top-level key says: `workflow`, `tools`, or `policies`
    /// (scripts of the simulated Claude, which are none of ours).
    ///
    /// # Errors
    /// Everything that is wrong in any file.
    pub fn parse(sources: &Sources, models: &Models) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut workflow_files = Vec::new();
        let mut tools = Tools::default();
        // Where a file cannot be read, nobody knows what is missing.
        let mut all_read = true;
        let yaml = sources
            .0
            .iter()
            .filter(|(path, _)| path.ends_with(".yaml") || path.ends_with(".yml"));
        for (file, text) in yaml {
            let mut report = Report::new(file, text);
            match serde_saphyr::from_str::<Probe>(text) {
                Err(error) => {
                    all_read = false;
                    tools.unreadable = true;
                    report.yaml(&error);
                }
                Ok(probe) if probe.workflow => workflow_files.push((file, text)),
                Ok(probe) if probe.tools => tools.read(&mut report),
                Ok(probe) if probe.policies => {}
                Ok(_) => report.at(
                    Location::UNKNOWN,
                    "neither a workflow nor tools: a definition file has `workflow:` or `tools:` at its top level",
                    Some("move other files out of the definitions' folder"),
                ),
            }
            problems.append(&mut report.problems);
        }
        problems.append(&mut tools.resolve(sources));
        let mut files = Vec::with_capacity(workflow_files.len());
        for (file, text) in workflow_files {
            let mut report = Report::new(file, text);
            match parse::workflow(&mut report, sources, &tools, models) {
                Some(parsed) => files.push((report, parsed)),
                None => {
                    all_read = false;
                    problems.append(&mut report.problems);
                }
            }
        }
        versions_differ(&mut files);
        runs::check(&mut files, all_read);
        let mut workflows = Vec::with_capacity(files.len());
        for (mut report, parsed) in files {
            problems.append(&mut report.problems);
            workflows.extend(parsed.workflow.map(Arc::new));
        }
        if problems.is_empty() {
            Ok(Self { workflows, tools })
        } else {
            Err(Problems(problems))
        }
    }

    /// The newest version of each workflow that this type of event starts.
    #[must_use]
    pub fn triggered(&self, kind: &EventType) -> Vec<&Arc<Workflow>> {
        self.newest()
            .filter(|workflow| workflow.on.event == *kind)
            .collect()
    }

    /// The newest version of each workflow.
    pub fn newest(&self) -> impl Iterator<Item = &Arc<Workflow>> {
        self.workflows.iter().filter(|one| {
            !self
                .workflows
                .iter()
                .any(|other| other.pin.name == one.pin.name && other.pin.version > one.pin.version)
        })
    }

    /// A version of a workflow.
    #[must_use]
    pub fn version(&self, name: &Name, version: u32) -> Option<&Arc<Workflow>> {
        let mut all = self.workflows.iter();
        all.find(|one| one.pin.name == *name && one.pin.version == version)
    }

    /// Exactly the version a run is pinned to.
    #[must_use]
    pub fn pinned(&self, pin: &Pin) -> Option<&Arc<Workflow>> {
        self.workflows.iter().find(|workflow| workflow.pin == *pin)
    }
}

/// Notes a version of a workflow that is in a file before it already.
fn versions_differ(files: &mut [(Report<'_>, Parsed)]) {
    let mut seen = BTreeMap::new();
    for (report, parsed) in files {
        if parsed.workflow.is_none() {
            continue;
        }
        let (name, version) = (&parsed.name, &parsed.version);
        let first = *seen
            .entry((name.clone(), version.value))
            .or_insert(report.file);
        if first != report.file {
            let message = format!(
                "workflow `{name}` version {} is in {first} already",
                version.value
            );
            report.at(
                version.referenced,
                message,
                Some("give this one another version"),
            );
        }
    }
}

#[cfg(test)]
mod tests;
