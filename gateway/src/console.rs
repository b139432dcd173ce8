//! The console: the pages that people look at, made here and whole without JavaScript. Every page is a template that askama has
//! checked, in one frame ([`frame::Frame`]), with one policy of what a browser may load; what goes wrong is a page too
//! ([`refusal`]). Models, tools and events write texts that are shown here: templates escape all of them, and
//! [`frame::page`] makes visible what would turn words around.
//!
//! A new page takes `State<Arc<App>>`, a [`door::Door`] and its path or query, loads a [`frame::Frame`], and gives
//! `frame::page(&Template)`. A form has `{% include "csrf.html" %}` in it, and its handler reads it as [`form::Form`], which
//! checks that. A part of a page that changes by itself has an id and `data-live`: see `gateway/assets/console.js`.

mod approvals;
mod assets;
mod attention;
mod axis;
mod chart;
mod cost;
mod did;
mod dlq;
mod door;
mod fleet;
mod form;
mod frame;
mod ink;
mod live;
mod login;
mod overview;
mod question;
mod refusal;
mod run;
mod runs;
mod start;
mod stuck;
mod tell;
mod text;
mod timeline;
mod tools;
mod words;
mod workflows;

use std::sync::Arc;

use axum::{
    Extension, Router,
    middleware::map_response,
    routing::{get, post},
};

use crate::routes::App;
pub(crate) use overview::pulse::Pulse;
pub(crate) use refusal::as_pages;

/// The pages, their forms, and what they load.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/runs", get(runs::page).post(start::post))
        .route("/runs/live", get(live::runs))
        .route("/runs/{id}", get(run::page))
        .route("/runs/{id}/live", get(live::run))
        .route("/runs/{id}/tell/{signal}", post(tell::post))
        .route("/runs/{id}/verdict", post(approvals::answer))
        .route("/approvals", get(approvals::page))
        .route("/approvals/live", get(live::approvals))
        .route("/login", get(login::page).post(login::post))
        .route("/logout", post(login::logout))
        .merge(overview::routes())
        .merge(dlq::routes())
        .merge(fleet::routes())
        .merge(cost::routes())
        .merge(workflows::routes())
        .merge(tools::routes())
        .route("/assets/{file}", get(assets::get))
        .route_layer(Extension(login::Tries::default()))
        .route_layer(map_response(frame::guarded))
}
