//! Watching runs as they go on: the hub, which reads the journal once for all who watch by this gateway, and what it sends to HTTP
//! clients as server-sent events.
//!
//! Pages take from it with [`Hub::run`] (the entries of a run from a sequence on, without a gap or a double) and [`Hub::changes`]
//! (the lines of runs that changed, every half a second).

mod changes;
mod feed;
mod hub;
mod seen;
mod sse;
mod watching;

use std::sync::Arc;

use axum::{Router, routing::get};

pub(crate) use hub::Hub;
pub(crate) use sse::{EVENT_STREAM, Frames, last_event_id, respond};
pub(crate) use watching::{ChangesWatch, Cut, Watching};

use crate::routes::App;

/// The routes.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/live", get(sse::changes))
        .route("/v1/runs/{id}/live", get(sse::run))
}
