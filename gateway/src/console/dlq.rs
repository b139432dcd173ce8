//! `/dlq`: what nobody could handle, by its causes; the letters of a cause; one letter. And what is done with them.

mod deeds;

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use flotilla_common::{
    dead::DeadLetter,
    io::{
        clock,
        http::Problem,
        redrives::{Action, Job, JobState},
    },
    names::stream,
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{
    chart::{Markup, progress},
    did,
    door::Door,
    frame::{Frame, Section, page as framed, page_with},
    ink, text,
    words::Sign,
};
use crate::{
    access::tenants::is_for_all,
    dead::{self, Group, OfCause, Shown},
    routes::App,
};

/// Letters on a page.
const PAGE: usize = 50;
/// Jobs that are done and still shown.
const DONE_MAX: usize = 5;
/// How often a page looks again by itself, in seconds: while a job is under way, and otherwise.
const LOOK_BUSY: u32 = 2;
const LOOK_CALM: u32 = 5;

/// The pages and their forms.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/dlq", get(causes))
        .route("/dlq/cause/{print}", get(cause))
        .route("/dlq/cause/{print}/redrive", post(deeds::redrive_all))
        .route("/dlq/cause/{print}/drop", post(deeds::drop_all))
        .route("/dlq/{seq}", get(letter))
        .route("/dlq/{seq}/redrive", post(deeds::redrive))
        .route("/dlq/{seq}/drop", post(deeds::drop_one))
}

#[derive(Debug, Template)]
#[template(path = "dlq.html")]
struct Causes {
    frame: Frame,
    groups: Vec<Group>,
    /// False: there are more letters than one look goes through.
    complete: bool,
    total: u64,
    jobs: Jobs,
    now: Timestamp,
}

#[derive(Debug, Template)]
#[template(path = "dlq_cause.html")]
struct Cause {
    frame: Frame,
    print: String,
    page: OfCause,
    /// Whether this is not the first page.
    is_later: bool,
    jobs: Jobs,
    may: bool,
    now: Timestamp,
}

#[derive(Debug, Template)]
#[template(path = "dlq_letter.html")]
pub(super) struct Letter {
    frame: Frame,
    shown: Shown,
    payload: String,
    /// What somebody typed, or the payload.
    edit: String,
    /// Why what was typed was not taken.
    problem: Option<String>,
    may: bool,
    now: Timestamp,
}

/// Jobs, those under way first.
#[derive(Debug)]
struct Jobs {
    lines: Vec<JobLine>,
    is_busy: bool,
}

#[derive(Debug)]
struct JobLine {
    job: Job,
    bar: Markup,
}

impl Jobs {
    async fn load(app: &App, of: Option<&str>) -> Self {
        // A page without them says more than no page.
        let jobs = app.post.jobs().await.unwrap_or_default();
        let its = jobs.into_iter();
        let its = its.filter(|job| of.is_none_or(|print| job.fingerprint == print));
        let (running, mut done): (Vec<Job>, Vec<Job>) =
            its.partition(|job| job.state == JobState::Running);
        done.truncate(DONE_MAX);
        let is_busy = !running.is_empty();
        let lines = running.into_iter().chain(done).map(|job| JobLine {
            bar: progress(job.done.saturating_add(job.refused), job.total),
            job,
        });
        Self {
            lines: lines.collect(),
            is_busy,
        }
    }

    fn look_every(&self) -> u32 {
        if self.is_busy { LOOK_BUSY } else { LOOK_CALM }
    }
}

impl JobLine {
    fn verb(&self) -> &'static str {
        match (self.job.action, self.job.state) {
            (Action::Redrive, JobState::Running) => "Redriving",
            (Action::Redrive, JobState::Done) => "Redrove",
            (Action::Drop, JobState::Running) => "Dropping",
            (Action::Drop, JobState::Done) => "Dropped",
        }
    }

    /// So that people see the rate that they asked for.
    fn rate(&self) -> String {
        let per_minute = self.job.per_minute;
        match per_minute.is_multiple_of(60) {
            true => format!("{}/s", per_minute / 60),
            false => format!("{per_minute}/min"),
        }
    }

    fn is_running(&self) -> bool {
        self.job.state == JobState::Running
    }
}

impl Letter {
    /// Only what is not on a journal can be edited.
    fn can_edit(&self) -> bool {
        self.shown.letter.stream.as_deref() == Some(stream::EVENTS)
    }

    /// Whether there is a message that could be handled again.
    fn can_redrive(&self) -> bool {
        self.shown.letter.stream.is_some() && self.shown.goes_on.is_none()
    }
}

/// Letters by their causes.
async fn causes(
    State(app): State<Arc<App>>,
    door: Door,
    Query(query): Query<did::Query>,
) -> Result<Response, Problem> {
    is_for_all(door.caller())?;
    let (groups, complete) = dead::groups(&app, door.caller(), 0).await?;
    let frame = Frame::load(&app, door, Section::Dead, "Dead letters").await;
    framed(&Causes {
        frame: frame.notice(query.notice()),
        total: groups.iter().map(|group| group.count).sum(),
        groups,
        complete,
        jobs: Jobs::load(&app, None).await,
        now: clock::now(),
    })
}

#[derive(Debug, Deserialize)]
struct Asked {
    did: Option<String>,
    after: Option<u64>,
}

/// The letters of one cause.
async fn cause(
    State(app): State<Arc<App>>,
    door: Door,
    Path(print): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    is_for_all(door.caller())?;
    let after = asked.after.unwrap_or(0);
    let page = dead::of_cause(&app, door.caller(), print.clone(), after, PAGE).await?;
    let jobs = Jobs::load(&app, Some(&print)).await;
    let may = door.may_for_all();
    let frame = Frame::load(&app, door, Section::Dead, "Letters of one cause").await;
    framed(&Cause {
        frame: frame.notice(did::words(asked.did.as_deref())),
        print,
        page,
        is_later: after > 0,
        jobs,
        may,
        now: clock::now(),
    })
}

/// One letter.
async fn letter(
    State(app): State<Arc<App>>,
    door: Door,
    Path(seq): Path<u64>,
) -> Result<Response, Problem> {
    is_for_all(door.caller())?;
    framed(&letter_page(&app, door, seq, None).await?)
}

/// One letter, with what was typed and why it was not taken.
async fn letter_page(
    app: &App,
    door: Door,
    seq: u64,
    typed: Option<(String, String)>,
) -> Result<Letter, Problem> {
    let shown = dead::shown_letter(app, seq).await?;
    let payload = pretty(&shown.payload);
    let (edit, problem) = match typed {
        Some((typed, problem)) => (typed, Some(problem)),
        None => (payload.clone(), None),
    };
    // Pages show what cannot be seen by other characters, which would be sent back in its place.
    let edit = text::written_out(edit);
    let may = door.may_for_all();
    Ok(Letter {
        frame: Frame::load(app, door, Section::Dead, format!("Dead letter {seq}")).await,
        shown,
        payload,
        edit,
        problem,
        may,
        now: clock::now(),
    })
}

/// The page of a letter, for who typed what cannot be taken.
async fn refused(
    app: &App,
    door: Door,
    seq: u64,
    typed: String,
    problem: Problem,
) -> Result<Response, Problem> {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
    let page = letter_page(app, door, seq, Some((typed, problem.detail))).await?;
    page_with(status, &page)
}

/// JSON in lines, with what cannot be seen written out; a text as it is.
pub(super) fn pretty(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => text::json(value),
    }
}

/// What letters are about, for people: an event, a due time, a run's entry.
fn about(letter: &DeadLetter) -> &'static str {
    match letter.stream.as_deref() {
        Some(stream::EVENTS) => "event",
        Some(stream::CRON) => "due time",
        Some(stream::RUNS) => "entry of a run",
        Some(_) | None => "message that is gone",
    }
}
