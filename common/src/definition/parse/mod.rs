//! Workflows from YAML. Everything that can be known before a run starts is checked here.

mod containers;
mod holes;
mod inference;
mod list;
mod named;
mod nesting;
mod scope;
mod single;
mod steps;
mod trigger;
mod ways;

use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::Spanned;
use sha2::{Digest as _, Sha256};

use super::{
    Sources, Tools,
    problem::Report,
    step::{ApprovalTerms, Step},
    workflow::{Limits, OnFailure, STEPS_DEFAULT, STEPS_MAX, Workflow},
    yaml::{Lessons, LimitsYaml, OnFailureYaml, WorkflowYaml},
};
use crate::{
    claude::Models,
    entry::Pin,
    ids::{Name, hex},
};
use list::{UNDO_HELP, UNDONE_BY_NOTHING};
use nesting::Container;
use scope::{Gives, Scope};

/// A workflow file that could be read.
pub(crate) struct Parsed {
    pub(crate) name: Name,
    /// With its place, for the message when another file has the same.
    pub(crate) version: Spanned<u32>,
    /// `None` where something is wrong with it.
    pub(crate) workflow: Option<Workflow>,
    /// The workflows that it runs.
    pub(crate) runs: Vec<Spanned<Name>>,
    /// The files beside it that it names, as it names them.
    pub(crate) files: BTreeSet<String>,
}

/// Parses and checks one workflow file; `None` where it cannot be read at all.
pub(crate) fn workflow(
    report: &mut Report<'_>,
    sources: &Sources,
    tools: &Tools,
    models: &Models,
) -> Option<Parsed> {
    let options =
        serde_saphyr::options! { budget: serde_saphyr::budget! { max_depth: LEVELS_MAX } };
    let yaml: WorkflowYaml = match serde_saphyr::from_str_with_options(report.text, options) {
        Ok(yaml) => yaml,
        Err(error) => {
            report.yaml(&error);
            return None;
        }
    };
    let mut parser = Parser {
        report,
        sources,
        tools,
        models,
        model: yaml.model.as_ref(),
        used: Sha256::new(),
        scope: Scope::default(),
        places: BTreeMap::new(),
        around: Vec::new(),
        side_by_side: false,
        has_ceiling: yaml.limits.usd.is_some(),
        approvals: ApprovalTerms::default(),
        runs: Vec::new(),
        files: BTreeSet::new(),
        tool_was_wrong: false,
    };
    let workflow = parser.workflow(&yaml);
    let (runs, files) = (parser.runs, parser.files);
    Some(Parsed {
        name: yaml.workflow.value,
        version: yaml.version,
        workflow,
        runs,
        files,
    })
}

struct Parser<'a, 'r> {
    report: &'a mut Report<'r>,
    sources: &'a Sources,
    tools: &'a Tools,
    models: &'a Models,
    model: Option<&'a Spanned<String>>,
    /// Everything that makes this version goes in here.
    used: Sha256,
    /// What holes can see just now.
    scope: Scope,
    /// Every step of the workflow, and what is around it, outermost first.
    places: BTreeMap<Name, Vec<Container>>,
    /// What is around the step in hand, outermost first.
    around: Vec<Container>,
    /// Whether something of what is around it does several things at once.
    side_by_side: bool,
    /// Whether there is a `limits.usd`.
    has_ceiling: bool,
    /// What approvals say that say nothing themselves.
    approvals: ApprovalTerms,
    /// The workflows that it runs.
    runs: Vec<Spanned<Name>>,
    /// The files beside it that were read.
    files: BTreeSet<String>,
    /// A tool is there but wrong, which is told elsewhere, so the compiled steps are not all there.
    tool_was_wrong: bool,
}

/// Levels of lists and mappings in a file: steps as deep as they may be, and JSON in them. Each costs the reader some of its stack.
const LEVELS_MAX: usize = 40;
/// Lessons that a prompt has room for.
const LESSONS_MAX: u32 = 20;

impl Parser<'_, '_> {
    fn workflow(&mut self, yaml: &WorkflowYaml) -> Option<Workflow> {
        self.uses(self.report.text);
        if yaml.version.value == 0 {
            self.report
                .at(yaml.version.referenced, "versions count from 1", None);
        }
        let on = self.trigger(&yaml.on);
        let limits = self.limits(&yaml.limits);
        let lessons = yaml.lessons.as_ref().map_or(0, |given| self.lessons(given));
        self.approvals = self.approvals(&yaml.approvals);
        if yaml.steps.value.is_empty() {
            let message = "a workflow needs at least one step";
            self.report.at(yaml.steps.referenced, message, None);
        }
        for list in yaml.lists() {
            self.nesting(list, &[]);
        }
        let steps = self.list(&yaml.steps.value);
        let output = yaml.output.as_ref();
        let output = output.and_then(|given| self.shape("output", given.referenced, &given.value));
        let on_failure = yaml.on_failure.as_ref();
        let on_failure = on_failure.map(|given| self.on_failure(given, &steps));
        let on = on.filter(|_| self.report.problems.is_empty())?;
        Some(Workflow {
            pin: Pin {
                name: yaml.workflow.value.clone(),
                version: yaml.version.value,
                digest: hex(&self.used.clone().finalize()),
            },
            description: yaml.description.trim().to_owned(),
            on,
            limits,
            steps,
            on_failure: on_failure.unwrap_or_default(),
            output,
            approvals: self.approvals.clone(),
            lessons,
        })
    }

    fn on_failure(&mut self, yaml: &Spanned<OnFailureYaml>, done: &[Step]) -> OnFailure {
        let compensate = yaml.value.compensate.as_ref();
        let wanted = compensate.filter(|given| given.value);
        if wanted.is_none() && yaml.value.steps.is_empty() {
            let message = "this does nothing when the run fails";
            let help = "give it `compensate: true`, or `steps`";
            self.report.at(yaml.referenced, message, Some(help));
        }
        let more = [("failure", Gives::FAILURE)];
        let steps = self.seeing(more, |parser| parser.list(&yaml.value.steps));
        if let Some(wanted) = wanted.filter(|_| !self.can_be_undone(done)) {
            self.report
                .at(wanted.referenced, UNDONE_BY_NOTHING, Some(UNDO_HELP));
        }
        OnFailure {
            compensate: wanted.is_some(),
            steps,
        }
    }

    fn lessons(&mut self, given: &Spanned<Lessons>) -> u32 {
        let Lessons(keep) = given.value;
        if keep > LESSONS_MAX {
            let message = format!("`lessons` must be from 0 to {LESSONS_MAX}, not {keep}");
            self.report.at(given.referenced, message, None);
        }
        keep
    }

    /// Takes a text into the version's digest, with its length, so that no two sets of texts are the same bytes.
    fn uses(&mut self, text: &str) {
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.used.update(length.to_be_bytes());
        self.used.update(text);
    }

    fn limits(&mut self, yaml: &LimitsYaml) -> Limits {
        self.within("limits.steps", yaml.steps.as_ref(), STEPS_MAX);
        let duration = yaml.duration.as_ref();
        let usd = yaml.usd.as_ref();
        let usd_per_day = yaml.usd_per_day.as_ref();
        Limits {
            steps: yaml
                .steps
                .as_ref()
                .map_or(STEPS_DEFAULT, |steps| steps.value),
            duration: duration.and_then(|given| self.span("limits.duration", given)),
            usd: usd.and_then(|given| self.usd("limits.usd", given)),
            usd_per_day: usd_per_day.and_then(|given| self.usd("limits.usd_per_day", given)),
        }
    }

    /// Notes a number that is not from 1 to `most`.
    fn within(&mut self, what: &str, given: Option<&Spanned<u32>>, most: u32) {
        if let Some(wrong) = given.filter(|given| !(1..=most).contains(&given.value)) {
            let message = format!("`{what}` must be from 1 to {most}, not {}", wrong.value);
            self.report.at(wrong.referenced, message, None);
        }
    }
}
