//! `/`: how the fleet does, at a glance. Its parts are made once every two seconds for all who look, see [`pulse`].

mod parts;
pub(super) mod pulse;
mod series;

use std::{collections::BTreeSet, sync::Arc};

use askama::Template;
use axum::{
    Router,
    extract::{Query, State},
    http::HeaderMap,
    response::Response,
    routing::get,
};
use flotilla_common::io::http::Problem;

use self::parts::Parts;
use super::{
    did,
    door::Door,
    frame::{Frame, Section, page as framed},
};
use crate::routes::App;

/// What the page listens to.
const STREAM: &str = "/pulse";
/// An event that nothing waits for, where nothing is known that something waits for.
const KIND_EXAMPLE: &str = "test.event";
/// Longest name of a host that is written into a command.
const HOST_MAX: usize = 255;

/// The page and what it listens to.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(page))
        .route(STREAM, get(pulse::stream))
}

#[derive(Debug, Template)]
#[template(path = "overview.html")]
struct Page {
    frame: Frame,
    parts: Arc<Parts>,
    /// Types of events that start something.
    kinds: Vec<String>,
    /// Whether who looks may send an event.
    may_send: bool,
    /// Commands for who has just begun.
    commands: Vec<Command>,
}

#[derive(Debug)]
struct Command {
    what: &'static str,
    line: String,
}

async fn page(
    State(app): State<Arc<App>>,
    door: Door,
    Query(query): Query<did::Query>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let parts = app.pulse.parts(&app, door.caller()).await?;
    let kinds = kinds(&app);
    let kind = kinds.first().map_or(KIND_EXAMPLE, String::as_str);
    let commands = commands(host(&headers), kind);
    let may_send = door.may_ingest();
    let frame = Frame::load(&app, door, Section::Overview, "Overview").await;
    framed(&Page {
        frame: frame.live(STREAM).notice(query.notice()),
        parts,
        commands,
        kinds,
        may_send,
    })
}

/// The types of events that start something, by name.
fn kinds(app: &App) -> Vec<String> {
    let known = app.definitions.catalogue();
    let active = known.active().filter_map(|(name, _)| known.stable(name));
    let by_event = active.filter(|workflow| workflow.on.cron.is_none());
    let kinds: BTreeSet<String> = by_event.map(|one| one.on.event.to_string()).collect();
    kinds.into_iter().collect()
}

/// What a person who has just started a fleet may type.
fn commands(host: &str, kind: &str) -> Vec<Command> {
    let submit = format!(
        "curl -sS http://{host}/v1/events -H 'content-type: application/json' -d '{{\"type\": \"{kind}\", \"data\": {{}}}}'"
    );
    vec![
        Command {
            what: "Bring workflows and tools to the fleet",
            line: "flotilla apply workflows/".to_owned(),
        },
        Command {
            what: "Send an event",
            line: submit,
        },
        Command {
            what: "See what came of it",
            line: "flotilla runs".to_owned(),
        },
    ]
}

/// Where this gateway was reached, as far as that is a host and a port.
fn host(headers: &HeaderMap) -> &str {
    let told = headers.get("host").and_then(|host| host.to_str().ok());
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || b".-:[]".contains(&c);
    told.filter(|host| host.len() <= HOST_MAX && host.bytes().all(is_plain))
        .unwrap_or("localhost:8080")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_host_that_could_be_a_command_is_not_written_into_one() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("host", HeaderValue::from_str(text).unwrap());
            host(&headers).to_owned()
        };
        assert_eq!(of("10.0.0.7:9000"), "10.0.0.7:9000");
        assert_eq!(of("[::1]:9000"), "[::1]:9000");
        for hostile in ["x;rm -rf ~", "a'b", "$(id)", "a b"] {
            assert_eq!(of(hostile), "localhost:8080", "{hostile}");
        }
    }
}
