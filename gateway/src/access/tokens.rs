//! `/v1/tokens`: tokens are made, listed and revoked. A token is shown once, in the answer that makes it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{delete, get},
};
use flotilla_common::{
    access::{
        Caller, Scope,
        token::{Allowance, Secret, Shown, Token},
    },
    ids::Name,
    io::{
        clock,
        http::Problem,
        tokens::{self, ChangeError},
    },
    units::{Rate, Span},
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::{
    fields::{BODY_BYTES_MAX, Fields, NAME_LENGTH_MAX, wrong},
    problem::{bad_request, conflict, unavailable},
    routes::App,
};

/// Longest life of a token that ends, ten years: longer ones may as well have no end.
const LIFE_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);

/// A new token: its secret is nowhere else.
#[derive(Debug, Serialize)]
pub(crate) struct Made {
    token: String,
    #[serde(flatten)]
    shown: Shown,
}

/// All tokens, by name.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    tokens: Vec<Shown>,
}

/// The routes.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/tokens", get(list).post(make))
        .route("/v1/tokens/{id}", delete(revoke))
}

async fn list(State(app): State<Arc<App>>) -> Result<Json<Listed>, Problem> {
    let known = app.access.keys.tokens.list().await;
    let known = known.map_err(|problem| unavailable(problem.to_string()))?;
    let now = clock::now();
    let mut tokens: Vec<_> = known
        .tokens
        .values()
        .map(|token| token.shown(now))
        .collect();
    tokens.sort_by(|one, other| (&one.name, one.created_at).cmp(&(&other.name, other.created_at)));
    Ok(Json(Listed { tokens }))
}

async fn make(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = Fields::read(&headers, body, BODY_BYTES_MAX).await?;
    let secret = tokens::secret().map_err(|problem| unavailable(problem.to_string()))?;
    let token = read(&mut fields, &secret, &caller)?;
    fields.end(r#"{"name", "scopes", "tenant"?, "expires"?, "rate"?}"#)?;
    app.access
        .keys
        .tokens
        .add(&token)
        .await
        .map_err(of_change)?;
    app.access.keys.settled(&token).await;
    let made = Made {
        token: secret.reveal().to_owned(),
        shown: token.shown(clock::now()),
    };
    let never = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::CREATED, never, Json(made)).into_response())
}

fn read(fields: &mut Fields, secret: &Secret, caller: &Caller) -> Result<Token, Problem> {
    let name: Option<Name> = fields.id("name")?;
    let name = name.ok_or_else(|| wrong("name", "is missing"))?;
    let now = clock::now();
    let mut token = Token::new(secret, name, scopes(fields)?, &caller.name, now);
    token.tenant = fields.id("tenant")?;
    let expires = fields.text("expires", NAME_LENGTH_MAX)?;
    token.expires_at = expires.map(|span| end(&span, now)).transpose()?;
    let rate = fields.text("rate", NAME_LENGTH_MAX)?;
    token.rate = rate.map(|rate| allowance(&rate)).transpose()?;
    Ok(token)
}

fn scopes(fields: &mut Fields) -> Result<BTreeSet<Scope>, Problem> {
    let must = || {
        wrong(
            "scopes",
            "must be a list of ingest, read, approve, admin; at least one",
        )
    };
    let Some(Value::Array(words)) = fields.value("scopes")? else {
        return Err(must());
    };
    let scopes = words.iter().map(|word| word.as_str()?.parse().ok());
    let scopes: Option<BTreeSet<Scope>> = scopes.collect();
    scopes.filter(|scopes| !scopes.is_empty()).ok_or_else(must)
}

fn end(span: &str, now: Timestamp) -> Result<Timestamp, Problem> {
    let must = || {
        wrong(
            "expires",
            "must be how long it holds, such as 90d: from 1s to 3660d",
        )
    };
    let span: Span = span.parse().map_err(|_| must())?;
    if span.0.is_zero() || span.0 > LIFE_MAX {
        return Err(must());
    }
    now.checked_add(span.0).map_err(|_| must())
}

fn allowance(rate: &str) -> Result<Allowance, Problem> {
    let rate = rate.parse::<Rate>().ok().and_then(Allowance::of);
    rate.ok_or_else(|| wrong("rate", &format!("must be {}", Allowance::MUST)))
}

async fn revoke(
    State(app): State<Arc<App>>,
    which: Result<Path<String>, PathRejection>,
) -> Result<Json<Shown>, Problem> {
    let Path(which) = which.map_err(|rejection| bad_request(rejection.body_text()))?;
    let revoked = app.access.keys.tokens.revoke(&which, clock::now(), false);
    let token = revoked.await.map_err(of_change)?;
    app.access.keys.settled(&token).await;
    Ok(Json(token.shown(clock::now())))
}

fn of_change(error: ChangeError) -> Problem {
    match &error {
        ChangeError::Unreachable(_) => unavailable(error.to_string()),
        ChangeError::None(_) => Problem::new(StatusCode::NOT_FOUND, error.to_string()),
        ChangeError::Several(_) | ChangeError::Taken(_) | ChangeError::Last(_) => {
            conflict(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_and_an_end_are_told_apart_from_nonsense() {
        assert!(allowance("50/s").is_ok());
        for wrong in ["50", "0/s", "50/m", "-1/s"] {
            assert_eq!(allowance(wrong).unwrap_err().status, 400, "{wrong}");
        }
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(end("1d", now).unwrap().as_second(), 86_400);
        for wrong in ["", "0s", "100000d", "soon"] {
            assert_eq!(end(wrong, now).unwrap_err().status, 400, "{wrong}");
        }
    }
}
