//! Many CloudEvents in one request: all of them are right, or none is published.

use axum::{Json, body::Body, http::StatusCode};
use bytes::Bytes;
use flotilla_common::{
    access::Caller,
    event::{Event, EventError},
    io::http::Problem,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde_json::{Value, json};

use super::SOURCE;
use crate::{
    access::tenants,
    large::Read,
    problem::{fault, faults_of_event, faults_of_not_taken, of_event},
    publish::{self, Taken, publish_encoded},
    routes::App,
    triggers::{NotTaken, Verdict, WrongType},
};

/// All of a batch together, in bytes, where a single event may not have more.
const BYTES_MAX: usize = 4 << 20;
/// Events of one batch.
const EVENTS_MAX: usize = 1_000;
/// Events on their way to NATS at once.
const PUBLISHED_AT_ONCE: usize = 32;
/// Faults that are told.
const FAULTS_MAX: usize = 50;

/// What became of a batch, in its order.
#[derive(Debug, Serialize)]
pub(super) struct TakenBatch {
    events: Vec<Taken>,
}

/// Takes in a batch.
pub(super) async fn take(
    app: &App,
    caller: &Caller,
    body: Body,
) -> Result<Json<TakenBatch>, Problem> {
    app.backlog.check()?;
    let bytes_max = app.large.bytes_max.max(BYTES_MAX);
    let Read { bytes, turn: _turn } = app.large.read(body, bytes_max).await?;
    let read = Event::batch(&bytes, bytes_max).map_err(|error| of_event(&error))?;
    if read.len() > EVENTS_MAX {
        let detail = format!(
            "the batch has {} events, at most {EVENTS_MAX} are taken",
            read.len()
        );
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    let sent = |event| tenants::sent_by(caller, event);
    let read = read.into_iter().map(|event| event.map(sent));
    let judged = judged(app, read).await?;
    let taking = stream::iter(judged)
        .map(|(event, payload, verdict)| async move {
            let taken = publish_encoded(app, &event, Ok(payload), &verdict).await;
            publish::count(SOURCE, &taken);
            taken
        })
        .buffered(PUBLISHED_AT_ONCE)
        .try_collect();
    let taken: Result<Vec<Taken>, Problem> = taking.await;
    let events = taken.map_err(|mut problem| {
        problem.detail += ". Send the whole batch again: what was taken in counts once";
        problem
    })?;
    Ok(Json(TakenBatch { events }))
}

/// Each event as it is kept, with what it starts; all that is wrong with any.
async fn judged(
    app: &App,
    read: impl Iterator<Item = Result<Result<Event, Problem>, EventError>>,
) -> Result<Vec<(Event, Bytes, Verdict)>, Problem> {
    // A sender that is wrong about a type is so in all of its events: they need not wait one after the other.
    let mut has_waited = false;
    let mut faults: Vec<Value> = Vec::new();
    let mut judged = Vec::new();
    for (index, event) in read.enumerate() {
        let event = match event {
            Ok(Ok(event)) => event,
            Ok(Err(foreign)) => return Err(foreign),
            Err(error) => {
                faults.extend(faults_of_event(&format!("/{index}"), &error));
                continue;
            }
        };
        let payload = match publish::check(&event) {
            Ok(payload) => payload,
            Err(problem) => {
                faults.push(fault(&format!("/{index}"), &problem.detail));
                continue;
            }
        };
        let verdict = match app.current.triggers().judge(&event) {
            Err(NotTaken::Type(WrongType::Unknown { .. })) if !has_waited => {
                has_waited = true;
                app.current.judge(&event).await
            }
            verdict => verdict,
        };
        match verdict {
            Ok(verdict) if verdict.faults.is_empty() => judged.push((event, payload, verdict)),
            Ok(verdict) => faults.push(fault(&format!("/{index}"), &verdict.faults.join("; "))),
            Err(why) => faults.extend(faults_of_not_taken(&format!("/{index}"), &why)),
        }
    }
    if faults.is_empty() {
        return Ok(judged);
    }
    let count = faults.len();
    faults.truncate(FAULTS_MAX);
    let detail = format!("the batch has {count} faults, so none of its events was taken in");
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    Err(problem.with("errors", json!(faults)))
}
