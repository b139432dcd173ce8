//! `/approvals`: what waits for a person, and what people say to it. A verdict is for exactly the action that its page has shown: where
//! the question is another one now, that one is shown.

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use axum::{
    extract::{ConnectInfo, Path, State},
    http::{StatusCode, Uri},
    response::{IntoResponse as _, Redirect, Response},
};
use flotilla_common::{
    access::Scope,
    entry::Entry,
    ids::RunId,
    io::{
        clock,
        http::{Peer, Problem},
    },
};
use futures_util::{StreamExt as _, stream};
use serde_json::{Map, Value, json};

use super::{
    door::Door,
    form::Form,
    frame::{Frame, Section, page as framed, page_with},
    question::{Question, Typed},
    tell,
    words::Sign,
};
use crate::{
    approvals::{self, Waiting},
    fields::{Fields, wrong},
    history::{self, History},
    problem::unavailable,
    routes::App,
    verdict::{self, Said},
};

/// Questions on one page: each may show a large action.
const SHOWN_MAX: usize = 50;
/// Journals being read at once, for the reasons of what is asked.
const READS_AT_ONCE: usize = 4;

#[derive(Debug, Template)]
#[template(path = "approvals.html")]
struct Page {
    frame: Frame,
    questions: Vec<Question>,
    /// How many there are besides, and whether there are more than were looked at.
    besides: usize,
    more: bool,
}

#[derive(Debug, Template)]
#[template(path = "verdict.html")]
struct Refused {
    frame: Frame,
    run: RunId,
    fault: String,
    /// Whether it is a conflict: what was answered is not what is asked any more.
    is_stale: bool,
    questions: Vec<Question>,
}

/// The inbox.
pub(crate) async fn page(
    State(app): State<Arc<App>>,
    door: Door,
    uri: Uri,
) -> Result<Response, Problem> {
    let (waiting, more) = approvals::oldest(&app, door.caller()).await?;
    let total = waiting.len();
    let shown: Vec<Waiting> = waiting.into_iter().take(SHOWN_MAX).collect();
    let besides = total - shown.len();
    let questions = explained(&app, shown).await?;
    let asked = uri.query().unwrap_or_default();
    let frame = Frame::load(&app, door, Section::Approvals, "Approvals").await;
    framed(&Page {
        frame: frame.live("/approvals/live").notice(tell::notice(asked)),
        questions,
        besides,
        more,
    })
}

/// Questions with why they are asked, in the same order. A run's journal is read once for all of its own.
async fn explained(app: &App, waiting: Vec<Waiting>) -> Result<Vec<Question>, Problem> {
    let now = clock::now();
    let mut places: BTreeMap<RunId, Vec<(usize, Waiting)>> = BTreeMap::new();
    for (place, one) in waiting.into_iter().enumerate() {
        places
            .entry(one.run.clone())
            .or_default()
            .push((place, one));
    }
    let reads = places.into_iter().map(|(run, its)| async move {
        let entries = journal(app, &run).await?;
        let questions = its
            .into_iter()
            .map(|(place, one)| (place, Question::new(app, one, &entries, now)));
        Ok::<Vec<_>, Problem>(questions.collect())
    });
    let mut reads = stream::iter(reads).buffer_unordered(READS_AT_ONCE);
    let mut questions = Vec::new();
    while let Some(its) = reads.next().await {
        questions.append(&mut its?);
    }
    questions.sort_by_key(|(place, _)| *place);
    Ok(questions
        .into_iter()
        .map(|(_, question)| question)
        .collect())
}

/// What a run's journal says; nothing, where it is gone or cannot be read.
async fn journal(app: &App, run: &RunId) -> Result<Vec<Entry>, Problem> {
    let slot = app.histories.acquire().await;
    let _slot = slot.map_err(|_| unavailable("the gateway shuts down"))?;
    match history::messages(app, run).await {
        Err(problem) if problem.status == StatusCode::NOT_FOUND.as_u16() => Ok(Vec::new()),
        read => Ok(history::entries(&read?).unwrap_or_default()),
    }
}

/// What a person says to a question.
pub(crate) async fn answer(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(run): Path<String>,
    form: Form,
) -> Result<Response, Problem> {
    form.door.must(Scope::Approve)?;
    let run = history::run_id(Ok(Path(run)))?;
    let given = match read(&form) {
        Ok((said, fields)) => {
            let done = if said == Said::Approved {
                "approved"
            } else {
                "rejected"
            };
            let told = verdict::say(&app, run.clone(), said, Fields::of(fields), peer).await;
            told.map(|()| done)
        }
        Err(problem) => Err(problem),
    };
    match given {
        Ok(done) => {
            let back = form.get("back").filter(|back| *back == "inbox");
            let back = back.map_or_else(|| format!("/runs/{run}"), |_| "/approvals".to_owned());
            Ok(Redirect::to(&format!("{back}?done={done}")).into_response())
        }
        Err(problem) => refused(&app, run, form, problem).await,
    }
}

/// The form as the API's body would be.
fn read(form: &Form) -> Result<(Said, Map<String, Value>), Problem> {
    let mut fields = Map::new();
    fields.insert("step".to_owned(), json!(form.must("step")?));
    // Without it, a verdict would be for whatever waits there.
    fields.insert("hash".to_owned(), json!(form.must("hash")?));
    fields.insert("by".to_owned(), json!(form.door.caller().name));
    if let Some(reason) = form.get("reason") {
        let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        fields.insert("reason".to_owned(), json!(line));
    }
    let said = match form.must("say")? {
        "approve" => Said::Approved,
        "reject" => Said::Rejected,
        "change" => {
            let with = form.must("with")?;
            let with: Value = serde_json::from_str(with)
                .map_err(|problem| wrong("with", &format!("is not JSON: {problem}")))?;
            fields.insert("with".to_owned(), with);
            Said::Approved
        }
        _ => return Err(wrong("say", "must be approve, reject or change")),
    };
    Ok((said, fields))
}

/// The questions of the run again, with why the answer was not taken, and what was typed.
async fn refused(app: &App, run: RunId, form: Form, problem: Problem) -> Result<Response, Problem> {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_server_error() || status == StatusCode::NOT_FOUND {
        return Err(problem);
    }
    let History {
        run: now_is,
        entries,
        slot,
    } = History::read(app, &run).await?;
    let now = clock::now();
    let typed = |field: &str| form.get(field).unwrap_or_default().to_owned();
    let (step, hash) = (typed("step"), typed("hash"));
    let questions = Waiting::of(&now_is).into_iter().map(|waiting| {
        let is_it = waiting.step.to_string() == step && waiting.hash == hash;
        let mut question = Question::new(app, waiting, &entries, now);
        question.typed = is_it.then(|| Typed {
            with: Some(typed("with"))
                .filter(|with| !with.is_empty())
                .unwrap_or_else(|| question.what.clone()),
            reason: typed("reason"),
            fault: problem.detail.clone(),
        });
        question
    });
    let questions: Vec<_> = questions.collect();
    drop((entries, slot));
    let is_stale = status == StatusCode::CONFLICT;
    let title = if is_stale {
        "Not what is asked any more"
    } else {
        "The answer was not taken"
    };
    let frame = Frame::load(app, form.door, Section::Approvals, title).await;
    let page = Refused {
        frame,
        run,
        fault: problem.detail,
        is_stale,
        questions,
    };
    page_with(status, &page)
}
