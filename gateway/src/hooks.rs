//! `POST /v1/hooks/{name}`: webhooks that definitions describe. Whose a request is is seen before anything in it is read.

mod map;
mod secret;
mod verify;

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{Path, RawQuery, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::post,
};
use flotilla_common::{
    access::Caller,
    definition::{Hook, Verify},
    event::Event,
    io::{clock, http::Problem},
    names::ALERTMANAGER_HOOK,
};
use serde_json::json;
use tokio::{sync::SemaphorePermit, time::Instant};
use tracing::debug;

use crate::{
    access::tenants,
    alertmanager, body,
    ended::{self, Wait},
    large::Read,
    problem::{bad_request, of_not_taken, unprocessable},
    publish::{self, Taken, publish},
    routes::App,
    triggers::{NotTaken, WrongType},
};

const SOURCE: &str = "hook";

/// What the address of every hook begins with.
const PREFIX: &str = "/v1/hooks/";
/// The hook that is there without a definition.
const BUILT_IN: &str = "/v1/hooks/alertmanager";
/// All others.
const NAMED: &str = "/v1/hooks/{name}";

/// The routes of webhooks.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(BUILT_IN, post(alertmanager::post))
        .route(NAMED, post(take))
}

/// The hook that a request at this route is for; `None`: it is for none.
pub(crate) fn named<'p>(path: &'p str, route: &str) -> Option<&'p str> {
    let is_hook = route == BUILT_IN || route == NAMED;
    path.strip_prefix(PREFIX).filter(|_| is_hook)
}

/// Whether a hook proves by itself who sends to it, so that it needs no token of the gateway's.
pub(crate) fn is_signed(app: &App, name: &str) -> bool {
    let catalogue = app.current.catalogue();
    let hook = catalogue.inlets.hook(name);
    hook.is_some_and(|hook| hook.enabled && hook.verify.is_signed())
}

/// Takes in a webhook: 202 once its event is on disk. What nobody waits for is answered with 200: who sends all it has to say need
/// not be told again and again that most of it starts nothing.
async fn take(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    name: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let began = Instant::now();
    let Path(name) = name.map_err(|rejection| bad_request(rejection.body_text()))?;
    let catalogue = app.current.catalogue();
    let hook = catalogue.inlets.hook(&name).filter(|hook| hook.enabled);
    let hook = Arc::clone(hook.ok_or_else(|| no_hook(&name))?);
    let query = map::fields(query.as_deref().unwrap_or_default());
    let wait = Wait::read(query.get(ended::FIELD).map(String::as_str))?;
    let taken = match Box::pin(event(&app, &hook, &headers, body, &query)).await {
        Ok((event, _turn)) => match tenants::sent_by(&caller, event) {
            Ok(event) => take_in(&app, &event).await,
            Err(problem) => Err(problem),
        },
        Err(problem) => Err(problem),
    };
    publish::count_hook(SOURCE, &taken);
    Ok(match taken? {
        Outcome::Taken(taken) => ended::answer(&app, &caller, taken, wait, began).await,
        Outcome::Ignored(why) => {
            debug!(%name, why, "nothing waits for it");
            Json(json!({"runs": [], "ignored": why})).into_response()
        }
    })
}

/// What became of a webhook.
#[derive(Debug)]
pub(crate) enum Outcome {
    Taken(Taken),
    /// Nothing waits for it; why.
    Ignored(String),
}

fn no_hook(name: &str) -> Problem {
    let detail = format!("there is no hook `{}` here", name.escape_debug());
    Problem::new(StatusCode::NOT_FOUND, detail)
}

/// The event of a request, and its turn where it is large.
async fn event<'a>(
    app: &'a App,
    hook: &Hook,
    headers: &HeaderMap,
    body: Body,
    query: &map::Fields,
) -> Result<(Event, Option<SemaphorePermit<'a>>), Problem> {
    app.backlog.check()?;
    let read = app.large.read(body, app.large.bytes_max);
    let Read { bytes, turn } = verified(hook, headers, read).await?;
    body::media_type(headers, &[body::JSON]).or_else(|refused| {
        let kind = headers
            .get("content-type")
            .and_then(|kind| kind.to_str().ok());
        let essence = kind
            .and_then(|kind| kind.split(';').next())
            .unwrap_or_default();
        let is_json = essence.trim().to_ascii_lowercase().ends_with("+json");
        is_json.then_some(body::JSON).ok_or(refused)
    })?;
    let event = map::event(hook, headers, &bytes, query)?;
    publish::check_depth(&event).map_err(bad_request)?;
    Ok((event, turn))
}

/// The body of a request that comes from whom its hook says, by what reads it. Where its headers alone show that it does not, nothing
/// is read, and nothing that reading needs is taken.
pub(crate) async fn verified<B: AsRef<[u8]>>(
    hook: &Hook,
    headers: &HeaderMap,
    read: impl Future<Output = Result<B, Problem>>,
) -> Result<B, Problem> {
    if matches!(hook.verify, Verify::Open) {
        return read.await;
    }
    let now = clock::now();
    verify::headers(&hook.verify, headers, now).map_err(|refused| refused.problem())?;
    let secrets = secret::all(hook).await?;
    let check = |body: &[u8]| {
        let fits = verify::body(&hook.verify, &secrets, headers, body);
        fits.map_err(|refused| refused.problem())
    };
    if !verify::is_over_body(&hook.verify) {
        check(&[])?;
        return read.await;
    }
    let body = read.await?;
    check(body.as_ref())?;
    Ok(body)
}

/// The definition that says how requests of the built-in hook are signed, if there is one.
///
/// # Errors
/// A 404 where it says that the hook is not served.
pub(crate) fn of_alertmanager(app: &App) -> Result<Option<Arc<Hook>>, Problem> {
    let catalogue = app.current.catalogue();
    match catalogue.inlets.hook(ALERTMANAGER_HOOK) {
        Some(hook) if !hook.enabled => Err(no_hook(ALERTMANAGER_HOOK)),
        hook => Ok(hook.map(Arc::clone)),
    }
}

async fn take_in(app: &App, event: &Event) -> Result<Outcome, Problem> {
    let verdict = match app.current.judge(event).await {
        Err(why @ NotTaken::Type(WrongType::Unknown { .. })) => {
            return Ok(Outcome::Ignored(why.to_string()));
        }
        Err(why) => return Err(of_not_taken(&why)),
        Ok(verdict) => verdict,
    };
    if !verdict.faults.is_empty() {
        return Err(unprocessable(verdict.faults.join("; ")));
    }
    publish(app, event, &verdict).await.map(Outcome::Taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn where_the_headers_alone_show_that_it_is_nobodys_reading_does_not_even_begin() {
        let begins = async |verify: &str| {
            let hook =
                format!("hook: shop\nverify: {verify}\nmap: {{type: shop.order, id: '1'}}\n");
            let mut began = false;
            let read = async {
                began = true;
                Ok(Vec::new())
            };
            let read = verified(&map::tests::hook(&hook), &HeaderMap::new(), read).await;
            (began, read.err().map(|problem| problem.status))
        };
        assert_eq!(begins("none").await, (true, None));
        for signed in [
            "{standard_webhooks: {secret: env:S}}",
            "{github: {secret: env:S}}",
            "{token: {header: X-Token, secret: env:S}}",
            "{bearer: {secret: env:S}}",
            "{hmac: {header: X-Signature, secret: env:S}}",
        ] {
            assert_eq!(begins(signed).await, (false, Some(401)), "{signed}");
        }
    }

    #[tokio::test]
    async fn a_text_that_is_only_compared_is_looked_at_before_anything_is_read() {
        let begins = async |verify: &str, secret: &str| {
            let hook =
                format!("hook: shop\nverify: {verify}\nmap: {{type: shop.order, id: '1'}}\n");
            let mut headers = HeaderMap::new();
            for (name, value) in [
                ("authorization", format!("Bearer {secret}")),
                ("x-token", secret.to_owned()),
            ] {
                headers.insert(name, value.parse().unwrap());
            }
            let mut began = false;
            let read = async {
                began = true;
                Ok(Vec::new())
            };
            let read = verified(&map::tests::hook(&hook), &headers, read).await;
            (began, read.err().map(|problem| problem.status))
        };
        // What every test has in its environment.
        let name = "CARGO_PKG_NAME";
        let known = std::env::var(name).unwrap();
        for verify in [
            format!("{{token: {{header: X-Token, secret: env:{name}}}}}"),
            format!("{{bearer: {{secret: env:{name}}}}}"),
        ] {
            assert_eq!(begins(&verify, &known).await, (true, None), "{verify}");
            assert_eq!(
                begins(&verify, "guessed").await,
                (false, Some(401)),
                "{verify}"
            );
        }
    }
}
