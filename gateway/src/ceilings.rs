//! `/v1/ceilings`: what workflows and tenants may spend in a day (UTC), as definitions say it and as people set it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
};
use flotilla_common::{
    access::Caller,
    io::{
        ceilings::{Change, Payer, Set, Standing, Unreachable, Whose},
        clock,
        http::Problem,
        money::{Today, day},
    },
    money::Usd,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    fields::{BODY_BYTES_MAX, Fields},
    problem::{ask_store, bad_request, unavailable},
    resume,
    routes::App,
};

/// Counters asked for at once.
const COUNTERS_AT_ONCE: usize = 16;

/// Where a ceiling comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    /// Somebody set it.
    Set,
    /// The active version of the workflow says so.
    Definition,
    /// There is none.
    None,
    /// Something is set that this version does not understand: no call is made until it is set again or cleared.
    Unreadable,
}

/// A ceiling as the API shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) scope: Payer,
    pub(crate) name: String,
    /// What holds.
    pub(crate) usd_nano: Option<Usd>,
    pub(crate) from: Origin,
    /// What holds when nothing is set.
    pub(crate) definition_usd_nano: Option<Usd>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<Timestamp>,
    /// Spent and held today; `None` when Redis does not say.
    pub(crate) spent_usd_nano: Option<Usd>,
    /// Whether this gateway has definitions of the workflow; of a tenant nobody knows before its first event.
    pub(crate) known: bool,
}

/// All ceilings.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    pub(crate) ceilings: Vec<Line>,
    /// The day (UTC) that `spent_usd_nano` is of.
    pub(crate) day: String,
    /// Whether what is spent is all that is spent: false from when Redis was emptied until the day was summed up again.
    pub(crate) complete: bool,
}

/// What a change did.
#[derive(Debug, Serialize)]
pub(crate) struct Changed {
    ceiling: Line,
    /// Parked runs that are told to look again, from now on in the background.
    resuming: usize,
    /// Whether these are all: false while the index of runs is being built, or Redis is away. They are found later then.
    complete: bool,
}

type Scoped = Result<Path<(String, String)>, PathRejection>;

/// Every ceiling that holds.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Listed>, Problem> {
    all(&app, &caller).await.map(Json)
}

/// Every ceiling that is this caller's business: a tenant's sees its own.
pub(crate) async fn all(app: &App, caller: &Caller) -> Result<Listed, Problem> {
    let mut listed = everything(app).await?;
    if caller.tenant.is_some() {
        listed
            .ceilings
            .retain(|line| line.scope == Payer::Tenant && caller.sees(&line.name));
    }
    Ok(listed)
}

/// Every ceiling that holds, for the fleet's own eyes.
pub(crate) async fn everything(app: &App) -> Result<Listed, Problem> {
    let set = Box::pin(app.ceilings.list()).await;
    let set = set.map_err(|problem| away(&problem))?;
    let catalogue = app.current.catalogue();
    let defined = catalogue.active().filter_map(|(name, _)| {
        catalogue.stable(name)?.limits.usd_per_day?;
        Some((Payer::Workflow, name.clone()))
    });
    let all: BTreeSet<Whose> = defined.chain(set.keys().cloned()).collect();
    // The limits are worth knowing without Redis, too.
    let spent = spent(app, &all).await;
    let complete = spent
        .as_ref()
        .is_ok_and(|spent| spent.values().all(|today| today.complete));
    let spent = spent.unwrap_or_default();
    let lines = all.into_iter().map(|whose| {
        let standing = set.get(&whose);
        let spent = spent.get(&whose).copied();
        line(app, whose, standing, spent)
    });
    Ok(Listed {
        ceilings: lines.collect(),
        day: day(clock::now()),
        complete,
    })
}

/// Sets a ceiling. The same one again changes nothing, but tells runs that were not told yet.
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    path: Scoped,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Changed>, Problem> {
    let whose = whose(path)?;
    let mut fields = Fields::read(&headers, body, BODY_BYTES_MAX).await?;
    let set_to = Set::now(fields.usd("usd")?, fields.by()?, fields.reason()?);
    fields.end(r#"{"usd", "by"?, "reason"?}"#)?;
    set(&app, whose, set_to).await.map(Json)
}

/// Sets a ceiling.
pub(crate) async fn set(app: &App, whose: Whose, set: Set) -> Result<Changed, Problem> {
    let room = room(app)?;
    let before = app.ceilings.get(&whose).await.map_err(|e| away(&e))?;
    // A ceiling of nothing frees nobody. Any other may: who is parked may be pinned to an older definition's, or to an earlier one.
    let frees = set.usd_nano > Usd::default();
    let why = format!(
        "the day's ceiling of {} `{}` is {} now",
        whose.0, whose.1, set.usd_nano
    );
    let by = set.by.clone();
    let change = match before {
        Some(before) if says_so_already(&before, &set) => before,
        Some(_) | None => app.ceilings.set(&whose, set).await.map_err(|e| away(&e))?,
    };
    if !frees {
        return Ok(changed(app, whose, &change, Some(resume::Found::none())).await);
    }
    let told = resume::Change {
        whose: whose.clone(),
        revision: change.revision,
        by,
        why,
    };
    let found = app.resumer.resume(room, told).await;
    Ok(changed(app, whose, &change, found).await)
}

/// Back to what the definition says.
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    path: Scoped,
) -> Result<Json<Changed>, Problem> {
    clear(&app, whose(path)?, None).await.map(Json)
}

/// Clears what was set.
pub(crate) async fn clear(app: &App, whose: Whose, by: Option<String>) -> Result<Changed, Problem> {
    let room = room(app)?;
    let cleared = app.ceilings.clear(&whose).await.map_err(|e| away(&e))?;
    let change = cleared.ok_or_else(|| {
        let detail = format!("no ceiling was ever set for {} `{}`", whose.0, whose.1);
        Problem::new(StatusCode::NOT_FOUND, detail)
    })?;
    let told = resume::Change {
        whose: whose.clone(),
        revision: change.revision,
        by,
        why: format!(
            "the day's ceiling that was set for {} `{}` was cleared",
            whose.0, whose.1
        ),
    };
    let found = app.resumer.resume(room, told).await;
    Ok(changed(app, whose, &change, found).await)
}

async fn changed(
    app: &App,
    whose: Whose,
    change: &Change,
    found: Option<resume::Found>,
) -> Changed {
    let only = BTreeSet::from([whose.clone()]);
    let spent = spent(app, &only).await.unwrap_or_default();
    let spent = spent.get(&whose).copied();
    Changed {
        ceiling: line(app, whose, Some(&change.standing), spent),
        resuming: found.as_ref().map_or(0, resume::Found::count),
        complete: found.is_some_and(|found| found.complete),
    }
}

fn line(app: &App, whose: Whose, standing: Option<&Standing>, today: Option<Today>) -> Line {
    let definition = defined(app, &whose);
    let (payer, name) = whose;
    let known = match payer {
        Payer::Workflow => app.current.catalogue().has(&name),
        Payer::Tenant => true,
    };
    let mut line = Line {
        scope: payer,
        name: name.to_string(),
        usd_nano: definition,
        from: match definition {
            Some(_) => Origin::Definition,
            None => Origin::None,
        },
        definition_usd_nano: definition,
        by: None,
        reason: None,
        at: None,
        spent_usd_nano: today.map(|today| today.spent + today.held),
        known,
    };
    match standing {
        None | Some(Standing::Cleared) => {}
        Some(Standing::Unreadable) => (line.usd_nano, line.from) = (None, Origin::Unreadable),
        Some(Standing::Set(set)) => {
            (line.usd_nano, line.from) = (Some(set.usd_nano), Origin::Set);
            line.by.clone_from(&set.by);
            line.reason.clone_from(&set.reason);
            line.at = Some(set.at);
        }
    }
    line
}

async fn spent(app: &App, all: &BTreeSet<Whose>) -> Result<BTreeMap<Whose, Today>, Problem> {
    stream::iter(all.iter().cloned())
        .map(|whose| async move {
            let today = match whose.0 {
                Payer::Workflow => ask_store(app.money.of_workflow_today(&whose.1)).await?,
                Payer::Tenant => ask_store(app.money.of_tenant_today(&whose.1)).await?,
            };
            Ok((whose, today))
        })
        .buffer_unordered(COUNTERS_AT_ONCE)
        .try_collect()
        .await
}

/// What the active version of the workflow says; there are no definitions of tenants.
fn defined(app: &App, (payer, name): &Whose) -> Option<Usd> {
    match payer {
        Payer::Tenant => None,
        Payer::Workflow => {
            let catalogue = app.current.catalogue();
            catalogue.stable(name)?.limits.usd_per_day
        }
    }
}

fn says_so_already(before: &Change, set: &Set) -> bool {
    match &before.standing {
        Standing::Set(standing) => standing.says_the_same(set),
        Standing::Cleared | Standing::Unreadable => false,
    }
}

fn whose(path: Scoped) -> Result<Whose, Problem> {
    let Path((payer, name)) = path.map_err(|rejection| bad_request(rejection.body_text()))?;
    named(&payer, &name)
}

/// Whose ceiling it is, as people write it.
pub(crate) fn named(payer: &str, name: &str) -> Result<Whose, Problem> {
    let payer: Payer = payer.parse().map_err(|problem: String| {
        let detail = format!("a ceiling is a workflow's or a tenant's: {problem}");
        Problem::new(StatusCode::NOT_FOUND, detail)
    })?;
    let name = name
        .parse()
        .map_err(|e: flotilla_common::ids::IdError| bad_request(e.to_string()))?;
    Ok((payer, name))
}

fn room(app: &App) -> Result<OwnedSemaphorePermit, Problem> {
    let room = app.resumer.room();
    room.ok_or_else(|| unavailable("too many ceilings are being changed at once; try again"))
}

fn away(problem: &Unreachable) -> Problem {
    unavailable(problem.to_string())
}
