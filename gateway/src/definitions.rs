//! `/v1/definitions`, `/v1/tools`, `/v1/switches`: definitions come to a running fleet, new runs get another version, and what does harm is
//! switched off. Who does it, and from where, is in the log as well as in the bucket.

mod apply;
mod change;
mod files;
mod list;
mod switches;
mod tools;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Path, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
    routing::{get, post, put},
};
use flotilla_common::{
    claude::Models,
    definition::{Active, Candidate, Catalogue, VersionRef},
    ids::{IdError, Name},
    io::{
        definitions::{ChangeError, Definitions, Live, Said, Unreachable},
        http::Problem,
    },
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tracing::debug;

use crate::{
    fields::{BODY_BYTES_MAX, Fields, wrong},
    problem::{bad_request, conflict, unavailable},
    routes::App,
};

/// Requests at once that hold a folder of definitions, or read all of the bucket: each may take tens of megabytes.
const TURNS: usize = 4;
/// How long a request waits for its turn.
const TURN_PATIENCE: Duration = Duration::from_secs(10);
/// How long a change may take: shorter than a request.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an answer waits until this gateway works by what was changed. Its own watch tells it within milliseconds.
const SETTLED_WITHIN: Duration = Duration::from_secs(2);

/// The definitions, as the API changes them.
#[derive(Debug)]
pub(crate) struct Desk {
    definitions: Definitions,
    live: Live,
    models: Arc<Models>,
    turns: Arc<Semaphore>,
}

impl Desk {
    /// The families of models that share their rate limits.
    pub(crate) fn families(&self) -> Vec<String> {
        let families = self.models.families().into_iter();
        families.map(ToOwned::to_owned).collect()
    }
}

/// Which version new runs get, as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Standing {
    /// The version that they get; `None`: none are started.
    pub(crate) active: Option<VersionRef>,
    /// The version that a part of them gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) candidate: Option<Candidate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    pub(crate) at: Timestamp,
}

impl From<&Active> for Standing {
    fn from(active: &Active) -> Self {
        Self {
            active: (!active.retired).then(|| active.stable.clone()),
            candidate: active.candidate.clone(),
            by: active.by.clone(),
            reason: active.reason.clone(),
            at: active.at,
        }
    }
}

pub(crate) use change::{Wish, set};
pub(crate) use files::texts;
pub(crate) use list::{Line as WorkflowLine, One as WorkflowInFull, Version, every, in_full};
pub(crate) use switches::{off, on};
pub(crate) use tools::{
    Line as ToolLine, Version as ToolVersion, Word, every as every_tool, set_breaker,
};

/// All routes about definitions.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/definitions", get(list::all).post(apply::post))
        .route("/v1/definitions/{name}", get(list::one))
        .route("/v1/definitions/{name}/{version}", get(files::version))
        .route(
            "/v1/definitions/{name}/active",
            put(change::activate).delete(change::deactivate),
        )
        .route(
            "/v1/definitions/{name}/rollout",
            put(change::rollout).delete(change::end_rollout),
        )
        .route("/v1/definitions/{name}/rollback", post(change::rollback))
        .route("/v1/runs/{id}/definition", get(files::of_run))
        .route("/v1/tools", get(tools::all))
        .route("/v1/tools/{name}", get(tools::one))
        .route("/v1/tools/{name}/breaker", put(tools::force))
        .route("/v1/switches", get(switches::list))
        .route(
            "/v1/switches/tool/{tool}",
            put(switches::tool_off).delete(switches::tool_on),
        )
        .route(
            "/v1/switches/step/{workflow}/{step}",
            put(switches::step_off).delete(switches::step_on),
        )
}

impl Desk {
    pub(crate) fn new(definitions: Definitions, live: Live, models: Arc<Models>) -> Self {
        Self {
            definitions,
            live,
            models,
            turns: Arc::new(Semaphore::new(TURNS)),
        }
    }

    /// The definitions that this gateway goes by.
    pub(crate) fn catalogue(&self) -> Arc<Catalogue> {
        self.live.current()
    }

    /// A turn to hold much in memory.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        match timeout(TURN_PATIENCE, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(unavailable(
                "too many requests about definitions at once; try again",
            )),
        }
    }

    /// Waits a moment until this gateway's own view shows a change, so that an event sent to it next goes by that.
    async fn settle(&self, shows: impl Fn(&Catalogue) -> bool) {
        let mut live = self.live.clone();
        let seen = async {
            while !shows(&live.current()) {
                live.changed().await;
            }
        };
        if timeout(SETTLED_WITHIN, seen).await.is_err() {
            debug!("a change of the definitions is not seen here yet");
        }
    }

    /// As [`Desk::settle`], for which version new runs get.
    async fn settle_active(&self, name: &Name, active: &Active) {
        self.settle(|seen| shows(seen, name, active)).await;
    }
}

/// Whether a view knows of this change, or of a later one.
fn shows(catalogue: &Catalogue, name: &Name, active: &Active) -> bool {
    let known = catalogue.active().find(|(known, _)| *known == name);
    known.map_or(active.retired, |(_, known)| {
        !active.retired && known.at >= active.at
    })
}

/// Asks the bucket, within a bound.
async fn ask<T, E>(
    question: impl Future<Output = Result<T, E>>,
    told: impl FnOnce(E) -> Problem,
) -> Result<T, Problem> {
    match timeout(CHANGE_TIMEOUT, question).await {
        Ok(answer) => answer.map_err(told),
        Err(_) => Err(unavailable(
            "NATS does not answer in time. What was asked for may still happen: look, and try again",
        )),
    }
}

/// The body of a change: its fields, of which who makes it and why are taken.
async fn body(headers: &HeaderMap, body: Body) -> Result<(Fields, Said), Problem> {
    let mut fields = Fields::read(headers, body, BODY_BYTES_MAX).await?;
    let said = said(&mut fields)?;
    Ok((fields, said))
}

fn said(fields: &mut Fields) -> Result<Said, Problem> {
    Ok(Said {
        by: fields.by()?,
        reason: fields.reason()?,
    })
}

/// The number of a version, which must be there.
fn version(fields: &mut Fields) -> Result<u32, Problem> {
    let given = fields.value("version")?;
    let given = given.ok_or_else(|| wrong("version", "is missing"))?;
    let version = given.as_u64().and_then(|version| version.try_into().ok());
    version
        .filter(|version| *version > 0)
        .ok_or_else(|| wrong("version", "must be the number of a version, such as 2"))
}

/// What a path names.
fn path<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    path.map(|Path(parts)| parts)
        .map_err(|rejection| bad_request(rejection.body_text()))
}

/// A name as it must be written.
pub(crate) fn name(text: &str) -> Result<Name, Problem> {
    text.parse()
        .map_err(|problem: IdError| bad_request(problem.to_string()))
}

fn no_workflow(name: &Name) -> Problem {
    let detail = format!(
        "no version of a workflow `{name}` was ever applied; `GET /v1/definitions` lists those that were"
    );
    Problem::new(StatusCode::NOT_FOUND, detail)
}

fn away(problem: Unreachable) -> Problem {
    unavailable(format!("{problem}; try again"))
}

fn of_change(problem: ChangeError) -> Problem {
    let detail = problem.to_string();
    match problem {
        ChangeError::Unreachable(problem) => away(problem),
        ChangeError::NoVersion { .. } => Problem::new(StatusCode::NOT_FOUND, detail),
        ChangeError::NotActive(_)
        | ChangeError::ActiveAlready { .. }
        | ChangeError::NoRollout(_)
        | ChangeError::NoneBefore(_)
        | ChangeError::Busy(_)
        | ChangeError::Unreadable { .. }
        | ChangeError::Switch(_) => conflict(detail),
    }
}

/// As JSON, for a member of a problem; never fails for what this module shows.
fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
