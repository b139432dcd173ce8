//! `/workflows`, `/workflows/{name}`: which versions there are, which of them new runs get, what they say and how they differ.

mod deeds;
mod texts;

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    extract::{Path, Query, State},
    response::Response,
    routing::{get, post},
};
use flotilla_common::{
    definition::{Catalogue, Inference, Step, StepKind, Switch, Switched, Workflow},
    ids::Name,
    io::{clock, http::Problem},
};
use jiff::Timestamp;
use serde::Deserialize;

use self::texts::{Compared, File, compared, files};
use super::{
    did,
    door::Door,
    frame::{Frame, Section, page as framed},
    ink,
    words::Sign,
};
use crate::{
    definitions::{self, Version, WorkflowInFull, WorkflowLine, every, in_full},
    routes::App,
};

/// The pages and their forms.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/workflows", get(all))
        .route("/workflows/{name}", get(one))
        .route("/workflows/{name}/activate", post(deeds::activate))
        .route("/workflows/{name}/rollout", post(deeds::rollout))
        .route("/workflows/{name}/rollout/end", post(deeds::end_rollout))
        .route("/workflows/{name}/rollback", post(deeds::rollback))
        .route("/workflows/{name}/deactivate", post(deeds::deactivate))
        .route("/workflows/{name}/steps/{step}/off", post(deeds::step_off))
        .route("/workflows/{name}/steps/{step}/on", post(deeds::step_on))
}

#[derive(Debug, Template)]
#[template(path = "workflows.html")]
struct All {
    frame: Frame,
    rows: Vec<Row>,
    now: Timestamp,
}

/// A workflow in the list.
#[derive(Debug)]
struct Row {
    line: WorkflowLine,
    description: String,
    trigger: Option<Starts>,
}

/// What starts a workflow.
#[derive(Debug)]
struct Starts {
    event: String,
    /// The expression and its zone, where a clock does.
    cron: Option<String>,
    /// When the clock does so next.
    next: Option<Timestamp>,
}

#[derive(Debug, Template)]
#[template(path = "workflow.html")]
struct One {
    frame: Frame,
    full: WorkflowInFull,
    /// The version that new runs get, as this gateway goes by it.
    stable: Option<Arc<Workflow>>,
    trigger: Option<Starts>,
    steps: Vec<StepLine>,
    /// The texts that are shown, and of which version.
    shown: Option<u32>,
    files: Vec<File>,
    compared: Option<Compared>,
    may: bool,
    now: Timestamp,
}

/// A step of the version that new runs get.
#[derive(Debug)]
struct StepLine {
    id: Name,
    /// How deep it is nested, from 0.
    depth: usize,
    what: String,
    off: Option<Switch>,
    can_be_off: bool,
}

#[derive(Debug, Deserialize)]
struct Asked {
    did: Option<String>,
    version: Option<u32>,
    from: Option<u32>,
    to: Option<u32>,
}

/// Every workflow that was ever applied.
async fn all(State(app): State<Arc<App>>, door: Door) -> Result<Response, Problem> {
    let lines = every(&app).await?;
    let known = app.definitions.catalogue();
    let now = clock::now();
    let rows = lines.into_iter().map(|line| {
        let stable = known.stable(&line.workflow);
        Row {
            description: stable.map_or_else(String::new, |one| one.description.clone()),
            trigger: stable.map(|one| starts(one, now)),
            line,
        }
    });
    framed(&All {
        rows: rows.collect(),
        frame: Frame::load(&app, door, Section::Workflows, "Workflows").await,
        now,
    })
}

/// One workflow.
async fn one(
    State(app): State<Arc<App>>,
    door: Door,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let name = definitions::name(&name)?;
    let full = in_full(&app, name.clone()).await?;
    let known = app.definitions.catalogue();
    let stable = known.stable(&name).cloned();
    let active = full.versions.iter().find(|version| version.active);
    let newest = full.versions.iter().map(|version| version.version).max();
    let shown = asked.version.or(active.map(|v| v.version)).or(newest);
    let files = match shown {
        Some(version) => files(&app, &name, version).await?,
        None => Vec::new(),
    };
    let compared = match (asked.from, asked.to) {
        (Some(from), Some(to)) => Some(compared(&app, &name, from, to).await?),
        _ => None,
    };
    let now = clock::now();
    let may = door.may_for_all();
    let frame = Frame::load(&app, door, Section::Workflows, name.to_string()).await;
    framed(&One {
        frame: frame.notice(did::words(asked.did.as_deref())),
        trigger: stable.as_deref().map(|one| starts(one, now)),
        steps: stable
            .as_deref()
            .map_or_else(Vec::new, |one| steps(&known, one)),
        stable,
        full,
        shown,
        files,
        compared,
        may,
        now,
    })
}

impl One {
    /// The version that a link compares this one with: the one that new runs get, or else the one before.
    fn against(&self, version: &Version) -> Option<u32> {
        let numbers = self.full.versions.iter().map(|one| one.version);
        let active = self.full.versions.iter().find(|one| one.active);
        let active = active.map(|one| one.version);
        active
            .filter(|active| *active != version.version)
            .or_else(|| numbers.filter(|n| *n < version.version).max())
    }

    fn is_started(&self) -> bool {
        self.full.versions.iter().any(|version| version.active)
    }

    fn has_candidate(&self) -> bool {
        self.full.versions.iter().any(|version| version.candidate)
    }

    fn limits(&self) -> Option<String> {
        let limits = self.stable.as_ref()?.limits;
        let mut said = vec![format!("{} decisions", limits.steps)];
        said.extend(limits.duration.map(super::words::span));
        said.extend(
            limits
                .usd
                .map(|usd| format!("{} a run", super::words::usd(usd))),
        );
        said.extend(
            limits
                .usd_per_day
                .map(|usd| format!("{} a day", super::words::usd(usd))),
        );
        Some(said.join(", "))
    }
}

fn starts(workflow: &Workflow, now: Timestamp) -> Starts {
    let cron = workflow.on.cron.as_ref();
    Starts {
        event: workflow.on.event.to_string(),
        cron: cron.map(|cron| format!("{} ({})", cron.expression(), cron.timezone())),
        next: cron.and_then(|cron| cron.next_after(now)),
    }
}

/// All steps, each before those within it.
fn steps(known: &Catalogue, workflow: &Workflow) -> Vec<StepLine> {
    let mut lines = Vec::new();
    for list in [&workflow.steps, &workflow.on_failure.steps] {
        for step in list {
            add(&mut lines, known, workflow, step, 0);
        }
    }
    lines
}

fn add(
    lines: &mut Vec<StepLine>,
    known: &Catalogue,
    workflow: &Workflow,
    step: &Step,
    depth: usize,
) {
    let switched = Switched::Step {
        workflow: workflow.pin.name.clone(),
        step: step.id.clone(),
    };
    let switches = known.switches();
    let off = switches.iter().find(|(what, _)| **what == switched);
    lines.push(StepLine {
        id: step.id.clone(),
        depth,
        what: what(&step.kind),
        off: off.map(|(_, switch)| switch.clone()),
        can_be_off: known.can_be_off(&switched).is_ok(),
    });
    for step in step.within() {
        add(lines, known, workflow, step, depth + 1);
    }
}

/// What a step does, in a few words.
fn what(kind: &StepKind) -> String {
    match kind {
        StepKind::Claude(claude) => format!("asks {}", first(&claude.inference)),
        StepKind::Tool(tool) => format!("uses {}@{}", tool.tool.name, tool.tool.version),
        StepKind::Agent(agent) => {
            let tools = agent.tools.iter();
            let tools: Vec<_> = tools.map(|tool| tool.name.to_string()).collect();
            let tools = tools.join(", ");
            format!("{} picks from {tools}", first(&agent.inference))
        }
        StepKind::Switch(cases) => match cases.len() {
            1 => "goes on elsewhere where its condition holds".to_owned(),
            ways => format!("goes on where the first of {ways} conditions holds"),
        },
        StepKind::Parallel(steps) => format!("{} side by side", steps.len()),
        StepKind::Each(_) => "once for each item".to_owned(),
        StepKind::Steps(_) => "one after the other".to_owned(),
        StepKind::Approval(_) => "a person decides".to_owned(),
        StepKind::Sleep(_) => "waits".to_owned(),
        StepKind::Run(run) => format!("runs {}", run.workflow),
        StepKind::End(end) => format!("ends {}", end.outcome),
    }
}

/// The model that is asked first.
fn first(inference: &Inference) -> String {
    let model = inference.models.first();
    model.map_or_else(
        || "Claude".to_owned(),
        |model| model.alias.clone().unwrap_or_else(|| model.id.clone()),
    )
}
