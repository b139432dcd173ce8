//! A catalogue from files, and the bundles that its workflows become.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::Deserialize;
use serde_saphyr::Location;

use super::{Catalogue, Known, Origin};
use crate::{
    claude::Models,
    definition::{
        Active, Bundle, BundleError, Problem, Problems, Sources, StepKind, Tool, ToolText, Tools,
        VersionRef, WORKFLOW_FILE, Workflow,
        inlet::{Written, check_chains},
        parse::{self, Parsed},
        problem::Report,
        runs,
    },
    entry::Pin,
    ids::Name,
};

/// Which kind of file it is: the key counts, whatever it holds.
#[derive(Deserialize)]
struct Probe {
    #[serde(default, deserialize_with = "present")]
    workflow: bool,
    #[serde(default, deserialize_with = "present")]
    tools: bool,
    #[serde(default, deserialize_with = "present")]
    mcp: bool,
    #[serde(default, deserialize_with = "present")]
    policies: bool,
    #[serde(default, deserialize_with = "present")]
    event: bool,
    #[serde(default, deserialize_with = "present")]
    hook: bool,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl Catalogue {
    /// Reads all definitions. A YAML file is what its top-level key says: `workflow`, `tools` or `mcp`, `event`, `hook`, or `policies`
    /// (scripts of the simulated Claude, which are none of ours). New runs get the newest versions.
    ///
    /// # Errors
    /// Everything that is wrong in any file.
    pub fn parse(sources: &Sources, models: &Models) -> Result<Self, Problems> {
        Self::parse_beside(sources, models, &Self::default())
    }

    /// The same for definitions that come to a fleet: they may run the active workflows of `fleet`, too.
    ///
    /// # Errors
    /// Everything that is wrong in any file.
    pub fn parse_beside(
        sources: &Sources,
        models: &Models,
        fleet: &Self,
    ) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut workflow_files = Vec::new();
        let mut tools = Tools::default();
        // Where a file cannot be read, nobody knows what is missing.
        let mut all_read = true;
        let mut inlets = Vec::new();
        let mut unread_inlets = false;
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
                Ok(probe) if probe.tools || probe.mcp => tools.read(&mut report),
                Ok(probe) if probe.event || probe.hook => {
                    match Written::read(&mut report, sources, probe.hook) {
                        Some(written) => {
                            inlets.push((report, written));
                            continue;
                        }
                        None => unread_inlets = true,
                    }
                }
                Ok(probe) if probe.policies => {}
                Ok(_) => report.at(
                    Location::UNKNOWN,
                    "no definition: a definition file has `workflow:`, `tools:`, `event:` or `hook:` at its top level",
                    Some("move other files out of the definitions' folder"),
                ),
            }
            problems.append(&mut report.problems);
        }
        problems.append(&mut tools.resolve(sources));
        if !unread_inlets {
            check_chains(&mut inlets, &fleet.inlets);
        }
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
        runs::check(&mut files, &fleet.runs(), all_read);
        Self::of(files, tools, inlets, problems)
    }

    /// What was read, where nothing is wrong with it.
    fn of(
        files: Vec<(Report<'_>, Parsed)>,
        tools: Tools,
        inlets: Vec<(Report<'_>, Written)>,
        mut problems: Vec<Problem>,
    ) -> Result<Self, Problems> {
        let mut read = Self {
            tools,
            ..Self::default()
        };
        for (mut report, written) in inlets {
            problems.append(&mut report.problems);
            read.inlets.take(written);
        }
        for (mut report, parsed) in files {
            problems.append(&mut report.problems);
            read.warnings.append(&mut report.warnings);
            let origin = Origin {
                file: report.file.to_owned(),
                beside: parsed.files,
            };
            if let Some(workflow) = parsed.workflow {
                read.put(Arc::new(workflow), Some(Arc::new(origin)));
            }
        }
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        let newest: Vec<Pin> = read.newest().map(|workflow| workflow.pin.clone()).collect();
        for pin in newest {
            let active = Active::only(VersionRef::from(&pin), Timestamp::UNIX_EPOCH);
            read.active.insert(pin.name, active);
        }
        Ok(read)
    }

    /// Every workflow that is here as a bundle. Each is compiled again, so that what is kept is what was read.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn bundles(&self, sources: &Sources, models: &Models) -> Result<Vec<Bundle>, BundleError> {
        let versions = self.workflows.values().flatten();
        versions
            .map(|known| {
                let bundle = self.bundle(sources, known)?;
                bundle.compile(models)?;
                Ok(bundle)
            })
            .collect()
    }

    fn bundle(&self, sources: &Sources, known: &Known) -> Result<Bundle, BundleError> {
        let pin = &known.workflow.pin;
        let not_there = || BundleError::NotThere {
            name: pin.name.clone(),
            version: pin.version,
        };
        let Origin { file, beside } = known.origin.as_deref().ok_or_else(not_there)?;
        let text = sources.0.get(file).ok_or_else(not_there)?;
        let mut files = BTreeMap::from([(WORKFLOW_FILE.to_owned(), text.clone())]);
        for path in beside {
            let text = sources.beside(file, path).map_err(|_| not_there())?;
            files.insert(path.trim_start_matches("./").to_owned(), text.to_owned());
        }
        Ok(Bundle::new(pin, files, &self.tools_of(&known.workflow)))
    }

    /// The tools that a workflow can use, and those that must be there for these to be read: what undoes a tool may itself say
    /// what undoes it, though nobody does that.
    fn tools_of(&self, workflow: &Workflow) -> Vec<ToolText> {
        let mut wanted: Vec<(Name, u32)> = Vec::new();
        let mut open: Vec<&Arc<Tool>> = workflow.tools();
        while let Some(tool) = open.pop() {
            let key = (tool.name.clone(), tool.version);
            if wanted.contains(&key) {
                continue;
            }
            let whole = self.tools.get(&tool.name, tool.version).unwrap_or(tool);
            open.extend(whole.compensate.iter().map(|undo| &undo.tool));
            open.extend(whole.reconcile.iter().map(|asked| &asked.tool));
            wanted.push(key);
        }
        wanted.sort();
        let tools = wanted.iter();
        let tools = tools.filter_map(|(name, version)| self.tools.get(name, *version));
        tools.map(|tool| ToolText::of(tool, &self.tools)).collect()
    }

    /// Which workflows the active ones run.
    fn runs(&self) -> BTreeMap<Name, Vec<Name>> {
        let active = self.active.keys().filter_map(|name| self.stable(name));
        active
            .map(|workflow| {
                let steps = workflow.all_steps().into_iter();
                let runs = steps.filter_map(|step| match &step.kind {
                    StepKind::Run(run) => Some(run.workflow.clone()),
                    StepKind::Claude(_)
                    | StepKind::Tool(_)
                    | StepKind::Agent(_)
                    | StepKind::Switch(_)
                    | StepKind::Parallel(_)
                    | StepKind::Each(_)
                    | StepKind::Steps(_)
                    | StepKind::Approval(_)
                    | StepKind::Sleep(_)
                    | StepKind::End(_) => None,
                });
                (workflow.pin.name.clone(), runs.collect())
            })
            .collect()
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
