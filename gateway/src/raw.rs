//! `GET /v1/runs/{id}/journal`: the entries of a run byte for byte, as whoever checks its hash chain needs them.

use std::sync::Arc;

use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
};
use flotilla_common::{
    ids::{RunId, hex},
    io::{
        http::Problem,
        journal::{Raw, decode},
    },
};
use serde::Serialize;

use crate::{
    history::{self, Fields, JOURNAL_BYTES_MAX},
    problem::unavailable,
    query,
    routes::App,
};

/// Some of a run's entries.
#[derive(Debug, Serialize)]
pub(crate) struct Page {
    run: RunId,
    /// In order; from `since` on.
    entries: Vec<Line>,
    /// Set when there is more than one answer holds: ask again with it as `since`.
    next: Option<u64>,
}

/// A message of the run's.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Line {
    seq: u64,
    subject: String,
    /// Its bytes, which are UTF-8…
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    /// …or as hex, where somebody wrote what is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<String>,
}

/// A page of a run's entries.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    fields: Result<Query<Fields>, QueryRejection>,
) -> Result<Json<Page>, Problem> {
    let run = history::run_id(id)?;
    let since = query::value("since", query::fields(fields)?.since.as_deref())?;
    let slot = app.histories.acquire().await;
    let _slot = slot.map_err(|_| unavailable("the gateway shuts down"))?;
    let messages = history::messages(&app, &run).await?;
    Ok(Json(page(run, &messages, since.unwrap_or(0))))
}

fn page(run: RunId, messages: &[Raw], since: u64) -> Page {
    let mut entries: Vec<Line> = Vec::new();
    let mut bytes = 0;
    let mut next = None;
    // A timer's schedule is no entry.
    let is_entry = |message: &&Raw| message.seq > since && !matches!(decode(message), Ok(None));
    for message in messages.iter().filter(is_entry) {
        bytes += message.payload.len();
        if let Some(last) = entries.last()
            && bytes > JOURNAL_BYTES_MAX
        {
            next = Some(last.seq);
            break;
        }
        let text = std::str::from_utf8(&message.payload).ok();
        entries.push(Line {
            seq: message.seq,
            subject: message.subject.clone(),
            payload: text.map(str::to_owned),
            payload_hex: text.is_none().then(|| hex(&message.payload)),
        });
    }
    Page { run, entries, next }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::name;

    fn raw(run: &RunId, seq: u64, rest: &str, payload: &[u8]) -> Raw {
        Raw {
            seq,
            subject: format!("runs.{run}.{rest}"),
            payload: payload.to_vec().into(),
        }
    }

    #[test]
    fn entries_are_given_as_they_are_whatever_they_are_and_schedules_are_not() {
        let run = RunId::derive(&name("w"), "s", "1");
        let messages = [
            raw(&run, 3, "started.w", b"{\"v\":1, \"x\":2.50}"),
            raw(&run, 4, "timer.deadline", b"{}"),
            raw(&run, 6, "resulted.t", b"\xff\x00"),
        ];
        let given = page(run.clone(), &messages, 0);
        let shown = serde_json::to_value(&given.entries).unwrap();
        assert_eq!(shown[0]["payload"], "{\"v\":1, \"x\":2.50}");
        assert_eq!(
            (shown[1]["seq"].as_u64(), &shown[1]["payload_hex"]),
            (Some(6), &"ff00".into())
        );
        assert_eq!((given.entries.len(), given.next), (2, None));
        assert_eq!(page(run, &messages, 3).entries.len(), 1);
    }

    #[test]
    fn an_answer_that_would_be_too_large_says_where_to_go_on() {
        let run = RunId::derive(&name("w"), "s", "1");
        let large = "x".repeat(JOURNAL_BYTES_MAX / 2 + 1);
        let messages: Vec<_> = (1..=3)
            .map(|seq| raw(&run, seq, "resulted.t", large.as_bytes()))
            .collect();
        let first = page(run.clone(), &messages, 0);
        assert_eq!((first.entries.len(), first.next), (1, Some(1)));
        assert_eq!(page(run, &messages, 2).next, None);
    }
}
