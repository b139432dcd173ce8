//! What belongs to another tenant is not there: looked at in one place, before any handler, by what the route is about.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use flotilla_common::{
    access::{Caller, Scope},
    dead::{DeadLetter, run_of},
    entry::Body,
    event::Event,
    ids::{EventType, RunId},
    io::{http::Problem, journal::decode, letters::Looked},
    names::subject,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    dead::Post,
    history,
    problem::{ask_journal, forbidden},
    routes::App,
};

/// Letters that are looked at for one request of a tenant's, and at once.
const LETTERS_MAX: usize = 500;
const LETTERS_AT_ONCE: usize = 16;

/// What a route is about.
#[derive(Debug, PartialEq, Eq)]
enum About {
    /// The run that its first part names.
    Run,
    /// The dead letter that its first part names.
    Letter,
    /// What no one tenant has: of pages, all forms that the table of scopes does not name.
    All,
    /// Whatever there is of the tenant's; the handler looks.
    Own,
}

impl About {
    fn of(route: &str, scope: Option<Scope>) -> Self {
        let page = route.strip_prefix("/v1").unwrap_or(route);
        if page.starts_with("/runs/{") {
            Self::Run
        } else if page.starts_with("/dead/{") {
            Self::Letter
        } else if page.starts_with("/dead/redrives/") || scope == Some(Scope::Admin) {
            Self::All
        } else {
            Self::Own
        }
    }
}

/// What is for all tenants is not changed for one of them.
///
/// # Errors
/// A 403 for whoever has a tenant.
pub(crate) fn is_for_all(caller: &Caller) -> Result<(), Problem> {
    match &caller.tenant {
        None => Ok(()),
        Some(tenant) => Err(forbidden(format!(
            "this is about all tenants, and the token is for `{tenant}` alone"
        ))),
    }
}

/// Looks whether what a request is about, by the first part of its path that names something, is there for whoever asks.
///
/// # Errors
/// A 404 that is the one for what is not there at all; a 403 for what is about all tenants.
pub(super) async fn check(
    app: &App,
    caller: &Caller,
    scope: Option<Scope>,
    route: &str,
    first: Option<&str>,
) -> Result<(), Problem> {
    if caller.tenant.is_none() {
        return Ok(());
    }
    let about = About::of(route, scope);
    let first = first.unwrap_or_default();
    match about {
        About::Own => Ok(()),
        About::All => is_for_all(caller),
        // What is no id, the handler tells.
        About::Run => match first.parse() {
            Ok(run) if sees_run(app, caller, &run).await? => Ok(()),
            Ok(run) => Err(history::no_run(&run)),
            Err(_) => Ok(()),
        },
        About::Letter => match first.parse() {
            Ok(seq) if sees_letter(app, caller, seq).await? => Ok(()),
            Ok(seq) => Err(Post::none(seq)),
            Err(_) => Ok(()),
        },
    }
}

async fn sees_run(app: &App, caller: &Caller, run: &RunId) -> Result<bool, Problem> {
    let began = ask_journal(app.journal.raw(&subject::started(run))).await?;
    let tenant = began.iter().find_map(|raw| match decode(raw).ok()??.body {
        Body::Started(started) => Some(started.event.tenant().to_owned()),
        Body::Decided(_) | Body::Resulted(_) | Body::Signalled(_) | Body::Fired(_) => None,
    });
    Ok(tenant.is_some_and(|tenant| caller.sees(&tenant)))
}

async fn sees_letter(app: &App, caller: &Caller, seq: u64) -> Result<bool, Problem> {
    match ask_journal(app.post.letters.get(seq)).await? {
        Some((letter, payload)) => owns(app, caller, &letter, &payload).await,
        None => Ok(false),
    }
}

/// Whether a letter is about an event or a run of the caller's tenant; what cannot be read is nobody's.
async fn owns(
    app: &App,
    caller: &Caller,
    letter: &DeadLetter,
    payload: &[u8],
) -> Result<bool, Problem> {
    if let Some(run) = run_of(&letter.subject) {
        return sees_run(app, caller, &run).await;
    }
    let kind: Option<EventType> = subject::event_type(&letter.subject);
    let event = kind.and_then(|kind| Event::published(payload, &kind, String::new()).ok());
    Ok(event.is_some_and(|event| caller.sees(event.tenant())))
}

/// Of these letters, those that are there for whoever asks. Of a tenant's, only the last ones are looked at: each, or its
/// run, is read.
pub(crate) async fn own_letters(
    app: &App,
    caller: &Caller,
    mut looked: Looked,
) -> Result<Looked, Problem> {
    if caller.tenant.is_none() {
        return Ok(looked);
    }
    let before = looked.letters.len().saturating_sub(LETTERS_MAX);
    let letters = looked.letters.split_off(before);
    // A run may have many letters, and whose it is can be asked without reading any of them.
    let runs: BTreeSet<RunId> = letters
        .iter()
        .filter_map(|one| run_of(&one.subject))
        .collect();
    let asked = stream::iter(runs).map(|run| async move {
        let sees = sees_run(app, caller, &run).await?;
        Ok::<_, Problem>((run, sees))
    });
    let asked: BTreeMap<RunId, bool> = asked.buffered(LETTERS_AT_ONCE).try_collect().await?;
    let own = stream::iter(letters).map(|letter| {
        let of_run = run_of(&letter.subject).and_then(|run| asked.get(&run).copied());
        async move {
            let sees = match of_run {
                Some(sees) => sees,
                None => sees_letter(app, caller, letter.seq).await?,
            };
            Ok::<_, Problem>(sees.then_some(letter))
        }
    });
    let own: Vec<Option<DeadLetter>> = own.buffered(LETTERS_AT_ONCE).try_collect().await?;
    Ok(Looked {
        letters: own.into_iter().flatten().collect(),
        complete: looked.complete && before == 0,
    })
}

/// The event as the caller may send it: of its own tenant.
///
/// # Errors
/// A 403 where it names another one.
pub(crate) fn sent_by(caller: &Caller, mut event: Event) -> Result<Event, Problem> {
    let Some(mine) = &caller.tenant else {
        return Ok(event);
    };
    if event.names_tenant() && event.tenant() != mine.as_str() {
        let detail =
            format!("the event is for another tenant than `{mine}`, which the token is for");
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    event.set_tenant(mine);
    Ok(event)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn caller(tenant: Option<&str>) -> Caller {
        Caller {
            tenant: tenant.map(|name| name.parse().unwrap()),
            ..Caller::anyone()
        }
    }

    fn event(tenant: Option<&str>) -> Event {
        let mut event = Event::new("a.b".parse().unwrap(), "s".into(), "1".into(), json!({}));
        if let Some(tenant) = tenant {
            event.set_tenant(&tenant.parse().unwrap());
        }
        event
    }

    #[test]
    fn a_tenants_token_sends_events_of_its_tenant_alone() {
        let acme = caller(Some("acme"));
        let sent = |named| sent_by(&acme, event(named)).map(|event| event.tenant().to_owned());
        assert_eq!(sent(None).unwrap(), "acme");
        assert_eq!(sent(Some("acme")).unwrap(), "acme");
        assert_eq!(sent(Some("other")).unwrap_err().status, 403);
        assert_eq!(sent(Some("default")).unwrap_err().status, 403);
        let any = sent_by(&caller(None), event(Some("other"))).unwrap();
        assert_eq!(any.tenant(), "other");
    }

    #[test]
    fn a_route_is_about_a_run_a_letter_or_all_tenants() {
        let admin = Some(Scope::Admin);
        for (route, scope, about) in [
            ("/v1/runs/{id}/blobs/{blob}", Some(Scope::Read), About::Run),
            ("/v1/runs/{id}/raise", admin, About::Run),
            ("/runs/{run}", Some(Scope::Read), About::Run),
            ("/v1/dead/{seq}/redrive", admin, About::Letter),
            ("/v1/dead/redrive", admin, About::All),
            ("/v1/dead/redrives/{id}", Some(Scope::Read), About::All),
            ("/v1/definitions", admin, About::All),
            ("/v1/runs", Some(Scope::Read), About::Own),
            ("/v1/definitions", Some(Scope::Read), About::Own),
            ("/runs/{id}/verdict", Some(Scope::Approve), About::Run),
            ("/tools/{name}/off", admin, About::All),
        ] {
            assert_eq!(About::of(route, scope), about, "{route}");
        }
    }
}
