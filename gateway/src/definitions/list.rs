//! `GET /v1/definitions`, `GET /v1/definitions/{name}`: what the fleet has, and which of it new runs get.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
};
use flotilla_common::{
    definition::{Active, Catalogue, Switched},
    ids::Name,
    io::{
        definitions::{ChangeError, Kept, Listed},
        http::Problem,
    },
};
use jiff::Timestamp;
use serde::Serialize;

use super::{Standing, ask, away, name, no_workflow, of_change, path};
use crate::routes::App;

/// All workflows.
#[derive(Debug, Serialize)]
pub(crate) struct All {
    definitions: Vec<Line>,
}

/// A workflow.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) workflow: Name,
    /// `None`: it was never said which version new runs get, or by another flotilla.
    #[serde(flatten)]
    pub(crate) standing: Option<Standing>,
    /// The numbers of all versions.
    pub(crate) versions: BTreeSet<u32>,
    pub(crate) switched_off: Vec<Off>,
    pub(crate) deprecated: Vec<Deprecated>,
}

/// A step that is switched off.
#[derive(Debug, Serialize)]
pub(crate) struct Off {
    pub(crate) step: Name,
    pub(crate) off_since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// A deprecated tool that a version uses which new runs get.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Deprecated {
    pub(crate) tool: Name,
    pub(crate) version: u32,
    /// What to use.
    pub(crate) instead: String,
}

/// A workflow in full.
#[derive(Debug, Serialize)]
pub(crate) struct One {
    pub(crate) workflow: Name,
    #[serde(flatten)]
    pub(crate) standing: Option<Standing>,
    pub(crate) versions: Vec<Version>,
    /// What new runs got, newest first.
    pub(crate) history: Vec<Standing>,
}

/// A version of a workflow.
#[derive(Debug, Serialize)]
pub(crate) struct Version {
    pub(crate) version: u32,
    pub(crate) digest: String,
    /// When it was applied.
    pub(crate) at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    /// Whether it is the version that new runs get.
    pub(crate) active: bool,
    /// Whether a part of them gets it.
    pub(crate) candidate: bool,
}

/// Every workflow that was ever applied.
pub(crate) async fn all(State(app): State<Arc<App>>) -> Result<Json<All>, Problem> {
    let definitions = every(&app).await?;
    Ok(Json(All { definitions }))
}

/// A line for each workflow that was ever applied.
pub(crate) async fn every(app: &App) -> Result<Vec<Line>, Problem> {
    let desk = &app.definitions;
    let _turn = desk.turn().await?;
    let listed = ask(Box::pin(desk.definitions.list()), away).await?;
    let known = desk.live.current();
    let lines = listed.into_iter();
    let lines = lines.map(|(name, listed)| line(&known, name, &listed));
    Ok(lines.collect())
}

/// One workflow: its versions, and what was active when.
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    named: Result<Path<String>, PathRejection>,
) -> Result<Json<One>, Problem> {
    let workflow = name(&path(named)?)?;
    in_full(&app, workflow).await.map(Json)
}

/// One workflow in full; a 404 where no version of it was ever applied.
pub(crate) async fn in_full(app: &App, workflow: Name) -> Result<One, Problem> {
    let definitions = &app.definitions.definitions;
    let question = async {
        let kept = definitions.versions(&workflow).await?;
        let history = definitions.history(&workflow).await?;
        Ok::<_, ChangeError>((kept, history))
    };
    let (kept, history) = ask(Box::pin(question), of_change).await?;
    if kept.is_empty() {
        return Err(no_workflow(&workflow));
    }
    let now = history.first();
    Ok(One {
        standing: now.map(Standing::from),
        versions: kept.into_iter().map(|kept| version(kept, now)).collect(),
        history: history.iter().map(Standing::from).collect(),
        workflow,
    })
}

fn version(kept: Kept, now: Option<&Active>) -> Version {
    let now = now.filter(|now| !now.retired);
    let candidate = now.and_then(|now| now.candidate.as_ref());
    Version {
        active: now.is_some_and(|now| now.stable == kept.version),
        candidate: candidate.is_some_and(|candidate| candidate.version == kept.version),
        version: kept.version.version,
        digest: kept.version.digest,
        at: kept.at,
        by: kept.by,
    }
}

fn line(known: &Catalogue, workflow: Name, listed: &Listed) -> Line {
    let versions = listed.versions.iter();
    Line {
        standing: listed.active.as_ref().map(Standing::from),
        versions: versions.map(|(version, _)| version.version).collect(),
        switched_off: switched_off(known, &workflow),
        deprecated: deprecated(known, &workflow),
        workflow,
    }
}

fn switched_off(known: &Catalogue, name: &Name) -> Vec<Off> {
    let switches = known.switches().iter();
    let of_steps = switches.filter_map(|(what, switch)| match what {
        Switched::Step { workflow, step } if workflow == name => Some(Off {
            step: step.clone(),
            off_since: switch.off_since,
            by: switch.by.clone(),
            reason: switch.reason.clone(),
        }),
        Switched::Step { .. } | Switched::Tool { .. } => None,
    });
    of_steps.collect()
}

fn deprecated(known: &Catalogue, name: &Name) -> Vec<Deprecated> {
    let versions = known.stable(name).into_iter().chain(known.candidate(name));
    let tools = versions.flat_map(|workflow| workflow.tools());
    let deprecated: BTreeSet<Deprecated> = tools
        .filter_map(|tool| {
            // What is said of a tool later than a workflow was applied is not in that workflow.
            let tool = known.tools.get(&tool.name, tool.version)?;
            Some(Deprecated {
                tool: tool.name.clone(),
                version: tool.version,
                instead: tool.deprecated.clone()?,
            })
        })
        .collect();
    deprecated.into_iter().collect()
}
