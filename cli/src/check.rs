//! `check`: the definitions of a folder, without a fleet.

use std::{path::PathBuf, process::ExitCode};

use anyhow::bail;
use flotilla_common::{
    definition::{Catalogue, InletKey, Problem, Trigger, Workflow},
    io::definitions::{self, DefinitionsError},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{output::Output, settings::Settings, style::warn};

/// What to check.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The folder [default: that of --workflows]
    folder: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(settings: Settings, args: Check) -> anyhow::Result<ExitCode> {
    let models = definitions::load_models(settings.models.as_deref())?;
    let folder = args.folder.unwrap_or_else(|| settings.workflows());
    let catalogue = match definitions::load(&folder, &models) {
        Ok(catalogue) => catalogue,
        Err(DefinitionsError::Wrong(problems)) if args.output.json() => {
            let problems = problems.0;
            println!(
                "{}",
                json!({"workflows": [], "warnings": [], "problems": problems})
            );
            return Ok(ExitCode::FAILURE);
        }
        Err(problem) => return Err(problem.into()),
    };
    if catalogue.newest().next().is_none() && catalogue.inlets.texts().next().is_none() {
        bail!(
            "there is no workflow in {}; set FLOTILLA_WORKFLOWS to the folder that holds them",
            folder.display()
        );
    }
    let now = Timestamp::now();
    if args.output.json() {
        println!("{}", as_json(&catalogue, now));
    } else {
        let lines = catalogue.newest().map(|workflow| line(workflow, now));
        lines.for_each(|line| println!("{line}"));
        inlets(&catalogue).for_each(|line| println!("{line}"));
        warnings(catalogue.warnings())
            .iter()
            .for_each(|line| println!("{line}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// What should be changed, each with its place, after an empty line.
pub(crate) fn warnings(warnings: &[Problem]) -> Vec<String> {
    let each = warnings.iter();
    each.map(|warning| format!("\n{}: {warning}", warn("warning")))
        .collect()
}

fn as_json(catalogue: &Catalogue, now: Timestamp) -> Value {
    let workflows = catalogue.newest().map(|workflow| {
        json!({
            "workflow": workflow.pin.name,
            "version": workflow.pin.version,
            "digest": workflow.pin.digest,
            "started": started_by(&workflow.on, now),
            "steps": workflow.steps.len(),
            "tools": tools(workflow),
        })
    });
    json!({
        "workflows": workflows.collect::<Vec<_>>(),
        "inlets": catalogue.inlets.texts().map(|text| &text.key).collect::<Vec<_>>(),
        "warnings": catalogue.warnings(),
        "problems": [],
    })
}

/// The event types, and the hooks: each with how it is known who sends to it, so that an open one is seen.
fn inlets(catalogue: &Catalogue) -> impl Iterator<Item = String> {
    catalogue.inlets.texts().map(|text| {
        let name = match &text.key {
            InletKey::Event { .. } => None,
            InletKey::Hook { hook } => Some(hook.as_str()),
        };
        let hook = name.and_then(|name| catalogue.inlets.hook(name));
        match hook.map(|hook| hook.verify.is_signed()) {
            Some(true) => format!("{}: signed", text.key),
            Some(false) => format!("{}: not signed, so it needs a token", text.key),
            None => text.key.to_string(),
        }
    })
}

fn line(workflow: &Workflow, now: Timestamp) -> String {
    let tools = tools(workflow);
    format!(
        "{} v{}: {}, {} steps, tools: {}",
        workflow.pin.name,
        workflow.pin.version,
        started_by(&workflow.on, now),
        workflow.steps.len(),
        if tools.is_empty() {
            "none".to_owned()
        } else {
            tools.join(", ")
        }
    )
}

fn tools(workflow: &Workflow) -> Vec<String> {
    let tools = workflow.tools().into_iter();
    tools
        .map(|tool| format!("{}@{}", tool.name, tool.version))
        .collect()
}

/// `on alertmanager.alert`, or the clock and when it strikes next, as that clock shows it.
fn started_by(on: &Trigger, now: Timestamp) -> String {
    let Some(cron) = &on.cron else {
        return format!("on {}", on.event);
    };
    let next = match cron.next_after(now) {
        Some(due) => format!("next at {}", cron.local(due)),
        None => "never again".to_owned(),
    };
    format!("at `{}` {}, {next}", cron.expression(), cron.timezone())
}
