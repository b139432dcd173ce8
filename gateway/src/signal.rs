//! `POST /v1/runs/{id}/cancel`, `/resume`, `/raise`: what people tell a run.

use std::{fmt, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
    routing::{MethodRouter, post},
};
use flotilla_common::{
    entry::{Body as Entry, Signalled},
    ids::{IdError, Name, RunId},
    io::{
        http::Problem,
        journal::{Journal, Raw, decode},
    },
    money::Usd,
    run::{Run, SIGNAL_CANCEL, SIGNAL_RAISE, SIGNAL_RESUME, asks_claude},
};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    fields::{Fields, NAME_LENGTH_MAX, REASON_LENGTH_MAX, wrong},
    history,
    problem::{ask_journal, bad_request, unavailable},
    routes::App,
};

/// The signals that people send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// The run stops.
    Cancel,
    /// A parked run looks again.
    Resume,
    /// A ceiling of the run, or of one of its steps, is set.
    Raise,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancel => SIGNAL_CANCEL,
            Self::Resume => SIGNAL_RESUME,
            Self::Raise => SIGNAL_RAISE,
        })
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Sent {
    run: RunId,
    id: String,
    /// Its sequence on the journal.
    seq: u64,
}

/// The route of one signal.
pub(crate) fn route(signal: Signal) -> MethodRouter<Arc<App>> {
    post(
        move |State(app): State<Arc<App>>,
              id: Result<Path<String>, PathRejection>,
              headers: HeaderMap,
              body: Body| async move {
            let run = history::run_id(id)?;
            let signalled = read(signal, &headers, body).await?;
            send(&app, run, signal, signalled).await
        },
    )
}

/// Writes the signal; a planner acts on it.
async fn send(
    app: &App,
    run: RunId,
    signal: Signal,
    signalled: Signalled,
) -> Result<(StatusCode, Json<Sent>), Problem> {
    let before = look(app, &run, signal, &signalled).await?;
    let id = signalled.id.clone();
    let seq = match before {
        Some(seq) => seq,
        None => write(&app.journal, &run, signal, signalled).await?,
    };
    Ok((StatusCode::ACCEPTED, Json(Sent { run, id, seq })))
}

/// Puts a signal on the journal; gives its sequence. The same id again changes nothing.
pub(crate) async fn write(
    journal: &Journal,
    run: &RunId,
    signal: Signal,
    signalled: Signalled,
) -> Result<u64, Problem> {
    let name: Name = signal
        .to_string()
        .parse()
        .map_err(|e: IdError| bad_request(e.to_string()))?;
    // Message ids are the whole stream's: two runs may be sent signals of one id.
    let message_id = format!("{run}.{name}.{}", signalled.id);
    let payload = Entry::Signalled(signalled)
        .encode(Timestamp::now())
        .map_err(|e| bad_request(e.to_string()))?;
    ask_journal(journal.signal(run, &name, &message_id, payload)).await
}

async fn read(signal: Signal, headers: &HeaderMap, body: Body) -> Result<Signalled, Problem> {
    let mut fields = Fields::read(headers, body).await?;
    let id = fields.text("id", NAME_LENGTH_MAX)?;
    // It becomes a header of the message.
    if id.as_ref().is_some_and(|id| !id.is_ascii()) {
        return Err(wrong("id", "must be ASCII"));
    }
    let mut signalled = Signalled {
        id: id.unwrap_or_else(|| format!("{:032x}", fastrand::u128(..))),
        by: fields.text("by", NAME_LENGTH_MAX)?,
        reason: fields.text("reason", REASON_LENGTH_MAX)?,
        ..Signalled::default()
    };
    let known = match signal {
        Signal::Cancel | Signal::Resume => r#"{"reason"?, "by"?, "id"?}"#,
        Signal::Raise => {
            let usd = fields.usd("usd")?;
            if usd == Usd::default() {
                return Err(wrong("usd", "must be more than 0"));
            }
            signalled.usd_nano = Some(usd);
            signalled.step = fields.name("step")?;
            r#"{"usd", "step"?, "reason"?, "by"?, "id"?}"#
        }
    };
    fields.end(known)?;
    Ok(signalled)
}

/// Whether the run can be sent this signal; the sequence of the signal, if it was sent before.
async fn look(
    app: &App,
    id: &RunId,
    signal: Signal,
    signalled: &Signalled,
) -> Result<Option<u64>, Problem> {
    let slot = app.histories.acquire().await;
    let _slot = slot.map_err(|_| unavailable("the gateway shuts down"))?;
    let messages = history::messages(app, id).await?;
    let (run, _) = history::fold(id, &messages).map_err(|problem| {
        conflict(format!(
            "the run cannot go on, whatever it is told: {problem}"
        ))
    })?;
    if let Some(seq) = sent_before(&messages, signal, signalled)? {
        return Ok(Some(seq));
    }
    if let Some(end) = &run.end {
        return Err(conflict(format!(
            "the run has ended already: {} at {}",
            end.outcome, end.at
        )));
    }
    match signal {
        Signal::Cancel => {}
        Signal::Resume => is_parked(&run)?,
        Signal::Raise => has_step(app, &run, signalled.step.as_ref())?,
    }
    Ok(None)
}

/// The sequence of the signal of this id. For ever, while NATS knows message ids for two minutes only.
fn sent_before(
    messages: &[Raw],
    signal: Signal,
    signalled: &Signalled,
) -> Result<Option<u64>, Problem> {
    for message in messages {
        // The run was folded from them: each of them can be read.
        let Ok(Some(entry)) = decode(message) else {
            continue;
        };
        let Entry::Signalled(before) = &entry.body else {
            continue;
        };
        if before.id != signalled.id {
            continue;
        }
        let name = entry.address.name.as_str();
        if name == signal.to_string()
            && (before.usd_nano, &before.step) == (signalled.usd_nano, &signalled.step)
        {
            return Ok(Some(entry.seq));
        }
        return Err(conflict(format!(
            "the run was sent another signal of the id `{}`: {name}, at {}; a new signal needs an id of its own, or none",
            before.id, entry.at
        )));
    }
    Ok(None)
}

fn is_parked(run: &Run) -> Result<(), Problem> {
    if run.is_parked() {
        return Ok(());
    }
    Err(conflict(match &run.parked {
        Some(parked) if parked.awake => format!(
            "the run is not parked any more: it was told to go on at step {}, and has not decided anything since",
            parked.step
        ),
        Some(_) | None => "the run is not parked: it is running".to_owned(),
    }))
}

/// Only where the very version of the run's definition is at hand can anybody say which steps it has.
fn has_step(app: &App, run: &Run, step: Option<&Name>) -> Result<(), Problem> {
    let pin = run.begun.as_ref().map(|begun| &begun.pin);
    let (Some(step), Some(workflow)) = (step, pin.and_then(|pin| app.catalogue.pinned(pin))) else {
        return Ok(());
    };
    if asks_claude(workflow, step) {
        return Ok(());
    }
    let ids = workflow.steps.iter().map(|step| &step.id);
    let asking: Vec<&str> = ids
        .filter(|id| asks_claude(workflow, id))
        .map(Name::as_str)
        .collect();
    Err(wrong(
        "step",
        &format!(
            "must be a step that asks Claude; of {} v{} these do: {}",
            workflow.pin.name,
            workflow.pin.version,
            asking.join(", ")
        ),
    ))
}

fn conflict(detail: String) -> Problem {
    Problem::new(StatusCode::CONFLICT, detail)
}

#[cfg(test)]
mod tests {
    use axum::http::header::CONTENT_TYPE;

    use super::*;
    use crate::body::JSON;

    async fn ask(signal: Signal, body: &'static str) -> Result<Signalled, Problem> {
        let headers = [(CONTENT_TYPE, JSON.parse().unwrap())];
        read(signal, &headers.into_iter().collect(), Body::from(body)).await
    }

    #[tokio::test]
    async fn a_cancel_needs_no_body_and_takes_no_field_of_a_raise() {
        let none = read(Signal::Cancel, &HeaderMap::new(), Body::empty()).await;
        assert_eq!(none.unwrap().id.len(), 32);
        let asked = ask(
            Signal::Resume,
            r#"{"by": "me", "reason": "paid", "id": "c1"}"#,
        );
        let asked = asked.await.unwrap();
        assert_eq!((asked.id.as_str(), asked.by.as_deref()), ("c1", Some("me")));
        for bad in [r#"{"usd": 1}"#, r#"{"id": "ü"}"#, r#"{"why": "x"}"#] {
            let problem = ask(Signal::Cancel, bad).await.unwrap_err();
            assert_eq!(problem.status, 400, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_raise_needs_an_amount_of_more_than_nothing() {
        let asked = ask(Signal::Raise, r#"{"usd": 2.5, "step": "triage"}"#)
            .await
            .unwrap();
        assert_eq!(asked.usd_nano, Some(Usd::from_nano(2_500_000_000)));
        assert_eq!(asked.step.as_ref().map(Name::as_str), Some("triage"));
        for bad in [
            "{}",
            r#"{"usd": 0}"#,
            r#"{"usd": 1e-12}"#,
            r#"{"usd": 1e7}"#,
        ] {
            let problem = ask(Signal::Raise, bad).await.unwrap_err();
            assert!(problem.detail.starts_with("`/usd`"), "{}", problem.detail);
        }
    }
}
