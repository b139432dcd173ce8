//! `/v1/usage`: what was used and what it cost, by workflow, model, tenant and day; and what reads the journal for it.

pub(crate) mod csv;
pub(crate) mod dearest;
mod follow;
mod read;
pub(crate) mod view;

use std::sync::Arc;

use axum::{Router, routing::get};

use crate::routes::App;
pub(crate) use follow::Follower;

/// The routes.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/usage", get(read::get))
        .route("/v1/usage/runs", get(dearest::get))
}
