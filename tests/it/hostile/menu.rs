//! What each step of a definition may decide, and nothing else.

use flotilla_common::{
    definition::{Step, StepKind, Target, Tool, Workflow},
    ids::{Aside, StepKey},
};
use flotilla_tests::Entry;
use serde_json::Value;

/// What people and time decide about any step, and what a definition says of all kinds: that it waits, begins, begins anew, has failed,
/// that nobody wants its answer any more.
const OF_ANY: [&str; 6] = ["park", "begin", "again", "fail", "end", "abandon"];

/// That the definition allows this decision, with exactly these parameters.
pub(crate) fn assert_allowed(workflow: &Workflow, entry: &Entry) {
    let key: StepKey = entry.text("/step").parse().unwrap();
    let right = match (workflow.step(&key.step), key.aside) {
        (Some(step), Some(aside)) => beside(workflow, step, aside, entry),
        (Some(step), None) => decides(step, entry),
        (None, _) => key.step.as_str() == "end" && ["end", "undo"].contains(&kind(entry)),
    };
    assert!(right, "no step allows this: {entry:?}");
}

fn kind(entry: &Entry) -> &str {
    entry.text("/decision/kind")
}

/// Whether an action (at `place` in the entry) is this tool's.
fn is_use_of(tool: &Tool, entry: &Entry, place: &str) -> bool {
    let at = |field: &str| entry.at(&format!("{place}/{field}"));
    at("tool") == tool.name.as_str()
        && *at("version") == tool.version
        && tool.input.check(at("with")).is_ok()
}

/// Whether it is one of these tools that is used, or that a person is asked for.
fn uses(tools: &[&Tool], entry: &Entry) -> bool {
    tools.iter().any(|tool| match kind(entry) {
        "act" => tool.name.as_str() == entry.name && is_use_of(tool, entry, "/decision"),
        "approve" => is_use_of(tool, entry, "/decision/action"),
        _ => false,
    })
}

fn beside(workflow: &Workflow, step: &Step, aside: Aside, entry: &Entry) -> bool {
    let (mut told, mut undoes) = (workflow.approvals.notify.as_ref(), None);
    if let StepKind::Approval(approval) = &step.kind {
        told = approval.terms.notify.as_ref();
    } else if let StepKind::Tool(tool) = &step.kind {
        undoes = tool.compensate.as_ref().or(tool.tool.compensate.as_ref());
    }
    match aside {
        Aside::Notify => told.is_some_and(|told| uses(&[&told.tool], entry)),
        Aside::Undo => undoes.is_some_and(|undo| uses(&[&undo.tool], entry)),
        // No example has one.
        Aside::Review => false,
    }
}

fn decides(step: &Step, entry: &Entry) -> bool {
    let right = match &step.kind {
        StepKind::Tool(tool) => uses(&[&tool.tool], entry),
        StepKind::Agent(agent) => {
            let tools: Vec<&Tool> = agent.tools.iter().map(AsRef::as_ref).collect();
            let mut ends = agent.ends.iter();
            uses(&tools, entry)
                || kind(entry) == "finish"
                    && ends.any(|end| end.as_str() == entry.text("/decision/end"))
        }
        StepKind::Claude(claude) => {
            let output = entry.at("/decision/output");
            let schema = claude.output.as_ref();
            kind(entry) == "answer"
                && schema.map_or(output.is_string(), |schema| schema.check(output).is_ok())
        }
        StepKind::Switch(cases) => {
            let mut ways = cases.iter().map(|case| match &case.to {
                Target::Step(id) => id.as_str(),
                Target::End => "",
            });
            let to = entry.text("/decision/to");
            kind(entry) == "branch" && (to.is_empty() || ways.any(|way| way == to))
        }
        StepKind::Each(each) => {
            let items = entry.at("/decision/items").as_u64();
            kind(entry) == "each" && items.is_some_and(|items| items <= u64::from(each.most))
        }
        StepKind::Approval(_) => {
            kind(entry) == "approve" && *entry.at("/decision/action") == Value::Null
        }
        StepKind::Run(run) => {
            kind(entry) == "run" && entry.text("/decision/workflow") == run.workflow.as_str()
        }
        StepKind::Sleep(_) => kind(entry) == "sleep",
        StepKind::Parallel(_) | StepKind::Steps(_) | StepKind::End(_) => false,
    };
    right || OF_ANY.contains(&kind(entry))
}
