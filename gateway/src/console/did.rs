//! What was just done, told on the page that one comes back to. The address carries a code and never a text: what an address says is
//! whatever somebody else wrote into it.

use axum::response::{IntoResponse as _, Redirect, Response};
use flotilla_common::io::{definitions::Said, http::Problem, redrives::Because};
use serde::Deserialize;

use super::{door::Door, form::Form};
use crate::{
    access::asking,
    fields::{NAME_LENGTH_MAX, REASON_LENGTH_MAX},
    problem::bad_request,
};

/// Codes, and what they say.
const SAID: [(Did, &str, &str); 16] = [
    (Did::Redriven, "redriven", "The letter is handled again."),
    (
        Did::Edited,
        "edited",
        "The letter is handled again, with what you wrote in it.",
    ),
    (Did::Dropped, "dropped", "The letter is dropped."),
    (
        Did::JobBegun,
        "job",
        "It has begun; how far it is stands below.",
    ),
    (
        Did::JobBefore,
        "job-before",
        "The same was under way already; how far it is stands below.",
    ),
    (
        Did::Activated,
        "activated",
        "New runs get this version now. Runs that have begun keep theirs.",
    ),
    (
        Did::RolledOut,
        "rolled-out",
        "A part of the new runs gets the candidate now.",
    ),
    (
        Did::RolloutEnded,
        "rollout-ended",
        "The rollout has ended: no new run gets the candidate.",
    ),
    (
        Did::RolledBack,
        "rolled-back",
        "New runs get what they got before.",
    ),
    (
        Did::Deactivated,
        "deactivated",
        "No new runs are started. Runs that have begun go on.",
    ),
    (Did::SwitchedOff, "off", "It is switched off."),
    (Did::SwitchedOn, "on", "It is switched on again."),
    (
        Did::BreakerForced,
        "breaker",
        "The breaker is as you said until you let it decide for itself again.",
    ),
    (
        Did::BreakerAuto,
        "breaker-auto",
        "The breaker decides for itself again.",
    ),
    (
        Did::CeilingSet,
        "ceiling",
        "The ceiling holds from now on; runs that wait for it look again.",
    ),
    (
        Did::CeilingCleared,
        "ceiling-cleared",
        "What was set is cleared: what the definition says holds.",
    ),
];

/// What a form did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Did {
    Redriven,
    Edited,
    Dropped,
    JobBegun,
    JobBefore,
    Activated,
    RolledOut,
    RolloutEnded,
    RolledBack,
    Deactivated,
    SwitchedOff,
    SwitchedOn,
    BreakerForced,
    BreakerAuto,
    CeilingSet,
    CeilingCleared,
}

impl Did {
    fn code(self) -> &'static str {
        let known = SAID.iter().find(|(did, _, _)| *did == self);
        known.map_or("", |(_, code, _)| code)
    }

    /// To a page that says it. `path` is one of ours, without a query.
    pub(crate) fn at(self, path: &str) -> Response {
        Redirect::to(&format!("{path}?did={}", self.code())).into_response()
    }
}

/// The part of a page's query that says what was done.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Query {
    did: Option<String>,
}

impl Query {
    /// In words; an unknown code says nothing.
    pub(crate) fn notice(&self) -> Option<&'static str> {
        words(self.did.as_deref())
    }
}

/// What a code says.
pub(crate) fn words(code: Option<&str>) -> Option<&'static str> {
    let known = SAID.iter().find(|(_, known, _)| Some(*known) == code);
    known.map(|(_, _, words)| *words)
}

/// Who does it and why, as the form and its sender say.
pub(crate) fn because(form: &Form) -> Result<Because, Problem> {
    Ok(Because {
        by: Some(by(&form.door)),
        reason: reason(form)?,
    })
}

/// The same, for definitions.
pub(crate) fn said(form: &Form) -> Result<Said, Problem> {
    let Because { by, reason } = because(form)?;
    Ok(Said { by, reason })
}

/// What people call whoever sends a form.
pub(crate) fn by(door: &Door) -> String {
    door.caller().name.chars().take(NAME_LENGTH_MAX).collect()
}

/// Why, where somebody said so: for what keeps it, and for the audit.
pub(crate) fn reason(form: &Form) -> Result<Option<String>, Problem> {
    let reason = form.get("reason").map(str::trim);
    let is_wrong = |text: &&str| {
        text.chars().count() > REASON_LENGTH_MAX || text.chars().any(char::is_control)
    };
    if reason.as_ref().is_some_and(is_wrong) {
        return Err(bad_request(format!(
            "a reason is one line of at most {REASON_LENGTH_MAX} characters"
        )));
    }
    Ok(asking::because(reason.map(ToOwned::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_deed_has_a_code_of_its_own_that_says_it() {
        for (did, code, text) in SAID {
            assert_eq!(did.code(), code);
            assert_eq!(words(Some(code)), Some(text));
        }
        assert_eq!(words(Some("<script>")), None);
        assert_eq!(words(None), None);
    }
}
