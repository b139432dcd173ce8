//! `/v1/definitions/{name}/active`, `/rollout`, `/rollback`: which version new runs get. Runs that have begun keep theirs.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{ConnectInfo, Path, State, rejection::PathRejection},
    http::HeaderMap,
};
use flotilla_common::{
    definition::Percent,
    ids::Name,
    io::{
        definitions::Said,
        http::{Peer, Problem},
    },
};
use serde::Serialize;
use tracing::info;

use super::{Standing, ask, body, name, of_change, path, version};
use crate::{fields::wrong, routes::App};

const SAID: &str = r#"{"by"?, "reason"?}"#;

/// What new runs get, after a change.
#[derive(Debug, Serialize)]
pub(crate) struct Changed {
    workflow: Name,
    #[serde(flatten)]
    standing: Standing,
}

/// What somebody wants new runs to get.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Wish {
    /// All of them this version.
    Activate(u32),
    /// A part of them this version.
    Part(u32, Percent),
    /// None of them another version than most get; where it is given, only if that is this one.
    EndRollout(Option<u32>),
    /// What they got before.
    Rollback,
    /// Nothing: none are started.
    Deactivate,
}

impl Wish {
    /// A part from nothing to all of them, in percent.
    pub(crate) fn part(version: u32, percent: Option<f64>) -> Result<Self, Problem> {
        match percent {
            Some(0.0) => Ok(Self::EndRollout(Some(version))),
            Some(100.0) => Ok(Self::Activate(version)),
            Some(percent) => match Percent::try_from(percent) {
                Ok(percent) => Ok(Self::Part(version, percent)),
                Err(_) => Err(wrong("percent", PERCENT)),
            },
            None => Err(wrong("percent", PERCENT)),
        }
    }

    /// What is done, for the log.
    fn verb(self) -> &'static str {
        match self {
            Self::Activate(_) => "activated",
            Self::Part(..) => "rolled out",
            Self::EndRollout(_) => "rollout ended",
            Self::Rollback => "rolled back",
            Self::Deactivate => "deactivated",
        }
    }
}

type Named = Result<Path<String>, PathRejection>;

/// All new runs get a version.
pub(crate) async fn activate(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    named: Named,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<Changed>, Problem> {
    let name = name(&path(named)?)?;
    let (mut fields, said) = body(&headers, content).await?;
    let version = version(&mut fields)?;
    fields.end(r#"{"version", "by"?, "reason"?}"#)?;
    changed(&app, name, Wish::Activate(version), &said, peer).await
}

/// No new runs are started.
pub(crate) async fn deactivate(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    named: Named,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<Changed>, Problem> {
    let name = name(&path(named)?)?;
    let (fields, said) = body(&headers, content).await?;
    fields.end(SAID)?;
    changed(&app, name, Wish::Deactivate, &said, peer).await
}

/// A part of the new runs gets a version; none of them, or all.
pub(crate) async fn rollout(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    named: Named,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<Changed>, Problem> {
    let name = name(&path(named)?)?;
    let (mut fields, said) = body(&headers, content).await?;
    let version = version(&mut fields)?;
    let percent = fields.value("percent")?;
    let percent = percent.as_ref().and_then(serde_json::Value::as_f64);
    let wish = Wish::part(version, percent)?;
    fields.end(r#"{"version", "percent", "by"?, "reason"?}"#)?;
    changed(&app, name, wish, &said, peer).await
}

/// No part of the new runs gets another version any more.
pub(crate) async fn end_rollout(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    named: Named,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<Changed>, Problem> {
    let name = name(&path(named)?)?;
    let (fields, said) = body(&headers, content).await?;
    fields.end(SAID)?;
    changed(&app, name, Wish::EndRollout(None), &said, peer).await
}

/// Back to what new runs got before.
pub(crate) async fn rollback(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    named: Named,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<Changed>, Problem> {
    let name = name(&path(named)?)?;
    let (fields, said) = body(&headers, content).await?;
    fields.end(SAID)?;
    changed(&app, name, Wish::Rollback, &said, peer).await
}

async fn changed(
    app: &App,
    workflow: Name,
    wish: Wish,
    said: &Said,
    peer: Peer,
) -> Result<Json<Changed>, Problem> {
    let standing = set(app, &workflow, wish, said, peer).await?;
    Ok(Json(Changed { workflow, standing }))
}

/// Changes what new runs get, and waits a moment until this gateway goes by it.
pub(crate) async fn set(
    app: &App,
    name: &Name,
    wish: Wish,
    said: &Said,
    peer: Peer,
) -> Result<Standing, Problem> {
    let definitions = &app.definitions.definitions;
    let change = async {
        match wish {
            Wish::Activate(version) => definitions.activate(name, version, said).await,
            Wish::Part(version, percent) => definitions.rollout(name, version, percent, said).await,
            Wish::EndRollout(version) => definitions.end_rollout(name, version, said).await,
            Wish::Rollback => definitions.rollback(name, said).await,
            Wish::Deactivate => definitions.deactivate(name, said).await,
        }
    };
    let active = ask(Box::pin(change), of_change).await?;
    let Said { by, reason } = said;
    let what = wish.verb();
    info!(workflow = %name, what, from = %peer.0, by, reason, "somebody changed which version new runs get");
    app.definitions.settle_active(name, &active).await;
    Ok(Standing::from(&active))
}

const PERCENT: &str = "must be a number from 0 (the rollout ends) to 100 (all new runs get the version), with at most two decimals";

#[cfg(test)]
mod tests {
    use axum::http::header::CONTENT_TYPE;

    use super::*;
    use crate::body::JSON;

    async fn read(text: &str) -> Result<Wish, Problem> {
        let headers = [(CONTENT_TYPE, JSON.parse().unwrap())];
        let content = Body::from(text.to_owned());
        let (mut fields, _) = body(&headers.into_iter().collect(), content).await?;
        let version = version(&mut fields)?;
        let percent = fields.value("percent")?;
        Wish::part(
            version,
            percent.as_ref().and_then(serde_json::Value::as_f64),
        )
    }

    #[tokio::test]
    async fn a_part_is_from_none_to_all_with_two_decimals() {
        for (percent, part) in [
            ("0", Wish::EndRollout(Some(2))),
            ("-0.0", Wish::EndRollout(Some(2))),
            ("12.25", Wish::Part(2, "12.25".parse().unwrap())),
            ("100", Wish::Activate(2)),
        ] {
            let text = format!(r#"{{"version": 2, "percent": {percent}}}"#);
            assert_eq!(read(&text).await.unwrap(), part, "{percent}");
        }
        for (body, pointer) in [
            (r#"{"percent": 5}"#, "`/version`"),
            (r#"{"version": 0, "percent": 5}"#, "`/version`"),
            (r#"{"version": "2", "percent": 5}"#, "`/version`"),
            (r#"{"version": 5000000000, "percent": 5}"#, "`/version`"),
            (r#"{"version": 2}"#, "`/percent`"),
            (r#"{"version": 2, "percent": "5"}"#, "`/percent`"),
            (r#"{"version": 2, "percent": 100.01}"#, "`/percent`"),
            (r#"{"version": 2, "percent": 0.001}"#, "`/percent`"),
            (r#"{"version": 2, "percent": -1}"#, "`/percent`"),
            (r#"{"version": 2, "percent": 5, "by": ""}"#, "`/by`"),
        ] {
            let problem = read(body).await.unwrap_err();
            assert_eq!(problem.status, 400);
            assert!(problem.detail.starts_with(pointer), "{}", problem.detail);
        }
    }
}
