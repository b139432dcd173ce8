//! `/v1/definitions/{name}/active`, `/rollout`, `/rollback`: which version new runs get. Runs that have begun keep theirs.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{ConnectInfo, Path, State, rejection::PathRejection},
    http::HeaderMap,
};
use flotilla_common::{
    definition::{Active, Percent},
    ids::Name,
    io::{
        definitions::{ChangeError, Said},
        http::{Peer, Problem},
    },
};
use serde::Serialize;
use tracing::info;

use super::{Standing, ask, body, name, of_change, path, version};
use crate::{
    fields::{Fields, wrong},
    routes::App,
};

const SAID: &str = r#"{"by"?, "reason"?}"#;

/// What new runs get, after a change.
#[derive(Debug, Serialize)]
pub(crate) struct Changed {
    workflow: Name,
    #[serde(flatten)]
    standing: Standing,
}

/// How large a part of the new runs a version gets.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    None,
    Some(Percent),
    All,
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
    let change = app.definitions.definitions.activate(&name, version, &said);
    changed(&app, &name, peer, &said, "activated", change).await
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
    let change = app.definitions.definitions.deactivate(&name, &said);
    changed(&app, &name, peer, &said, "deactivated", change).await
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
    let (version, part) = (version(&mut fields)?, part(&mut fields)?);
    fields.end(r#"{"version", "percent", "by"?, "reason"?}"#)?;
    let definitions = &app.definitions.definitions;
    let change = async {
        match part {
            Part::None => definitions.end_rollout(&name, Some(version), &said).await,
            Part::Some(percent) => definitions.rollout(&name, version, percent, &said).await,
            Part::All => definitions.activate(&name, version, &said).await,
        }
    };
    changed(&app, &name, peer, &said, "rolled out", change).await
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
    let change = app.definitions.definitions.end_rollout(&name, None, &said);
    changed(&app, &name, peer, &said, "rollout ended", change).await
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
    let change = app.definitions.definitions.rollback(&name, &said);
    changed(&app, &name, peer, &said, "rolled back", change).await
}

async fn changed(
    app: &App,
    name: &Name,
    peer: Peer,
    said: &Said,
    what: &str,
    change: impl Future<Output = Result<Active, ChangeError>>,
) -> Result<Json<Changed>, Problem> {
    let active = ask(Box::pin(change), of_change).await?;
    let Said { by, reason } = said;
    info!(workflow = %name, what, from = %peer.0, by, reason, "somebody changed which version new runs get");
    app.definitions.settle_active(name, &active).await;
    Ok(Json(Changed {
        workflow: name.clone(),
        standing: Standing::from(&active),
    }))
}

fn part(fields: &mut Fields) -> Result<Part, Problem> {
    let given = fields.value("percent")?;
    let percent = given.as_ref().and_then(serde_json::Value::as_f64);
    match percent {
        Some(0.0) => Ok(Part::None),
        Some(100.0) => Ok(Part::All),
        Some(percent) => match Percent::try_from(percent) {
            Ok(percent) => Ok(Part::Some(percent)),
            Err(_) => Err(wrong("percent", PERCENT)),
        },
        None => Err(wrong("percent", PERCENT)),
    }
}

const PERCENT: &str = "must be a number from 0 (the rollout ends) to 100 (all new runs get the version), with at most two decimals";

#[cfg(test)]
mod tests {
    use axum::http::header::CONTENT_TYPE;

    use super::*;
    use crate::body::JSON;

    async fn read(text: &str) -> Result<(u32, Part), Problem> {
        let headers = [(CONTENT_TYPE, JSON.parse().unwrap())];
        let content = Body::from(text.to_owned());
        let (mut fields, _) = body(&headers.into_iter().collect(), content).await?;
        Ok((version(&mut fields)?, part(&mut fields)?))
    }

    #[tokio::test]
    async fn a_part_is_from_none_to_all_with_two_decimals() {
        for (percent, part) in [
            ("0", Part::None),
            ("-0.0", Part::None),
            ("12.25", Part::Some("12.25".parse().unwrap())),
            ("100", Part::All),
        ] {
            let text = format!(r#"{{"version": 2, "percent": {percent}}}"#);
            assert_eq!(read(&text).await.unwrap(), (2, part), "{percent}");
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
