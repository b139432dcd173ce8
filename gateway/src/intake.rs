//! From the stream EVENTS to runs: however an event came in, over HTTP or straight from a NATS client, this starts what it starts.

use std::time::Duration;

use flotilla_common::{
    entry::{Body, Kind, Pin, Started},
    event::Event,
    ids::RunId,
    io::{
        journal::{Journal, JournalError, decode},
        lessons::Lessons,
        store::Store,
        telemetry::metric,
        worker::{Disposition, HAND_BACK_PAUSE, Incoming},
    },
    names::{stream, subject},
    run::Summary,
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
    tally,
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
        let read = read(&message);
        // What came through a gateway was counted there.
        let from_nats = !read
            .as_ref()
            .is_ok_and(|event| is_gateways(event, &message));
        let promise = message.promise.as_deref();
        let started = match read.map_err(Stop::Dead) {
            Ok(event) => match promised(&self.current, &event, promise).await {
                Ok(promise) => self.start(&event, promise).await,
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
    pub(crate) async fn start(&self, event: &Event, promise: Promise) -> Result<(), Stop> {
        let mut begun = Vec::with_capacity(promise.starts.len());
        let mut outcome = Ok(());
        for pin in promise.starts {
            match self.start_one(pin, event).await {
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

    async fn start_one(&self, pin: Pin, event: &Event) -> Result<Begun, Stop> {
        let run = RunId::derive(&pin.name, &event.source, &event.id);
        let now = Timestamp::now();
        let started = Started {
            workflow: pin.clone(),
            event: event.clone(),
            parent: None,
            lessons: self.lessons_of(&pin).await,
            forked: None,
        };
        let line = tally::line(&run, &started, now);
        let payload = Body::Started(started)
            .encode(now)
            .map_err(|e| Stop::Dead(e.to_string()))?;
        let attempt = || self.journal.start(&run, &pin.name, payload.clone());
        let line = match patiently(&self.stop, attempt).await? {
            Ok(_) => {
                debug!(%run, workflow = %pin.name, version = pin.version, event = event.id, "started");
                Some(line)
            }
            // The event came before, or this message did.
            Err(JournalError::Conflict(_)) => {
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

/// What the gateway that took this event in has promised to start, known here or not; of an event that came straight from NATS,
/// what the definitions here say.
async fn promised(current: &Current, event: &Event, header: Option<&str>) -> Result<Promise, Stop> {
    // Flotilla's own never come this way, so no promise for them is a gateway's.
    if is_reserved(&event.kind) {
        return Err(Stop::Dead(WrongType::Reserved.to_string()));
    }
    match header.map(Promise::read) {
        Some(Ok(promise)) => return Ok(promise),
        // No gateway wrote it. The event is one all the same.
        Some(Err(problem)) => warn!(event = event.id, problem, "a promise that is none; ignored"),
        None => {}
    }
    let verdict = current
        .judge(event)
        .await
        .map_err(|unknown| Stop::Dead(unknown.to_string()))?;
    Ok(Promise::from(&verdict))
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
    let event = Event::published(&message.payload, &kind, id).map_err(|e| e.to_string())?;
    check_depth(&event)?;
    Ok(event)
}

/// A gateway publishes an event with its identity as message id.
fn is_gateways(event: &Event, message: &Incoming) -> bool {
    let id = message.message_id.as_deref();
    id.is_some_and(|id| id.starts_with(&event.identity()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use flotilla_common::io::definitions::Live;
    use serde_json::json;

    use super::*;
    use crate::triggers::tests::{catalogue, event};

    fn current() -> Current {
        Current::new(Live::from(Arc::new(catalogue())))
    }

    fn message(subject: &str, payload: &str, id: Option<&str>) -> Incoming {
        Incoming {
            subject: subject.into(),
            seq: 7,
            payload: payload.to_owned().into(),
            published: Timestamp::UNIX_EPOCH,
            delivered: 1,
            message_id: id.map(Into::into),
            promise: None,
        }
    }

    #[test]
    fn an_event_without_an_id_gets_one_that_a_redelivery_gets_too() {
        let bare = |id| read(&message("events.test.alert", r#"{"x": 1}"#, id)).unwrap();
        assert_eq!(bare(None).id, "nats:EVENTS:7");
        assert_eq!(bare(Some("")).id, "nats:EVENTS:7");
        assert_eq!(bare(Some("m1")).id, "m1");
        assert_eq!(
            (bare(None).kind.as_str(), bare(None).data),
            ("test.alert", json!({"x": 1}))
        );
    }

    #[test]
    fn what_is_no_event_is_told_with_its_reason() {
        let reason =
            |subject: &str, payload: &str| read(&message(subject, payload, None)).unwrap_err();
        assert!(reason("events.test.alert", "{").contains("line 1"));
        assert!(reason("events.a b", "{}").contains("events.<type>"));
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        assert!(reason("events.test.alert", &deep).contains("nested"));
        let large = format!("\"{}\"", "x".repeat(600_000));
        assert!(reason("events.test.alert", &large).contains("at most"));
    }

    #[test]
    fn what_came_through_a_gateway_is_known_by_its_message_id() {
        let payload = r#"{"type": "test.alert", "id": "1", "source": "s", "data": 1}"#;
        let event = read(&message("events.test.alert", payload, None)).unwrap();
        let again = format!("{}.0123", event.identity());
        for (id, expected) in [
            (Some(event.identity()), true),
            (Some(again), true),
            (Some("m1".to_owned()), false),
            (None, false),
        ] {
            let message = message("events.test.alert", payload, id.as_deref());
            assert_eq!(is_gateways(&event, &message), expected, "{id:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_promised_starts_also_where_its_workflow_is_not_known() {
        let pin = |name: &str| json!({"name": name, "version": 2, "digest": "0a".repeat(32)});
        let header = json!({"starts": [pin("any"), pin("newer")]}).to_string();
        for kind in ["test.alert", "test.newer"] {
            let promise = promised(&current(), &event(kind, json!({})), Some(&header))
                .await
                .unwrap();
            let pins = promise
                .starts
                .iter()
                .map(|pin| (pin.name.as_str(), pin.version));
            assert_eq!(pins.collect::<Vec<_>>(), [("any", 2), ("newer", 2)]);
            assert!(promise.faults.is_empty());
        }
        // Nothing, when nothing was promised.
        let high = event("test.alert", json!({"level": 9}));
        let promise = promised(&current(), &high, Some(r#"{"starts": []}"#))
            .await
            .unwrap();
        assert!(promise.starts.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_without_a_promise_or_with_a_forged_one_is_judged_here() {
        for header in [
            None,
            Some("forged"),
            Some(r#"{"starts": [{"name": "other", "version": 1, "digest": ""}]}"#),
        ] {
            let high = event("test.alert", json!({"level": 9}));
            let promise = promised(&current(), &high, header).await.unwrap();
            let names = promise.starts.iter().map(|pin| pin.name.as_str());
            assert_eq!(names.collect::<Vec<_>>(), ["any", "high"], "{header:?}");
            let unknown = promised(&current(), &event("test.newer", json!({})), header).await;
            assert!(matches!(unknown, Err(Stop::Dead(reason)) if reason.contains("test.newer")));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_promise_lets_an_event_of_the_clock_in() {
        let forged = event("flotilla.cron", json!({"due": "2026-01-01T00:00:00Z"}));
        for header in [None, Some(r#"{"starts": []}"#)] {
            let refused = promised(&current(), &forged, header).await;
            assert!(matches!(refused, Err(Stop::Dead(reason)) if reason.contains("from nobody")));
        }
    }
}
