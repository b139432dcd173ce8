//! The catalogue of tools: every version of every tool, and which of them undoes which, or is asked about which.

mod reconcile;

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
    tool::{DEPRECATED, McpServer, Tool, ToolsYaml, mcp_servers, misfit},
    words::nearest,
    yaml::CallYaml,
};
use crate::ids::Name;

/// The catalogue of tools.
#[derive(Debug, Default, Clone)]
pub struct Tools {
    entries: BTreeMap<Name, BTreeMap<u32, ToolEntry>>,
    /// What undoes some of them, until all files were read.
    undo: Vec<Beside>,
    /// Who is asked about some of them, until all files were read.
    ask: Vec<Beside>,
    /// Tools that are there but wrong: told once, at their own place.
    wrong: BTreeSet<String>,
    /// MCP servers, by name: of two files that have one, the last.
    servers: BTreeMap<Name, McpServer>,
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

/// What a tool says of another one, as written in its file.
#[derive(Debug, Clone)]
struct Beside {
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

    /// An MCP server that some file names, whether a tool uses it or not.
    #[must_use]
    pub fn server(&self, name: &Name) -> Option<&McpServer> {
        self.servers.get(name)
    }

    /// The names of all MCP servers.
    pub fn servers(&self) -> impl Iterator<Item = &Name> {
        self.servers.keys()
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
            #[serde(default)]
            mcp: Vec<Value>,
            #[serde(default)]
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
        let servers = mcp_servers(report, &yaml.mcp);
        let servers = servers
            .into_iter()
            .map(|server| (server.name.clone(), server));
        self.servers.extend(servers);
        for (tool_yaml, mut source) in yaml.tools.iter().zip(written.tools) {
            let name = &tool_yaml.tool.value;
            let Some(tool) = tool_yaml.compile(report, &yaml.mcp) else {
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
            let beside = |call: &CallYaml| Beside {
                name: tool.name.clone(),
                version: tool.version,
                file: report.file.to_owned(),
                call: call.clone(),
            };
            self.undo.extend(tool_yaml.compensate.as_ref().map(beside));
            self.ask.extend(tool_yaml.reconcile.as_ref().map(beside));
            if let Some(fields) = source.as_object_mut() {
                fields.shift_remove(DEPRECATED);
            }
            if let Some(mcp) = tool_yaml.mcp.as_ref().filter(|mcp| !mcp.is_whole()) {
                with_server(&mut source, mcp.server.value.as_str(), &written.mcp);
            }
            self.insert(ToolEntry {
                tool: Arc::new(tool),
                source: source.to_string().into(),
                file: report.file.into(),
            });
        }
    }

    /// Finds the tools that undo others or are asked about them, once all files were read. What undoes is not undone itself.
    pub(super) fn resolve(&mut self, sources: &Sources) -> Vec<Problem> {
        let mut problems = Vec::new();
        // What undoes may be asked about too.
        let ask = std::mem::take(&mut self.ask);
        let found = self.resolve_all(ask, sources, &mut problems, Self::reconcile);
        self.set(found, |tool, reconcile| tool.reconcile = Some(reconcile));
        let undo = std::mem::take(&mut self.undo);
        let found = self.resolve_all(undo, sources, &mut problems, Self::compensate);
        self.set(found, |tool, compensate| tool.compensate = Some(compensate));
        problems
    }

    fn resolve_all<T>(
        &self,
        all: Vec<Beside>,
        sources: &Sources,
        problems: &mut Vec<Problem>,
        resolve: impl Fn(&Self, &Beside, &mut Report<'_>) -> Option<T>,
    ) -> Vec<(Beside, Option<T>)> {
        let resolved = all.into_iter().map(|beside| {
            let text = sources.0.get(&beside.file).map_or("", String::as_str);
            let mut report = Report::new(&beside.file, text);
            let found = resolve(self, &beside, &mut report);
            problems.append(&mut report.problems);
            (beside, found)
        });
        resolved.collect()
    }

    /// Tools for which nothing was found are wrong.
    fn set<T>(&mut self, found: Vec<(Beside, Option<T>)>, set: impl Fn(&mut Tool, T)) {
        for (Beside { name, version, .. }, value) in found {
            let versions = self.entries.get_mut(&name);
            match (versions.and_then(|all| all.get_mut(&version)), value) {
                (Some(entry), Some(value)) => set(Arc::make_mut(&mut entry.tool), value),
                (_, None) | (None, _) => {
                    self.entries.remove(&name);
                    self.wrong.insert(name.to_string());
                }
            }
        }
    }

    fn compensate(&self, undo: &Beside, report: &mut Report<'_>) -> Option<Compensate> {
        let undone = self.get(&undo.name, undo.version)?;
        let (tool, with) = self.call(&undo.call, report, |path| unseen(undone, path))?;
        Some(Compensate { tool, with })
    }

    /// A call whose holes see what `unseen` has nothing against; `None` where something is wrong, which the report says.
    fn call(
        &self,
        call: &CallYaml,
        report: &mut Report<'_>,
        unseen: impl Fn(&str) -> Option<(String, Option<String>)>,
    ) -> Option<(Arc<Tool>, Shape)> {
        let reference = &call.tool;
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
        let with = call.with.as_ref();
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
            if let Some((problem, help)) = unseen(&path) {
                report.at(place, format!("`{path}`: {problem}"), help.as_deref());
            }
        }
        let tool = tool?;
        if let Some((message, help)) = misfit(&tool, with, &shape) {
            report.at(place, message, Some(&help));
        }
        (report.problems.len() == before).then_some((tool, shape))
    }
}

/// Puts how its MCP server is reached into a tool as written, so that it stands alone.
fn with_server(source: &mut Value, name: &str, servers: &[Value]) {
    let server = servers.iter().find(|server| server["server"] == name);
    let fields = server.and_then(Value::as_object);
    if let (Some(mcp), Some(fields)) = (source["mcp"].as_object_mut(), fields) {
        for (key, value) in fields {
            mcp.insert(key.clone(), value.clone());
        }
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
