//! The `builtin` adapter: what an executor does by itself.

use std::time::Duration;

use flotilla_common::{
    definition::{Builtin, Shape, Statuses, Template},
    event::{EVENT_BYTES_MAX, Event},
    ids::{EventType, RunId},
    io::{
        bus::Bus,
        journal::{Journal, JournalError},
    },
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{
    Call, Scene,
    failure::{Class, Failure},
    http::HttpClient,
};

/// How long one look at a URL may take.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn run(
    call: &Call<'_>,
    builtin: &Builtin,
    bus: Option<&Bus>,
    client: &HttpClient,
    scene: &Scene<'_>,
) -> Result<Value, Failure> {
    match builtin {
        Builtin::Note => Ok(json!({"noted": true})),
        Builtin::EmitEvent { kind, data } => emit(call, kind, data, bus, scene).await,
        Builtin::WaitForUrl { url, every, expect } => {
            let limit = call.tool.timeout;
            let until = Instant::now() + limit;
            let mut last = "it was not looked at".to_owned();
            let looking = look(client, url, *every, expect, scene, &mut last);
            match timeout_at(until, looking).await {
                Ok(found) => found,
                Err(_) => {
                    let message = format!("not as expected within {limit:?}; at last {last}");
                    Err(Failure::new(Class::Timeout, message))
                }
            }
        }
    }
}

/// Publishes the event under an id that every repetition has, too. Its output is `{"id", "type", "source"}`.
async fn emit(
    call: &Call<'_>,
    kind: &EventType,
    data: &Shape,
    bus: Option<&Bus>,
    scene: &Scene<'_>,
) -> Result<Value, Failure> {
    let Some(bus) = bus else {
        let message = "this tool publishes an event, and there is no connection to NATS here";
        return Err(Failure::new(Class::Config, message));
    };
    let data = data
        .render(&scene.context)
        .map_err(|error| Failure::hole("data", &error))?;
    if data.to_string().len() > EVENT_BYTES_MAX {
        let message = format!("the event's data has more than {EVENT_BYTES_MAX} bytes");
        return Err(Failure::new(Class::Input, message));
    }
    let (id, source) = (call.idempotency_key.clone(), source(call.run));
    let event = Event::new(kind.clone(), source, id, data);
    let journal = Journal::new(bus.clone());
    let publishing = journal.publish_event(&event, None);
    match timeout(call.tool.timeout, publishing).await {
        Ok(Ok(_)) => Ok(json!({"id": event.id, "type": event.kind, "source": event.source})),
        Ok(Err(error @ (JournalError::Refused { .. } | JournalError::TooLong { .. }))) => {
            Err(Failure::new(Class::Input, error.to_string()))
        }
        Ok(Err(
            error @ (JournalError::Unavailable(_)
            | JournalError::Conflict(_)
            | JournalError::Entry(_)),
        )) => Err(Failure::new(Class::Network, error.to_string())),
        Err(_) => {
            let message = format!("NATS did not take the event within {:?}", call.tool.timeout);
            Err(Failure::new(Class::Timeout, message))
        }
    }
}

/// Who says so: the run.
fn source(run: &RunId) -> String {
    format!("flotilla:run/{run}")
}

/// Looks at a URL until it answers as expected. Its output is `{"status", "looks"}`.
async fn look(
    client: &HttpClient,
    url: &Template,
    every: Duration,
    expect: &[Statuses],
    scene: &Scene<'_>,
    last: &mut String,
) -> Result<Value, Failure> {
    let mut looks: u32 = 0;
    loop {
        looks = looks.saturating_add(1);
        match timeout(LOOK_LIMIT, client.status(url, scene)).await {
            Ok(Ok(status)) if Statuses::expected(expect, status) => {
                return Ok(json!({"status": status, "looks": looks}));
            }
            Ok(Ok(status)) => *last = format!("it answered with status {status}"),
            // What must not be reached will not become reachable.
            Ok(Err(failure)) if matches!(failure.class(), Class::Refused | Class::Input) => {
                return Err(failure);
            }
            Ok(Err(failure)) => failure.message().clone_into(last),
            Err(_) => *last = format!("it did not answer within {LOOK_LIMIT:?}"),
        }
        sleep(every).await;
    }
}
