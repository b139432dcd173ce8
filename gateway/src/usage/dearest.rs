//! `GET /v1/usage/runs`: the dearest runs.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension, Json,
    extract::{RawQuery, State},
};
use flotilla_common::{
    access::Caller,
    ids::RunId,
    io::{clock, http::Problem, usage::DEAREST_MAX},
    money::Usd,
    run::Summary,
};
use jiff::{civil::Date, tz::TimeZone};
use serde::Serialize;

use super::{
    read::days,
    view::{Ask, Through},
};
use crate::{list, problem::ask_store, query::Fields, routes::App};

/// Runs in an answer, when the request does not say.
const TOP_DEFAULT: usize = 10;

/// A dear run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Dear {
    /// Which run.
    pub(crate) id: RunId,
    /// Who pays.
    pub(crate) tenant: String,
    /// What Claude had cost it when it was charged last in these days, in nano-dollars.
    pub(crate) usd_nano: Usd,
    /// Its line in the list of runs, if it is still there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<Summary>,
}

/// The dearest runs of some days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Dearest {
    /// The first day (UTC).
    pub(crate) from: Date,
    /// The last one, itself included.
    pub(crate) to: Date,
    /// The dearest first. Of each day, a hundred are known; of one tenant, those among them.
    pub(crate) runs: Vec<Dear>,
    /// As for `/v1/usage`.
    pub(crate) complete: bool,
    /// As for `/v1/usage`.
    pub(crate) through: Through,
}

/// The dearest runs.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    RawQuery(text): RawQuery,
) -> Result<Json<Dearest>, Problem> {
    let today = clock::now().to_zoned(TimeZone::UTC).date();
    let mut fields = Fields::of(text.as_deref().unwrap_or_default())?;
    let (from, to) = days(&mut fields, today)?;
    let top = list::number(&mut fields, "top", TOP_DEFAULT, DEAREST_MAX)?;
    fields.end("`from`, `to`, `top`")?;
    let ask = Ask::of(from, to).seen_by(&caller);
    dearest(&app, &ask, top).await.map(Json)
}

/// The dearest runs of the days that are asked for, of one tenant where one is; at most `top`.
///
/// # Errors
/// Redis does not answer.
pub(crate) async fn dearest(app: &App, ask: &Ask, top: usize) -> Result<Dearest, Problem> {
    let place = ask_store(app.ledger.place()).await?;
    let mut costs: BTreeMap<RunId, (String, Usd)> = BTreeMap::new();
    for day in ask.days() {
        for (tenant, run, usd) in ask_store(app.ledger.dearest(day)).await? {
            if ask.tenant.as_ref().is_some_and(|wanted| *wanted != tenant) {
                continue;
            }
            // What a run cost only grows: that of its last day is its own.
            let cost = costs.entry(run).or_insert((tenant, usd));
            cost.1 = cost.1.max(usd);
        }
    }
    let mut costs: Vec<(RunId, (String, Usd))> = costs.into_iter().collect();
    costs.sort_by(|(_, (_, left)), (_, (_, right))| right.cmp(left));
    costs.truncate(top);
    let ids: Vec<RunId> = costs.iter().map(|(run, _)| run.clone()).collect();
    let lines = ask_store(app.store.lines(&ids)).await?;
    let runs = costs
        .into_iter()
        .zip(lines)
        .map(|((id, (tenant, usd_nano)), run)| Dear {
            id,
            tenant,
            usd_nano,
            run,
        });
    Ok(Dearest {
        from: ask.from,
        to: ask.to,
        runs: runs.collect(),
        complete: place.current,
        through: (&place).into(),
    })
}
