//! What the forms of `/cost` do: ceilings set and cleared.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use flotilla_common::{
    io::{ceilings::Set, http::Problem},
    money::Usd,
};

use crate::{
    ceilings,
    console::{
        did::{Did, by, reason},
        form::Form,
    },
    problem::bad_request,
    routes::App,
};

/// Sets a ceiling.
pub(super) async fn set(State(app): State<Arc<App>>, form: Form) -> Result<Response, Problem> {
    let whose = allowed(&form)?;
    let usd = dollars(form.must("usd")?)?;
    let set = Set::now(usd, Some(by(&form.door)), reason(&form)?);
    Box::pin(ceilings::set(&app, whose, set)).await?;
    Ok(Did::CeilingSet.at("/cost"))
}

/// Clears what was set.
pub(super) async fn clear(State(app): State<Arc<App>>, form: Form) -> Result<Response, Problem> {
    let whose = allowed(&form)?;
    Box::pin(ceilings::clear(&app, whose, Some(by(&form.door)))).await?;
    Ok(Did::CeilingCleared.at("/cost"))
}

fn allowed(form: &Form) -> Result<flotilla_common::io::ceilings::Whose, Problem> {
    form.door.must_for_all()?;
    ceilings::named(form.must("scope")?, form.must("name")?.trim())
}

/// Dollars, as people type them.
fn dollars(typed: &str) -> Result<Usd, Problem> {
    let typed = typed.trim().trim_start_matches('$').trim();
    let dollars = typed.parse().ok().and_then(Usd::from_dollars);
    dollars.ok_or_else(|| bad_request("the ceiling must be a number of dollars, 0 to 1000000"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_as_people_type_them() {
        let nano = |typed: &str| {
            dollars(typed)
                .map(Usd::nano)
                .map_err(|problem| problem.status)
        };
        assert_eq!(nano(" $2.50 "), Ok(2_500_000_000));
        assert_eq!(nano("0"), Ok(0));
        for wrong in ["", "two", "-1", "NaN", "inf", "1000001"] {
            assert_eq!(nano(wrong), Err(400), "{wrong}");
        }
    }
}
