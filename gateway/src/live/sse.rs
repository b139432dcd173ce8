//! Server-sent events over HTTP: `GET /v1/runs/{id}/live`, `GET /v1/live`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderMap, HeaderName, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use flotilla_common::{access::Caller, io::http::Problem};
use futures_util::stream;
use serde::Deserialize;
use tokio::time::timeout;

use super::{
    changes::Changes,
    watching::{ChangesWatch, Cut, Watching},
};
use crate::{history, problem::bad_request, query, routes::App};

/// How often something is said when nothing happens: proxies and this gateway close what is silent for a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The first thing said: where to come again is known by the ids, and after how many milliseconds is said here.
const HELLO: &[u8] = b"retry: 1000\n\n";
const ALIVE: &[u8] = b": alive\n\n";
/// The gateway stops. An event without data would be no event.
const BYE: &[u8] = b"event: bye\nretry: 1000\ndata: {}\n\n";
/// Something is missing from here on: look again.
const RESYNC: &[u8] = b"event: resync\ndata: {}\n\n";
/// What streams of events are.
pub(crate) const EVENT_STREAM: &str = "text/event-stream";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Since {
    since: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Topics {
    topics: Option<String>,
}

/// What is sent, one frame after the other; `None` is the end.
pub(crate) trait Frames {
    /// The next one.
    fn next(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
}

/// A run as it goes on, to its end.
pub(crate) async fn run(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
    fields: Result<Query<Since>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let run = history::run_id(id)?;
    let since = query::value("since", query::fields(fields)?.since.as_deref())?;
    // Who comes again says in the header what it has seen; the address is still the one it began with.
    let after = last_event_id(&headers)?.or(since).unwrap_or(0);
    let watching = Box::pin(app.hub.run(&run, after)).await?;
    if !watching.is_seen_by(&caller) {
        return Err(history::no_run(&run));
    }
    Ok(respond(Entries(Some(watching))))
}

/// The lines of runs that change.
pub(crate) async fn changes(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    fields: Result<Query<Topics>, QueryRejection>,
) -> Result<Response, Problem> {
    let topics = query::fields(fields)?.topics;
    let mut topics = topics.as_deref().unwrap_or("runs").split(',');
    if let Some(other) = topics.find(|topic| *topic != "runs") {
        let other = other.escape_debug();
        return Err(bad_request(format!(
            "`topics`: `{other}` is not known; there is `runs`"
        )));
    }
    let watch = app.hub.changes().await?;
    Ok(respond(Lines(Some(watch), caller)))
}

/// The last event that a client has seen, as browsers tell it; an empty one is none.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(id) = headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    let number = id.to_str().ok().and_then(|id| id.parse().ok());
    let wrong = || bad_request("`Last-Event-ID` must be the id of an event, which is a number");
    number.map(Some).ok_or_else(wrong)
}

struct Entries(Option<Watching>);

impl Frames for Entries {
    async fn next(&mut self) -> Option<Bytes> {
        match self.0.as_mut()?.next().await {
            Some(Ok(seen)) => Some(seen.frame()),
            Some(Err(cut)) => {
                self.0 = None;
                Some(cut.frame())
            }
            None => {
                let over = self.0.take()?;
                let ending = over.end()?.ending();
                Some(format!("event: end\ndata: {ending}\n\n").into())
            }
        }
    }
}

struct Lines(Option<ChangesWatch>, Caller);

impl Frames for Lines {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.0.as_mut()?.next().await {
                Ok(changes) => {
                    if let Some(frame) = self.frame(&changes) {
                        return Some(frame);
                    }
                }
                Err(cut) => {
                    self.0 = None;
                    return Some(cut.frame());
                }
            }
        }
    }
}

impl Lines {
    fn frame(&self, changes: &Changes) -> Option<Bytes> {
        let caller = &self.1;
        if caller.tenant.is_none() {
            return Some(changes.frame());
        }
        changes.frame_of(|run| caller.sees(&run.tenant))
    }
}

impl Cut {
    /// As a client is told.
    pub(crate) fn frame(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Lagged => RESYNC,
            Self::Stopping => BYE,
        })
    }
}

/// A body that begins at once and ends with its frames.
pub(crate) fn respond(frames: impl Frames + Send + 'static) -> Response {
    let stream = stream::unfold((frames, true), |(mut frames, is_first)| async move {
        if is_first {
            let hello = Ok::<_, Infallible>(Bytes::from_static(HELLO));
            return Some((hello, (frames, false)));
        }
        let frame = match timeout(KEEP_ALIVE, frames.next()).await {
            Ok(frame) => frame?,
            Err(_) => Bytes::from_static(ALIVE),
        };
        Some((Ok(frame), (frames, false)))
    });
    let headers = [
        (header::CONTENT_TYPE, EVENT_STREAM),
        (header::CACHE_CONTROL, "no-store"),
        (NO_BUFFERING, "no"),
    ];
    (headers, Body::from_stream(stream)).into_response()
}
