//! `GET /v1/stats?minutes=60`: how the fleet does, by the minute, and how it stands now.

pub(crate) mod view;

use std::sync::Arc;

use axum::{Extension, Json, Router, extract::State, routing::get};
use flotilla_common::{access::Caller, io::http::Problem};

use crate::{
    list,
    query::{Fields, Pairs},
    routes::App,
};
use view::{MINUTES_DEFAULT, MINUTES_MAX, Stats, stats};

/// The routes.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new().route("/v1/stats", get(show))
}

async fn show(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    pairs: Pairs,
) -> Result<Json<Stats>, Problem> {
    let mut fields = Fields::read(pairs)?;
    let minutes = list::number(&mut fields, "minutes", MINUTES_DEFAULT, MINUTES_MAX)?;
    fields.end("`minutes`")?;
    Box::pin(stats(&app, &caller, minutes)).await.map(Json)
}
