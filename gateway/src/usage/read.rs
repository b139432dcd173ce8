//! `GET /v1/usage`.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Extension, Json,
    extract::{RawQuery, State},
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};
use flotilla_common::{
    access::Caller,
    io::{clock, http::Problem},
};
use jiff::{civil::Date, tz::TimeZone};

use super::{
    csv,
    view::{Ask, By, DAYS_MAX, usage},
};
use crate::{
    problem::{bad_request, wrong_parameter},
    query::Fields,
    routes::App,
};

/// Days in an answer where nobody says since when.
const DAYS_DEFAULT: i64 = 30;
const KNOWN: &str = "`by`, `from`, `to`, `workflow`, `model`, `tenant`, `format`";
/// Longest query.
const QUERY_MAX: usize = 4_096;

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
}

/// What was used.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let today = clock::now().to_zoned(TimeZone::UTC).date();
    let (ask, format) = read(query.as_deref().unwrap_or_default(), today)?;
    let used = usage(&app, &ask.seen_by(&caller)).await?;
    let accept = headers.get(header::ACCEPT);
    let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or("");
    match format.unwrap_or_else(|| accepted(accept)) {
        Format::Json => Ok(Json(used).into_response()),
        Format::Csv => {
            let kind = [
                (
                    header::CONTENT_TYPE,
                    "text/csv; charset=utf-8; header=present",
                ),
                (
                    header::CONTENT_DISPOSITION,
                    "attachment; filename=\"usage.csv\"",
                ),
            ];
            Ok((kind, csv::write(&used)).into_response())
        }
    }
}

/// JSON, unless something asks for CSV and not for JSON.
fn accepted(accept: &str) -> Format {
    let mut kinds = accept
        .split(',')
        .filter_map(|kind| kind.split(';').next().map(str::trim));
    if kinds.clone().any(|kind| kind == "text/csv") && !kinds.any(|kind| kind == "application/json")
    {
        Format::Csv
    } else {
        Format::Json
    }
}

/// The fields of a query. `by` may be there several times, and has words with commas between; everything else once.
fn read(query: &str, today: Date) -> Result<(Ask, Option<Format>), Problem> {
    if query.len() > QUERY_MAX {
        return Err(bad_request("the query is too long"));
    }
    let mut fields = Fields::of(query)?;
    let mut by = BTreeSet::new();
    for words in fields.all::<String>("by")? {
        for word in words.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            by.insert(
                word.parse::<By>()
                    .map_err(|problem| wrong_parameter("by", problem))?,
            );
        }
    }
    let format = match fields.one::<String>("format")?.as_deref() {
        None => None,
        Some("json") => Some(Format::Json),
        Some("csv") => Some(Format::Csv),
        Some(_) => return Err(wrong_parameter("format", "`json` or `csv`")),
    };
    let (from, to) = days(&mut fields, today)?;
    let ask = Ask {
        by,
        workflow: fields.one("workflow")?,
        model: fields.one("model")?,
        tenant: fields.one("tenant")?,
        ..Ask::of(from, to)
    };
    fields.end(KNOWN)?;
    Ok((ask, format))
}

/// `from` and `to`, the last 30 days unless they say otherwise.
pub(super) fn days(fields: &mut Fields, today: Date) -> Result<(Date, Date), Problem> {
    let to: Date = fields.one("to")?.unwrap_or(today);
    let from = fields.one("from")?;
    let before = || to.checked_sub(jiff::Span::new().days(DAYS_DEFAULT - 1));
    let from = match from {
        Some(from) => from,
        None => before().map_err(|e| wrong_parameter("to", e.to_string()))?,
    };
    let span = from.until(to).map(|span| span.get_days()).unwrap_or(-1);
    if !(0..DAYS_MAX).contains(&span) {
        return Err(bad_request(format!(
            "`from` must be a day (such as 2026-11-01) up to `to`, and at most {DAYS_MAX} days before its end"
        )));
    }
    Ok((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn today() -> Date {
        "2026-11-21".parse().unwrap()
    }

    #[test]
    fn a_question_is_read_as_it_is_meant_and_a_wrong_one_is_told_by_name() {
        let (ask, format) = read(
            "by=workflow,day&by=model&from=2026-11-01&to=2026-11-03&workflow=w%2Dx&format=csv",
            today(),
        )
        .unwrap();
        assert_eq!(ask.by, BTreeSet::from([By::Workflow, By::Day, By::Model]));
        assert_eq!(
            (ask.workflow.as_deref(), format),
            (Some("w-x"), Some(Format::Csv))
        );
        assert_eq!(ask.days().len(), 3);
        let (ask, format) = read("tenant=", today()).unwrap();
        assert_eq!((ask.days().len(), ask.to, format), (30, today(), None));
        assert_eq!(ask.tenant, None);
        for (wrong, name) in [
            ("by=colour", "`by`"),
            ("from=yesterday", "`from`"),
            ("from=2026-11-22", "`from`"),
            ("from=2020-01-01", "`from`"),
            ("format=xml", "`format`"),
            ("workflow=a&workflow=b", "`workflow`"),
            ("flow=a", "`flow`"),
        ] {
            let problem = read(wrong, today()).unwrap_err();
            assert_eq!(problem.status, 400, "{wrong}");
            assert!(problem.detail.contains(name), "{wrong}: {}", problem.detail);
        }
    }

    #[test]
    fn csv_is_for_who_asks_for_it() {
        assert_eq!(accepted("text/csv"), Format::Csv);
        assert_eq!(accepted("text/csv;q=0.9, text/plain"), Format::Csv);
        for json in ["", "*/*", "application/json, text/csv", "text/html"] {
            assert_eq!(accepted(json), Format::Json, "{json}");
        }
    }
}
