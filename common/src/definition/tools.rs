//! The catalogue of tools: every version of every tool, and which of them undoes which.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Deserialize;
use serde_json::Value;

use super::{
    Sources,
    problem::{Problem, Report},
    step::Compensate,
    template::Shape,
    tool::{DEPRECATED, Tool, ToolsYaml, misfit},
    words::nearest,
    yaml::CallYaml,
};
use crate::ids::Name;

/// The catalogue of tools.
#[derive(Debug, Default, Clone)]
pub struct Tools {
    entries: BTreeMap<Name, BTreeMap<u32, ToolEntry>>,
    /// What undoes some of them, until all files were read.
    undo: Vec<Undo>,
    /// Tools that are there but wrong: told once, at their own place.
    wrong: BTreeSet<String>,
    /// Some file of tools could not be read at all, so nobody knows which tools are missing.
    pub(super) unreadable: bool,
}

#[derive(Debug, Clone)]
struct ToolEntry {
    tool: Arc<Tool>,
    /// The tool as written, for the digests of the workflows that use it.
    source: Arc<str>,
    /// Where; empty where no file is known.
    file: Arc<str>,
}

/// What undoes a tool, as written in its file.
#[derive(Debug, Clone)]
struct Undo {
    name: Name,
    version: u32,
    file: String,
    call: CallYaml,
}

/// What is wrong and what to do; `None` when that was told already.
type NotFound = Option<(String, Option<String>)>;

impl Tools {
    /// A tool by `name` (its newest version) or `name@version`.
    pub(super) fn find(&self, reference: &str) -> Result<Arc<Tool>, NotFound> {
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
        let named = name
            .parse()
            .ok()
            .and_then(|name: Name| self.entries.get(&name));
        let found = named.and_then(|versions| match version {
            None => versions.values().next_back(),
            Some(version) => versions.get(&version),
        });
        if let Some(entry) = found {
            return Ok(Arc::clone(&entry.tool));
        }
        if self.unreadable || self.wrong.contains(name) {
            return Err(None);
        }
        let Some(versions) = named else {
            let names: Vec<&str> = self.entries.keys().map(Name::as_str).collect();
            let help = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if names.is_empty() => "no file here has `tools:`".into(),
                None => format!("there are: {}", names.join(", ")),
            };
            return Err(Some((format!("there is no tool `{name}`"), Some(help))));
        };
        let versions: Vec<_> = versions.keys().map(u32::to_string).collect();
        let help = format!("`{name}` has version {}", versions.join(", "));
        Err(Some((format!("there is no `{reference}`"), Some(help))))
    }

    /// A tool by name and version.
    #[must_use]
    pub fn get(&self, name: &Name, version: u32) -> Option<&Arc<Tool>> {
        self.entry(name, version).map(|entry| &entry.tool)
    }

    /// All tools, by name and version.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Tool>> {
        let entries = self.entries.values().flat_map(BTreeMap::values);
        entries.map(|entry| &entry.tool)
    }

    /// Takes in a tool; it takes the place of one with the same name and version.
    pub(super) fn put(&mut self, tool: Arc<Tool>, source: &str) {
        self.insert(ToolEntry {
            tool,
            source: source.into(),
            file: "".into(),
        });
    }

    fn insert(&mut self, entry: ToolEntry) {
        let versions = self.entries.entry(entry.tool.name.clone()).or_default();
        versions.insert(entry.tool.version, entry);
    }

    fn entry(&self, name: &Name, version: u32) -> Option<&ToolEntry> {
        self.entries.get(name)?.get(&version)
    }

    pub(super) fn source(&self, tool: &Tool) -> &str {
        self.entry(&tool.name, tool.version)
            .map_or("", |entry| entry.source.as_ref())
    }

    /// Takes in a file of tools.
    pub(super) fn read(&mut self, report: &mut Report<'_>) {
        #[derive(Deserialize)]
        struct AsWritten {
            tools: Vec<Value>,
        }
        let read = serde_saphyr::from_str::<ToolsYaml>(report.text)
            .and_then(|yaml| Ok((yaml, serde_saphyr::from_str::<AsWritten>(report.text)?)));
        let (yaml, written) = match read {
            Ok(read) => read,
            Err(error) => {
                self.unreadable = true;
                return report.yaml(&error);
            }
        };
        for (tool_yaml, mut source) in yaml.tools.iter().zip(written.tools) {
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
            self.undo
                .extend(tool_yaml.compensate.iter().map(|call| Undo {
                    name: tool.name.clone(),
                    version: tool.version,
                    file: report.file.to_owned(),
                    call: call.clone(),
                }));
            if let Some(fields) = source.as_object_mut() {
                fields.shift_remove(DEPRECATED);
            }
            self.insert(ToolEntry {
                tool: Arc::new(tool),
                source: source.to_string().into(),
                file: report.file.into(),
            });
        }
    }

    /// Finds the tools that undo others, once all files were read. What undoes is not undone itself.
    pub(super) fn resolve(&mut self, sources: &Sources) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut found = Vec::new();
        for undo in std::mem::take(&mut self.undo) {
            let text = sources.0.get(&undo.file).map_or("", String::as_str);
            let mut report = Report::new(&undo.file, text);
            let compensate = self.compensate(&undo, &mut report);
            found.push((undo.name, undo.version, compensate));
            problems.append(&mut report.problems);
        }
        for (name, version, compensate) in found {
            let versions = self.entries.get_mut(&name);
            match (versions.and_then(|all| all.get_mut(&version)), compensate) {
                (Some(entry), Some(compensate)) => {
                    Arc::make_mut(&mut entry.tool).compensate = Some(compensate);
                }
                (_, None) | (None, _) => {
                    self.entries.remove(&name);
                    self.wrong.insert(name.to_string());
                }
            }
        }
        problems
    }

    fn compensate(&self, undo: &Undo, report: &mut Report<'_>) -> Option<Compensate> {
        let undone = self.get(&undo.name, undo.version)?;
        let reference = &undo.call.tool;
        let tool = match self.find(&reference.value) {
            Ok(tool) => Some(tool),
            Err(told) => {
                if let Some((message, help)) = told {
                    report.at(reference.referenced, message, help.as_deref());
                }
                None
            }
        };
        let empty = Value::Object(serde_json::Map::new());
        let with = undo.call.with.as_ref();
        let (place, with) =
            with.map_or((reference.referenced, &empty), |w| (w.referenced, &w.value));
        let shape = match Shape::compile(with) {
            Ok(shape) => shape,
            Err(error) => {
                report.at(place, format!("`with` does not compile: {error}"), None);
                return None;
            }
        };
        let before = report.problems.len();
        for path in shape.paths() {
            if let Some((problem, help)) = unseen(undone, &path) {
                report.at(place, format!("`{path}`: {problem}"), help.as_deref());
            }
        }
        let tool = tool?;
        if let Some((message, help)) = misfit(&tool, with, &shape) {
            report.at(place, message, Some(&help));
        }
        (report.problems.len() == before).then_some(Compensate { tool, with: shape })
    }
}

/// What is wrong with a path in the parameters of what undoes `tool`: they see only what it was given and what it gave.
fn unseen(tool: &Tool, path: &str) -> Option<(String, Option<String>)> {
    let mut parts = path.split('.');
    match (parts.next(), parts.next()) {
        (Some("output"), _) | (Some("input"), None) => None,
        (Some("input"), Some(field)) if tool.input.allows_property(field) => None,
        (Some("input"), Some(field)) => {
            let help = format!("it has: {}", tool.input.properties().join(", "));
            let message = format!("the tool's `input` has no property `{field}`");
            Some((message, Some(help)))
        }
        _ => Some((
            "what undoes a tool sees only its input and output".into(),
            None,
        )),
    }
}
