//! `POST /v1/runs/{id}/cancel`: asks a run to stop.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
};
use flotilla_common::{
    entry::{Body as Entry, Signalled},
    ids::{Name, RunId},
    io::http::Problem,
    run::SIGNAL_CANCEL,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    body::{self, JSON},
    history,
    problem::{ask_journal, bad_request, unavailable},
    routes::App,
};

const BODY_BYTES_MAX: usize = 16 * 1024;
/// Longest `id` and `by`, in characters.
const NAME_LENGTH_MAX: usize = 128;
/// Longest `reason`, in characters.
const REASON_LENGTH_MAX: usize = 1_000;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    /// Which signal it is; the same one again changes nothing.
    id: Option<String>,
    by: Option<String>,
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Sent {
    run: RunId,
    id: String,
    /// Its sequence on the journal.
    seq: u64,
}

/// Writes the signal; the planner ends the run when it sees it.
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Sent>), Problem> {
    let run = history::run_id(id)?;
    let ask = read(&headers, body).await?;
    if let Some(problem) = ended(&app, &run).await? {
        return Err(Problem::new(StatusCode::CONFLICT, problem));
    }
    let id = ask
        .id
        .unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)));
    let signal: Name = SIGNAL_CANCEL
        .parse()
        .map_err(|error: flotilla_common::ids::IdError| bad_request(error.to_string()))?;
    let body = Entry::Signalled(Signalled {
        id: id.clone(),
        by: ask.by,
        reason: ask.reason,
        ..Signalled::default()
    });
    let payload = body
        .encode(Timestamp::now())
        .map_err(|e| bad_request(e.to_string()))?;
    // Message ids are the whole stream's: two runs may be sent signals of one id.
    let message_id = format!("{run}.{signal}.{id}");
    let seq = ask_journal(app.journal.signal(&run, &signal, &message_id, payload)).await?;
    Ok((StatusCode::ACCEPTED, Json(Sent { run, id, seq })))
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Ask, Problem> {
    let bytes = body::read(body, BODY_BYTES_MAX).await?;
    let ask: Ask = if bytes.is_empty() {
        Ask::default()
    } else {
        body::media_type(headers, &[JSON])?;
        serde_json::from_slice(&bytes).map_err(|e| {
            bad_request(format!(
                "not of the shape {{\"reason\"?, \"by\"?, \"id\"?}}: {e}"
            ))
        })?
    };
    for (name, text, length_max) in [
        ("id", &ask.id, NAME_LENGTH_MAX),
        ("by", &ask.by, NAME_LENGTH_MAX),
        ("reason", &ask.reason, REASON_LENGTH_MAX),
    ] {
        check(name, text.as_deref(), length_max)?;
    }
    // It becomes a header of the message.
    if ask.id.as_ref().is_some_and(|id| !id.is_ascii()) {
        return Err(bad_request("`id` must be ASCII"));
    }
    Ok(ask)
}

fn check(name: &str, text: Option<&str>, length_max: usize) -> Result<(), Problem> {
    match text {
        Some(text)
            if text.is_empty()
                || text.chars().count() > length_max
                || text.chars().any(char::is_control) =>
        {
            Err(bad_request(format!(
                "`{name}` must have 1 to {length_max} characters, none of them a control character"
            )))
        }
        _ => Ok(()),
    }
}

/// Why the run cannot be cancelled any more; `None` when it can.
async fn ended(app: &App, run: &RunId) -> Result<Option<String>, Problem> {
    let slot = app.histories.acquire().await;
    let _slot = slot.map_err(|_| unavailable("the gateway shuts down"))?;
    let messages = history::messages(app, run).await?;
    Ok(match history::fold(run, &messages) {
        Ok((folded, _)) => folded
            .end
            .map(|end| format!("the run has ended already: {} at {}", end.outcome, end.at)),
        Err(problem) => Some(format!("the run cannot go on, nor be cancelled: {problem}")),
    })
}

#[cfg(test)]
mod tests {
    use axum::http::header::CONTENT_TYPE;

    use super::*;

    async fn ask(body: &'static str) -> Result<Ask, Problem> {
        let headers = [(CONTENT_TYPE, JSON.parse().unwrap())];
        read(&headers.into_iter().collect(), Body::from(body)).await
    }

    #[tokio::test]
    async fn a_cancel_needs_no_body_and_takes_no_unknown_or_odd_fields() {
        assert!(read(&HeaderMap::new(), Body::empty()).await.is_ok());
        let asked = ask(r#"{"by": "me", "reason": "wrong alert", "id": "c1"}"#)
            .await
            .unwrap();
        assert_eq!(asked.by.as_deref(), Some("me"));
        for bad in [
            r#"{"why": "x"}"#,
            r#"{"id": "a\nb"}"#,
            r#"{"id": "ü"}"#,
            r#"{"by": ""}"#,
            "[",
        ] {
            assert_eq!(ask(bad).await.unwrap_err().status, 400, "{bad}");
        }
        let plain = read(&HeaderMap::new(), Body::from("{}")).await;
        assert_eq!(plain.unwrap_err().status, 415);
    }
}
