//! The part of a URL after `?`.

use std::str::FromStr;

use axum::extract::{Query, rejection::QueryRejection};
use flotilla_common::io::http::Problem;

use crate::problem::bad_request;

/// The fields of a query. An unknown one, or one that is there twice, is an error: a misspelt filter must not show everything.
pub(crate) fn fields<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    query
        .map(|Query(fields)| fields)
        .map_err(|rejection| bad_request(rejection.body_text()))
}

/// A field's value; an empty one is as good as none.
pub(crate) fn value<T>(name: &str, text: Option<&str>) -> Result<Option<T>, Problem>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    text.filter(|text| !text.is_empty())
        .map(|text| {
            text.parse()
                .map_err(|e| bad_request(format!("`{name}`: {e}")))
        })
        .transpose()
}
