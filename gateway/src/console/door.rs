//! Who asks for a page, and what their forms must bring.

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use flotilla_common::{
    access::{Caller, Scope},
    io::http::Problem,
};

use crate::{
    access::{Session, tenants::is_for_all},
    problem::forbidden,
};

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    session: Session,
}

impl Door {
    /// Who it is.
    pub(crate) fn caller(&self) -> &Caller {
        &self.session.caller
    }

    /// What their forms carry, and other sites' cannot know; empty where a browser shows no token by itself.
    pub(crate) fn csrf(&self) -> &str {
        &self.session.csrf
    }

    /// Whether they can log out.
    pub(crate) fn by_cookie(&self) -> bool {
        self.session.by_cookie
    }

    /// Whether a form is one of this caller's pages'.
    pub(crate) fn check_csrf(&self, given: &str) -> Result<(), Problem> {
        self.session.check_csrf(given)
    }

    /// Whether they may decide what waits for a person, and tell runs something.
    pub(crate) fn may_approve(&self) -> bool {
        self.caller().may(Scope::Approve)
    }

    /// Whether they may send events.
    pub(crate) fn may_ingest(&self) -> bool {
        self.caller().may(Scope::Ingest)
    }

    /// Whether they may do everything else.
    pub(crate) fn may_admin(&self) -> bool {
        self.caller().may(Scope::Admin)
    }

    /// Whether they may change what is for all tenants.
    pub(crate) fn may_for_all(&self) -> bool {
        self.may_admin() && is_for_all(self.caller()).is_ok()
    }

    /// A refusal, where they may not do that.
    pub(crate) fn must_for_all(&self) -> Result<(), Problem> {
        self.must(Scope::Admin)?;
        is_for_all(self.caller())
    }

    /// A refusal, where they may not do what needs this scope.
    pub(crate) fn must(&self, scope: Scope) -> Result<(), Problem> {
        if self.caller().may(scope) {
            return Ok(());
        }
        let detail = format!("this needs a token with the scope `{scope}`");
        Err(forbidden(detail))
    }
}

impl<S: Sync> FromRequestParts<S> for Door {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let session = parts.extensions.get::<Session>().cloned();
        let nobody = || Problem::new(StatusCode::UNAUTHORIZED, "log in first");
        Ok(Self {
            session: session.ok_or_else(nobody)?,
        })
    }
}
