//! From the stream EVENTS to runs: however an event came in, over HTTP or straight from a NATS client, this starts what it starts.

use std::{borrow::Cow, time::Duration};

use flotilla_common::{
    blob::Wanted,
    definition::Misfit,
    entry::{Body, Kind, Pin, Started},
    event::{EVENT_BYTES_MAX, Event},
    ids::RunId,
    io::{
        clock,
        journal::{Journal, JournalError, decode},
        lessons::Lessons,
        store::Store,
        telemetry::metric,
        worker::{Disposition, Form, HAND_BACK_PAUSE, Incoming},
    },
    names::{stream, subject},
    run::Summary,
    trace::TraceContext,
};
use futures_util::future::join_all;
use jiff::Timestamp;
use metrics::counter;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    current::Current,
    patience::patiently,
    promise::Promise,
    publish::check_depth,
    spans, tally,
    triggers::{WrongType, is_reserved},
};

/// The role's name, in dead letters and logs.
pub(crate) const ROLE: &str = "gateway";
/// How long an event waits for its runs' lines to be in the index: they are a courtesy to those who look.
const INDEX_PATIENCE: Duration = Duration::from_millis(250);

/// Turns events into runs.
#[derive(Debug, Clone)]
pub(crate) struct Intake {
    pub(crate) journal: Journal,
    pub(crate) store: Store,
    pub(crate) current: Current,
    pub(crate) lessons: Lessons,
    /// Ends all waiting.
    pub(crate) stop: CancellationToken,
}

/// What stops an event.
#[derive(Debug)]
pub(crate) enum Stop {
    /// For now.
    Wait(String),
    /// For ever.
    Dead(String),
}

/// A run that exists now.
#[derive(Debug)]
struct Begun {
    run: RunId,
    pin: Pin,
    /// Its line; `None` when its entry was there already.
    line: Option<Summary>,
}

impl Intake {
    /// One message of EVENTS.
    pub(crate) async fn handle(self, message: Incoming) -> Disposition {
        if is_for_nobody(&message) {
            return Disposition::Ack;
        }
        let read = read(&message);
        // What came through a gateway was counted there.
        let from_nats = !read
            .as_ref()
            .is_ok_and(|event| is_gateways(event, &message));
        let promise = message.promise.as_deref();
        let started = match read.map_err(Stop::Dead) {
            Ok(event) => match promised(&self.current, &event, promise).await {
                Ok((promise, adapted)) => {
                    let event = adapted.as_ref().unwrap_or(&event);
                    let sender = spans::sender(message.trace, event);
                    self.start(event, promise, message.published, sender).await
                }
                Err(stop) => Err(stop),
            },
            Err(stop) => Err(stop),
        };
        let (disposition, outcome) = match started {
            Ok(()) => (Disposition::Ack, "accepted"),
            Err(Stop::Dead(reason)) => (Disposition::Dead { reason }, "refused"),
            Err(Stop::Wait(why)) => {
                let after = HAND_BACK_PAUSE;
                return Disposition::Retry { after, why };
            }
        };
        if from_nats {
            counter!(metric::EVENTS, "source" => "nats", "outcome" => outcome).increment(1);
        }
        disposition
    }

    /// Starts all that can be started, also when one workflow's condition does not fit the event.
    /// `received`: when the event was on disk.
    pub(crate) async fn start(
        &self,
        event: &Event,
        promise: Promise,
        received: Timestamp,
        sender: Option<TraceContext>,
    ) -> Result<(), Stop> {
        let mut begun = Vec::with_capacity(promise.starts.len());
        let mut outcome = Ok(());
        for pin in promise.starts {
            match self.start_one(pin, event, received, sender).await {
                Ok(one) => begun.push(one),
                Err(stop) => {
                    outcome = Err(stop);
                    break;
                }
            }
        }
        let indexing = join_all(begun.into_iter().map(|one| self.index(one)));
        if timeout(INDEX_PATIENCE, indexing).await.is_err() {
            debug!("new runs are not in the index yet; their planners will put them there");
        }
        outcome?;
        if promise.faults.is_empty() {
            Ok(())
        } else {
            Err(Stop::Dead(promise.faults.join("; ")))
        }
    }

    async fn start_one(
        &self,
        pin: Pin,
        event: &Event,
        received: Timestamp,
        sender: Option<TraceContext>,
    ) -> Result<Begun, Stop> {
        let run = RunId::derive(&pin.name, &event.source, &event.id);
        let now = clock::now();
        let started = Started {
            workflow: pin.clone(),
            event: event.clone(),
            parent: None,
            lessons: self.lessons_of(&pin).await,
            forked: None,
            received: Some(received),
        };
        let line = tally::line(&run, &started, now);
        let payload = Body::Started(started)
            .encode(now)
            .map_err(|e| Stop::Dead(e.to_string()))?;
        let attempt = || self.journal.start(&run, &pin.name, payload.clone(), sender);
        let traced = spans::start(&run, &pin, sender);
        let appended = traced.within(patiently(&self.stop, attempt)).await?;
        let line = match appended {
            Ok(_) => {
                traced.end();
                debug!(%run, workflow = %pin.name, version = pin.version, event = event.id, "started");
                Some(line)
            }
            // The event came before, or this message did.
            Err(JournalError::Conflict(_)) => {
                traced.forget();
                debug!(%run, "started already");
                None
            }
            Err(error @ JournalError::Unavailable(_)) => return Err(Stop::Wait(error.to_string())),
            Err(
                error @ (JournalError::Refused { .. }
                | JournalError::Entry(_)
                | JournalError::TooLong { .. }),
            ) => return Err(Stop::Dead(error.to_string())),
        };
        Ok(Begun { run, pin, line })
    }

    /// What its runs are told of earlier ones; nothing where nobody here knows how much that is.
    async fn lessons_of(&self, pin: &Pin) -> Vec<String> {
        match self.current.catalogue().pinned(pin) {
            Some(workflow) => self.lessons.newest(pin, workflow.lessons).await,
            None => Vec::new(),
        }
    }

    /// Puts a run into the index before any planner has saved it, so that lists show it.
    async fn index(&self, begun: Begun) {
        let run = &begun.run;
        let line = match begun.line {
            Some(line) => Some(line),
            // Somebody started it, perhaps this process a moment ago, and may not have come to index it.
            None => self.first_line(run, &begun.pin).await,
        };
        if let Some(line) = line
            && let Err(problem) = self.store.index(&line).await
        {
            debug!(%run, %problem, "not put into the index; its planner will do it");
        }
    }

    async fn first_line(&self, run: &RunId, pin: &Pin) -> Option<Summary> {
        let subject = subject::entry(run, Kind::Started, &pin.name);
        let messages = self.journal.raw(&subject).await.ok()?;
        let entry = decode(messages.first()?).ok()??;
        match &entry.body {
            Body::Started(started) => Some(tally::line(run, started, entry.at)),
            Body::Decided(_) | Body::Resulted(_) | Body::Signalled(_) | Body::Fired(_) => None,
        }
    }
}

/// Whether a gateway has read this event and promised that it starts nothing: then there is no need to read it again.
fn is_for_nobody(message: &Incoming) -> bool {
    let promise = message.promise.as_deref().map(Promise::read);
    matches!(promise, Some(Ok(promise)) if promise.starts.is_empty() && promise.faults.is_empty())
}

/// What the gateway that took this event in has promised to start, known here or not; of an event that came straight from NATS,
/// what the definitions here say. And the event as workflows see it, where that is another one.
async fn promised(
    current: &Current,
    event: &Event,
    header: Option<&str>,
) -> Result<(Promise, Option<Event>), Stop> {
    // Flotilla's own never come this way, so no promise for them is a gateway's.
    if is_reserved(&event.kind) {
        return Err(Stop::Dead(WrongType::Reserved.to_string()));
    }
    match header.map(Promise::read) {
        Some(Ok(promise)) => {
            let adapted = as_seen(current, event, &promise)?;
            return Ok((promise, adapted));
        }
        // No gateway wrote it. The event is one all the same.
        Some(Err(problem)) => warn!(event = event.id, problem, "a promise that is none; ignored"),
        None => {}
    }
    let verdict = current
        .judge(event)
        .await
        .map_err(|unknown| Stop::Dead(unknown.to_string()))?;
    Ok((Promise::from(&verdict), verdict.adapted))
}

/// A promised event as workflows see it. The data that its gateway put into the object store was made so there.
fn as_seen(current: &Current, event: &Event, promise: &Promise) -> Result<Option<Event>, Stop> {
    let is_moved = matches!(Wanted::read(&event.data), Ok(Some(Wanted::Whole(_))));
    if is_moved || promise.starts.is_empty() {
        return Ok(None);
    }
    match current.triggers().seen(event, promise.version) {
        Ok(Cow::Borrowed(_)) => Ok(None),
        Ok(Cow::Owned(adapted)) => Ok(Some(adapted)),
        // Its gateway knows a newer version than this one.
        Err(misfit @ Misfit::Version { .. }) => Err(Stop::Wait(misfit.to_string())),
        Err(misfit @ (Misfit::Data { .. } | Misfit::Adapter { .. })) => {
            Err(Stop::Dead(misfit.to_string()))
        }
    }
}

/// The event in a message. One without an id of its own has its publisher's message id, or its place in the stream: the same
/// however often it is delivered.
pub(crate) fn read(message: &Incoming) -> Result<Event, String> {
    let kind = subject::event_type(&message.subject).ok_or_else(|| {
        format!(
            "`{}` is not events.<type>, with a type of words of A-Z a-z 0-9 _ - and dots between",
            message.subject
        )
    })?;
    let given = message.message_id.clone().filter(|id| !id.is_empty());
    let id = given.unwrap_or_else(|| format!("nats:{}:{}", stream::EVENTS, message.seq));
    let event = match &message.form {
        Form::Wrong(why) => return Err(why.clone()),
        Form::Structured => Event::structured(&message.payload, EVENT_BYTES_MAX)
            .and_then(|event| event.on_subject_of(&kind)),
        // What came was within the limit.
        Form::Written => Event::structured(&message.payload, usize::MAX)
            .and_then(|event| event.on_subject_of(&kind)),
        Form::Plain => Event::published(&message.payload, &kind, id),
    };
    let event = event.map_err(|e| e.to_string())?;
    check_depth(&event)?;
    Ok(event)
}

/// A gateway publishes an event with its identity as message id.
fn is_gateways(event: &Event, message: &Incoming) -> bool {
    let id = message.message_id.as_deref();
    id.is_some_and(|id| id.starts_with(&event.identity()))
}

#[cfg(test)]
mod tests;
