//! `POST /v1/runs/{id}/fork`: a new run that goes on from another one's state at one of its steps.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
};
use flotilla_common::{
    definition::{Catalogue, Workflow},
    entry::{Body as Entry, Forked, Pin, Started},
    event::EVENT_BYTES_MAX,
    ids::{Name, RunId},
    io::{clock, http::Problem, journal::decode, telemetry::span},
    names::subject,
    run::{Begun, ForkError, Run, check_same_before},
};
use serde::Serialize;
use serde_json::Value;
use tracing::debug;

use crate::{
    fields::{Fields, NAME_LENGTH_MAX, wrong},
    history::{self, History},
    problem::{ask_journal, ask_store, bad_request, conflict},
    publish,
    routes::App,
    tally,
};

/// Longest body: an event's data, and a few words.
const BODY_BYTES_MAX: usize = EVENT_BYTES_MAX + 16 * 1024;
/// Largest beginning of a fork, in bytes: nats-server takes 1 MiB with its headers unless it is told otherwise.
const STARTED_BYTES_MAX: usize = 960 * 1024;
/// Steps that are named as the largest.
const LARGEST_TOLD: usize = 3;

/// What is wanted.
#[derive(Debug)]
struct Wanted {
    /// Which request it is: the same again is the same fork.
    id: String,
    step: Name,
    data: Option<Value>,
    version: Option<u32>,
    by: Option<String>,
    reason: Option<String>,
}

/// A fork that is there.
#[derive(Debug, Serialize)]
pub(crate) struct Given {
    run: RunId,
    from: RunId,
    step: Name,
    id: String,
    /// Whether this request had made it before.
    duplicate: bool,
}

/// Forks a run.
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Given>), Problem> {
    let from = history::run_id(id)?;
    let wanted = read(&headers, body).await?;
    let History { run, entries, slot } = History::read(&app, &from).await?;
    drop(entries);
    let fork = RunId::of_fork(&from, &wanted.step, &wanted.id);
    // The other run may have gone on since, and not be there any more: a request that was answered once is answered again.
    let mut duplicate = is_there(&app, &fork, &run, &wanted).await?;
    if !duplicate && let Err(problem) = start(&app, &fork, started(&app, &run, &wanted)?).await {
        let twice = problem.status == StatusCode::CONFLICT.as_u16();
        duplicate = twice && is_there(&app, &fork, &run, &wanted).await?;
        if !duplicate {
            return Err(problem);
        }
    }
    drop(slot);
    let given = Given {
        run: fork,
        from,
        step: wanted.step,
        id: wanted.id,
        duplicate,
    };
    Ok((StatusCode::ACCEPTED, Json(given)))
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Wanted, Problem> {
    let mut fields = Fields::read(headers, body, BODY_BYTES_MAX).await?;
    let id = fields.text("id", NAME_LENGTH_MAX)?;
    let step = fields.id("step")?;
    let wanted = Wanted {
        id: id.unwrap_or_else(|| format!("{:032x}", fastrand::u128(..))),
        step: step.ok_or_else(|| wrong("step", "is missing"))?,
        data: fields.value("with")?,
        version: version(&mut fields)?,
        by: fields.by()?,
        reason: fields.reason()?,
    };
    fields.end(r#"{"step", "with"?, "version"?, "reason"?, "by"?, "id"?}"#)?;
    Ok(wanted)
}

fn version(fields: &mut Fields) -> Result<Option<u32>, Problem> {
    let given = fields.value("version")?;
    let number = |given: Value| {
        given
            .as_u64()
            .and_then(|version| u32::try_from(version).ok())
    };
    given
        .map(|given| number(given).ok_or_else(|| wrong("version", "must be a whole number")))
        .transpose()
}

/// The beginning of the new run.
fn started(app: &App, run: &Run, wanted: &Wanted) -> Result<Started, Problem> {
    let begun = run.begun.as_ref();
    let begun = begun.ok_or_else(|| conflict("the run has not begun"))?;
    let catalogue = app.current.catalogue();
    let own = catalogue.as_written(&begun.pin).ok_or_else(|| {
        let Pin { name, version, .. } = &begun.pin;
        conflict(format!(
            "workflow {name} version {version} of the run is not loaded here, so nobody can say what its steps gave"
        ))
    })?;
    let forked = run
        .fork_at(own, &wanted.step)
        .map_err(|error| problem(&error))?;
    let pin = match wanted.version {
        None => &begun.pin,
        Some(version) => &other(&catalogue, own, version, &wanted.step)?.pin,
    };
    beginning(begun, pin, forked, wanted)
}

/// Another version, if it has the same steps before the one where the fork begins.
fn other<'a>(
    catalogue: &'a Catalogue,
    own: &Workflow,
    version: u32,
    step: &Name,
) -> Result<&'a Arc<Workflow>, Problem> {
    let name = &own.pin.name;
    // Where a version was applied with other texts again, the last ones.
    let named = |one: &&Arc<Workflow>| one.pin.name == *name && one.pin.version == version;
    let other = catalogue.versions().filter(named).last();
    let other = other.ok_or_else(|| {
        wrong(
            "version",
            &format!("there is no version {version} of {name} here"),
        )
    })?;
    check_same_before(own, other, step).map_err(|error| problem(&error))?;
    Ok(other)
}

fn beginning(
    begun: &Begun,
    pin: &Pin,
    forked: Forked,
    wanted: &Wanted,
) -> Result<Started, Problem> {
    let mut event = begun.event.clone();
    if let Some(data) = &wanted.data {
        event.data = data.clone();
        publish::check(&event)?;
    }
    Ok(Started {
        workflow: pin.clone(),
        event,
        // Whoever started the other run waits for that one.
        parent: None,
        lessons: begun.lessons.clone(),
        forked: Some(Box::new(Forked {
            by: wanted.by.clone(),
            reason: wanted.reason.clone(),
            ..forked
        })),
        received: None,
    })
}

fn problem(error: &ForkError) -> Problem {
    match error {
        ForkError::NoStep { .. } | ForkError::Within { .. } => {
            bad_request(format!("`/step` {error}"))
        }
        ForkError::NotReached { .. } | ForkError::OtherSteps { .. } => conflict(error.to_string()),
    }
}

/// Begins it; a conflict where somebody else has a moment ago.
async fn start(app: &App, fork: &RunId, started: Started) -> Result<(), Problem> {
    let now = clock::now();
    let line = tally::line(fork, &started, now);
    let entry = Entry::Started(started.clone());
    let payload = entry
        .encode(now)
        .map_err(|error| bad_request(error.to_string()))?;
    if payload.len() > STARTED_BYTES_MAX {
        return Err(too_large(&started, payload.len()));
    }
    let name = &started.workflow.name;
    ask_journal(app.journal.start(fork, name, payload, span::current())).await?;
    if let Err(problem) = ask_store(app.store.index(&line)).await {
        let problem = problem.detail;
        debug!(run = %fork, problem, "not put into the index; its planner will do it");
    }
    Ok(())
}

/// Whether this request has begun it before.
async fn is_there(app: &App, fork: &RunId, from: &Run, wanted: &Wanted) -> Result<bool, Problem> {
    let messages = ask_journal(app.journal.raw(&subject::run(fork))).await?;
    let there = messages.iter().find_map(|raw| {
        let entry = decode(raw).ok().flatten()?;
        if let Entry::Started(there) = entry.body {
            Some(there)
        } else {
            None
        }
    });
    let (Some(there), Some(begun)) = (there, &from.begun) else {
        return Ok(false);
    };
    if asks_for(begun, wanted, &there) {
        return Ok(true);
    }
    Err(conflict(
        "another fork was asked for under this `id`; a new one needs an id of its own, or none",
    ))
}

/// Whether it is what was asked for, by whomever and for whatever reason.
fn asks_for(begun: &Begun, wanted: &Wanted, there: &Started) -> bool {
    let data = wanted.data.as_ref().unwrap_or(&begun.event.data);
    let version = wanted.version.unwrap_or(begun.pin.version);
    there.event.data == *data && there.workflow.version == version
}

fn too_large(started: &Started, bytes: usize) -> Problem {
    let given = started.forked.iter().flat_map(|forked| &forked.given);
    let mut sizes: Vec<(usize, &Name)> = given
        .map(|(step, value)| (value.to_string().len(), step))
        .collect();
    sizes.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
    let largest: Vec<String> = sizes
        .into_iter()
        .take(LARGEST_TOLD)
        .map(|(size, step)| format!("{step} ({size} bytes)"))
        .collect();
    let detail = format!(
        "what the steps before it gave would make an entry of {bytes} bytes, and at most {STARTED_BYTES_MAX} are taken; the largest: {}",
        largest.join(", ")
    );
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::http::header::CONTENT_TYPE;
    use serde_json::json;

    use super::*;
    use crate::{
        body::JSON,
        sample::{Journal, name},
    };

    async fn wanted(body: Value) -> Result<Wanted, Problem> {
        let headers = [(CONTENT_TYPE, JSON.parse().unwrap())];
        read(&headers.into_iter().collect(), Body::from(body.to_string())).await
    }

    #[tokio::test]
    async fn a_fork_names_its_step_and_nothing_that_is_not_known() {
        let asked = wanted(json!({"step": "fix", "with": {"a": 1}, "version": 2, "id": "r1"}));
        let asked = asked.await.unwrap();
        assert_eq!((asked.step.as_str(), asked.version), ("fix", Some(2)));
        assert_eq!(
            (asked.id.as_str(), asked.data),
            ("r1", Some(json!({"a": 1})))
        );
        for (body, pointer) in [
            (json!({}), "`/step`"),
            (json!({"step": "fix/2"}), "`/step`"),
            (json!({"step": "fix", "version": "2"}), "`/version`"),
            (json!({"step": "fix", "at": 1}), "`/at`"),
        ] {
            let problem = wanted(body).await.unwrap_err();
            assert!(problem.detail.starts_with(pointer), "{}", problem.detail);
        }
    }

    #[tokio::test]
    async fn a_fork_begins_with_the_event_and_what_was_taught_and_tells_nobody_above() {
        let journal = Journal::start("1", 7);
        let begun = journal.run.begun.clone().unwrap();
        let forked = Forked {
            run: journal.run.id.clone(),
            seq: 7,
            step: name("fix"),
            given: BTreeMap::from([(name("look"), json!("x".repeat(STARTED_BYTES_MAX)))]),
            escalated: None,
            by: None,
            reason: None,
        };
        let asked = json!({"step": "fix", "with": {"a": 1}, "by": "ana"});
        let asked = wanted(asked).await.unwrap();
        let started = beginning(&begun, &begun.pin, forked.clone(), &asked).unwrap();
        assert_eq!(
            (&started.event.id, &started.event.data),
            (&begun.event.id, &json!({"a": 1}))
        );
        assert_eq!(
            (started.parent.as_ref(), &started.lessons),
            (None, &begun.lessons)
        );
        let by = started
            .forked
            .as_ref()
            .and_then(|forked| forked.by.as_deref());
        assert_eq!(by, Some("ana"));
        let problem = too_large(&started, STARTED_BYTES_MAX + 1);
        assert!(
            problem.detail.contains("the largest: look ("),
            "{}",
            problem.detail
        );
        assert!(asks_for(&begun, &asked, &started));
        let others = [
            json!({"step": "fix"}),
            json!({"step": "fix", "with": {"a": 1}, "version": 9}),
        ];
        for other in others {
            let other = wanted(other).await.unwrap();
            assert!(!asks_for(&begun, &other, &started), "{other:?}");
        }
        let large = json!({"step": "fix", "with": "x".repeat(EVENT_BYTES_MAX)});
        let large = wanted(large).await.unwrap();
        let refused = beginning(&begun, &begun.pin, forked, &large).unwrap_err();
        assert_eq!(refused.status, 413);
    }
}
