//! `/runs`: the newest runs, those that fit what was asked for, and how many stand how; and the form that sends an event.

mod filters;

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    http::{StatusCode, Uri},
    response::{IntoResponse as _, Redirect, Response},
};
use flotilla_common::{
    io::{clock, http::Problem},
    run::Summary,
};
use jiff::Timestamp;

use super::{
    door::Door,
    frame::{Frame, Section, page as framed, page_with},
    words::{Badge, When, between, short, short_id, span, usd},
};
use crate::{list::Listed, routes::App};
use filters::Filters;

/// A run in a list.
#[derive(Debug)]
pub(crate) struct Row {
    run: Summary,
    now: Timestamp,
}

/// A row by itself, for pages that have it already.
#[derive(Debug, Template)]
#[template(path = "runs_row.html")]
pub(crate) struct OneRow {
    pub(crate) row: Row,
}

impl Row {
    pub(crate) fn new(run: Summary, now: Timestamp) -> Self {
        Self { run, now }
    }
    fn badge(&self) -> Badge {
        Badge(self.run.status)
    }
    fn short(&self) -> String {
        short_id(&self.run.id)
    }
    fn tokens(&self) -> String {
        let run = &self.run;
        let input = run.input_tokens.saturating_add(run.cache_read_tokens);
        short(input.saturating_add(run.output_tokens))
    }
    fn cost(&self) -> String {
        usd(self.run.usd_nano)
    }
    fn started(&self) -> When {
        When::new(self.run.started_at, self.now)
    }
    fn took(&self) -> String {
        let end = self.run.ended_at.unwrap_or(self.now);
        span(between(self.run.started_at, end))
    }
}

#[derive(Debug, Template)]
#[template(path = "runs.html")]
struct Page {
    frame: Frame,
    filters: Filters,
    /// What is wrong with the filters.
    fault: Option<String>,
    rows: Vec<Row>,
    /// Whether the list is whole, as far as the index goes.
    complete: bool,
    /// The next page, of older runs.
    older: Option<String>,
    /// When the list was read, in milliseconds since 1970: what begins later is new to it.
    now_ms: i64,
    /// An event, where one was typed that was not taken.
    start: Start,
}

/// The form that sends an event.
#[derive(Debug, Default)]
pub(crate) struct Start {
    /// Types of events that something waits for.
    pub(crate) kinds: Vec<String>,
    pub(crate) kind: String,
    pub(crate) data: String,
    pub(crate) fault: Option<String>,
}

/// The list.
pub(crate) async fn page(
    State(app): State<Arc<App>>,
    door: Door,
    uri: Uri,
) -> Result<Response, Problem> {
    let filters = Filters::read(uri.query().unwrap_or_default());
    if let Some(run) = filters.run() {
        return Ok(Redirect::to(&format!("/runs/{run}")).into_response());
    }
    list(&app, door, filters, Start::default(), StatusCode::OK).await
}

/// The list with an event that was not taken, and why.
pub(crate) async fn refused(
    app: &App,
    door: Door,
    start: Start,
    status: StatusCode,
) -> Result<Response, Problem> {
    list(app, door, Filters::read(""), start, status).await
}

async fn list(
    app: &App,
    door: Door,
    mut filters: Filters,
    start: Start,
    status: StatusCode,
) -> Result<Response, Problem> {
    let (listed, fault) = match filters.ask(app, door.caller()).await {
        Ok(listed) => (listed, None),
        Err(problem) if problem.status == 400 => (Listed::default(), Some(problem.detail)),
        Err(problem) => return Err(problem),
    };
    let status = if fault.is_some() {
        StatusCode::BAD_REQUEST
    } else {
        status
    };
    filters.offer(app, door.caller()).await;
    let now = clock::now();
    let mut frame = Frame::load(app, door, Section::Runs, "Runs").await;
    if !filters.is_later {
        frame = frame.live("/runs/live");
    }
    let page = Page {
        frame,
        older: listed.next.map(|cursor| filters.older(&cursor)),
        complete: listed.complete || fault.is_some(),
        rows: listed
            .runs
            .into_iter()
            .map(|run| Row::new(run, now))
            .collect(),
        start: Start {
            kinds: kinds(app),
            ..start
        },
        now_ms: now.as_millisecond(),
        filters,
        fault,
    };
    if status == StatusCode::OK {
        framed(&page)
    } else {
        page_with(status, &page)
    }
}

/// Types of events that an active workflow waits for.
fn kinds(app: &App) -> Vec<String> {
    let catalogue = app.current.catalogue();
    let active = catalogue.names().filter_map(|name| catalogue.stable(name));
    let by_event = active.filter(|workflow| workflow.on.cron.is_none());
    let mut kinds: Vec<String> = by_event
        .map(|workflow| workflow.on.event.to_string())
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}
