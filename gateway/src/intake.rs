//! From the stream EVENTS to runs: however an event came in, over HTTP or straight from a NATS client, this starts what it starts.

use std::{sync::Arc, time::Duration};

use flotilla_common::{
    entry::{Body, Started},
    event::Event,
    io::{
        journal::{Journal, JournalError},
        telemetry::metric,
        worker::{Disposition, Incoming},
    },
    names::{stream, subject},
};
use jiff::Timestamp;
use metrics::counter;
use tracing::debug;

use crate::{
    publish::check_depth,
    triggers::{Start, Triggers},
};

/// The role's name, in dead letters and logs.
pub(crate) const ROLE: &str = "gateway";
/// When an event is tried again after the journal could not be reached; the journal has had its own patience before.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Turns events into runs.
#[derive(Debug, Clone)]
pub(crate) struct Intake {
    journal: Journal,
    triggers: Arc<Triggers>,
}

/// What stops an event.
#[derive(Debug)]
enum Stop {
    /// For now.
    Wait(String),
    /// For ever.
    Dead(String),
}

impl Intake {
    pub(crate) fn new(journal: Journal, triggers: Arc<Triggers>) -> Self {
        Self { journal, triggers }
    }

    /// One message of EVENTS.
    pub(crate) async fn handle(self, message: Incoming) -> Disposition {
        let read = read(&message);
        // What came through a gateway was counted there.
        let from_nats = !read
            .as_ref()
            .is_ok_and(|event| is_gateways(event, &message));
        let started = match read {
            Ok(event) => self.start(event).await,
            Err(reason) => Err(Stop::Dead(reason)),
        };
        let (disposition, outcome) = match started {
            Ok(()) => (Disposition::Ack, "accepted"),
            Err(Stop::Dead(reason)) => (Disposition::Dead { reason }, "refused"),
            Err(Stop::Wait(why)) => {
                let after = RETRY_AFTER;
                return Disposition::Retry { after, why };
            }
        };
        if from_nats {
            counter!(metric::EVENTS, "source" => "nats", "outcome" => outcome).increment(1);
        }
        disposition
    }

    /// Starts all that can be started, also when one workflow's condition does not fit the event.
    async fn start(&self, event: Event) -> Result<(), Stop> {
        let verdict = self
            .triggers
            .judge(&event)
            .map_err(|unknown| Stop::Dead(unknown.to_string()))?;
        for start in &verdict.starts {
            self.start_one(start, &event).await?;
        }
        if verdict.faults.is_empty() {
            Ok(())
        } else {
            Err(Stop::Dead(verdict.faults.join("; ")))
        }
    }

    async fn start_one(&self, start: &Start, event: &Event) -> Result<(), Stop> {
        let pin = &start.workflow.pin;
        let body = Body::Started(Started {
            workflow: pin.clone(),
            event: event.clone(),
        });
        let payload = body
            .encode(Timestamp::now())
            .map_err(|e| Stop::Dead(e.to_string()))?;
        match self.journal.start(&start.run, &pin.name, payload).await {
            Ok(_) => {
                debug!(run = %start.run, workflow = %pin.name, version = pin.version, event = event.id, "started");
                Ok(())
            }
            // The event came before, or this message did.
            Err(JournalError::Conflict(_)) => {
                debug!(run = %start.run, "started already");
                Ok(())
            }
            Err(error @ JournalError::Unavailable(_)) => Err(Stop::Wait(error.to_string())),
            Err(
                error @ (JournalError::Refused { .. }
                | JournalError::Entry(_)
                | JournalError::TooLong { .. }),
            ) => Err(Stop::Dead(error.to_string())),
        }
    }
}

/// The event in a message. One without an id of its own has its publisher's message id, or its place in the stream: the same
/// however often it is delivered.
fn read(message: &Incoming) -> Result<Event, String> {
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
    use serde_json::json;

    use super::*;

    fn message(subject: &str, payload: &str, id: Option<&str>) -> Incoming {
        Incoming {
            subject: subject.into(),
            seq: 7,
            payload: payload.to_owned().into(),
            delivered: 1,
            message_id: id.map(Into::into),
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
}
