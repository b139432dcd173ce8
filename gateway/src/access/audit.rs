//! What was changed by this gateway, and who was turned away, for the stream AUDIT; and `GET /v1/audit`, which reads it. What is
//! sent in is not told again: it is on the stream of events itself.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{Method, StatusCode},
    routing::get,
};
use flotilla_common::{
    access::Caller,
    io::{
        audit::{Audit, Audited, From, Line, Who},
        clock,
        http::Problem,
        telemetry::metric,
    },
};
use jiff::Timestamp;
use metrics::counter;
use serde::Serialize;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    list::{When, limit},
    problem::ask_journal,
    query::{Fields, Pairs},
    routes::App,
};

/// How long an answer waits until it is written what was done.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);
/// How often it is written who was turned away, and how often.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// Who is told apart in that time; the others are counted as one.
const REFUSED_MAX: usize = 1_000;
/// Entries per page, when the request does not say, and at most.
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;
/// From when on, when the request does not say.
const SINCE: Duration = Duration::from_secs(86_400);
/// Longest part of a route that is told, in characters.
const ID_LENGTH_MAX: usize = 128;

/// A request, as far as the audit tells of it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) route: String,
    pub(super) ids: BTreeMap<String, String>,
    /// The first of them in the route.
    pub(super) first: Option<String>,
    pub(super) from: String,
    pub(super) id: String,
}

/// Who was refused what: one entry for all that are the same in this.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Refusal {
    status: u16,
    who: String,
    from: String,
}

/// Writes what was done.
#[derive(Debug)]
pub(crate) struct Book {
    audit: Audit,
    refused: Mutex<HashMap<Refusal, Audited>>,
}

impl Book {
    pub(crate) fn new(audit: Audit) -> Self {
        Self {
            audit,
            refused: Mutex::default(),
        }
    }

    /// Takes down what was answered, where that is to be known later. It waits until a change is written, but not for long: it has
    /// happened.
    pub(super) async fn note(
        &self,
        asked: &Asked,
        caller: Option<&Caller>,
        status: StatusCode,
        reason: Option<String>,
    ) {
        let mut entry = asked.entry(caller, status);
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return self.refuse(entry);
        }
        // A page answers a change that was made with where to look.
        let changed = status.is_success() || status == StatusCode::SEE_OTHER;
        if asked.method.is_safe() || !changed {
            return;
        }
        entry.reason = reason;
        let (area, verb) = asked.about();
        self.write(&area, &verb, &entry).await;
    }

    fn refuse(&self, entry: Audited) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let key = |who: &str, from: &str| Refusal {
            status: entry.status,
            who: who.to_owned(),
            from: from.to_owned(),
        };
        let mut its = key(&entry.who.id, &entry.from);
        if refused.len() >= REFUSED_MAX && !refused.contains_key(&its) {
            its = key("", "");
        }
        let first = refused.entry(its).or_insert(entry);
        first.times = Some(first.times.unwrap_or(0) + 1);
    }

    /// Writes who was turned away, until `stop`.
    pub(crate) async fn tell(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(sleep(TOLD_EVERY)).await.is_some() {
            self.tell_refused().await;
        }
        if timeout(WRITTEN_WITHIN, self.tell_refused()).await.is_err() {
            error!("who was turned away last is not in the audit");
        }
    }

    async fn tell_refused(&self) {
        let refused = {
            let mut all = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *all)
        };
        for entry in refused.into_values() {
            self.write("access", "refused", &entry).await;
        }
    }

    async fn write(&self, area: &str, verb: &str, entry: &Audited) {
        let written = timeout(WRITTEN_WITHIN, self.audit.write(area, verb, entry)).await;
        let problem = match written {
            Ok(Ok(())) => return,
            Ok(Err(problem)) => problem.to_string(),
            Err(_) => "NATS does not answer in time".to_owned(),
        };
        counter!(metric::AUDIT_LOST).increment(1);
        let Audited {
            who,
            method,
            route,
            ids,
            request,
            ..
        } = entry;
        error!(
            problem,
            who = who.id,
            name = who.name,
            method,
            route,
            ?ids,
            request,
            "what was done is not in the audit"
        );
    }
}

impl Asked {
    fn entry(&self, caller: Option<&Caller>, status: StatusCode) -> Audited {
        let who = caller.map_or_else(nobody, |caller| Who {
            id: caller.id.clone(),
            name: caller.name.clone(),
            tenant: caller.tenant.as_ref().map(ToString::to_string),
        });
        let method = self.method.as_str();
        let mut entry = Audited::new(who, method, &self.route, status.as_u16(), clock::now());
        let ids = self.ids.iter().map(|(name, value)| {
            let value = value.chars().filter(|c| !c.is_control());
            (name.clone(), value.take(ID_LENGTH_MAX).collect())
        });
        entry.ids = ids.collect();
        entry.from.clone_from(&self.from);
        entry.request.clone_from(&self.id);
        entry
    }

    /// The area and what is done there: `runs`, `cancel`.
    fn about(&self) -> (String, String) {
        let route = self.route.strip_prefix("/v1").unwrap_or(&self.route);
        let words = route
            .split('/')
            .filter(|word| !word.is_empty() && !word.starts_with('{'));
        let words: Vec<&str> = words.collect();
        let area = words.first().copied().unwrap_or("page");
        let verb = match words.last() {
            Some(last) if self.method == Method::POST && words.len() > 1 => (*last).to_owned(),
            Some(_) | None => self.method.as_str().to_ascii_lowercase(),
        };
        (area.to_owned(), verb)
    }
}

fn nobody() -> Who {
    Who {
        id: "-".to_owned(),
        name: "nobody known".to_owned(),
        tenant: None,
    }
}

/// What was done, the oldest first.
#[derive(Debug, Serialize)]
struct Listed {
    entries: Vec<Line>,
    /// `cursor` of the next page.
    next: Option<String>,
}

/// The route.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new().route("/v1/audit", get(list))
}

async fn list(State(app): State<Arc<App>>, pairs: Pairs) -> Result<Json<Listed>, Problem> {
    let mut fields = Fields::read(pairs)?;
    let count = limit(&mut fields, LIMIT_DEFAULT, LIMIT_MAX)?;
    let (cursor, since) = (fields.one("cursor")?, fields.one::<When>("since")?);
    fields.end("`since`, `limit`, `cursor`")?;
    let now = clock::now();
    let since = since.map_or_else(|| now.saturating_sub(SINCE), |since| Ok(since.at(now)));
    let from = match (cursor, since) {
        (Some(seq), _) => From::After(seq),
        (None, Ok(at)) => From::At(at),
        (None, Err(_)) => From::At(Timestamp::UNIX_EPOCH),
    };
    let page = ask_journal(app.access.book.audit.read(from, count)).await?;
    Ok(Json(Listed {
        entries: page.lines,
        next: page.next.map(|seq| seq.to_string()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_tells_its_area_and_what_is_done_there() {
        for (method, route, area, verb) in [
            (Method::POST, "/v1/runs/{id}/cancel", "runs", "cancel"),
            (
                Method::PUT,
                "/v1/ceilings/{scope}/{name}",
                "ceilings",
                "put",
            ),
            (Method::POST, "/v1/tokens", "tokens", "post"),
            (
                Method::DELETE,
                "/v1/definitions/{name}/active",
                "definitions",
                "delete",
            ),
            (Method::POST, "/runs/{id}/pause", "runs", "pause"),
            (Method::POST, "/", "page", "post"),
        ] {
            let asked = Asked {
                method,
                route: route.to_owned(),
                ids: BTreeMap::new(),
                first: None,
                from: String::new(),
                id: String::new(),
            };
            assert_eq!(asked.about(), (area.to_owned(), verb.to_owned()), "{route}");
        }
    }
}
