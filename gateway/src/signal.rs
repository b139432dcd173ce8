//! `POST /v1/runs/{id}/cancel`, `/pause`, `/resume`, `/raise`, `/retry`, `/message`, `/feedback`: what people tell a run. What they
//! say to a question of the run's is in [`crate::verdict`].

mod fits;
mod read;

use std::{fmt, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::{ConnectInfo, Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
    routing::{MethodRouter, post},
};
use flotilla_common::{
    entry::{Body as Entry, Entry as Written, Signalled},
    ids::{IdError, Name, RunId},
    io::{
        clock,
        http::{Peer, Problem},
        journal::{Accepted, Journal},
        lessons::Lesson,
    },
    names,
    run::{
        Run, SIGNAL_CANCEL, SIGNAL_FEEDBACK, SIGNAL_MESSAGE, SIGNAL_PAUSE, SIGNAL_RAISE,
        SIGNAL_RESUME, SIGNAL_RETRY,
    },
};
use jiff::Timestamp;
use serde::Serialize;

pub(crate) use fits::has_not_ended;
pub(crate) use read::common;

use crate::{
    fields::Fields,
    history::{self, History},
    problem::{ask_journal, bad_request, conflict},
    routes::App,
};

/// The signals that people send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// The run stops.
    Cancel,
    /// The run does nothing for now.
    Pause,
    /// A paused run goes on, a parked one looks again.
    Resume,
    /// A ceiling of the run, or of one of its steps, is set.
    Raise,
    /// The run begins anew from a step.
    Retry,
    /// Its agents are told something.
    Message,
    /// Somebody says what they think of it.
    Feedback,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancel => SIGNAL_CANCEL,
            Self::Pause => SIGNAL_PAUSE,
            Self::Resume => SIGNAL_RESUME,
            Self::Raise => SIGNAL_RAISE,
            Self::Retry => SIGNAL_RETRY,
            Self::Message => SIGNAL_MESSAGE,
            Self::Feedback => SIGNAL_FEEDBACK,
        })
    }
}

/// A signal that is on the journal.
#[derive(Debug, Serialize)]
pub(crate) struct Sent {
    pub(crate) run: RunId,
    pub(crate) id: String,
    /// Its sequence on the journal.
    pub(crate) seq: u64,
    /// Of feedback: whether later runs can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) noted: Option<bool>,
}

/// The route of one signal.
pub(crate) fn route(signal: Signal) -> MethodRouter<Arc<App>> {
    post(
        move |State(app): State<Arc<App>>,
              ConnectInfo(peer): ConnectInfo<Peer>,
              id: Result<Path<String>, PathRejection>,
              headers: HeaderMap,
              body: Body| async move {
            let run = history::run_id(id)?;
            let mut signalled = read::signal(signal, &headers, body).await?;
            signalled.from = Some(peer.0.to_string());
            send(&app, run, signal, signalled).await
        },
    )
}

/// Tells a run something that came some other way than as a request of its own.
pub(crate) async fn tell(
    app: &App,
    run: RunId,
    signal: Signal,
    fields: Fields,
    peer: Peer,
) -> Result<(), Problem> {
    let mut signalled = read::signalled(signal, fields)?;
    signalled.from = Some(peer.0.to_string());
    send(app, run, signal, signalled).await.map(|_| ())
}

/// Writes the signal; a planner acts on it.
async fn send(
    app: &App,
    id: RunId,
    signal: Signal,
    signalled: Signalled,
) -> Result<(StatusCode, Json<Sent>), Problem> {
    let History { run, entries, slot } = History::read(app, &id).await?;
    let before = sent_before(&entries, signal, &signalled)?;
    if before.is_none() {
        fits::check(app, &run, signal, &signalled)?;
    }
    drop((entries, slot));
    let (at, seq) = match before {
        Some(before) => before,
        None => {
            let at = clock::now();
            let accepted = write(&app.journal, &id, signal, signalled.clone(), at).await?;
            (at, accepted.seq)
        }
    };
    let noted = match signal {
        Signal::Feedback => Some(note(app, &run, &signalled, at).await),
        Signal::Cancel
        | Signal::Pause
        | Signal::Resume
        | Signal::Raise
        | Signal::Retry
        | Signal::Message => None,
    };
    let sent = Sent {
        run: id,
        id: signalled.id,
        seq,
        noted,
    };
    Ok((StatusCode::ACCEPTED, Json(sent)))
}

/// Keeps what a person said of a run for later ones.
async fn note(app: &App, run: &Run, signalled: &Signalled, at: Timestamp) -> bool {
    let (Some(begun), Some(text)) = (&run.begun, &signalled.text) else {
        return false;
    };
    let lesson = Lesson::said(&run.id, at, signalled.good, text);
    app.lessons.add(&begun.pin, lesson).await
}

/// Puts a signal on the journal. The same id again changes nothing.
pub(crate) async fn write(
    journal: &Journal,
    run: &RunId,
    signal: Signal,
    signalled: Signalled,
    at: Timestamp,
) -> Result<Accepted, Problem> {
    let name: Name = signal
        .to_string()
        .parse()
        .map_err(|e: IdError| bad_request(e.to_string()))?;
    let message_id = names::signal::message(run, &name, &signalled.id);
    let payload = Entry::Signalled(signalled)
        .encode(at)
        .map_err(|e| bad_request(e.to_string()))?;
    ask_journal(journal.signal(run, &name, &message_id, payload)).await
}

/// When the signal of this id was sent, and its sequence. For ever, while NATS knows message ids for two minutes only.
fn sent_before(
    entries: &[Written],
    signal: Signal,
    signalled: &Signalled,
) -> Result<Option<(Timestamp, u64)>, Problem> {
    let Some((entry, before)) = of_id(entries, &signalled.id) else {
        return Ok(None);
    };
    if entry.address.name.as_str() == signal.to_string() && asks_the_same(before, signalled) {
        return Ok(Some((entry.at, entry.seq)));
    }
    Err(another_of_id(entry, before))
}

/// The first signal of this id.
pub(crate) fn of_id<'a>(entries: &'a [Written], id: &str) -> Option<(&'a Written, &'a Signalled)> {
    entries.iter().find_map(|entry| match &entry.body {
        Entry::Signalled(before) if before.id == id => Some((entry, before)),
        Entry::Signalled(_)
        | Entry::Started(_)
        | Entry::Decided(_)
        | Entry::Resulted(_)
        | Entry::Fired(_) => None,
    })
}

pub(crate) fn another_of_id(entry: &Written, before: &Signalled) -> Problem {
    conflict(format!(
        "the run was sent another signal of the id `{}`: {}, at {}; a new signal needs an id of its own, or none",
        before.id, entry.address.name, entry.at
    ))
}

/// Whoever asks, and for whatever reason.
fn asks_the_same(one: &Signalled, other: &Signalled) -> bool {
    let Signalled {
        id: _,
        by: _,
        reason: _,
        from: _,
        usd_nano,
        step,
        text,
        good,
        compensate,
        approval,
        letter,
    } = one;
    *usd_nano == other.usd_nano
        && *step == other.step
        && *text == other.text
        && *good == other.good
        && *compensate == other.compensate
        && *approval == other.approval
        && *letter == other.letter
}
