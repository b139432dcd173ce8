//! The texts of a version: by its number, or as a run is pinned to them.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
};
use flotilla_common::{definition::Bundle, ids::Name, io::http::Problem};
use serde::Serialize;

use super::{ask, away, name, path};
use crate::{
    history::{self, History},
    problem::{bad_request, conflict},
    routes::App,
};

/// A version with its texts.
#[derive(Debug, Serialize)]
pub(crate) struct Texts {
    pub(crate) workflow: Name,
    pub(crate) version: u32,
    pub(crate) digest: String,
    /// Who applied it first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    pub(crate) files: BTreeMap<String, String>,
}

impl From<Bundle> for Texts {
    fn from(bundle: Bundle) -> Self {
        Self {
            workflow: bundle.workflow,
            version: bundle.version,
            digest: bundle.digest,
            by: bundle.by,
            files: bundle.files,
        }
    }
}

/// The texts of a version.
pub(crate) async fn version(
    State(app): State<Arc<App>>,
    parts: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<Texts>, Problem> {
    let (workflow, version) = path(parts)?;
    let workflow = name(&workflow)?;
    let version: u32 = version.parse().map_err(|_| {
        let version = version.escape_debug();
        bad_request(format!("`{version}` is not the number of a version"))
    })?;
    texts(&app, &workflow, version).await.map(Json)
}

/// The texts of a version; a 404 where it was never applied.
pub(crate) async fn texts(app: &App, workflow: &Name, version: u32) -> Result<Texts, Problem> {
    let found = ask(app.definitions.definitions.get(workflow, version), away).await?;
    let found = found.ok_or_else(|| {
        let detail = format!(
            "workflow `{workflow}` has no version {version}; `GET /v1/definitions/{workflow}` lists those it has"
        );
        Problem::new(StatusCode::NOT_FOUND, detail)
    })?;
    Ok(found.into())
}

/// The texts that a run is pinned to.
pub(crate) async fn of_run(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Texts>, Problem> {
    let id = history::run_id(id)?;
    let History { run, slot, .. } = History::read(&app, &id).await?;
    let pin = run.begun.as_ref().map(|begun| begun.pin.clone());
    drop(slot);
    let pin = pin.ok_or_else(|| conflict("the run has not begun"))?;
    let found = ask(app.definitions.definitions.of(&pin), away).await?;
    let found = found.ok_or_else(|| {
        let detail = format!(
            "the texts of workflow `{}` version {} (digest {:.12}) that the run goes by were never applied to this fleet",
            pin.name, pin.version, pin.digest
        );
        Problem::new(StatusCode::NOT_FOUND, detail)
    })?;
    Ok(Json(found.into()))
}
