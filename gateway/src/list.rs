//! `GET /v1/runs`: the newest runs, from the index in Redis.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use flotilla_common::{
    ids::Name,
    io::{
        http::Problem,
        store::{Cursor, Page, rests},
    },
    run::{Status, Summary},
};
use serde::{Deserialize, Serialize};

use crate::{
    problem::{ask_store, bad_request},
    query,
    routes::App,
};

/// Runs per page, when the request does not say.
const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 500;
/// Lines that one request looks at for what passes its filters; the next page goes on from there.
const LOOKED_AT_MAX: usize = 10_000;
/// Lines asked for at once when there are filters.
const LOOKED_AT_ONCE: usize = 500;
/// How long a request waits for an index that is being built: for a small journal it is a matter of milliseconds.
const BUILD_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fields {
    limit: Option<String>,
    cursor: Option<String>,
    status: Option<String>,
    workflow: Option<String>,
}

#[derive(Debug, Default)]
struct Filter {
    status: Option<Status>,
    workflow: Option<Name>,
}

impl Filter {
    /// Whether every line passes that the index gives for the wanted status.
    fn is_met(&self) -> bool {
        self.status.is_none_or(rests) && self.workflow.is_none()
    }

    fn passes(&self, run: &Summary) -> bool {
        self.status.is_none_or(|status| run.status == status)
            && self
                .workflow
                .as_ref()
                .is_none_or(|name| run.workflow == *name)
    }
}

#[derive(Debug)]
struct Ask {
    limit: usize,
    after: Option<Cursor>,
    filter: Filter,
}

impl Fields {
    fn read(&self) -> Result<Ask, Problem> {
        Ok(Ask {
            limit: limit(self.limit.as_deref(), LIMIT_DEFAULT, LIMIT_MAX)?,
            after: query::value("cursor", self.cursor.as_deref())?,
            filter: Filter {
                status: query::value("status", self.status.as_deref())?,
                workflow: query::value("workflow", self.workflow.as_deref())?,
            },
        })
    }
}

/// How many to list at most; an empty text is as good as none.
pub(crate) fn limit(text: Option<&str>, default: usize, most: usize) -> Result<usize, Problem> {
    match text {
        None | Some("") => Ok(default),
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=most).contains(limit))
            .ok_or_else(|| bad_request(format!("`limit`: a number from 1 to {most}"))),
    }
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Listed {
    /// Newest first.
    pub(crate) runs: Vec<Summary>,
    /// `cursor` of the next page; with filters, a page may have few runs or none and yet a next one.
    pub(crate) next: Option<String>,
    /// False from when Redis was emptied until the list was built again: older runs may be missing.
    pub(crate) complete: bool,
}

/// A page of runs.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    fields: Result<Query<Fields>, QueryRejection>,
) -> Result<Json<Listed>, Problem> {
    let ask = query::fields(fields)?.read()?;
    patiently(&app, &ask).await.map(Json)
}

/// Runs that wait for a person.
pub(crate) async fn waiting(
    app: &App,
    limit: usize,
    after: Option<Cursor>,
    workflow: Option<Name>,
) -> Result<Listed, Problem> {
    let filter = Filter {
        status: Some(Status::Waiting),
        workflow,
    };
    let ask = Ask {
        limit,
        after,
        filter,
    };
    patiently(app, &ask).await
}

async fn patiently(app: &App, ask: &Ask) -> Result<Listed, Problem> {
    let listed = list(app, ask).await?;
    if listed.complete {
        return Ok(listed);
    }
    app.index.wait_built(BUILD_PATIENCE).await;
    list(app, ask).await
}

async fn list(app: &App, ask: &Ask) -> Result<Listed, Problem> {
    let mut listed = Listed {
        complete: true,
        ..Listed::default()
    };
    let mut after = ask.after.clone();
    let mut looked_at = 0;
    loop {
        let count = if ask.filter.is_met() {
            ask.limit
        } else {
            LOOKED_AT_ONCE
        };
        let lines = app.store.list(ask.filter.status, after.as_ref(), count);
        let page = ask_store(lines).await?;
        looked_at += count;
        let more = page.more;
        listed.complete &= page.complete;
        after = listed.take(page, ask).or(after);
        if listed.runs.len() == ask.limit || !more || looked_at >= LOOKED_AT_MAX {
            if listed.next.is_none() && more {
                listed.next = after.map(|cursor| cursor.to_string());
            }
            return Ok(listed);
        }
    }
}

impl Listed {
    /// Takes what passes; gives where the page ended.
    fn take(&mut self, page: Page, ask: &Ask) -> Option<Cursor> {
        let mut last = None;
        let mut lines = page.lines.into_iter().peekable();
        while let Some(line) = lines.next() {
            if let Some(run) = line.summary
                && ask.filter.passes(&run)
            {
                self.runs.push(run);
            }
            last = Some(line.cursor);
            if self.runs.len() == ask.limit {
                if page.more || lines.peek().is_some() {
                    self.next = last.as_ref().map(ToString::to_string);
                }
                break;
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(limit: &str, status: &str, cursor: &str) -> Fields {
        Fields {
            limit: Some(limit.into()),
            cursor: Some(cursor.into()),
            status: Some(status.into()),
            workflow: None,
        }
    }

    #[test]
    fn an_empty_field_is_as_good_as_none_and_a_wrong_one_is_told_by_name() {
        let ask = fields("", "", "").read().unwrap();
        assert_eq!((ask.limit, ask.filter.is_met()), (LIMIT_DEFAULT, true));
        for (wrong, name) in [
            (fields("0", "", ""), "`limit`"),
            (fields("501", "", ""), "`limit`"),
            (fields("many", "", ""), "`limit`"),
            (fields("", "ended", ""), "`status`"),
            (fields("", "", "5"), "`cursor`"),
        ] {
            let problem = wrong.read().unwrap_err();
            assert_eq!(problem.status, 400);
            assert!(problem.detail.contains(name), "{}", problem.detail);
        }
    }
}
