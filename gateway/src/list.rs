//! `GET /v1/runs`: the newest runs, from the index in Redis; `GET /v1/runs/counts`: how many stand how.

mod filter;
mod scan;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{Extension, Json, extract::State};
use flotilla_common::{
    access::Caller,
    ids::Name,
    io::{http::Problem, store::Cursor},
    run::{Status, Summary},
};
use serde::Serialize;

pub(crate) use filter::{Ask, Filter, When, limit, number};

use crate::{
    problem::ask_store,
    query::{Fields, Pairs},
    routes::App,
};

/// How long a request waits for an index that is being built: for a small journal it is a matter of milliseconds.
const BUILD_PATIENCE: Duration = Duration::from_secs(2);

/// A page of runs.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Listed {
    /// Newest first.
    pub(crate) runs: Vec<Summary>,
    /// `cursor` of the next page; with filters, a page may have few runs or none and yet a next one.
    pub(crate) next: Option<String>,
    /// False from when Redis was emptied until the list was built again: older runs may be missing.
    pub(crate) complete: bool,
}

/// How many runs of the index stand how.
#[derive(Debug, Serialize)]
pub(crate) struct Counts {
    /// Every status, also those that no run has.
    pub(crate) counts: BTreeMap<Status, u64>,
    pub(crate) total: u64,
    /// False from when Redis was emptied until the list was built again: there may be more.
    pub(crate) complete: bool,
}

/// A page of runs.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    pairs: Pairs,
) -> Result<Json<Listed>, Problem> {
    let ask = Ask::read(Fields::read(pairs)?, &caller)?;
    patiently(&app, &ask).await.map(Json)
}

/// How many runs stand how.
pub(crate) async fn counts(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    pairs: Pairs,
) -> Result<Json<Counts>, Problem> {
    let mut fields = Fields::read(pairs)?;
    let tenant: Option<Name> = fields.one("tenant")?;
    fields.end("`tenant`")?;
    counted(&app, &caller, tenant).await.map(Json)
}

/// How many of the runs that somebody sees stand how, of one tenant or of all.
pub(crate) async fn counted(
    app: &App,
    caller: &Caller,
    tenant: Option<Name>,
) -> Result<Counts, Problem> {
    let complete = ask_store(app.store.index_is_complete()).await?;
    let sees = |whose: &str| {
        let is_asked = tenant
            .as_ref()
            .is_none_or(|tenant| tenant.as_str() == whose);
        is_asked && caller.sees(whose)
    };
    let counted = ask_store(app.store.counts(sees)).await?;
    let none = Status::ALL.into_iter().map(|status| (status, 0));
    let mut counts: BTreeMap<Status, u64> = none.collect();
    counts.extend(counted);
    Ok(Counts {
        total: counts.values().sum(),
        counts,
        complete,
    })
}

/// Runs that wait for a person, as far as they are there for whoever asks.
pub(crate) async fn waiting(
    app: &App,
    caller: &Caller,
    limit: usize,
    after: Option<Cursor>,
    workflow: Option<Name>,
) -> Result<Listed, Problem> {
    let filter = Filter {
        statuses: vec![Status::Waiting],
        workflows: workflow.into_iter().collect(),
        own: caller.tenant.clone(),
        ..Filter::default()
    };
    let ask = Ask {
        limit,
        after,
        filter,
    };
    patiently(app, &ask).await
}

/// The newest runs that a caller may see.
pub(crate) async fn newest(
    app: &App,
    caller: &Caller,
    limit: usize,
) -> Result<Vec<Summary>, Problem> {
    let ask = Ask {
        limit,
        after: None,
        filter: Filter {
            own: caller.tenant.clone(),
            ..Filter::default()
        },
    };
    Ok(patiently(app, &ask).await?.runs)
}

/// A page of runs; it waits a little for an index that is being built.
pub(crate) async fn patiently(app: &App, ask: &Ask) -> Result<Listed, Problem> {
    let listed = list(app, ask).await?;
    if listed.complete {
        return Ok(listed);
    }
    app.index.wait_built(BUILD_PATIENCE).await;
    list(app, ask).await
}

async fn list(app: &App, ask: &Ask) -> Result<Listed, Problem> {
    let Some(run) = ask.filter.run().filter(|_| ask.after.is_none()) else {
        return scan::scan(&app.store, ask).await;
    };
    // Its line is found by its id, however old it is.
    let complete = ask_store(app.store.index_is_complete()).await?;
    let lines = ask_store(app.store.lines(&[run])).await?;
    let runs = lines.into_iter().flatten();
    Ok(Listed {
        runs: runs.filter(|run| ask.filter.passes(run)).collect(),
        next: None,
        complete,
    })
}
