//! The kinds of steps, and those that ask Claude.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    super::{
        need,
        step::{AgentStep, ClaudeStep, Floor, Review, StepKind},
        tool::Tool,
        workflow::STEPS_MAX,
        yaml::{AgentYaml, ClaudeYaml, FloorYaml, KindYaml, ReviewYaml},
    },
    Parser,
    scope::Known,
    ways::At,
};
use crate::ids::Name;

const MAX_LOOPS: u32 = 10;
/// Tools of one turn: each is an entry of one atomic batch, and a result in the next prompt.
const PARALLEL_MAX: u32 = 16;

impl Parser<'_, '_> {
    /// Compiles what a step does, with the steps in it that can be named by it.
    pub(super) fn kind(
        &mut self,
        at: At<'_>,
        kind: KindYaml<'_>,
    ) -> (Option<StepKind>, Vec<Known>) {
        let mut within = Vec::new();
        let compiled = match kind {
            KindYaml::Claude(yaml) => self.claude(yaml).map(StepKind::Claude),
            KindYaml::Tool(reference) => {
                let step = at.step().and_then(|yaml| self.tool_step(reference, yaml));
                step.map(StepKind::Tool)
            }
            KindYaml::Agent(yaml) => self.agent(yaml).map(StepKind::Agent),
            KindYaml::Switch(cases) => self.switch(at, cases).map(StepKind::Switch),
            KindYaml::Parallel(branches) => {
                let steps;
                (steps, within) = self.contained(at, kind, |parser| parser.parallel(branches));
                Some(StepKind::Parallel(steps))
            }
            KindYaml::Each(yaml) => {
                let each = self.contained(at, kind, |parser| parser.each(yaml));
                each.map(StepKind::Each)
            }
            KindYaml::Steps(list) => {
                let steps;
                (steps, within) = self.contained(at, kind, |parser| parser.group(list));
                Some(StepKind::Steps(steps))
            }
            KindYaml::Approval(yaml) => self.approval(yaml).map(StepKind::Approval),
            KindYaml::Sleep(yaml) => self.sleep(yaml).map(StepKind::Sleep),
            KindYaml::Until(yaml) => self.until(yaml).map(StepKind::Sleep),
            KindYaml::Run(yaml) => self.run(yaml).map(StepKind::Run),
            KindYaml::End(yaml) => self.end(yaml).map(StepKind::End),
        };
        (compiled, within)
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
        let max_loops = yaml.max_loops.as_ref();
        let max_loops = max_loops.map_or(MAX_LOOPS, |loops| loops.value);
        let review = yaml
            .review
            .as_ref()
            .map(|review| self.review(review, max_loops));
        Some(AgentStep {
            inference: inference?,
            goal: goal?,
            tools,
            ends,
            max_loops,
            parallel,
            floor,
            review: match review {
                None => None,
                Some(review) => Some(review?),
            },
        })
    }

    fn review(&mut self, yaml: &ReviewYaml, max_loops: u32) -> Option<Review> {
        let every = yaml.every.value;
        self.within("every", Some(&yaml.every), STEPS_MAX);
        if every > max_loops && every <= STEPS_MAX {
            let message = format!(
                "`every: {every}` is never reached: the agent has at most {max_loops} turns"
            );
            let help = "make it smaller, or `max_loops` larger";
            self.report.at(yaml.every.referenced, message, Some(help));
        }
        let prompt = yaml.prompt.as_ref().map(|prompt| self.prompt(prompt));
        let need = need::AROUND + need::TEXT;
        let inference = self.inference(&yaml.into(), need, yaml.every.referenced);
        Some(Review {
            inference: inference?,
            every,
            prompt: match prompt {
                None => None,
                Some(prompt) => Some(prompt?),
            },
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
