//! The API's description in OpenAPI 3.1 at `/openapi.json`, and pages to read it by at `/docs`, all from the binary.
//!
//! Every route under `/v1` has one [`operation::Operation`] in one of the tables of [`paths`], and a test holds the tables against
//! the router: a route that is missing here fails it, and so does an operation without a route. To add one:
//!
//! ```text
//! get("/v1/things/{id}", "One thing")          // method, path as the router has it, what it is in a few words
//!     .path("id", name())                       // every part of the path in braces
//!     .query("since", text())                   // parameters of the query, none of which is required
//!     .body(object(json!({"usd": number()}), json!({"by": text()})))   // required and optional fields
//!     .answer(200, of("Thing"))                 // a schema of its own goes into `schemas`
//!     .problems(&[404, 409])                    // besides those that any request can get
//! ```
//!
//! Schemas say what is promised, by hand: the fuzz test holds real answers against them. Who may is said in the table of scopes alone.

mod operation;
mod paths;
mod schemas;

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{access, routes::App};
use operation::Operation;

const DOCUMENT: &str = "/openapi.json";
const PAGES: &str = "/docs";
/// Of the pages alone: they are another project's, made of inline styles and of pictures as data.
const PAGES_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
);
const ABOUT: &str = "What a fleet does, and what people tell it. Every error is a problem document (RFC 9457) whose `detail` says what is wrong and what to do; where a field or parameter is wrong, `errors` points to it. Lists go on where `next` says, given back as `cursor`. Times are RFC 3339 in UTC; money is in nano-dollars (1e-9 USD) where a name ends with `usd_nano`.";

static TEXT: LazyLock<Bytes> = LazyLock::new(|| document(&paths::all()).to_string().into());

/// The description and its pages.
pub(crate) fn routes() -> Router<Arc<App>> {
    // Else the pages have it checked by somebody on the internet.
    let config = Config::new([DOCUMENT]).validator_url("none");
    let pages = SwaggerUi::new(PAGES).config(config.use_base_layout());
    let pages = Router::<Arc<App>>::from(pages).layer(middleware::from_fn(guarded));
    Router::new().route(DOCUMENT, get(text)).merge(pages)
}

async fn text() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], TEXT.clone()).into_response()
}

async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, PAGES_POLICY);
    let no_sniffing = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, no_sniffing);
    response
}

fn document(operations: &[Operation]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        let path = paths
            .entry(operation.documented_path())
            .or_insert(json!({}));
        path[operation.method()] = operation.json();
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Flotilla",
            "description": ABOUT,
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": paths::tags(),
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "responses": {"Problem": operation::problem()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A token that `flotilla token create` made"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": access::COOKIE, "description": "The same token, set by the console's login; alone it is enough to look"},
                "csrf": {"type": "apiKey", "in": "header", "name": access::CSRF_HEADER, "description": "What pages of the console have in their forms: changes need it beside the cookie"},
            },
        },
    })
}

#[cfg(test)]
mod tests;
