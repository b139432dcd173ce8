//! `GET /v1/runs/{id}`: one run, read from the journal itself.

use std::sync::Arc;

use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::StatusCode,
};
use flotilla_common::{
    entry::Entry,
    ids::RunId,
    io::{
        http::Problem,
        journal::{self, Raw},
    },
    money::Usd,
    names::subject,
    run::{Run, Summary},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::SemaphorePermit;

use crate::{
    approvals::Waiting,
    dead::Waits,
    problem::{ask_journal, bad_request, conflict, unavailable},
    query,
    routes::App,
};

/// Histories in memory at once.
pub(crate) const HISTORIES_MAX: usize = 16;
/// Payload bytes in one answer; `next` says where to go on.
pub(crate) const JOURNAL_BYTES_MAX: usize = 8 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fields {
    pub(crate) since: Option<String>,
}

/// A run as the API shows it.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    /// `None` when the journal cannot be folded.
    run: Option<Summary>,
    /// What the runs within it cost that have ended, which is no part of its own `usd_nano`; `None` when the journal cannot be
    /// folded. With wasted calls at their most, and tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    children_usd_nano: Option<Usd>,
    /// Why it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<String>,
    /// Questions to people that wait.
    approvals: Vec<Waiting>,
    /// Dead letters that it waits on; where it cannot be folded, all that there are of it.
    dead_letters: Vec<Waits>,
    /// In order; from `since` on.
    journal: Vec<Line>,
    /// Set when there is more than one answer holds: ask again with it as `since`.
    next: Option<u64>,
}

/// An entry as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    seq: u64,
    subject: String,
    kind: String,
    name: String,
    /// The payload as it is; as a text if it is no JSON.
    entry: Value,
}

/// A run with its journal.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    fields: Result<Query<Fields>, QueryRejection>,
) -> Result<Json<View>, Problem> {
    let run = run_id(id)?;
    let since: u64 = query::value("since", query::fields(fields)?.since.as_deref())?.unwrap_or(0);
    let slot = app.histories.acquire().await;
    let _slot = slot.map_err(|_| unavailable("the gateway shuts down"))?;
    let messages = messages(&app, &run).await?;
    let folded = fold(&run, &messages);
    let letters = match &folded {
        Ok((run, _)) => Waits::of(run),
        Err(_) => app.post.of_run(&run).await?,
    };
    Ok(Json(View {
        dead_letters: letters,
        ..view(folded, &messages, since)
    }))
}

/// The id in a path.
pub(crate) fn run_id(id: Result<Path<String>, PathRejection>) -> Result<RunId, Problem> {
    let Path(id) = id.map_err(|rejection| bad_request(rejection.body_text()))?;
    id.parse()
        .map_err(|error: flotilla_common::ids::IdError| bad_request(error.to_string()))
}

/// A run that was read from its journal, to be told something.
pub(crate) struct History<'a> {
    pub(crate) run: Run,
    pub(crate) entries: Vec<Entry>,
    /// Whoever keeps the entries keeps it.
    pub(crate) slot: SemaphorePermit<'a>,
}

impl<'a> History<'a> {
    /// Reads it.
    pub(crate) async fn read(app: &'a App, id: &RunId) -> Result<Self, Problem> {
        let slot = app.histories.acquire().await;
        let slot = slot.map_err(|_| unavailable("the gateway shuts down"))?;
        let messages = messages(app, id).await?;
        let broken = |problem: String| {
            conflict(format!(
                "the run cannot go on, whatever it is told: {problem}"
            ))
        };
        let entries = entries(&messages).map_err(broken)?;
        let (run, _) = folded(id, entries.clone()).map_err(broken)?;
        Ok(Self { run, entries, slot })
    }
}

/// Everything of a run; a 404 when there is nothing.
pub(crate) async fn messages(app: &App, run: &RunId) -> Result<Vec<Raw>, Problem> {
    let messages = ask_journal(app.journal.raw(&subject::run(run))).await?;
    if messages.is_empty() {
        return Err(no_run(run));
    }
    Ok(messages)
}

/// There is no such run, or none that may be seen.
pub(crate) fn no_run(run: &RunId) -> Problem {
    let detail = format!(
        "there is no run {run}; if its event was accepted a moment ago, it has not begun yet"
    );
    Problem::new(StatusCode::NOT_FOUND, detail)
}

/// The run as its journal tells it, or why the journal cannot be folded.
pub(crate) fn fold(id: &RunId, messages: &[Raw]) -> Result<(Run, Summary), String> {
    folded(id, entries(messages)?)
}

/// The entries among the messages of a run, as planners read them.
pub(crate) fn entries(messages: &[Raw]) -> Result<Vec<Entry>, String> {
    journal::entries(messages).map_err(|problem| problem.to_string())
}

fn folded(id: &RunId, entries: Vec<Entry>) -> Result<(Run, Summary), String> {
    let run = Run::rebuild(id, entries).map_err(|e| e.to_string())?;
    match run.summary() {
        Some(summary) => Ok((run, summary)),
        None => Err(format!("the journal of {id} has no `started` entry")),
    }
}

fn view(folded: Result<(Run, Summary), String>, messages: &[Raw], since: u64) -> View {
    let mut journal = Vec::new();
    let mut bytes = 0;
    let mut next = None;
    for message in messages.iter().filter(|message| message.seq > since) {
        let Some(line) = Line::of(message) else {
            continue;
        };
        bytes += message.payload.len();
        if let Some(last) = journal.last()
            && bytes > JOURNAL_BYTES_MAX
        {
            let last: &Line = last;
            next = Some(last.seq);
            break;
        }
        journal.push(line);
    }
    let children_usd_nano = folded.as_ref().ok().map(|(run, _)| run.children_spent());
    let (run, approvals, broken) = match folded {
        Ok((run, summary)) => (Some(summary), Waiting::of(&run), None),
        Err(problem) => (None, Vec::new(), Some(problem)),
    };
    View {
        run,
        children_usd_nano,
        broken,
        approvals,
        dead_letters: Vec::new(),
        journal,
        next,
    }
}

impl Line {
    /// `None` for a timer's schedule, which is no entry.
    pub(crate) fn of(message: &Raw) -> Option<Self> {
        let mut tokens = message.subject.splitn(4, '.').skip(2);
        let (kind, name) = (
            tokens.next().unwrap_or_default(),
            tokens.next().unwrap_or_default(),
        );
        if kind == "timer" {
            return None;
        }
        let text = || Value::String(String::from_utf8_lossy(&message.payload).into_owned());
        Some(Self {
            seq: message.seq,
            subject: message.subject.clone(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            entry: serde_json::from_slice(&message.payload).unwrap_or_else(|_| text()),
        })
    }
}

#[cfg(test)]
mod tests {
    use flotilla_common::{
        entry::{Body, Pin, Started},
        event::Event,
        ids::Name,
    };
    use serde_json::json;

    use super::*;

    fn run() -> RunId {
        RunId::derive(&"w".parse().unwrap(), "s", "1")
    }

    fn raw(seq: u64, rest: &str, payload: Vec<u8>) -> Raw {
        Raw {
            seq,
            subject: format!("runs.{}.{rest}", run()),
            payload: payload.into(),
        }
    }

    fn started(seq: u64) -> Raw {
        let name: Name = "w".parse().unwrap();
        let event = Event::new("a.b".parse().unwrap(), "s".into(), "1".into(), json!({}));
        let workflow = Pin {
            name,
            version: 2,
            digest: "d".into(),
        };
        let body = Body::Started(Started {
            workflow,
            event,
            parent: None,
            lessons: Vec::new(),
            forked: None,
            received: None,
        });
        let payload = body.encode(jiff::Timestamp::UNIX_EPOCH).unwrap();
        raw(seq, "started.w", payload)
    }

    #[test]
    fn a_run_is_shown_with_its_entries_but_not_with_its_schedules() {
        let messages = [started(3), raw(4, "timer.deadline", b"{}".to_vec())];
        let view = view(fold(&run(), &messages), &messages, 0);
        assert_eq!(view.run.map(|run| run.version), Some(2));
        let lines: Vec<_> = view
            .journal
            .iter()
            .map(|line| (line.seq, line.kind.as_str()))
            .collect();
        assert_eq!(lines, [(3, "started")]);
        assert_eq!(view.journal[0].entry["event"]["id"], "1");
        assert_eq!((view.broken, view.next), (None, None));
    }

    #[test]
    fn a_broken_journal_is_shown_as_it_is_with_what_is_wrong() {
        let messages = [started(3), raw(5, "decided.claude", b"not JSON".to_vec())];
        let view = view(fold(&run(), &messages), &messages, 3);
        assert!(view.run.is_none());
        assert!(view.broken.unwrap().contains("decided.claude"));
        assert_eq!(view.journal.len(), 1);
        assert_eq!(view.journal[0].entry, "not JSON");
        let orphan = [raw(
            9,
            "signalled.cancel",
            br#"{"v":1,"at":"2026-01-01T00:00:00Z","id":"x"}"#.to_vec(),
        )];
        assert!(fold(&run(), &orphan).unwrap_err().contains("no `started`"));
    }

    #[test]
    fn an_answer_that_would_be_too_large_says_where_to_go_on() {
        let large = json!("x".repeat(JOURNAL_BYTES_MAX / 2)).to_string();
        let messages: Vec<_> = (1..=4)
            .map(|seq| raw(seq, "resulted.t", large.clone().into()))
            .collect();
        let first = view(Err(String::new()), &messages, 0);
        assert_eq!((first.journal.len(), first.next), (1, Some(1)));
        let last = view(Err(String::new()), &messages, 3);
        assert_eq!((last.journal.len(), last.next), (1, None));
    }
}
