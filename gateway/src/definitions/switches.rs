//! `/v1/switches`: tools and steps that are switched off.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{ConnectInfo, Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
};
use flotilla_common::{
    definition::{Catalogue, Switch, Switched},
    io::{
        clock,
        definitions::{ChangeError, Said},
        http::{Peer, Problem},
    },
};
use jiff::Timestamp;
use serde::Serialize;
use tracing::info;

use super::{ask, away, body, name, of_change, path};
use crate::{problem::bad_request, routes::App};

/// All that is switched off.
#[derive(Debug, Serialize)]
pub(crate) struct All {
    switches: Vec<Line>,
}

/// Something that is, or was, switched off.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    #[serde(flatten)]
    what: Switched,
    off: bool,
    /// When that was said.
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Of a tool: what is decided for it waits, instead of being refused.
    hold: bool,
}

impl Line {
    fn off(what: Switched, switch: Switch) -> Self {
        Self {
            what,
            off: true,
            at: switch.off_since,
            by: switch.by,
            reason: switch.reason,
            hold: switch.hold,
        }
    }

    fn on(what: Switched, Said { by, reason }: Said) -> Self {
        Self {
            what,
            off: false,
            at: clock::now(),
            by,
            reason,
            hold: false,
        }
    }
}

type One = Result<Path<String>, PathRejection>;
type Two = Result<Path<(String, String)>, PathRejection>;

/// What is switched off.
pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Json<All>, Problem> {
    let off = ask(app.definitions.definitions.switched_off(), away).await?;
    let lines = off
        .into_iter()
        .map(|(what, switch)| Line::off(what, switch));
    Ok(Json(All {
        switches: lines.collect(),
    }))
}

/// Switches a tool off, all versions or one.
pub(crate) async fn tool_off(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    one: One,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<Line>, Problem> {
    let what = tool(one)?;
    let (mut fields, said) = body(&headers, content).await?;
    let hold = fields.flag("hold")?;
    fields.end(r#"{"hold"?, "by"?, "reason"?}"#)?;
    off(&app, what, said, hold, peer).await.map(Json)
}

/// Switches a step off, in every version of its workflow.
pub(crate) async fn step_off(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    two: Two,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<Line>, Problem> {
    let what = step(two)?;
    let (fields, said) = body(&headers, content).await?;
    fields.end(r#"{"by"?, "reason"?}; only tools can be held"#)?;
    off(&app, what, said, false, peer).await.map(Json)
}

/// Switches a tool on again.
pub(crate) async fn tool_on(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    one: One,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<Line>, Problem> {
    on_by(&app, tool(one)?, &headers, content, peer).await
}

/// Switches a step on again.
pub(crate) async fn step_on(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    two: Two,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<Line>, Problem> {
    on_by(&app, step(two)?, &headers, content, peer).await
}

/// Switches something off.
pub(crate) async fn off(
    app: &App,
    what: Switched,
    Said { by, reason }: Said,
    hold: bool,
    peer: Peer,
) -> Result<Line, Problem> {
    let desk = &app.definitions;
    let known = desk.live.current();
    let refused = |problem| refusal(problem, is_known(&known, &what));
    info!(%what, hold, from = %peer.0, by, reason, "is to be switched off");
    let switch = Switch::off(clock::now(), by, reason, hold);
    let change = desk.definitions.switch_off(&known, &what, &switch);
    ask(change, refused).await?;
    desk.settle(|seen| seen.switches().iter().any(|(off, _)| *off == what))
        .await;
    Ok(Line::off(what, switch))
}

async fn on_by(
    app: &App,
    what: Switched,
    headers: &HeaderMap,
    content: Body,
    peer: Peer,
) -> Result<Json<Line>, Problem> {
    let (fields, said) = body(headers, content).await?;
    fields.end(r#"{"by"?, "reason"?}"#)?;
    on(app, what, said, peer).await.map(Json)
}

/// Switches something on again.
pub(crate) async fn on(app: &App, what: Switched, said: Said, peer: Peer) -> Result<Line, Problem> {
    let desk = &app.definitions;
    let Said { by, reason } = &said;
    info!(%what, from = %peer.0, by, reason, "is to be switched on");
    let refused = |problem| refusal(problem, false);
    ask(desk.definitions.switch_on(&what), refused).await?;
    desk.settle(|seen| seen.switches().iter().all(|(off, _)| *off != what))
        .await;
    Ok(Line::on(what, said))
}

/// What is not there to be switched is not found; what is there and cannot be is refused.
fn refusal(problem: ChangeError, is_there: bool) -> Problem {
    let is_missing = !is_there && matches!(problem, ChangeError::Switch(_));
    let told = of_change(problem);
    if is_missing {
        return Problem::new(StatusCode::NOT_FOUND, told.detail);
    }
    told
}

fn is_known(known: &Catalogue, what: &Switched) -> bool {
    match what {
        Switched::Tool { .. } => known.can_be_off(what).is_ok(),
        Switched::Step { workflow, step } => known
            .versions()
            .any(|version| version.pin.name == *workflow && version.step(step).is_some()),
    }
}

fn tool(one: One) -> Result<Switched, Problem> {
    Switched::tool(&path(one)?).map_err(bad_request)
}

fn step(two: Two) -> Result<Switched, Problem> {
    let (workflow, step) = path(two)?;
    Ok(Switched::Step {
        workflow: name(&workflow)?,
        step: name(&step)?,
    })
}
