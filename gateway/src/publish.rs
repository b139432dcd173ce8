//! From an event to the stream EVENTS: after this, it is kept.

use axum::http::StatusCode;
use bytes::Bytes;
use flotilla_common::{
    blob::INLINE_BYTES_MAX,
    depth::{DEPTH_MAX, is_within},
    event::{EVENT_BYTES_MAX, Event, EventError},
    ids::{EventType, RunId},
    io::{
        http::Problem,
        journal::{Journal, JournalError},
        telemetry::metric,
    },
};
use metrics::counter;
use serde::Serialize;

use crate::{
    hooks::Outcome,
    problem::{ask_journal, bad_request, of_event},
    promise::Promise,
    routes::App,
    spans,
    triggers::Verdict,
};

/// An event that was taken in.
#[derive(Debug, Serialize)]
pub(crate) struct Taken {
    /// With `source`, which event it is.
    pub(crate) id: String,
    pub(crate) source: String,
    #[serde(rename = "type")]
    pub(crate) kind: EventType,
    /// The runs that it starts, now or when it first came.
    pub(crate) runs: Vec<RunId>,
    /// Where each of them is looked at.
    pub(crate) status_urls: Vec<String>,
    /// Whether it came before, as far as is known: within two minutes it always is.
    pub(crate) duplicate: bool,
}

/// Whether the intake will be able to read this event, and a planner the run that starts from it. What the gateway accepts must
/// not end as a dead letter for a reason that could have been said.
///
/// Gives the event as it is kept.
pub(crate) fn check(event: &Event) -> Result<Bytes, Problem> {
    check_depth(event).map_err(bad_request)?;
    encoded(event)
}

/// The event as it is kept. It may be larger than it came: numbers are written out.
fn encoded(event: &Event) -> Result<Bytes, Problem> {
    let bytes = serde_json::to_vec(event).map_err(|error| bad_request(error.to_string()))?;
    if bytes.len() > EVENT_BYTES_MAX {
        return Err(of_event(&EventError::TooLarge(
            bytes.len(),
            EVENT_BYTES_MAX,
        )));
    }
    Ok(bytes.into())
}

/// As [`check`], of what was read already.
pub(crate) fn check_depth(event: &Event) -> Result<(), String> {
    let parts = event.extensions.values().chain([&event.data]);
    if parts.into_iter().all(|part| is_within(part, DEPTH_MAX)) {
        Ok(())
    } else {
        Err(format!(
            "the event is nested more than {DEPTH_MAX} levels deep"
        ))
    }
}

/// Publishes an event that was checked, and what it starts; when this returns, JetStream has it. What is too large of it is in the
/// object store before.
pub(crate) async fn publish(app: &App, event: &Event, verdict: &Verdict) -> Result<Taken, Problem> {
    publish_encoded(app, event, encoded(event), verdict).await
}

/// As [`publish`], of an event that was written down already, or could not be.
pub(crate) async fn publish_encoded(
    app: &App,
    event: &Event,
    payload: Result<Bytes, Problem>,
    verdict: &Verdict,
) -> Result<Taken, Problem> {
    app.backlog.check()?;
    let moved;
    let (kept, payload) = match payload {
        Ok(payload) if payload.len() <= INLINE_BYTES_MAX => (event, payload),
        Ok(_) | Err(_) => {
            moved = app.large.moved(event, verdict).await?;
            (&*moved, encoded(&moved)?)
        }
    };
    let sending = spans::publishing(event);
    let duplicate = sending
        .within(ask_journal(keep(&app.journal, kept, payload, verdict)))
        .await?;
    sending.end();
    let runs = verdict.starts.iter().map(|start| start.run.clone());
    let runs: Vec<RunId> = runs.collect();
    spans::starts(&runs);
    Ok(Taken {
        id: event.id.clone(),
        source: event.source.clone(),
        kind: event.kind.clone(),
        status_urls: runs.iter().map(status_url).collect(),
        runs,
        duplicate,
    })
}

/// Where a run is looked at.
fn status_url(run: &RunId) -> String {
    format!("/v1/runs/{run}")
}

/// Whether the event was there already.
async fn keep(
    journal: &Journal,
    event: &Event,
    payload: Bytes,
    verdict: &Verdict,
) -> Result<bool, JournalError> {
    let promise = Promise::from(verdict).header();
    let accepted = journal
        .publish_encoded(event, payload, promise.as_deref())
        .await?;
    if accepted.duplicate {
        for start in &verdict.starts {
            if !journal
                .is_started(&start.run, &start.workflow.pin.name)
                .await?
            {
                // The first copy is still on its way, or came to nothing, or another gateway with other definitions took it in. A
                // second `started` of a run is refused, so once more does no harm.
                journal
                    .publish_event_again(event, promise.as_deref())
                    .await?;
                break;
            }
        }
    }
    Ok(accepted.duplicate)
}

/// Counts what became of an event that came over HTTP.
pub(crate) fn count(source: &'static str, taken: &Result<Taken, Problem>) {
    add(source, taken.as_ref().map(Some));
}

/// Counts what became of a webhook.
pub(crate) fn count_hook(source: &'static str, outcome: &Result<Outcome, Problem>) {
    let taken = outcome.as_ref().map(|outcome| match outcome {
        Outcome::Taken(taken) => Some(taken),
        Outcome::Ignored(_) => None,
    });
    add(source, taken);
}

fn add(source: &'static str, taken: Result<Option<&Taken>, &Problem>) {
    let outcome = match taken {
        Ok(Some(Taken {
            duplicate: false, ..
        })) => "accepted",
        Ok(Some(Taken {
            duplicate: true, ..
        })) => "duplicate",
        Ok(None) => "ignored",
        Err(problem) if problem.status == StatusCode::SERVICE_UNAVAILABLE.as_u16() => "unavailable",
        Err(_) => "refused",
    };
    counter!(metric::EVENTS, "source" => source, "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use flotilla_common::entry::{Body, Entry, Pin, Started};
    use serde_json::json;

    use super::*;

    fn nested(levels: usize) -> Event {
        let data = (0..levels).fold(json!(1), |inner, _| json!([inner]));
        Event::new("a.b".parse().unwrap(), "s".into(), "1".into(), data)
    }

    #[test]
    fn what_is_checked_can_be_read_wherever_it_stands_later() {
        let event = nested(DEPTH_MAX);
        check(&event).unwrap();
        let started = Started {
            workflow: Pin {
                name: "w".parse().unwrap(),
                version: 1,
                digest: String::new(),
            },
            event,
            parent: None,
            lessons: Vec::new(),
            forked: None,
            received: None,
        };
        let payload = Body::Started(started)
            .encode(jiff::Timestamp::UNIX_EPOCH)
            .unwrap();
        let run = RunId::derive(&"w".parse().unwrap(), "s", "1");
        let address = format!("runs.{run}.started.w");
        let address = flotilla_common::entry::Address::parse(&address)
            .unwrap()
            .unwrap();
        assert!(Entry::decode(1, address, &payload).is_ok());
    }

    #[test]
    fn an_event_that_is_too_deep_or_too_large_is_refused_before_it_is_kept() {
        assert_eq!(check(&nested(DEPTH_MAX + 1)).unwrap_err().status, 400);
        let mut large = nested(1);
        // Small as it came, large as it is kept: numbers are written out.
        large.data = json!(vec![1e15; 100_000]);
        assert_eq!(check(&large).unwrap_err().status, 413);
    }
}
