//! Who a request speaks for, and whether it may: every request that reaches a handler carries its [`Caller`] and its [`Session`].
//! Health and metrics are open to all; `docs/access.md` has the rest.

pub(crate) mod asking;
pub(crate) mod audit;
mod csrf;
mod keys;
mod limits;
mod origin;
mod scopes;
pub(crate) mod tenants;
pub(crate) mod tokens;

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{ConnectInfo, FromRequestParts as _, MatchedPath, RawPathParams, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Redirect, Response},
};
use flotilla_common::{
    access::{
        Caller, Scope,
        token::{Token, TokenId},
    },
    definition::percent_encoded,
    io::http::{Peer, Problem},
};
use futures_util::StreamExt as _;

pub(crate) use csrf::csrf_of;
pub(crate) use keys::Keys;

use self::{
    asking::Asking,
    audit::{Asked, Book},
    limits::Limits,
    scopes::Need,
};
use crate::{Auth, hooks, live::EVENT_STREAM, problem::forbidden, routes::App, turns::Turn};

/// The cookie that the console's login sets: it holds the token itself.
pub(crate) const COOKIE: &str = "flotilla_token";
/// What forms of the console send, requests of its scripts have in this header.
pub(crate) const CSRF_HEADER: &str = "x-csrf-token";
/// What a request is called, in the audit and in its answer: by its client, or by the gateway.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest one that a client may give, in bytes.
const REQUEST_ID_MAX: usize = 64;
/// Where people log in.
const LOGIN: &str = "/login";
/// Routes below it are the API's, all others pages.
const API: &str = "/v1/";

/// Which scope a route of the API needs.
pub(crate) fn scope(method: &Method, route: &str) -> Scope {
    match scopes::need(method, route) {
        Need::Scope(scope) => scope,
        Need::Open => Scope::Read,
    }
}

/// Who asks, and how that is known.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) caller: Caller,
    /// What a form has to send along, where the browser shows the token by itself.
    pub(crate) csrf: String,
    /// Whether the token came in the cookie, which a browser sends whoever made it ask.
    pub(crate) by_cookie: bool,
}

impl Session {
    fn of(token: &Token, secret: &str, by_cookie: bool) -> Self {
        Self {
            caller: token.caller(),
            csrf: csrf_of(secret),
            by_cookie,
        }
    }

    /// Where no tokens are asked for, nothing but the page's origin says who made the form.
    fn anyone() -> Self {
        Self {
            caller: Caller::anyone(),
            csrf: String::new(),
            by_cookie: false,
        }
    }

    /// Whether a form is one of ours.
    ///
    /// # Errors
    /// A 403.
    pub(crate) fn check_csrf(&self, given: &str) -> Result<(), Problem> {
        if !self.by_cookie || csrf::same(&self.csrf, given) {
            return Ok(());
        }
        Err(forbidden(
            "this does not come from a page of this session; load the page again, and send it once more",
        ))
    }
}

/// What decides who may.
#[derive(Debug)]
pub(crate) struct Access {
    auth: Auth,
    pub(crate) keys: Keys,
    book: Arc<Book>,
    limits: Limits,
}

/// A request that was turned away.
#[derive(Debug)]
enum Refused {
    /// Nobody knows who it speaks for.
    Unknown,
    /// What is wrong.
    Problem(Problem),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl Access {
    pub(crate) fn new(auth: Auth, keys: Keys, book: Arc<Book>) -> Self {
        Self {
            auth,
            keys,
            book,
            limits: Limits::default(),
        }
    }

    /// Who a request speaks for, and their token where one is asked for; `None`: nobody knows.
    async fn find(&self, request: &Parts) -> Option<(Session, Option<Token>)> {
        if self.auth == Auth::Off {
            return Some((Session::anyone(), None));
        }
        let shown = keys::shown(&request.headers)?;
        let token = self.keys.token(shown.secret).await?;
        let session = Session::of(&token, shown.secret, shown.by_cookie);
        Some((session, Some(token)))
    }

    /// Whether they may ask that.
    fn admit(
        &self,
        request: &Parts,
        route: &str,
        found: Option<&(Session, Option<Token>)>,
    ) -> Result<(), Refused> {
        if self.auth == Auth::Off {
            origin::check_host(request)?;
            return Ok(origin::check(request)?);
        }
        let Need::Scope(scope) = scopes::need(&request.method, route) else {
            return Ok(origin::check(request)?);
        };
        let Some((session, token)) = found else {
            return Err(Refused::Unknown);
        };
        if session.by_cookie {
            origin::check(request)?;
            check_header(session, request, route)?;
        }
        if !session.caller.may(scope) {
            return Err(lacking(scope).into());
        }
        if let Some(token) = token {
            self.limits.take(token, scope)?;
        }
        Ok(())
    }
}

/// A script of the console sends with what it changes by the API what its page was given.
fn check_header(session: &Session, request: &Parts, route: &str) -> Result<(), Problem> {
    if request.method.is_safe() || !route.starts_with(API) {
        return Ok(());
    }
    let given = request.headers.get(CSRF_HEADER);
    let given = given.and_then(|value| value.to_str().ok());
    session.check_csrf(given.unwrap_or_default())
}

fn lacking(scope: Scope) -> Problem {
    let detail = format!("this needs a token with the scope `{scope}`");
    forbidden(detail).with("scope", scope.as_str().into())
}

/// Lets a request through with whoever it speaks for, or answers it; and takes down what it changed.
pub(crate) async fn known(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let asked = asked(&mut parts).await;
    let (found, admitted) = match signed_hook(&app, &parts, &asked.route) {
        Some(session) => (Some((session, None)), Ok(())),
        None => {
            let found = app.access.find(&parts).await;
            let admitted = app.access.admit(&parts, &asked.route, found.as_ref());
            (found, admitted)
        }
    };
    let (session, token) = found.unzip();
    let token = token.flatten().map(|token| token.id());
    let caller = session.as_ref().map(|session| &session.caller);
    let asking = Asking::new(caller);
    let mut response = match admitted {
        Err(Refused::Unknown) => unknown(&parts, &asked.route),
        Err(Refused::Problem(problem)) => problem.into_response(),
        Ok(()) => {
            let answer = answer(&app, &asked, session.clone(), parts, body, next);
            let answer = asking::with(&asking, Box::pin(answer)).await;
            while_it_holds(&app, token, answer)
        }
    };
    let is_sent_in = scopes::need(&asked.method, &asked.route) == Need::Scope(Scope::Ingest);
    let status = response.status();
    if !(is_sent_in && status.is_success()) {
        let noted = app
            .access
            .book
            .note(&asked, caller, status, asking.reason());
        Box::pin(noted).await;
    }
    if let Ok(id) = HeaderValue::from_str(&asked.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// A webhook that shows by itself who it is from; its handler sees whether that is so.
fn signed_hook(app: &App, request: &Parts, route: &str) -> Option<Session> {
    let name = hooks::named(request.uri.path(), route)?;
    hooks::is_signed(app, name).then(|| Session {
        caller: Caller::hook(name),
        ..Session::anyone()
    })
}

async fn answer(
    app: &App,
    asked: &Asked,
    session: Option<Session>,
    mut parts: Parts,
    body: Body,
    next: Next,
) -> Response {
    if let Some(session) = session {
        let scope = scopes::need(&asked.method, &asked.route).scope();
        let first = asked.first.as_deref();
        let is_there = tenants::check(app, &session.caller, scope, &asked.route, first);
        if let Err(problem) = Box::pin(is_there).await {
            return problem.into_response();
        }
        parts.extensions.insert(session.caller.clone());
        parts.extensions.insert(session);
    }
    // An answer that goes on has no turn.
    let turn = parts.extensions.remove::<Turn>();
    let response = next.run(Request::from_parts(parts, body)).await;
    // Whatever the handler made of a body that ended so.
    let fault = turn.and_then(|turn| turn.fault());
    fault.map_or(response, Problem::into_response)
}

/// What goes on and on ends with the token that it was asked for by. Who comes again is told why.
fn while_it_holds(app: &App, token: Option<TokenId>, response: Response) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let goes_on = kind.is_some_and(|kind| kind == EVENT_STREAM);
    let Some(token) = token.filter(|_| goes_on) else {
        return response;
    };
    let keys = app.access.keys.clone();
    let gone = async move { keys.gone(&token).await };
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(Box::pin(gone))))
}

/// What is asked, and from where.
async fn asked(parts: &mut Parts) -> Asked {
    let route = parts.extensions.get::<MatchedPath>();
    let route = route.map_or_else(String::new, |route| route.as_str().to_owned());
    let peer = parts.extensions.get::<ConnectInfo<Peer>>();
    let from = peer.map_or_else(String::new, |ConnectInfo(peer)| peer.0.to_string());
    let given = parts.headers.get(&REQUEST_ID);
    let given = given.and_then(|id| id.to_str().ok()).filter(|id| is_id(id));
    let id = given.map_or_else(|| format!("{:016x}", fastrand::u64(..)), ToOwned::to_owned);
    let method = parts.method.clone();
    let params = RawPathParams::from_request_parts(parts, &()).await.ok();
    let params = params.as_ref().map(|params| params.iter());
    let mut params = params.into_iter().flatten().peekable();
    let first = params.peek().map(|(_, value)| (*value).to_owned());
    let ids = params.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Asked {
        method,
        route,
        ids: ids.collect(),
        first,
        from,
        id,
    }
}

/// Whether an id that a client gave its request can be told as it is.
fn is_id(id: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    !id.is_empty() && id.len() <= REQUEST_ID_MAX && id.bytes().all(plain)
}

/// The same whether there is no token, or one that is unknown, expired or revoked.
fn unknown(request: &Parts, route: &str) -> Response {
    if !route.starts_with(API) && is_navigation(request) {
        let next = request.uri.path_and_query();
        let next = percent_encoded(next.map_or("/", |next| next.as_str()));
        return Redirect::to(&format!("{LOGIN}?next={next}")).into_response();
    }
    let detail = "this needs a token that holds: `Authorization: Bearer flt_…`; there was none, or it is unknown, expired or revoked";
    let problem = Problem::new(StatusCode::UNAUTHORIZED, detail);
    let challenge = [(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static("Bearer realm=\"flotilla\""),
    )];
    (challenge, problem).into_response()
}

/// Whether a person is to see the answer.
fn is_navigation(request: &Parts) -> bool {
    let accepts = request.headers.get(header::ACCEPT);
    let accepts = accepts.and_then(|value| value.to_str().ok());
    request.method == Method::GET && accepts.is_some_and(|accepts| accepts.contains("text/html"))
}

#[cfg(test)]
mod tests;
