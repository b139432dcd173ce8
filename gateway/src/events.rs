//! `POST /v1/events`: one event, as plain JSON or as a structured CloudEvent.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header::CONTENT_LENGTH},
};
use flotilla_common::{
    event::{Defaults, Event},
    io::http::Problem,
};
use jiff::Timestamp;

use crate::{
    body::{self, CLOUD_EVENT, JSON},
    problem::{bad_request, of_event},
    publish::{self, Taken, publish},
    routes::App,
};

/// `source` of an event that names none.
const SOURCE: &str = "http";
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Takes in an event: 202 once it is on disk.
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Taken>), Problem> {
    let taken = take(&app, &headers, body).await;
    publish::count("http", &taken);
    taken.map(|taken| (StatusCode::ACCEPTED, Json(taken)))
}

async fn take(app: &App, headers: &HeaderMap, body: Body) -> Result<Taken, Problem> {
    let media_type = body::media_type(headers, &[JSON, CLOUD_EVENT])?;
    let key = idempotency_key(headers)?;
    let bytes_max = app.large.bytes_max;
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let _turn = app.large.turn(length).await?;
    let bytes = body::read(body, bytes_max).await?;
    let fresh = fresh_id();
    let event = if media_type == CLOUD_EVENT {
        Event::structured(&bytes, bytes_max)
    } else {
        let defaults = Defaults {
            id: key.unwrap_or_else(|| fresh.clone()),
            source: SOURCE.to_owned(),
            kind: None,
        };
        Event::plain(&bytes, bytes_max, defaults)
    };
    let event = event.map_err(|error| of_event(&error))?;
    publish::check_depth(&event).map_err(bad_request)?;
    let unprocessable = |detail: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    let verdict = app
        .current
        .judge(&event)
        .await
        .map_err(|unknown| unprocessable(unknown.to_string()))?;
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
    let now = Timestamp::now().as_microsecond();
    format!("{now:014x}{:016x}", fastrand::u64(..))
}
