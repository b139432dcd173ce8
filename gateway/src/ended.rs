//! `?wait=30s`: an answer that comes when the runs have ended, or without them when the time is over.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::LOCATION},
    response::{IntoResponse as _, Response},
};
use flotilla_common::{access::Caller, ids::RunId, io::http::Problem, run::Status, units::Span};
use futures_util::future::try_join_all;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

use crate::{
    history::{self, History},
    problem::{bad_request, unavailable},
    publish::Taken,
    routes::App,
};

/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Requests that wait at once; more are answered without waiting. They keep turns of [`crate::turns::Turns`].
pub(crate) const WAITING_MAX: usize = 128;
/// From one look whether a run has begun to the next.
const BEGUN_EVERY: Duration = Duration::from_millis(50);
/// The field of the query.
pub(crate) const FIELD: &str = "wait";

/// How long a client wants to wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wait(Option<Duration>);

impl Wait {
    /// Reads the field's text.
    pub(crate) fn read(text: Option<&str>) -> Result<Self, Problem> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(Self::default());
        };
        let Span(wait) = text
            .parse()
            .map_err(|error| bad_request(format!("`{FIELD}`: {error}")))?;
        if wait > WAIT_MAX {
            let most = Span(WAIT_MAX);
            return Err(bad_request(format!("`{FIELD}` is at most {most}")));
        }
        Ok(Self(Some(wait)))
    }

    /// How much longer than others a request with this query may take.
    pub(crate) fn of_query(query: Option<&str>) -> Duration {
        let fields = query.unwrap_or_default().split('&');
        let mut waits = fields.filter_map(|field| field.strip_prefix(FIELD)?.strip_prefix('='));
        let wait = waits.next().map(|text| Self::read(Some(text)));
        wait.and_then(Result::ok)
            .and_then(|wait| wait.0)
            .unwrap_or_default()
    }
}

/// A run that has ended.
#[derive(Debug, Serialize)]
pub(crate) struct Ended {
    run: RunId,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What it gives; `null` where it gives nothing, or its definition is not here.
    output: Value,
}

/// An event whose runs have ended.
#[derive(Debug, Serialize)]
struct Done {
    #[serde(flatten)]
    taken: Taken,
    ended: Vec<Ended>,
}

/// 200 with how the runs ended, where all did in time and are there for whoever asks; else 202. `began` is when the request came.
pub(crate) async fn answer(
    app: &Arc<App>,
    caller: &Caller,
    taken: Taken,
    wait: Wait,
    began: Instant,
) -> Response {
    if let (Some(wait), false) = (wait.0, taken.runs.is_empty())
        && let Some(ended) = Box::pin(ended(app, caller, &taken.runs, began + wait)).await
    {
        return (StatusCode::OK, Json(Done { taken, ended })).into_response();
    }
    let mut response = StatusCode::ACCEPTED.into_response();
    if let [url] = taken.status_urls.as_slice()
        && let Ok(url) = HeaderValue::from_str(url)
    {
        response.headers_mut().insert(LOCATION, url);
    }
    (response.status(), response.headers().clone(), Json(taken)).into_response()
}

/// How these runs ended; `None`: not all of them did until then, nobody can say, or it is not for the caller to know.
async fn ended(app: &App, caller: &Caller, runs: &[RunId], until: Instant) -> Option<Vec<Ended>> {
    let Ok(_waits) = app.waiting.try_acquire() else {
        debug!("too many requests wait already; this one is answered at once");
        return None;
    };
    let all = try_join_all(runs.iter().map(|run| one(app, caller, run)));
    match timeout_at(until, all).await {
        Ok(Ok(ended)) => Some(ended),
        Ok(Err(problem)) => {
            debug!(problem = problem.detail, "how a run ended is not known");
            None
        }
        Err(_) => None,
    }
}

async fn one(app: &App, caller: &Caller, run: &RunId) -> Result<Ended, Problem> {
    // An event is on disk before its run begins.
    let mut watching = loop {
        match app.hub.run(run, 0).await {
            Ok(watching) => break watching,
            Err(problem) if problem.status == StatusCode::NOT_FOUND.as_u16() => {
                sleep(BEGUN_EVERY).await;
            }
            Err(problem) => return Err(problem),
        }
    };
    // A run's id does not say whose it is: another tenant may have sent an event of this source and id first.
    if !watching.is_seen_by(caller) {
        return Err(history::no_run(run));
    }
    while let Some(seen) = watching.next().await {
        seen.map_err(|_| unavailable("this gateway lost sight of the run"))?;
    }
    let History { run: folded, .. } = History::read(app, run).await?;
    let summary = folded.summary();
    let summary = summary.ok_or_else(|| unavailable("the run's beginning is not there"))?;
    let pin = folded.begun.as_ref().map(|begun| &begun.pin);
    let catalogue = app.current.catalogue();
    let workflow = pin.and_then(|pin| catalogue.pinned(pin));
    Ok(Ended {
        run: run.clone(),
        status: summary.status,
        reason: summary.reason,
        output: workflow.map_or(Value::Null, |workflow| folded.output(workflow)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_duration_of_up_to_half_a_minute() {
        let read = |text: &str| Wait::read(Some(text)).map_err(|problem| problem.status);
        assert_eq!(read("30s"), Ok(Wait(Some(WAIT_MAX))));
        assert_eq!(read(""), Ok(Wait(None)));
        for wrong in ["31s", "1h", "soon", "-1s", "5"] {
            assert_eq!(read(wrong), Err(400), "{wrong}");
        }
    }

    #[test]
    fn only_who_waits_may_take_longer() {
        let more = |query: &str| Wait::of_query(Some(query)).as_secs();
        assert_eq!((more("wait=20s"), more("a=1&wait=20s")), (20, 20));
        assert_eq!(
            (more("wait=20h"), more("waits=20s"), more("a=wait=9s")),
            (0, 0, 0)
        );
        assert_eq!(Wait::of_query(None), Duration::ZERO);
    }
}
