//! Definitions: workflows and tools from YAML, checked and compiled before anything runs. No IO: the files come in as texts.

mod parse;
mod problem;
mod schema;
mod template;
mod tool;
mod workflow;
mod yaml;

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;

pub use problem::{Problem, Problems};
pub use schema::Schema;
pub use template::{
    Context, Formula, Shape, Template, TemplateError, mark_as_data, percent_encoded,
};
pub use tool::{Adapter, Effect, Tool};
pub use workflow::{
    AgentStep, ClaudeStep, Floor, Limits, OnError, Step, StepKind, ToolStep, Trigger, Workflow,
};

use crate::{
    claude::Models,
    entry::Pin,
    ids::{EventType, Name},
};
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

/// The catalogue of tools.
#[derive(Debug, Default, Clone)]
pub struct Tools {
    tools: Vec<(Arc<Tool>, String)>,
}

impl Tools {
    /// A tool by `name` (its newest version) or `name@version`.
    fn find(&self, reference: &str) -> Result<Arc<Tool>, String> {
        let (name, version) = match reference.split_once('@') {
            None => (reference, None),
            Some((name, version)) => {
                let number: u32 = version
                    .parse()
                    .map_err(|_| format!("`{reference}`: a version is a number"))?;
                (name, Some(number))
            }
        };
        let named: Vec<_> = self
            .tools
            .iter()
            .map(|(tool, _)| tool)
            .filter(|tool| tool.name.as_str() == name)
            .collect();
        let found = match version {
            None => named.iter().max_by_key(|tool| tool.version),
            Some(version) => named.iter().find(|tool| tool.version == version),
        };
        found
            .map(|tool| Arc::clone(tool))
            .ok_or_else(|| match (named.is_empty(), version) {
                (true, _) => format!("there is no tool `{name}` in the catalogue"),
                (false, _) => {
                    let versions: Vec<_> =
                        named.iter().map(|tool| tool.version.to_string()).collect();
                    format!(
                        "there is no `{reference}`; `{name}` has version {}",
                        versions.join(", ")
                    )
                }
            })
    }

    /// A tool by name and version.
    #[must_use]
    pub fn get(&self, name: &Name, version: u32) -> Option<&Arc<Tool>> {
        self.iter()
            .find(|tool| tool.name == *name && tool.version == version)
    }

    /// All tools.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Tool>> {
        self.tools.iter().map(|(tool, _)| tool)
    }

    fn source(&self, tool: &Tool) -> &str {
        let found = self
            .tools
            .iter()
            .find(|(t, _)| t.name == tool.name && t.version == tool.version);
        found.map_or("", |(_, source)| source)
    }
}

/// All definitions.
#[derive(Debug, Default, Clone)]
pub struct Catalogue {
    workflows: Vec<Arc<Workflow>>,
    /// The tools.
    pub tools: Tools,
}

#[derive(Deserialize)]
struct Probe {
    #[serde(default)]
    workflow: Option<serde_json::Value>,
    #[serde(default)]
    tools: Option<serde_json::Value>,
    #[serde(default)]
    policies: Option<serde_json::Value>,
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
                Ok(Probe {
                    workflow: Some(_), ..
                }) => workflow_files.push((file, text)),
                Ok(Probe { tools: Some(_), .. }) => read_tools(&mut report, &mut tools),
                Ok(Probe {
                    policies: Some(_), ..
                }) => {}
                Ok(_) => report.at(
                    serde_saphyr::Location::UNKNOWN,
                    "a definition file starts with `workflow:` or `tools:`",
                    Some("move other files out of the definitions' folder"),
                ),
            }
            problems.append(&mut report.problems);
        }
        let mut workflows: Vec<Arc<Workflow>> = Vec::new();
        for (file, text) in workflow_files {
            let mut report = Report::new(file, text);
            if let Some(workflow) = parse::workflow(&mut report, sources, &tools, models) {
                if workflows.iter().any(|w| {
                    w.pin.name == workflow.pin.name && w.pin.version == workflow.pin.version
                }) {
                    let message = format!(
                        "workflow `{}` version {} is there twice",
                        workflow.pin.name, workflow.pin.version
                    );
                    report.at(
                        serde_saphyr::Location::UNKNOWN,
                        message,
                        Some("give this one another version"),
                    );
                }
                workflows.push(Arc::new(workflow));
            }
            problems.append(&mut report.problems);
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

    /// Exactly the version a run is pinned to.
    #[must_use]
    pub fn pinned(&self, pin: &Pin) -> Option<&Arc<Workflow>> {
        self.workflows.iter().find(|workflow| workflow.pin == *pin)
    }
}

fn read_tools(report: &mut Report<'_>, tools: &mut Tools) {
    let yaml: tool::ToolsYaml = match serde_saphyr::from_str(report.text) {
        Ok(yaml) => yaml,
        Err(error) => return report.yaml(&error),
    };
    for tool_yaml in &yaml.tools {
        let Some(tool) = tool_yaml.compile(report) else {
            continue;
        };
        if tools.get(&tool.name, tool.version).is_some() {
            let message = format!(
                "tool `{}` version {} is there twice",
                tool.name, tool.version
            );
            report.at(
                tool_yaml.tool.referenced,
                message,
                Some("give this one another version"),
            );
        }
        // The whole file stands for the tool in a version's digest: more than needed changes it, never less.
        tools.tools.push((Arc::new(tool), report.text.to_owned()));
    }
}

#[cfg(test)]
mod tests;
