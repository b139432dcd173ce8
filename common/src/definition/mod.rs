//! Definitions: workflows and tools from YAML, checked and compiled before anything runs. No IO: the files come in as texts.

mod need;
mod parse;
mod problem;
mod schema;
mod template;
mod tool;
mod words;
mod workflow;
mod yaml;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Location;

pub use problem::{Problem, Problems};
pub use schema::Schema;
pub use template::{
    Context, Formula, Shape, Template, TemplateError, mark_as_data, percent_encoded,
};
pub use tool::{Adapter, Effect, Tool};
pub use workflow::{
    AgentStep, ClaudeStep, Floor, Inference, Limits, OnError, Step, StepKind, ToolStep, Trigger,
    Unavailable, Workflow,
};

use crate::{
    claude::Models,
    entry::Pin,
    ids::{EventType, Name},
};
use problem::Report;
use words::nearest;

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

/// The catalogue of tools.
#[derive(Debug, Default, Clone)]
pub struct Tools {
    entries: Vec<ToolEntry>,
    /// Tools that are there but wrong: told once, at their own place.
    wrong: BTreeSet<String>,
    /// Some file of tools could not be read at all, so nobody knows which tools are missing.
    unreadable: bool,
}

#[derive(Debug, Clone)]
struct ToolEntry {
    tool: Arc<Tool>,
    /// The tool as written, for the digests of the workflows that use it.
    source: String,
    /// Where.
    file: String,
}

/// What is wrong and what to do; `None` when that was told already.
type NotFound = Option<(String, Option<String>)>;

impl Tools {
    /// A tool by `name` (its newest version) or `name@version`.
    fn find(&self, reference: &str) -> Result<Arc<Tool>, NotFound> {
        let (name, version) = match reference.split_once('@') {
            None => (reference, None),
            Some((name, version)) => {
                let number: u32 = version.parse().map_err(|_| {
                    let message = format!("`{version}` in `{reference}` is no version");
                    Some((message, Some(format!("write it so: `{name}@1`"))))
                })?;
                (name, Some(number))
            }
        };
        let named: Vec<_> = self
            .iter()
            .filter(|tool| tool.name.as_str() == name)
            .collect();
        let found = match version {
            None => named.iter().max_by_key(|tool| tool.version),
            Some(version) => named.iter().find(|tool| tool.version == version),
        };
        if let Some(tool) = found {
            return Ok(Arc::clone(tool));
        }
        if self.unreadable || self.wrong.contains(name) {
            return Err(None);
        }
        if named.is_empty() {
            let names: BTreeSet<&str> = self.iter().map(|tool| tool.name.as_str()).collect();
            let help = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if names.is_empty() => "no file here has `tools:`".into(),
                None => format!("there are: {}", Vec::from_iter(names).join(", ")),
            };
            return Err(Some((format!("there is no tool `{name}`"), Some(help))));
        }
        let versions: Vec<_> = named.iter().map(|tool| tool.version.to_string()).collect();
        let help = format!("`{name}` has version {}", versions.join(", "));
        Err(Some((format!("there is no `{reference}`"), Some(help))))
    }

    /// A tool by name and version.
    #[must_use]
    pub fn get(&self, name: &Name, version: u32) -> Option<&Arc<Tool>> {
        self.entry(name, version).map(|entry| &entry.tool)
    }

    /// All tools.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Tool>> {
        self.entries.iter().map(|entry| &entry.tool)
    }

    fn entry(&self, name: &Name, version: u32) -> Option<&ToolEntry> {
        let mut entries = self.entries.iter();
        entries.find(|entry| entry.tool.name == *name && entry.tool.version == version)
    }

    fn source(&self, tool: &Tool) -> &str {
        self.entry(&tool.name, tool.version)
            .map_or("", |entry| &entry.source)
    }

    /// Takes in a file of tools.
    fn read(&mut self, report: &mut Report<'_>) {
        #[derive(Deserialize)]
        struct AsWritten {
            tools: Vec<Value>,
        }
        let read = serde_saphyr::from_str::<tool::ToolsYaml>(report.text)
            .and_then(|yaml| Ok((yaml, serde_saphyr::from_str::<AsWritten>(report.text)?)));
        let (yaml, written) = match read {
            Ok(read) => read,
            Err(error) => {
                self.unreadable = true;
                return report.yaml(&error);
            }
        };
        for (tool_yaml, source) in yaml.tools.iter().zip(written.tools) {
            let name = &tool_yaml.tool.value;
            let Some(tool) = tool_yaml.compile(report) else {
                self.wrong.insert(name.to_string());
                continue;
            };
            if let Some(first) = self.entry(&tool.name, tool.version) {
                let message = format!(
                    "tool `{name}` version {} is in {} already",
                    tool.version, first.file
                );
                report.at(
                    tool_yaml.tool.referenced,
                    message,
                    Some("give this one another version"),
                );
            }
            self.entries.push(ToolEntry {
                tool: Arc::new(tool),
                source: source.to_string(),
                file: report.file.to_owned(),
            });
        }
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
        let yaml = sources
            .0
            .iter()
            .filter(|(path, _)| path.ends_with(".yaml") || path.ends_with(".yml"));
        for (file, text) in yaml {
            let mut report = Report::new(file, text);
            match serde_saphyr::from_str::<Probe>(text) {
                Err(error) => report.yaml(&error),
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
        let mut workflows: Vec<(Arc<Workflow>, &str)> = Vec::new();
        for (file, text) in workflow_files {
            let mut report = Report::new(file, text);
            if let Some((workflow, place)) = parse::workflow(&mut report, sources, &tools, models) {
                let Pin { name, version, .. } = &workflow.pin;
                let same = |other: &Pin| other.name == *name && other.version == *version;
                if let Some((_, first)) = workflows.iter().find(|(other, _)| same(&other.pin)) {
                    let message =
                        format!("workflow `{name}` version {version} is in {first} already");
                    report.at(place, message, Some("give this one another version"));
                }
                workflows.push((Arc::new(workflow), file));
            }
            problems.append(&mut report.problems);
        }
        let workflows = workflows
            .into_iter()
            .map(|(workflow, _)| workflow)
            .collect();
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

    /// Exactly the version a run is pinned to.
    #[must_use]
    pub fn pinned(&self, pin: &Pin) -> Option<&Arc<Workflow>> {
        self.workflows.iter().find(|workflow| workflow.pin == *pin)
    }
}

#[cfg(test)]
mod tests;
