//! Workflows from YAML. Everything that can be known before a run starts is checked here.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;
use serde_saphyr::{Location, Spanned};
use sha2::{Digest as _, Sha256};

use super::{
    Sources, Tools,
    problem::Report,
    schema::Schema,
    template::{Formula, Holes, Shape, Template},
    tool::Tool,
    workflow::{
        AgentStep, ClaudeStep, Floor, Limits, STEPS_DEFAULT, STEPS_MAX, Step, StepKind, ToolStep,
        Trigger, Workflow,
    },
    yaml::{AgentYaml, ClaudeYaml, LimitsYaml, StepYaml, WorkflowYaml},
};
use crate::{
    claude::{Model, Models},
    entry::Pin,
    ids::{Name, hex},
};

/// Tokens of an answer when the step does not say.
const MAX_TOKENS: u32 = 2_048;
const MAX_TOKENS_MAX: u32 = 64_000;
const MAX_LOOPS: u32 = 10;

/// Parses and checks one workflow file.
pub(crate) fn workflow(
    report: &mut Report<'_>,
    sources: &Sources,
    tools: &Tools,
    models: &Models,
) -> Option<Workflow> {
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
    parser.workflow(&yaml)
}

struct Parser<'a, 'r> {
    report: &'a mut Report<'r>,
    sources: &'a Sources,
    tools: &'a Tools,
    models: &'a Models,
    model: Option<&'a Spanned<String>>,
    /// Everything that makes this version goes in here.
    used: Sha256,
    /// Steps so far, with the shape of a Claude step's answer.
    known: Vec<(Name, Option<Schema>)>,
}

impl Parser<'_, '_> {
    fn workflow(&mut self, yaml: &WorkflowYaml) -> Option<Workflow> {
        self.used.update(self.report.text);
        if yaml.version.value == 0 {
            self.report
                .at(yaml.version.referenced, "versions count from 1", None);
        }
        let when = yaml.on.when.as_ref().and_then(|when| self.condition(when));
        let limits = self.limits(&yaml.limits);
        if yaml.steps.value.is_empty() {
            self.report.at(
                yaml.steps.referenced,
                "a workflow needs at least one step",
                None,
            );
        }
        let mut steps = Vec::with_capacity(yaml.steps.value.len());
        for step in &yaml.steps.value {
            if self.known.iter().any(|(id, _)| *id == step.id.value) {
                let message = format!("there is a step `{}` already", step.id.value);
                self.report.at(
                    step.id.referenced,
                    message,
                    Some("give each step its own id"),
                );
            }
            let kind = self.step(step);
            let answer = match &kind {
                Some(StepKind::Claude(claude)) => claude.output.clone(),
                Some(StepKind::Tool(_)) => Some(tool_step_schema()?),
                Some(StepKind::Agent(_)) => Some(agent_step_schema()?),
                None => None,
            };
            self.known.push((step.id.value.clone(), answer));
            steps.extend(kind.map(|kind| Step {
                id: step.id.value.clone(),
                kind,
            }));
        }
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

    fn limits(&mut self, yaml: &LimitsYaml) -> Limits {
        if let Some(steps) = yaml
            .steps
            .as_ref()
            .filter(|s| !(1..=STEPS_MAX).contains(&s.value))
        {
            self.report.at(
                steps.referenced,
                format!("`limits.steps` is from 1 to {STEPS_MAX}"),
                None,
            );
        }
        if let Some(duration) = yaml.duration.as_ref().filter(|d| d.value.0.is_zero()) {
            self.report.at(
                duration.referenced,
                "`limits.duration` must be more than 0",
                None,
            );
        }
        Limits {
            steps: yaml
                .steps
                .as_ref()
                .map_or(STEPS_DEFAULT, |steps| steps.value),
            duration: yaml.duration.as_ref().map(|duration| duration.value.0),
        }
    }

    fn step(&mut self, yaml: &StepYaml) -> Option<StepKind> {
        let id = &yaml.id;
        if yaml.with.is_some() && yaml.tool.is_none() {
            self.report.at(
                id.referenced,
                format!("step `{}` has `with` but no `tool`", id.value),
                None,
            );
        }
        match (&yaml.claude, &yaml.tool, &yaml.agent) {
            (Some(claude), None, None) => self.claude(claude).map(StepKind::Claude),
            (None, Some(tool), None) => self.tool_step(tool, yaml).map(StepKind::Tool),
            (None, None, Some(agent)) => self.agent(agent).map(StepKind::Agent),
            _ => {
                let message = format!(
                    "step `{}` needs exactly one of `claude`, `tool` and `agent`",
                    id.value
                );
                self.report.at(id.referenced, message, None);
                None
            }
        }
    }

    fn claude(&mut self, yaml: &ClaudeYaml) -> Option<ClaudeStep> {
        let place = yaml.prompt.referenced;
        let model = self.model(yaml.model.as_ref(), place);
        let prompt = self.prompt(&yaml.prompt);
        let output = match &yaml.output {
            None => None,
            Some(output) => Some(self.schema(output)?),
        };
        let max_tokens = self.max_tokens(yaml.max_tokens.as_ref());
        Some(ClaudeStep {
            model: model?,
            prompt: prompt?,
            output,
            max_tokens,
        })
    }

    fn tool_step(&mut self, reference: &Spanned<String>, yaml: &StepYaml) -> Option<ToolStep> {
        let tool = self.tool(reference);
        let empty = Value::Object(serde_json::Map::new());
        let (place, with) = yaml
            .with
            .as_ref()
            .map_or((reference.referenced, &empty), |w| (w.referenced, &w.value));
        let shape = match Shape::compile(with) {
            Ok(shape) => shape,
            Err(error) => {
                self.report.at(place, error.to_string(), None);
                return None;
            }
        };
        self.check_paths(place, &shape.paths());
        let tool = tool?;
        // Without holes, the parameters are known now.
        if shape.paths().is_empty()
            && let Err(fault) = tool.input.check(with)
        {
            self.report.at(
                place,
                format!("`with` does not fit the input of `{}`: {fault}", tool.name),
                None,
            );
        }
        Some(ToolStep {
            tool,
            with: shape,
            on_error: yaml.on_error,
        })
    }

    fn agent(&mut self, yaml: &AgentYaml) -> Option<AgentStep> {
        let model = self.model(yaml.model.as_ref(), yaml.goal.referenced);
        let goal = self.prompt(&yaml.goal);
        let mut tools: Vec<Arc<Tool>> = Vec::new();
        for reference in &yaml.tools.value {
            if let Some(tool) = self.tool(reference) {
                if tools.iter().any(|t| t.name == tool.name) {
                    self.report.at(
                        reference.referenced,
                        format!("`{}` is on the menu twice", tool.name),
                        None,
                    );
                }
                tools.push(tool);
            }
        }
        let ends: Vec<Name> = yaml
            .ends
            .value
            .iter()
            .map(|end| end.value.clone())
            .collect();
        self.check_ends(yaml, &tools);
        let max_loops = yaml
            .max_loops
            .as_ref()
            .map_or(MAX_LOOPS, |loops| loops.value);
        if let Some(loops) = yaml
            .max_loops
            .as_ref()
            .filter(|l| !(1..=STEPS_MAX).contains(&l.value))
        {
            self.report.at(
                loops.referenced,
                format!("`max_loops` is from 1 to {STEPS_MAX}"),
                None,
            );
        }
        let floor = yaml.confidence.as_ref().map(|floor| {
            if !(0.0..=1.0).contains(&floor.min.value) {
                self.report
                    .at(floor.min.referenced, "a confidence is from 0 to 1", None);
            }
            if !ends.contains(&floor.below.value) {
                let message = format!("`below: {}` is none of the agent's ends", floor.below.value);
                self.report.at(floor.below.referenced, message, None);
            }
            Floor {
                min: floor.min.value,
                below: floor.below.value.clone(),
            }
        });
        let max_tokens = self.max_tokens(yaml.max_tokens.as_ref());
        Some(AgentStep {
            model: model?,
            goal: goal?,
            tools,
            ends,
            max_loops,
            floor,
            max_tokens,
        })
    }

    fn check_ends(&mut self, yaml: &AgentYaml, tools: &[Arc<Tool>]) {
        if yaml.ends.value.is_empty() {
            self.report.at(
                yaml.ends.referenced,
                "an agent needs at least one end, such as `resolve`",
                None,
            );
        }
        let mut seen = BTreeSet::new();
        for end in &yaml.ends.value {
            if !seen.insert(end.value.clone()) || tools.iter().any(|tool| tool.name == end.value) {
                let message = format!(
                    "`{}` is the name of another end or of a tool of this agent",
                    end.value
                );
                self.report.at(end.referenced, message, None);
            }
        }
    }

    fn model(&mut self, own: Option<&Spanned<String>>, place: Location) -> Option<Model> {
        let Some(given) = own.or(self.model) else {
            self.report.at(
                place,
                "no `model` here and none at the top of the workflow",
                Some("add `model: haiku`"),
            );
            return None;
        };
        let found = self.models.find(&given.value).cloned();
        if found.is_none() {
            let help = format!(
                "known: {}; prices are in {}",
                self.models.names().join(", "),
                self.models.file
            );
            self.report.at(
                given.referenced,
                format!("no model `{}` in the table", given.value),
                Some(&help),
            );
        }
        found
    }

    fn max_tokens(&mut self, given: Option<&Spanned<u32>>) -> u32 {
        if let Some(wrong) = given.filter(|g| !(1..=MAX_TOKENS_MAX).contains(&g.value)) {
            self.report.at(
                wrong.referenced,
                format!("`max_tokens` is from 1 to {MAX_TOKENS_MAX}"),
                None,
            );
        }
        given.map_or(MAX_TOKENS, |given| given.value)
    }

    fn tool(&mut self, reference: &Spanned<String>) -> Option<Arc<Tool>> {
        match self.tools.find(&reference.value) {
            Ok(tool) => {
                self.used.update(self.tools.source(&tool));
                Some(tool)
            }
            Err(message) => {
                self.report.at(reference.referenced, message, None);
                None
            }
        }
    }

    fn prompt(&mut self, given: &Spanned<String>) -> Option<Template> {
        let text = if is_path(&given.value, "md") {
            self.file(&given.value, given.referenced)?
        } else {
            given.value.clone()
        };
        match Template::compile(text.trim(), Holes::Data) {
            Ok(template) => {
                self.check_paths(given.referenced, template.paths());
                Some(template)
            }
            Err(error) => {
                self.report.at(
                    given.referenced,
                    format!("the prompt does not compile: {error}"),
                    None,
                );
                None
            }
        }
    }

    fn schema(&mut self, given: &Spanned<Value>) -> Option<Schema> {
        let reference = given
            .value
            .get("$ref")
            .and_then(Value::as_str)
            .filter(|path| is_path(path, "json"));
        let source = match reference {
            None => given.value.clone(),
            Some(path) => {
                let text = self.file(path, given.referenced)?;
                match serde_json::from_str(&text) {
                    Ok(value) => value,
                    Err(error) => {
                        self.report.at(
                            given.referenced,
                            format!("`{path}` is not JSON: {error}"),
                            None,
                        );
                        return None;
                    }
                }
            }
        };
        if source["type"] != "object" {
            self.report.at(
                given.referenced,
                "an `output` is a JSON Schema with `type: object`",
                None,
            );
            return None;
        }
        match Schema::compile(source) {
            Ok(schema) => Some(schema),
            Err(fault) => {
                self.report.at(
                    given.referenced,
                    format!("`output` is no JSON Schema: {fault}"),
                    None,
                );
                None
            }
        }
    }

    fn file(&mut self, path: &str, place: Location) -> Option<String> {
        match self.sources.beside(self.report.file, path) {
            Ok(text) => {
                self.used.update(path);
                self.used.update(&text);
                Some(text.to_owned())
            }
            Err(message) => {
                self.report.at(
                    place,
                    message,
                    Some("paths are relative to the workflow's own folder"),
                );
                None
            }
        }
    }

    fn condition(&mut self, given: &Spanned<String>) -> Option<Formula> {
        match Formula::compile(&given.value) {
            Ok(formula) => {
                self.check_paths(given.referenced, &formula.paths());
                Some(formula)
            }
            Err(error) => {
                self.report.at(given.referenced, error.to_string(), None);
                None
            }
        }
    }

    /// Every path must exist when its step runs: only steps before it, only what their answers can have.
    fn check_paths(&mut self, place: Location, paths: &BTreeSet<String>) {
        for path in paths {
            let mut parts = path.split('.');
            let problem = match (parts.next(), parts.next(), parts.next()) {
                (Some("event"), None, _) | (Some("steps"), None, _) => None,
                (Some("event"), Some(field), _) => (!EVENT_FIELDS.contains(&field)).then(|| {
                    format!(
                        "`{path}`: an event has {}; its payload is under event.data",
                        EVENT_FIELDS.join(", ")
                    )
                }),
                (Some("run"), Some("id") | None, _) => None,
                (Some("steps"), Some(id), field) => {
                    match self.known.iter().find(|(known, _)| known.as_str() == id) {
                        None => Some(format!("`{path}`: there is no step `{id}` before this one")),
                        Some((_, Some(schema))) => field
                            .filter(|field| !schema.allows_property(field))
                            .map(|field| {
                                format!("`{path}`: what step `{id}` gives has no `{field}`")
                            }),
                        Some((_, None)) => None,
                    }
                }
                _ => Some(format!(
                    "`{path}` does not exist; there are event, steps and run"
                )),
            };
            if let Some(problem) = problem {
                self.report.at(place, problem, None);
            }
        }
    }
}

const EVENT_FIELDS: [&str; 6] = ["id", "source", "type", "time", "subject", "data"];

fn is_path(text: &str, extension: &str) -> bool {
    let tail = text.rsplit_once('.').map(|(_, tail)| tail);
    tail == Some(extension) && !text.contains(char::is_whitespace)
}

fn tool_step_schema() -> Option<Schema> {
    Schema::compile(serde_json::json!({"properties": {"ok": true, "output": true, "error": true}}))
        .ok()
}

fn agent_step_schema() -> Option<Schema> {
    Schema::compile(serde_json::json!({"properties": {"end": true, "summary": true}})).ok()
}
