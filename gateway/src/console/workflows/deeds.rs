//! What the forms of `/workflows` do: which version new runs get, and steps off and on.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, Path, State},
    response::Response,
};
use flotilla_common::{
    definition::Switched,
    ids::Name,
    io::http::{Peer, Problem},
};

use crate::{
    console::{
        did::{Did, said},
        form::Form,
    },
    definitions::{self, Wish, off, on, set},
    problem::bad_request,
    routes::App,
};

/// All new runs get a version.
pub(super) async fn activate(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    form: Form,
) -> Result<Response, Problem> {
    let wish = Wish::Activate(version(&form)?);
    done(&app, &name, wish, &form, peer, Did::Activated).await
}

/// A part of the new runs gets a version.
pub(super) async fn rollout(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    form: Form,
) -> Result<Response, Problem> {
    let percent = form.must("percent")?.trim().trim_end_matches('%').trim();
    let wish = Wish::part(version(&form)?, percent.parse().ok())?;
    let did = match wish {
        Wish::Activate(_) => Did::Activated,
        Wish::EndRollout(_) => Did::RolloutEnded,
        Wish::Part(..) | Wish::Rollback | Wish::Deactivate => Did::RolledOut,
    };
    done(&app, &name, wish, &form, peer, did).await
}

/// No new run gets the candidate.
pub(super) async fn end_rollout(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    form: Form,
) -> Result<Response, Problem> {
    let wish = Wish::EndRollout(None);
    done(&app, &name, wish, &form, peer, Did::RolloutEnded).await
}

/// Back to what new runs got before.
pub(super) async fn rollback(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    form: Form,
) -> Result<Response, Problem> {
    done(&app, &name, Wish::Rollback, &form, peer, Did::RolledBack).await
}

/// No new runs are started.
pub(super) async fn deactivate(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    form: Form,
) -> Result<Response, Problem> {
    done(&app, &name, Wish::Deactivate, &form, peer, Did::Deactivated).await
}

/// Switches a step off.
pub(super) async fn step_off(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path((workflow, step)): Path<(String, String)>,
    form: Form,
) -> Result<Response, Problem> {
    form.door.must_for_all()?;
    let (workflow, what) = switched(&workflow, &step)?;
    off(&app, what, said(&form)?, false, peer).await?;
    Ok(Did::SwitchedOff.at(&page(&workflow)))
}

/// Switches a step on again.
pub(super) async fn step_on(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path((workflow, step)): Path<(String, String)>,
    form: Form,
) -> Result<Response, Problem> {
    form.door.must_for_all()?;
    let (workflow, what) = switched(&workflow, &step)?;
    on(&app, what, said(&form)?, peer).await?;
    Ok(Did::SwitchedOn.at(&page(&workflow)))
}

async fn done(
    app: &App,
    name: &str,
    wish: Wish,
    form: &Form,
    peer: Peer,
    did: Did,
) -> Result<Response, Problem> {
    form.door.must_for_all()?;
    let name = definitions::name(name)?;
    set(app, &name, wish, &said(form)?, peer).await?;
    Ok(did.at(&page(&name)))
}

/// Names are made of letters that a path can hold.
fn page(name: &Name) -> String {
    format!("/workflows/{name}")
}

fn switched(workflow: &str, step: &str) -> Result<(Name, Switched), Problem> {
    let (workflow, step) = (definitions::name(workflow)?, definitions::name(step)?);
    let what = Switched::Step {
        workflow: workflow.clone(),
        step,
    };
    Ok((workflow, what))
}

fn version(form: &Form) -> Result<u32, Problem> {
    let version = form.must("version")?.trim().parse().ok();
    version
        .filter(|version| *version > 0)
        .ok_or_else(|| bad_request("`version` must be the number of a version, such as 2"))
}
