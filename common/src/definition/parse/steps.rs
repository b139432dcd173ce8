//! The kinds of steps.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;
use serde_saphyr::Spanned;

use super::{
    super::{
        need,
        template::Shape,
        tool::Tool,
        workflow::{AgentStep, ClaudeStep, Floor, STEPS_MAX, StepKind, ToolStep},
        yaml::{AgentYaml, ClaudeYaml, FloorYaml, StepYaml},
    },
    Parser,
};
use crate::ids::Name;

const MAX_LOOPS: u32 = 10;
/// Tools of one turn: each is an entry of one atomic batch, and a result in the next prompt.
const PARALLEL_MAX: u32 = 16;

impl Parser<'_, '_> {
    pub(super) fn step(&mut self, yaml: &StepYaml) -> Option<StepKind> {
        let id = &yaml.id;
        if yaml.tool.is_none() {
            let with = yaml.with.as_ref().map(|with| ("with", with.referenced));
            let on_error = yaml
                .on_error
                .as_ref()
                .map(|given| ("on_error", given.referenced));
            for (key, place) in with.into_iter().chain(on_error) {
                let message = format!(
                    "`{key}` belongs to a `tool`, and step `{}` has none",
                    id.value
                );
                self.report.at(place, message, None);
            }
        }
        match (&yaml.claude, &yaml.tool, &yaml.agent) {
            (Some(claude), None, None) => self.claude(claude).map(StepKind::Claude),
            (None, Some(tool), None) => self.tool_step(tool, yaml).map(StepKind::Tool),
            (None, None, Some(agent)) => self.agent(agent).map(StepKind::Agent),
            (None, None, None) => {
                let message = format!("step `{}` does nothing", id.value);
                self.report.at(
                    id.referenced,
                    message,
                    Some("give it one of `claude`, `tool` and `agent`"),
                );
                None
            }
            _ => {
                let message = format!("step `{}` does more than one thing", id.value);
                let help =
                    "keep one of `claude`, `tool` and `agent`; make the others steps of their own";
                self.report.at(id.referenced, message, Some(help));
                None
            }
        }
    }

    fn claude(&mut self, yaml: &ClaudeYaml) -> Option<ClaudeStep> {
        let prompt = self.prompt(&yaml.prompt);
        let output = yaml.output.as_ref().map(|output| self.schema(output));
        let need = match output.as_ref().and_then(Option::as_ref) {
            Some(schema) => need::AROUND + need::tokens(schema.source()),
            None => need::TEXT_ANSWER,
        };
        let inference = self.inference(&yaml.into(), need, yaml.prompt.referenced);
        Some(ClaudeStep {
            inference: inference?,
            prompt: prompt?,
            output: match output {
                None => None,
                Some(schema) => Some(schema?),
            },
            batch: yaml.batch,
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
                let message = format!("`with` does not compile: {error}");
                self.report.at(place, message, None);
                return None;
            }
        };
        self.check_paths(place, None, &shape.paths());
        let tool = tool?;
        if let Err(fault) = tool.input.check_known(with, &shape.holes()) {
            let message = format!("`with` does not fit the input of `{}`: {fault}", tool.name);
            let takes = format!("it takes: {}", tool.input.properties().join(", "));
            self.report.at(place, message, Some(&takes));
        }
        Some(ToolStep {
            tool,
            with: shape,
            on_error: yaml
                .on_error
                .as_ref()
                .map(|given| given.value)
                .unwrap_or_default(),
        })
    }

    fn agent(&mut self, yaml: &AgentYaml) -> Option<AgentStep> {
        let goal = self.prompt(&yaml.goal);
        let tools = self.menu(yaml);
        let parallel = yaml.parallel.as_ref().map_or(1, |given| given.value);
        let needs = tools.iter().map(|tool| need::tokens(tool.input.source()));
        // Every end needs a summary.
        let largest = needs.fold(need::TEXT, u32::max);
        let need = (need::AROUND + largest).saturating_mul(parallel);
        let inference = self.inference(&yaml.into(), need, yaml.goal.referenced);
        let ends: Vec<Name> = yaml
            .ends
            .value
            .iter()
            .map(|end| end.value.clone())
            .collect();
        self.check_ends(yaml, &tools);
        if let Some(batch) = yaml.batch.as_ref().filter(|batch| batch.value) {
            let message = "an agent cannot go by batches: each of its turns could take a day";
            let help = "make what can wait a `claude` step with `batch: true`";
            self.report.at(batch.referenced, message, Some(help));
        }
        self.within("max_loops", yaml.max_loops.as_ref(), STEPS_MAX);
        self.within("parallel", yaml.parallel.as_ref(), PARALLEL_MAX);
        let floor = yaml
            .confidence
            .as_ref()
            .map(|floor| self.floor(floor, &ends));
        Some(AgentStep {
            inference: inference?,
            goal: goal?,
            tools,
            ends,
            max_loops: yaml
                .max_loops
                .as_ref()
                .map_or(MAX_LOOPS, |loops| loops.value),
            parallel,
            floor,
        })
    }

    fn menu(&mut self, yaml: &AgentYaml) -> Vec<Arc<Tool>> {
        let mut tools: Vec<Arc<Tool>> = Vec::new();
        for reference in &yaml.tools.value {
            let Some(tool) = self.tool(reference) else {
                continue;
            };
            if tools.iter().any(|other| other.name == tool.name) {
                let message = format!("`{}` is on the menu twice", tool.name);
                self.report
                    .at(reference.referenced, message, Some("keep one of them"));
            }
            tools.push(tool);
        }
        tools
    }

    fn check_ends(&mut self, yaml: &AgentYaml, tools: &[Arc<Tool>]) {
        if yaml.ends.value.is_empty() {
            let message = "an agent needs at least one end, or it could never stop";
            self.report.at(
                yaml.ends.referenced,
                message,
                Some("add one, such as `ends: [resolve, escalate]`"),
            );
        }
        let mut seen = BTreeSet::new();
        for end in &yaml.ends.value {
            if !seen.insert(&end.value) {
                let message = format!("the end `{}` is here twice", end.value);
                self.report
                    .at(end.referenced, message, Some("keep one of them"));
            }
            if tools.iter().any(|tool| tool.name == end.value) {
                let message = format!(
                    "`{}` is a tool of this agent, so it cannot be an end too",
                    end.value
                );
                self.report
                    .at(end.referenced, message, Some("give the end another name"));
            }
        }
    }

    fn floor(&mut self, yaml: &FloorYaml, ends: &[Name]) -> Floor {
        if !(0.0..=1.0).contains(&yaml.min.value) {
            let message = format!("a confidence is from 0 to 1, not {}", yaml.min.value);
            self.report.at(yaml.min.referenced, message, None);
        }
        if !ends.contains(&yaml.below.value) {
            let message = format!("`{}` is none of the agent's ends", yaml.below.value);
            let known: Vec<_> = ends.iter().map(Name::as_str).collect();
            let help = format!("`below` takes one of: {}", known.join(", "));
            self.report.at(yaml.below.referenced, message, Some(&help));
        }
        Floor {
            min: yaml.min.value,
            below: yaml.below.value.clone(),
        }
    }
}
