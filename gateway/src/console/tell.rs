//! What people tell a run from its page.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, Path, State},
    http::StatusCode,
    response::Redirect,
};
use flotilla_common::{
    access::Scope,
    ids::RunId,
    io::http::{Peer, Problem},
};
use serde_json::{Map, Value, json};

use super::form::Form;
use crate::{
    fields::{Fields, wrong},
    history,
    problem::bad_request,
    routes::App,
    signal::{self, Signal},
};

/// What a page says that a form led to, by the word in its address.
const NOTICES: [(&str, &str); 10] = [
    ("cancel", "The run was asked to stop."),
    ("pause", "The run was asked to do nothing for now."),
    ("resume", "The run was asked to go on."),
    ("raise", "The ceiling is set."),
    ("retry", "The run was asked to begin anew from that step."),
    (
        "message",
        "The message is on the journal; the agent hears it at its next turn.",
    ),
    ("feedback", "Noted. Later runs of this version are told."),
    ("approved", "Approved."),
    ("rejected", "Rejected."),
    ("sent", "The event is taken in."),
];

/// What was just done, by its word.
pub(crate) fn notice(query: &str) -> Option<&'static str> {
    let mut fields = form_urlencoded::parse(query.as_bytes());
    let (_, word) = fields.find(|(name, _)| name == "done")?;
    let mut notices = NOTICES.into_iter();
    notices
        .find(|(known, _)| *known == word)
        .map(|(_, words)| words)
}

/// Tells a run something.
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path((run, told)): Path<(String, String)>,
    form: Form,
) -> Result<Redirect, Problem> {
    form.door.must(Scope::Approve)?;
    let run: RunId = history::run_id(Ok(Path(run)))?;
    let signal = named(&told)?;
    if signal == Signal::Raise {
        form.door.must(Scope::Admin)?;
    }
    let fields = Fields::of(fields(signal, &form)?);
    signal::tell(&app, run.clone(), signal, fields, peer).await?;
    Ok(Redirect::to(&format!("/runs/{run}?done={told}")))
}

fn named(told: &str) -> Result<Signal, Problem> {
    let all = [
        Signal::Cancel,
        Signal::Pause,
        Signal::Resume,
        Signal::Raise,
        Signal::Retry,
        Signal::Message,
        Signal::Feedback,
    ];
    let found = all.into_iter().find(|signal| signal.to_string() == told);
    found.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "a run cannot be told this"))
}

/// The form as the API's body would be.
fn fields(signal: Signal, form: &Form) -> Result<Map<String, Value>, Problem> {
    let mut fields = Map::new();
    for name in ["reason", "step", "text", "verdict"] {
        if let Some(text) = form.get(name) {
            // Browsers send lines ended by two characters.
            fields.insert(name.to_owned(), json!(text.trim().replace("\r\n", "\n")));
        }
    }
    match signal {
        Signal::Cancel => {
            fields.insert("compensate".to_owned(), json!(form.is_ticked("compensate")));
        }
        Signal::Raise => {
            let usd = form.must("usd")?.trim().trim_start_matches('$');
            let usd: f64 = usd
                .parse()
                .map_err(|_| wrong("usd", "must be a number of dollars, such as 2.50"))?;
            if !usd.is_finite() {
                return Err(bad_request(
                    "`usd` must be a number of dollars, such as 2.50",
                ));
            }
            fields.insert("usd".to_owned(), json!(usd));
        }
        Signal::Pause | Signal::Resume | Signal::Retry | Signal::Message | Signal::Feedback => {}
    }
    fields.insert("by".to_owned(), json!(form.door.caller().name));
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_one_of_ours_and_never_what_an_address_says() {
        assert_eq!(notice("done=approved"), Some("Approved."));
        assert_eq!(notice("done=%3Cscript%3E"), None);
        for signal in [
            "cancel", "pause", "resume", "raise", "retry", "message", "feedback",
        ] {
            assert!(
                named(signal).is_ok() && notice(&format!("done={signal}")).is_some(),
                "{signal}"
            );
        }
        assert_eq!(named("dead").unwrap_err().status, 404);
    }
}
