//! `GET /v1/fleet`: who is there, what waits for whom, what stands in the way, and what a person should look at.

pub(crate) mod attention;
mod sampler;
mod sources;
pub(crate) mod view;

use std::sync::Arc;

use axum::{Extension, Json, Router, extract::State, routing::get};
use flotilla_common::access::Caller;

use crate::routes::App;
pub(crate) use sampler::Sampler;
use view::Fleet;

/// The routes.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new().route("/v1/fleet", get(show))
}

async fn show(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>) -> Json<Fleet> {
    Json(view::fleet(&app, &caller).await)
}
