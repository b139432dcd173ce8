//! One letter: handled again, as it is or with another payload, or dropped.
//!
//! Order of writes: what it is about is begun again -> who wanted that is kept -> the letter goes. A crash in between leaves the
//! letter, and the same again does no harm: an event is the same run, a signal has an id of its own.

use std::sync::Arc;

use axum::{
    Json,
    body::Body as HttpBody,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode},
};
use bytes::Bytes;
use flotilla_common::{
    dead::{DeadLetter, stream_of},
    entry::{Body, Letter, Signalled},
    ids::{Name, RunId},
    io::{
        clock,
        http::Problem,
        journal::JournalError,
        redrives::{Action, Because, SettledLetter},
        telemetry::metric,
    },
    names::{signal, stream},
    run::{SIGNAL_DROP, SIGNAL_REDRIVE},
};
use metrics::counter;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Post,
    event::event,
    fate::{Fate, fate},
    of_journal, of_redrives,
};
use crate::{
    access::asking,
    fields::{Fields, NAME_LENGTH_MAX, REASON_LENGTH_MAX},
    problem::{ask_journal, bad_request, conflict},
    promise::Promise,
    publish, query,
    routes::App,
    triggers::is_reserved,
};

/// Longest body: an event of the largest size, and what else is said.
const EDIT_BYTES_MAX: usize = 600 * 1024;

/// Who wants it, and why, where there is no body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    pub(super) fingerprint: Option<String>,
    by: Option<String>,
    reason: Option<String>,
}

impl Why {
    pub(super) fn because(&self) -> Result<Because, Problem> {
        let text = |name: &str, value: &Option<String>, most: usize| {
            let value = value.clone().filter(|text| !text.is_empty());
            match value {
                Some(text) if text.chars().count() > most || text.chars().any(char::is_control) => {
                    Err(bad_request(format!(
                        "`{name}`: at most {most} characters, none of them a control character"
                    )))
                }
                value => Ok(value),
            }
        };
        Ok(Because {
            by: asking::by(text("by", &self.by, NAME_LENGTH_MAX)?),
            reason: asking::because(text("reason", &self.reason, REASON_LENGTH_MAX)?),
        })
    }
}

/// Handles one letter again.
pub(super) async fn post(
    State(app): State<Arc<App>>,
    seq: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: HttpBody,
) -> Result<(StatusCode, Json<SettledLetter>), Problem> {
    let seq = letter_seq(seq)?;
    let mut fields = Fields::read(&headers, body, EDIT_BYTES_MAX).await?;
    let payload = fields.value("payload")?;
    let because = because(&mut fields)?;
    fields.end(r#"{"payload"?, "by"?, "reason"?}"#)?;
    let settled = app.post.redrive(seq, payload, because).await?;
    Ok((StatusCode::ACCEPTED, Json(settled)))
}

/// Drops one letter.
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    seq: Result<Path<String>, PathRejection>,
    why: Result<Query<Why>, QueryRejection>,
) -> Result<Json<SettledLetter>, Problem> {
    let seq = letter_seq(seq)?;
    let because = query::fields(why)?.because()?;
    app.post.drop_letter(seq, because).await.map(Json)
}

pub(super) fn letter_seq(seq: Result<Path<String>, PathRejection>) -> Result<u64, Problem> {
    let Path(seq) = seq.map_err(|rejection| bad_request(rejection.body_text()))?;
    let wrong = || bad_request(format!("`{seq}` is not the number of a dead letter"));
    seq.parse().map_err(|_| wrong())
}

pub(super) fn because(fields: &mut Fields) -> Result<Because, Problem> {
    Ok(Because {
        by: fields.by()?,
        reason: fields.reason()?,
    })
}

impl Post {
    /// What is said of a letter that is not there, or not for whoever asks.
    pub(crate) fn none(seq: u64) -> Problem {
        let detail = format!("there is no dead letter {seq}");
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// A letter; a 404 when there is none, a 409 when it was settled before.
    pub(super) async fn letter(&self, seq: u64) -> Result<(DeadLetter, Bytes), Problem> {
        if let Some(found) = ask_journal(self.letters.get(seq)).await? {
            return Ok(found);
        }
        let settled = self.redrives.settled(seq).await;
        Err(match settled.map_err(|e| of_redrives(&e))? {
            Some(before) => conflict(format!(
                "dead letter {seq} was {} at {}{}",
                before.action,
                before.at,
                said(&before.because)
            )),
            None => Self::none(seq),
        })
    }

    /// Has what a letter is about handled again.
    pub(crate) async fn redrive(
        &self,
        seq: u64,
        edit: Option<Value>,
        because: Because,
    ) -> Result<SettledLetter, Problem> {
        let (letter, payload) = self.letter(seq).await?;
        let is_event = stream_of(&letter.subject) == Some(stream::EVENTS);
        if edit.is_some() && !is_event {
            return Err(conflict(
                "only an event can be edited: what is on the journal is never changed, for decisions may rest on it",
            ));
        }
        let edited = edit.is_some();
        match stream_of(&letter.subject) {
            Some(stream::EVENTS) => self.event_again(&letter, payload, edit).await?,
            Some(stream::CRON) => {
                let subject = letter.subject.clone();
                ask_journal(self.journal.publish_again(subject, payload)).await?;
            }
            Some(_) => self.entry_again(&letter, &payload, &because).await?,
            None => {
                return Err(conflict(
                    "the message itself is not there any more, so it cannot be handled again",
                ));
            }
        }
        let settled = settled(letter, Action::Redrive, because, edited);
        self.settle(settled).await
    }

    /// Gives a letter up. A run that waits for it fails.
    pub(crate) async fn drop_letter(
        &self,
        seq: u64,
        because: Because,
    ) -> Result<SettledLetter, Problem> {
        let (letter, payload) = self.letter(seq).await?;
        let fate = fate(&self.journal, &letter, &payload).await;
        if let Fate::Waits(run, about) = fate.map_err(|e| of_journal(&e))? {
            let why = because.reason.as_deref().unwrap_or("no reason is given");
            let why = format!("{why} ({})", letter.reason);
            self.tell(&run, SIGNAL_DROP, about, &because, Some(why))
                .await?;
        }
        let settled = settled(letter, Action::Drop, because, false);
        self.settle(settled).await
    }

    /// Publishes an event again, as the same event: a run that it has started is not started twice.
    async fn event_again(
        &self,
        letter: &DeadLetter,
        payload: Bytes,
        edit: Option<Value>,
    ) -> Result<(), Problem> {
        let edited = edit.is_some();
        let event = event(letter, payload, edit)?;
        publish::check(&event)?;
        if is_reserved(&event.kind) {
            return Err(conflict("Flotilla's own events are not taken from outside"));
        }
        // What a gateway promised is started, whatever the definitions say by now. Where a condition could not be evaluated, or
        // the event is another one, it is judged anew.
        let promise = letter.promise.as_deref().filter(|_| !edited);
        let promise = promise.filter(|promise| {
            Promise::read(promise).is_ok_and(|promise| promise.faults.is_empty())
        });
        if promise.is_none() {
            let judged = self.current.judge(&event).await;
            judged.map_err(|unknown| conflict(format!("it would come back: {unknown}")))?;
        }
        ask_journal(self.journal.publish_event_again(&event, promise)).await?;
        Ok(())
    }

    /// Tells whoever handles a run's entries to do it again.
    async fn entry_again(
        &self,
        letter: &DeadLetter,
        payload: &[u8],
        because: &Because,
    ) -> Result<(), Problem> {
        let fate = fate(&self.journal, letter, payload).await;
        match fate.map_err(|e| of_journal(&e))? {
            Fate::Waits(run, about) => {
                let reason = because.reason.clone();
                self.tell(&run, SIGNAL_REDRIVE, about, because, reason)
                    .await
            }
            Fate::GoesOn(why) => Err(conflict(format!("there is nothing to do again: {why}"))),
            Fate::NoRun => Err(conflict(
                "there is nothing to do again: it is an entry of a run that nothing has started",
            )),
        }
    }

    /// Signals a run that something becomes of its letter.
    async fn tell(
        &self,
        run: &RunId,
        name: &'static str,
        about: Letter,
        because: &Because,
        reason: Option<String>,
    ) -> Result<(), Problem> {
        let id = if name == SIGNAL_DROP {
            signal::dropped(about.letter)
        } else {
            signal::redriven(about.letter)
        };
        let signalled = Signalled {
            id,
            by: because.by.clone(),
            reason,
            letter: Some(about),
            ..Signalled::default()
        };
        ask_journal(self.signal(run, name, signalled)).await
    }

    pub(super) async fn signal(
        &self,
        run: &RunId,
        name: &str,
        signalled: Signalled,
    ) -> Result<(), JournalError> {
        let refused = |problem: String| JournalError::Refused {
            subject: name.to_owned(),
            problem,
        };
        let name: Name = name
            .parse()
            .map_err(|e: flotilla_common::ids::IdError| refused(e.to_string()))?;
        let id = signal::message(run, &name, &signalled.id);
        let payload = Body::Signalled(signalled).encode(clock::now());
        let payload = payload.map_err(|e| refused(e.to_string()))?;
        self.journal
            .signal(run, &name, &id, payload)
            .await
            .map(drop)
    }

    /// Keeps who wanted it, then takes the letter away.
    async fn settle(&self, settled: SettledLetter) -> Result<SettledLetter, Problem> {
        let noted = self.redrives.note(&settled).await;
        noted.map_err(|e| of_redrives(&e))?;
        ask_journal(self.letters.remove(settled.seq)).await?;
        count(&settled.action.to_string());
        Ok(settled)
    }
}

pub(super) fn count(outcome: &str) {
    counter!(metric::DEAD_LETTERS_SETTLED, "outcome" => outcome.to_owned()).increment(1);
}

fn settled(letter: DeadLetter, action: Action, because: Because, edited: bool) -> SettledLetter {
    SettledLetter {
        seq: letter.seq,
        action,
        because,
        at: clock::now(),
        edited,
        subject: letter.subject,
        was: letter.reason,
        fingerprint: letter.fingerprint,
    }
}

fn said(because: &Because) -> String {
    let by = because.by.as_deref().map(|by| format!(" by {by}"));
    let why = because.reason.as_deref().map(|why| format!(": {why}"));
    by.unwrap_or_default() + &why.unwrap_or_default()
}
