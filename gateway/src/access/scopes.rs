//! Which scope each route needs. What is not said here needs `admin`: a route that somebody forgets is not open to all.

use axum::http::Method;
use flotilla_common::access::Scope::{self, Admin, Approve, Ingest, Read};

use super::{API, LOGIN};

/// What a request must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing.
    Open,
    /// A token with this scope.
    Scope(Scope),
}

impl Need {
    pub(super) fn scope(self) -> Option<Scope> {
        match self {
            Self::Open => None,
            Self::Scope(scope) => Some(scope),
        }
    }
}

/// What pages need to be shown to people who have not logged in.
const OPEN: [&str; 3] = [LOGIN, "/assets/", "/favicon.ico"];

/// Routes of the API, as they are matched; a GET's is a HEAD's too.
pub(super) const ROUTES: &[(Method, &str, Scope)] = &[
    (Method::POST, "/v1/events", Ingest),
    (Method::POST, "/v1/hooks/alertmanager", Ingest),
    (Method::POST, "/v1/hooks/{name}", Ingest),
    (Method::GET, "/v1/runs", Read),
    (Method::GET, "/v1/runs/counts", Read),
    (Method::GET, "/v1/runs/{id}", Read),
    (Method::GET, "/v1/runs/{id}/live", Read),
    (Method::GET, "/v1/runs/{id}/journal", Read),
    (Method::GET, "/v1/runs/{id}/explain/{*step}", Read),
    (Method::GET, "/v1/runs/{id}/effects", Read),
    (Method::GET, "/v1/runs/{id}/blobs/{blob}", Read),
    (Method::GET, "/v1/runs/{id}/definition", Read),
    (Method::POST, "/v1/runs/{id}/cancel", Approve),
    (Method::POST, "/v1/runs/{id}/pause", Approve),
    (Method::POST, "/v1/runs/{id}/resume", Approve),
    (Method::POST, "/v1/runs/{id}/retry", Approve),
    (Method::POST, "/v1/runs/{id}/message", Approve),
    (Method::POST, "/v1/runs/{id}/feedback", Approve),
    (Method::POST, "/v1/runs/{id}/approve", Approve),
    (Method::POST, "/v1/runs/{id}/reject", Approve),
    (Method::POST, "/v1/runs/{id}/raise", Admin),
    (Method::POST, "/v1/runs/{id}/fork", Admin),
    (Method::GET, "/v1/approvals", Read),
    (Method::GET, "/v1/live", Read),
    (Method::GET, "/v1/usage", Read),
    (Method::GET, "/v1/usage/runs", Read),
    (Method::GET, "/v1/stats", Read),
    (Method::GET, "/v1/fleet", Read),
    (Method::GET, "/v1/ceilings", Read),
    (Method::PUT, "/v1/ceilings/{scope}/{name}", Admin),
    (Method::DELETE, "/v1/ceilings/{scope}/{name}", Admin),
    (Method::GET, "/v1/definitions", Read),
    (Method::POST, "/v1/definitions", Admin),
    (Method::GET, "/v1/definitions/{name}", Read),
    (Method::GET, "/v1/definitions/{name}/{version}", Read),
    (Method::PUT, "/v1/definitions/{name}/active", Admin),
    (Method::DELETE, "/v1/definitions/{name}/active", Admin),
    (Method::PUT, "/v1/definitions/{name}/rollout", Admin),
    (Method::DELETE, "/v1/definitions/{name}/rollout", Admin),
    (Method::POST, "/v1/definitions/{name}/rollback", Admin),
    (Method::GET, "/v1/tools", Read),
    (Method::GET, "/v1/tools/{name}", Read),
    (Method::PUT, "/v1/tools/{name}/breaker", Admin),
    (Method::GET, "/v1/switches", Read),
    (Method::PUT, "/v1/switches/tool/{tool}", Admin),
    (Method::DELETE, "/v1/switches/tool/{tool}", Admin),
    (Method::PUT, "/v1/switches/step/{workflow}/{step}", Admin),
    (Method::DELETE, "/v1/switches/step/{workflow}/{step}", Admin),
    (Method::GET, "/v1/tokens", Admin),
    (Method::POST, "/v1/tokens", Admin),
    (Method::DELETE, "/v1/tokens/{id}", Admin),
    (Method::GET, "/v1/audit", Admin),
    (Method::GET, "/v1/dead", Read),
    (Method::DELETE, "/v1/dead", Admin),
    (Method::POST, "/v1/dead/redrive", Admin),
    (Method::GET, "/v1/dead/redrives/{id}", Read),
    (Method::GET, "/v1/dead/{seq}", Read),
    (Method::DELETE, "/v1/dead/{seq}", Admin),
    (Method::POST, "/v1/dead/{seq}/redrive", Admin),
];

/// The forms of pages that are not about all tenants, as they are matched.
const FORMS: [(&str, Scope); 4] = [
    // Its handler wants `ingest` besides; what it answers shows runs.
    ("/runs", Read),
    ("/runs/{id}/tell/{signal}", Approve),
    ("/runs/{id}/verdict", Approve),
    ("/logout", Read),
];

/// What a request of this method must show at this route.
pub(super) fn need(method: &Method, route: &str) -> Need {
    if route.starts_with(API) {
        let method = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        let said = ROUTES
            .iter()
            .find(|(one, path, _)| one == method && *path == route);
        return Need::Scope(said.map_or(Admin, |(.., scope)| *scope));
    }
    let is_open = |open: &str| route == open || (open.ends_with('/') && route.starts_with(open));
    if OPEN.into_iter().any(is_open) {
        return Need::Open;
    }
    if method.is_safe() {
        return Need::Scope(Read);
    }
    let said = FORMS.iter().find(|(path, _)| *path == route);
    Need::Scope(said.map_or(Admin, |(_, scope)| *scope))
}
