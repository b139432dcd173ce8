//! The requests that batches are created, seen and ended with.

use super::work::{self, Job};
use super::{Page, read};
use crate::access;
use crate::answer::id;
use crate::error::ApiError;
use crate::messages;
use crate::plan;
use crate::server::{Sim, failure, json};
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use axum::routing::{get, post};
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The largest body that creates a batch, in bytes.
const MAX_BODY: usize = 256 << 20;

/// Entries of a page of the list, where nothing is asked, and at most.
const PAGE: usize = 20;
const MAX_PAGE: usize = 1000;

pub(crate) fn routes() -> Router<Arc<Sim>> {
    let many = get(list)
        .post(create)
        // Read on past what is allowed, so that a client still sending gets to see the 413.
        .layer(DefaultBodyLimit::max(MAX_BODY + (32 << 20)));
    Router::new()
        .route("/v1/messages/batches", many)
        .route("/v1/messages/batches/{id}", get(show).delete(delete))
        .route("/v1/messages/batches/{id}/cancel", post(cancel))
        .route("/v1/messages/batches/{id}/results", get(results))
}

async fn create(
    State(sim): State<Arc<Sim>>,
    headers: HeaderMap,
    uri: Uri,
    body: Result<Bytes, BytesRejection>,
) -> Response<Body> {
    let made = body.map_err(|_| messages::too_large()).and_then(|bytes| {
        access::check(&headers)?;
        let items = read::items(messages::object(&bytes, MAX_BODY)?)?;
        let takes = sim.control.draw_batch(&Sha256::digest(&bytes).into());
        let (made, id, cancel) =
            sim.batches
                .create(&items, Timestamp::now(), &base(&headers, &uri))?;
        let job = Job {
            id,
            items,
            owner: plan::owner(&headers),
            takes,
            cancel,
        };
        sim.tasks.spawn(work::run(Arc::clone(&sim), job));
        Ok(made)
    });
    answer(made)
}

async fn show(
    State(sim): State<Arc<Sim>>,
    headers: HeaderMap,
    uri: Uri,
    Path(id): Path<String>,
) -> Response<Body> {
    let found = access::check(&headers).and_then(|()| sim.batches.get(&id, &base(&headers, &uri)));
    answer(found)
}

async fn cancel(
    State(sim): State<Arc<Sim>>,
    headers: HeaderMap,
    uri: Uri,
    Path(id): Path<String>,
) -> Response<Body> {
    let base = base(&headers, &uri);
    let cancelled =
        access::check(&headers).and_then(|()| sim.batches.cancel(&id, Timestamp::now(), &base));
    answer(cancelled)
}

async fn delete(
    State(sim): State<Arc<Sim>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response<Body> {
    answer(access::check(&headers).and_then(|()| sim.batches.delete(&id)))
}

async fn results(
    State(sim): State<Arc<Sim>>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Response<Body> {
    match access::check(&headers).and_then(|()| sim.batches.results(&name)) {
        Ok(lines) => {
            let mut response = json(StatusCode::OK, &id("req_01"), lines);
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/x-jsonl"),
            );
            response
        }
        Err(error) => failure(&error),
    }
}

#[derive(Deserialize)]
struct ListQuery {
    limit: Option<usize>,
    after_id: Option<String>,
    before_id: Option<String>,
}

async fn list(
    State(sim): State<Arc<Sim>>,
    headers: HeaderMap,
    uri: Uri,
    Query(query): Query<ListQuery>,
) -> Response<Body> {
    let listed = access::check(&headers).and_then(|()| {
        let limit = query.limit.unwrap_or(PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(ApiError::invalid(format!(
                "limit: Input should be between 1 and {MAX_PAGE}"
            )));
        }
        let page = Page {
            limit,
            after: query.after_id,
            before: query.before_id,
        };
        Ok(sim.batches.list(&page, &base(&headers, &uri)))
    });
    answer(listed)
}

/// Where the client reaches this server: HTTP/1.1 says it in a header, HTTP/2 in the address.
fn base(headers: &HeaderMap, uri: &Uri) -> String {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let authority = || uri.authority().map(|authority| authority.as_str());
    format!("http://{}", host.or_else(authority).unwrap_or_default())
}

fn answer(answer: Result<Value, ApiError>) -> Response<Body> {
    match answer {
        Ok(value) => json(StatusCode::OK, &id("req_01"), value.to_string()),
        Err(error) => failure(&error),
    }
}
