//! Whether a browser asks on behalf of another site's page: by what it says of the page itself.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderName, header, request::Parts};
use flotilla_common::io::http::Problem;

use crate::problem::forbidden;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A change must not come from another site's page. What is no browser says nothing of a page, and passes.
///
/// # Errors
/// A 403.
pub(super) fn check(request: &Parts) -> Result<(), Problem> {
    if request.method.is_safe() {
        return Ok(());
    }
    let foreign = || forbidden("this comes from a page of another site");
    if text(request, &SEC_FETCH_SITE).is_some_and(|site| site == "cross-site") {
        return Err(foreign());
    }
    if !request.headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    let origin = text(request, &header::ORIGIN).and_then(|origin| origin.split_once("://"));
    match (origin, host(request)) {
        (Some((_, origin)), Some(host)) if origin.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(foreign()),
    }
}

/// Where nobody has to show a token, the name that a browser was given must be this machine's own: a site that has its name lead
/// here would else be taken for us (DNS rebinding), and read along.
///
/// # Errors
/// A 403.
pub(super) fn check_host(request: &Parts) -> Result<(), Problem> {
    match host(request) {
        Some(host) if !is_own(host) => Err(forbidden(
            "no tokens are asked for here (FLOTILLA_AUTH=off), so this gateway answers to localhost and addresses alone, and to no other name",
        )),
        Some(_) | None => Ok(()),
    }
}

fn is_own(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let end = rest.split_once(']').map(|(address, _)| address);
        return end.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.parse::<Ipv4Addr>().is_ok()
}

/// Where the client believes to be: `host` or `host:port`.
fn host(request: &Parts) -> Option<&str> {
    let authority = request.uri.authority().map(|one| one.as_str());
    authority.or_else(|| text(request, &header::HOST))
}

fn text<'r>(request: &'r Parts, name: &HeaderName) -> Option<&'r str> {
    request.headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use axum::http::{Method, Request};

    use super::*;

    fn request(method: Method, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri("/v1/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_change_passes_from_our_own_pages_and_from_what_is_no_browser() {
        let at = ("host", "here:8080");
        for (headers, passes) in [
            (vec![at], true),
            (vec![at, ("origin", "http://here:8080")], true),
            (vec![at, ("origin", "http://HERE:8080")], true),
            (vec![at, ("origin", "http://here:8081")], false),
            (vec![at, ("origin", "http://here")], false),
            (vec![at, ("origin", "null")], false),
            (vec![("origin", "http://here:8080")], false),
            (vec![at, ("sec-fetch-site", "same-origin")], true),
            (vec![at, ("sec-fetch-site", "cross-site")], false),
        ] {
            let change = request(Method::POST, &headers);
            assert_eq!(check(&change).is_ok(), passes, "{headers:?}");
            let look = request(Method::GET, &headers);
            assert!(check(&look).is_ok(), "{headers:?}");
        }
    }

    #[test]
    fn without_tokens_only_names_of_this_machine_are_answered_to() {
        for (host, passes) in [
            ("localhost:8080", true),
            ("fleet.localhost", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("evil.example:8080", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("[evil]:80", false),
        ] {
            let request = request(Method::GET, &[("host", host)]);
            assert_eq!(check_host(&request).is_ok(), passes, "{host}");
        }
        assert!(check_host(&request(Method::GET, &[])).is_ok());
    }
}
