//! What pages hear while they are open: rows that changed, or that the page is to be asked for again.

use std::{collections::HashSet, sync::Arc};

use axum::{
    extract::{Path, Query, State},
    http::HeaderMap,
    response::Response,
};
use bytes::Bytes;
use flotilla_common::{
    access::Caller,
    ids::RunId,
    io::{clock, http::Problem},
    run::{Status, Summary},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::{
    door::Door,
    frame::fragment,
    runs::{OneRow, Row},
};
use crate::{
    history, list,
    live::{ChangesWatch, Frames, Watching, last_event_id, respond},
    routes::App,
};

/// The page is not as things are any more.
const STALE: &[u8] = b"event: stale\ndata: {}\n\n";
/// Nothing more comes.
const END: &[u8] = b"event: end\ndata: {}\n\n";
/// Runs that are known to wait when somebody opens the inbox: of more, each change is told.
const WAITING_MAX: usize = 500;

/// Where a page begins to listen.
#[derive(Debug, Deserialize)]
pub(crate) struct After {
    after: Option<u64>,
}

/// That a run has gone on, and that it has ended.
pub(crate) async fn run(
    State(app): State<Arc<App>>,
    door: Door,
    Path(run): Path<String>,
    Query(After { after }): Query<After>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let run: RunId = history::run_id(Ok(Path(run)))?;
    let after = last_event_id(&headers)?.or(after).unwrap_or(0);
    let watching = Box::pin(app.hub.run(&run, after)).await?;
    if !watching.is_seen_by(door.caller()) {
        return Err(history::no_run(&run));
    }
    Ok(respond(OfRun(Some(watching))))
}

struct OfRun(Option<Watching>);

impl Frames for OfRun {
    async fn next(&mut self) -> Option<Bytes> {
        match self.0.as_mut()?.next().await {
            Some(Ok(seen)) => {
                Some(format!("id: {}\nevent: stale\ndata: {{}}\n\n", seen.seq()).into())
            }
            Some(Err(cut)) => {
                self.0 = None;
                Some(cut.frame())
            }
            None => {
                self.0 = None;
                Some(Bytes::from_static(END))
            }
        }
    }
}

/// The rows of runs that change.
pub(crate) async fn runs(State(app): State<Arc<App>>, door: Door) -> Result<Response, Problem> {
    let watch = app.hub.changes().await?;
    Ok(respond(Rows(Some(watch), door.caller().clone())))
}

struct Rows(Option<ChangesWatch>, Caller);

impl Frames for Rows {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.0.as_mut()?.next().await {
                Ok(changes) => {
                    let now = clock::now();
                    let seen = changes.runs.iter().filter(|run| self.1.sees(&run.tenant));
                    let frames: String = seen.filter_map(|run| row(run, now)).collect();
                    if !frames.is_empty() {
                        return Some(frames.into());
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

/// A row as a part of the page that is another one now, and when its run began: a page counts those that began after it.
fn row(run: &Summary, now: Timestamp) -> Option<String> {
    let row = OneRow {
        row: Row::new(run.clone(), now),
    };
    let html = fragment(&row).ok()?;
    let frag = json!({"id": run.id, "html": html, "began": run.started_at.as_millisecond()});
    Some(format!("event: frag\ndata: {frag}\n\n"))
}

/// That something else waits for a person.
pub(crate) async fn approvals(
    State(app): State<Arc<App>>,
    door: Door,
) -> Result<Response, Problem> {
    let watch = app.hub.changes().await?;
    let listed = list::waiting(&app, door.caller(), WAITING_MAX, None, None).await?;
    let waiting = listed.runs.into_iter().map(|run| run.id).collect();
    Ok(respond(Inbox {
        watch: Some(watch),
        caller: door.caller().clone(),
        waiting,
    }))
}

struct Inbox {
    watch: Option<ChangesWatch>,
    caller: Caller,
    waiting: HashSet<RunId>,
}

impl Inbox {
    /// Whether a change is one of the inbox: a run that waits, or did.
    fn concerns(&mut self, run: &Summary) -> bool {
        let waits = run.status == Status::Waiting;
        let waited = if waits {
            !self.waiting.insert(run.id.clone())
        } else {
            self.waiting.remove(&run.id)
        };
        (waits || waited) && self.caller.sees(&run.tenant)
    }
}

impl Frames for Inbox {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.watch.as_mut()?.next().await {
                Ok(changes) => {
                    // Each is looked at: it may come to wait, or not to wait any more.
                    let concerned = changes.runs.iter().filter(|run| self.concerns(run)).count();
                    if concerned > 0 || changes.more > 0 {
                        return Some(Bytes::from_static(STALE));
                    }
                }
                Err(cut) => {
                    self.watch = None;
                    return Some(cut.frame());
                }
            }
        }
    }
}
