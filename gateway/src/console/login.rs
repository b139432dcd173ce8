//! `/login` and `/logout`: a token becomes a cookie that scripts cannot read, and is forgotten again.

use std::{sync::Arc, time::Duration};

use askama::Template;
use axum::{
    Extension,
    extract::{Query, Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{AppendHeaders, IntoResponse as _, Redirect, Response},
};
use flotilla_common::{access::Scope, io::http::Problem};
use serde::Deserialize;
use tokio::{sync::Semaphore, time::sleep};

use super::{
    form::{self, Form},
    frame::{Frame, page as framed, page_with},
};
use crate::{access::COOKIE, problem::unavailable, routes::App};

/// How long the answer to a wrong token takes.
const WRONG_PAUSE: Duration = Duration::from_millis(300);
/// Wrong tokens whose answers wait at once; to more of them it is said at once that there are too many. Whoever has one that holds
/// waits for nobody.
const TRIES_MAX: usize = 8;
/// Where people are after they logged in, unless they wanted to go elsewhere.
const HOME: &str = "/";

/// Who tried a wrong token now. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Tries(Arc<Semaphore>);

impl Default for Tries {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(TRIES_MAX)))
    }
}

#[derive(Debug, Template)]
#[template(path = "login.html")]
struct Page {
    frame: Frame,
    next: String,
    fault: Option<&'static str>,
}

/// Where somebody wanted to go.
#[derive(Debug, Deserialize)]
pub(crate) struct Next {
    next: Option<String>,
}

/// The form; whoever is in already goes on.
pub(crate) async fn page(
    door: Option<Extension<crate::access::Session>>,
    Query(Next { next }): Query<Next>,
) -> Result<Response, Problem> {
    let next = local(next.as_deref().unwrap_or(HOME));
    if door.is_some() {
        return Ok(Redirect::to(next).into_response());
    }
    framed(&Page {
        frame: Frame::login(),
        next: next.to_owned(),
        fault: None,
    })
}

/// Takes a token.
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    Extension(Tries(tries)): Extension<Tries>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let fields = form::fields(&parts.headers, body).await?;
    let secret = form::get(&fields, "token").unwrap_or_default().trim();
    let next = local(form::get(&fields, "next").unwrap_or(HOME));
    let fault = match app.access.keys.caller(secret).await {
        Some(caller) if caller.may(Scope::Read) => {
            let cookie = format!(
                "{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Lax{}",
                secure(&app, &parts.headers)
            );
            return Ok((
                AppendHeaders([(header::SET_COOKIE, cookie)]),
                Redirect::to(next),
            )
                .into_response());
        }
        Some(_) => {
            "This token may not look at anything: the console needs one with the scope read."
        }
        None => "This token is unknown, expired or revoked.",
    };
    let _place = tries
        .try_acquire()
        .map_err(|_| unavailable("too many people log in at this moment; try again"))?;
    sleep(WRONG_PAUSE).await;
    let page = Page {
        frame: Frame::login(),
        next: next.to_owned(),
        fault: Some(fault),
    };
    page_with(StatusCode::UNAUTHORIZED, &page)
}

/// Forgets the token.
pub(crate) async fn logout(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    form: Form,
) -> Response {
    // The form has shown that it is of this session.
    drop(form);
    let cookie = format!(
        "{COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0{}",
        secure(&app, &headers)
    );
    (
        AppendHeaders([(header::SET_COOKIE, cookie)]),
        Redirect::to("/login"),
    )
        .into_response()
}

/// Where there is TLS, here or at a proxy before us, the cookie must not go without it.
fn secure(app: &App, headers: &HeaderMap) -> &'static str {
    let by_proxy = headers.get("x-forwarded-proto");
    let by_tls = app.by_tls || by_proxy.is_some_and(|scheme| scheme == "https");
    if by_tls { "; Secure" } else { "" }
}

/// A path of ours; home, where it could lead anywhere else.
fn local(next: &str) -> &str {
    let is_local = next.is_ascii()
        && next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains(['\\', '#'])
        && !next.chars().any(char::is_control)
        && next
            .parse::<Uri>()
            .is_ok_and(|uri| uri.authority().is_none())
        && !next.starts_with("/login")
        && !next.starts_with("/v1/");
    if is_local { next } else { HOME }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere_after_the_login() {
        for ours in ["/", "/runs?status=failed&q=a%20b", "/runs/run_1"] {
            assert_eq!(local(ours), ours);
        }
        for foreign in [
            "",
            "https://x.example/",
            "//x.example/",
            "/\\x.example",
            "\\\\x",
            "/a\nb",
            "javascript:alert(1)",
            "/login?next=/",
            "/ü",
        ] {
            assert_eq!(local(foreign), HOME, "{foreign:?}");
        }
    }
}
