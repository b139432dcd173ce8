//! The JSON Schemas for editors: what is right passes, what has another structure does not, and their defaults are the real ones.

use std::{collections::BTreeMap, fs, path::Path};

use flotilla_common::definition::{Catalogue, Schema, StepKind};
use serde_json::Value;

use crate::{
    blocks::{Block, blocks},
    parse, read, root,
};

struct Schemas {
    workflow: Schema,
    tools: Schema,
}

impl Schemas {
    fn read() -> Self {
        let compiled = |file: &str| {
            let source: Value = serde_json::from_str(&read(file)).unwrap();
            let meta = "https://json-schema.org/draft/2020-12/schema";
            assert_eq!(source["$schema"], meta);
            Schema::compile(source).unwrap()
        };
        Self {
            workflow: compiled("docs/workflow.schema.json"),
            tools: compiled("docs/tools.schema.json"),
        }
    }

    /// What is wrong with a file, by the schema of its kind.
    fn check(&self, yaml: &str) -> Result<(), String> {
        let value: Value = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        if value.get("tools").is_some() {
            self.tools.check(&value)
        } else {
            self.workflow.check(&value)
        }
    }
}

fn yaml_below(folder: &Path, found: &mut BTreeMap<String, String>) {
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            yaml_below(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "yaml") {
            let text = fs::read_to_string(&path).unwrap();
            found.insert(path.display().to_string(), text);
        }
    }
}

#[test]
fn every_example_and_every_block_of_the_reference_fits_its_schema() {
    let schemas = Schemas::read();
    let mut files = BTreeMap::new();
    yaml_below(&root().join("workflows"), &mut files);
    files.retain(|_, text| !text.lines().any(|line| line == "policies:"));
    assert!(files.len() > 12, "{:?}", files.keys());
    for (file, text) in &files {
        let kind = if text.lines().any(|line| line == "tools:") {
            "tools"
        } else {
            "workflow"
        };
        let line = format!("# yaml-language-server: $schema=../../docs/{kind}.schema.json\n");
        assert!(text.starts_with(&line), "{file} does not name its schema");
    }
    for block in ["docs/workflows.md", "docs/tools.md", "README.md"]
        .into_iter()
        .flat_map(blocks)
    {
        files.insert(block.place.clone(), block.whole());
    }
    for (file, text) in files {
        schemas
            .check(&text)
            .unwrap_or_else(|fault| panic!("{file}: {fault}"));
    }
}

/// Files whose structure is wrong: what is put in the place of what.
const BROKEN: [(&str, &str); 24] = [
    ("version: 1", "version: one"),
    ("version: 1", "version: 0"),
    ("workflow: ", "workflow: a b "),
    ("steps:", "stesp:"),
    ("on: {event: ", "on: {evnet: "),
    ("on: {event: ", "on: {cron: '0 9 * * *', event: "),
    ("limits: {steps: ", "limits: {steps: -"),
    ("duration: 30m", "duration: 30"),
    ("usd: ", "usd: much "),
    ("- id: ", "- name: "),
    ("claude: {", "claude: [{}], agent: {"),
    ("prompt: ", "promt: "),
    ("tool: ", "tool: [a], with: "),
    ("with: {", "with: [1], then: {"),
    ("on_error: continue", "on_error: ignore"),
    ("width: 4", "width: 400"),
    ("effect: read", "effect: reading"),
    ("command: [", "command: [], http: ["),
    ("subject: flights", "subject: '*.flights"),
    ("bearer: env:", "bearer: "),
    ("ca: file:", "ca: "),
    ("expect: [", "expect: [ok, "),
    ("memory: ", "memory: much "),
    ("pin: sha256:", "pin: sha256:x"),
];

#[test]
fn a_file_of_another_structure_fits_no_schema() {
    let schemas = Schemas::read();
    let all: Vec<Block> = ["docs/workflows.md", "docs/tools.md"]
        .into_iter()
        .flat_map(blocks)
        .collect();
    for (right, wrong) in BROKEN {
        let mut tried = 0;
        for block in all
            .iter()
            .map(Block::whole)
            .filter(|text| text.contains(right))
        {
            let broken = block.replacen(right, wrong, 1);
            assert!(schemas.check(&broken).is_err(), "this fits:\n{broken}");
            tried += 1;
        }
        assert!(tried > 0, "nothing has `{right}`");
    }
    for block in &all {
        let more = format!("{}zz_unknown: 1\n", block.whole());
        assert!(schemas.check(&more).is_err(), "{}", block.place);
    }
}

/// A workflow and tools that say nothing that they need not say.
const BARE: &str = "
workflow: w
version: 1
on: {event: a.b}
model: haiku
steps:
  - {id: ask, agent: {goal: hi, tools: [], ends: [done]}, retry: {times: 1}}
  - {id: all, for_each: {in: event.data, steps: [{id: look, tool: look}]}}
";
const BARE_TOOLS: &str = "
tools: [{tool: look, version: 1, description: d, input: {type: object}, effect: read, command: [ls], retry: {times: 1}}]
";

fn bare() -> Catalogue {
    let files = [("w.yaml", BARE), ("t.yaml", BARE_TOOLS)];
    let files = files.map(|(file, text)| (file.to_owned(), text.to_owned()));
    parse(&files.into()).unwrap()
}

#[test]
fn the_defaults_of_the_schemas_are_those_of_the_parser() {
    let (schemas, catalogue) = (Schemas::read(), bare());
    let default = |place: &str| {
        let workflow = schemas.workflow.source().pointer(place);
        workflow
            .or_else(|| schemas.tools.source().pointer(place))
            .unwrap()["default"]
            .clone()
    };
    let number = |place: &str| u32::try_from(default(place).as_u64().unwrap()).unwrap();
    let seconds = |place: &str| {
        let text = default(place);
        text.as_str()
            .unwrap()
            .parse::<flotilla_common::units::Span>()
            .unwrap()
            .0
    };
    let workflow = catalogue.newest().next().unwrap();
    let of = |id: &str| workflow.step(&id.parse().unwrap()).unwrap();
    assert_eq!(
        workflow.limits.steps,
        number("/$defs/limits/properties/steps")
    );
    assert_eq!(workflow.lessons, number("/properties/lessons"));
    let StepKind::Agent(agent) = &of("ask").kind else {
        panic!("an agent");
    };
    assert_eq!(agent.max_loops, number("/$defs/agent/properties/max_loops"));
    assert_eq!(agent.parallel, number("/$defs/agent/properties/parallel"));
    let pause = of("ask").retry.unwrap().pause;
    assert_eq!(pause, seconds("/$defs/retry/properties/pause"));
    let StepKind::Each(each) = &of("all").kind else {
        panic!("a loop");
    };
    assert_eq!(each.width, number("/$defs/for_each/properties/width"));
    assert_eq!(each.most, number("/$defs/for_each/properties/max"));
    assert_eq!(default("/$defs/for_each/properties/as"), each.item.as_str());
    let tool = catalogue.tools.iter().next().unwrap();
    assert_eq!(tool.timeout, seconds("/$defs/tool/properties/timeout"));
    assert_eq!(
        tool.concurrency,
        number("/$defs/tool/properties/concurrency")
    );
    let breaker = tool.breaker.as_ref().unwrap();
    assert_eq!(
        breaker.consecutive,
        number("/$defs/breaker/properties/failures")
    );
    assert_eq!(
        default("/$defs/breaker/properties/rate"),
        breaker.failure_rate
    );
    assert_eq!(breaker.window, seconds("/$defs/breaker/properties/window"));
    let cool = (breaker.cool_min, breaker.cool_max);
    let told = ["min", "max"].map(|key| seconds(&format!("/$defs/cool/properties/{key}")));
    assert_eq!(cool, (told[0], told[1]));
    let retries = tool.retries.as_ref().unwrap();
    assert_eq!(retries.pause, seconds("/$defs/tool_retry/properties/pause"));
    assert_eq!(
        retries.max_pause,
        seconds("/$defs/tool_retry/properties/max_pause")
    );
    let limit = default("/$defs/tool/properties/output_limit");
    assert_eq!(limit, format!("{}KiB", tool.output_limit / 1024));
}

#[test]
fn a_block_is_checked_by_the_schema_of_its_kind() {
    let all = blocks("docs/workflows.md");
    let workflows = all.iter().filter(|block| block.is_workflow()).count();
    assert!(workflows > 15 && all.len() > workflows);
}
