//! Workflows from YAML. Everything that can be known before a run starts is checked here.

mod holes;
mod inference;
mod named;
mod steps;

use serde_saphyr::{Location, Spanned};
use sha2::{Digest as _, Sha256};

use super::{
    Sources, Tools,
    problem::Report,
    schema::Schema,
    workflow::{Limits, STEPS_DEFAULT, STEPS_MAX, Step, StepKind, Trigger, Workflow},
    yaml::{LimitsYaml, StepYaml, WorkflowYaml},
};
use crate::{
    claude::Models,
    entry::Pin,
    ids::{Name, hex},
};

/// Parses and checks one workflow file. With the workflow comes the place of its version, for the message when another file has
/// the same.
pub(crate) fn workflow(
    report: &mut Report<'_>,
    sources: &Sources,
    tools: &Tools,
    models: &Models,
) -> Option<(Workflow, Location)> {
    let yaml: WorkflowYaml = match serde_saphyr::from_str(report.text) {
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
        known: Vec::new(),
    };
    let workflow = parser.workflow(&yaml)?;
    Some((workflow, yaml.version.referenced))
}

struct Parser<'a, 'r> {
    report: &'a mut Report<'r>,
    sources: &'a Sources,
    tools: &'a Tools,
    models: &'a Models,
    model: Option<&'a Spanned<String>>,
    /// Everything that makes this version goes in here.
    used: Sha256,
    /// Steps so far, with what they give.
    known: Vec<(Name, Gives)>,
}

/// What later steps can name of a step.
enum Gives {
    /// A text: nothing within.
    Text,
    /// An answer of this shape.
    Answer(Schema),
    /// Always these fields.
    Fields(&'static [&'static str]),
    /// The step is wrong, so nobody knows.
    Unknown,
}

impl Parser<'_, '_> {
    fn workflow(&mut self, yaml: &WorkflowYaml) -> Option<Workflow> {
        self.uses(self.report.text);
        if yaml.version.value == 0 {
            self.report
                .at(yaml.version.referenced, "versions count from 1", None);
        }
        let when = yaml.on.when.as_ref().and_then(|when| self.condition(when));
        let limits = self.limits(&yaml.limits);
        if yaml.steps.value.is_empty() {
            let message = "a workflow needs at least one step";
            self.report.at(yaml.steps.referenced, message, None);
        }
        let mut steps = Vec::with_capacity(yaml.steps.value.len());
        for step in &yaml.steps.value {
            self.step_id(&step.id);
            let kind = self.step(step);
            let gives = match &kind {
                Some(StepKind::Claude(claude)) => {
                    claude.output.clone().map_or(Gives::Text, Gives::Answer)
                }
                Some(StepKind::Tool(_)) => Gives::Fields(&["ok", "output", "error"]),
                Some(StepKind::Agent(_)) => Gives::Fields(&["end", "summary"]),
                None => Gives::Unknown,
            };
            self.known.push((step.id.value.clone(), gives));
            steps.extend(kind.map(|kind| Step {
                id: step.id.value.clone(),
                kind,
            }));
        }
        self.turns_are_no_steps(yaml);
        self.report.problems.is_empty().then(|| Workflow {
            pin: Pin {
                name: yaml.workflow.value.clone(),
                version: yaml.version.value,
                digest: hex(&self.used.clone().finalize()),
            },
            description: yaml.description.trim().to_owned(),
            on: Trigger {
                event: yaml.on.event.clone(),
                when,
            },
            limits,
            steps,
        })
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

    fn step_id(&mut self, id: &Spanned<Name>) {
        if self.known.iter().any(|(known, _)| *known == id.value) {
            let message = format!("there is a step `{}` already", id.value);
            self.report
                .at(id.referenced, message, Some("give each step its own id"));
        }
    }

    /// The third turn of agent `a` is `a-3` in claims and idempotency keys: no step may have that id, or it would find its own
    /// effect done already.
    fn turns_are_no_steps(&mut self, yaml: &WorkflowYaml) {
        let steps = &yaml.steps.value;
        for step in steps {
            let Some((agent, turn)) = step.id.value.as_str().rsplit_once('-') else {
                continue;
            };
            let numbered = turn.bytes().all(|byte| byte.is_ascii_digit());
            let is_agent =
                |other: &&StepYaml| other.agent.is_some() && other.id.value.as_str() == agent;
            if numbered && steps.iter().any(|other| is_agent(&other)) {
                let message = format!(
                    "`{}` is also the key of turn {turn} of agent `{agent}`",
                    step.id.value
                );
                let help = Some("give the step an id that does not end in a number");
                self.report.at(step.id.referenced, message, help);
            }
        }
    }
}
