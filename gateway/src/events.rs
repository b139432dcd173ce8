//! `POST /v1/events`: events as plain JSON, and as CloudEvents: structured, binary (attributes in headers), or many in a batch.

mod batch;

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use flotilla_common::{
    access::Caller,
    event::{ATTRIBUTE_PREFIX, Defaults, Event, is_structured},
    io::{clock, http::Problem},
};
use serde::Deserialize;
use tokio::time::Instant;

use crate::{
    access::tenants,
    body::{self, CLOUD_EVENT, CLOUD_EVENTS, JSON},
    ended::{self, Wait},
    large::Read,
    problem::{bad_request, of_event, of_not_taken, unprocessable},
    publish::{self, Taken, publish},
    query,
    routes::App,
};

/// `source` of an event that names none.
const SOURCE: &str = "http";
const IDEMPOTENCY_KEY: &str = "idempotency-key";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fields {
    wait: Option<String>,
}

/// Takes in an event, or a batch of them: 202 once it is on disk. With `wait`, 200 once the runs that it starts have ended.
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    fields: Result<Query<Fields>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let began = Instant::now();
    let wait = Wait::read(query::fields(fields)?.wait.as_deref())?;
    if is_batch(&headers) {
        let taken = Box::pin(batch::take(&app, &caller, body)).await?;
        return Ok((StatusCode::ACCEPTED, taken).into_response());
    }
    let taken = take(&app, &caller, &headers, body).await;
    publish::count(SOURCE, &taken);
    Ok(ended::answer(&app, &caller, taken?, wait, began).await)
}

fn is_batch(headers: &HeaderMap) -> bool {
    body::media_type(headers, &[CLOUD_EVENTS]).is_ok()
}

pub(crate) async fn take(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
) -> Result<Taken, Problem> {
    app.backlog.check()?;
    let form = Form::of(headers)?;
    let key = idempotency_key(headers)?;
    let bytes_max = app.large.bytes_max;
    let Read { bytes, turn: _turn } = app.large.read(body, bytes_max).await?;
    let fresh = fresh_id();
    let event = match form {
        Form::Structured => Event::structured(&bytes, bytes_max),
        Form::Binary => {
            let attributes = headers.iter();
            let attributes = attributes.map(|(name, value)| (name.as_str(), value.as_bytes()));
            let attributes = attributes.filter(|(name, _)| name.starts_with(ATTRIBUTE_PREFIX));
            Event::binary(attributes, content_type(headers), &bytes, bytes_max)
        }
        Form::Plain => {
            let defaults = Defaults {
                id: key.unwrap_or_else(|| fresh.clone()),
                source: SOURCE.to_owned(),
                kind: None,
            };
            Event::plain(&bytes, bytes_max, defaults)
        }
    };
    let event = tenants::sent_by(caller, event.map_err(|error| of_event(&error))?)?;
    publish::check_depth(&event).map_err(bad_request)?;
    let verdict = app.current.judge(&event).await;
    let verdict = verdict.map_err(|why| of_not_taken(&why))?;
    if !verdict.faults.is_empty() {
        return Err(unprocessable(verdict.faults.join("; ")));
    }
    publish(app, &event, &verdict).await.map_err(|mut problem| {
        if event.id == fresh {
            // Nobody knows whether the first one arrived.
            let again = format!(
                ". Send it again with the header `Idempotency-Key: {fresh}`, so that it counts once"
            );
            problem.detail += &again;
        }
        problem
    })
}

/// How an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Structured,
    Binary,
}

impl Form {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let is_attribute = |name: &str| name.starts_with(ATTRIBUTE_PREFIX);
        let has_attributes = headers.keys().any(|name| is_attribute(name.as_str()));
        let says_structured = content_type(headers).is_some_and(is_structured);
        if has_attributes && !says_structured {
            return Ok(Self::Binary);
        }
        let media_type = body::media_type(headers, &[JSON, CLOUD_EVENT, CLOUD_EVENTS])?;
        Ok(if media_type == CLOUD_EVENT {
            Self::Structured
        } else {
            Self::Plain
        })
    }
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    match key.to_str() {
        Ok(key) if !key.is_empty() => Ok(Some(key.to_owned())),
        _ => Err(bad_request("`Idempotency-Key` must be a text in ASCII")),
    }
}

/// An id that no other event has: the time in it makes up for the 64 bits of the generator's state.
fn fresh_id() -> String {
    let now = clock::now().as_microsecond();
    format!("{now:014x}{:016x}", fastrand::u64(..))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn the_headers_say_how_an_event_is_written() {
        let form = |headers: &[(&'static str, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            });
            Form::of(&headers.collect()).map_err(|problem| problem.status)
        };
        assert_eq!(
            form(&[("content-type", "application/json")]),
            Ok(Form::Plain)
        );
        let structured = (
            "content-type",
            "application/cloudevents+json; charset=utf-8",
        );
        assert_eq!(form(&[structured]), Ok(Form::Structured));
        assert_eq!(form(&[structured, ("ce-id", "1")]), Ok(Form::Structured));
        let text = ("content-type", "text/plain");
        assert_eq!(form(&[text, ("ce-id", "1")]), Ok(Form::Binary));
        assert_eq!(form(&[("ce-id", "1")]), Ok(Form::Binary));
        assert_eq!(form(&[text]), Err(415));
        let avro = ("content-type", "application/cloudevents+avro");
        assert_eq!(form(&[avro, ("ce-id", "1")]), Err(415));
    }
}
