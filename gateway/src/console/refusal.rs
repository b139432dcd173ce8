//! What went wrong, as a page: whoever follows a link or sends a form sees words, whoever asks for JSON gets a problem.

use askama::Template;
use axum::{
    body::to_bytes,
    extract::Request,
    http::{HeaderMap, StatusCode, Uri, header},
    middleware::Next,
    response::{Html, IntoResponse as _, Response},
};
use serde::Deserialize;

use super::frame::{Frame, fragment, guarded};

/// Longest problem that becomes a page, in bytes.
const PROBLEM_BYTES_MAX: usize = 256 * 1024;
/// The API: it answers in JSON, whoever asks.
const API: &str = "/v1/";

#[derive(Debug, Deserialize)]
struct Told {
    title: String,
    detail: String,
}

#[derive(Debug, Template)]
#[template(path = "refusal.html")]
struct Page {
    frame: Frame,
    status: u16,
    detail: String,
    /// Where what was asked for may be found, or done again.
    back: Option<String>,
}

/// Makes pages of problems where a browser asks for a page.
pub(crate) async fn as_pages(request: Request, next: Next) -> Response {
    let wants = wants_page(request.uri(), request.headers());
    let back = request.headers().get(header::REFERER).and_then(|from| {
        let from: Uri = from.to_str().ok()?.parse().ok()?;
        from.path_and_query().map(ToString::to_string)
    });
    let response = next.run(request).await;
    let is_problem = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/problem+json");
    if !(wants && is_problem) {
        return response;
    }
    guarded(page(response, back).await).await
}

fn wants_page(uri: &Uri, headers: &HeaderMap) -> bool {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    !uri.path().starts_with(API) && accept.is_some_and(|accept| accept.contains("text/html"))
}

async fn page(response: Response, back: Option<String>) -> Response {
    let (mut parts, body) = response.into_parts();
    let told = to_bytes(body, PROBLEM_BYTES_MAX).await.ok();
    let told = told.and_then(|bytes| serde_json::from_slice::<Told>(&bytes).ok());
    let told = told.unwrap_or_else(|| Told {
        title: parts
            .status
            .canonical_reason()
            .unwrap_or("Error")
            .to_owned(),
        detail: "There is more to say about it than fits on a page.".to_owned(),
    });
    let page = Page {
        frame: Frame::bare(told.title),
        status: parts.status.as_u16(),
        detail: told.detail,
        back: back.filter(|_| parts.status != StatusCode::NOT_FOUND),
    };
    for gone in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        parts.headers.remove(gone);
    }
    match fragment(&page) {
        Ok(html) => (parts.status, parts.headers, Html(html)).into_response(),
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, middleware::from_fn, routing::get};
    use flotilla_common::io::http::Problem;

    use super::*;

    async fn text(response: Response) -> String {
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn asked(path: &str, accept: &str) -> Request {
        let request = Request::builder().uri(path).header("accept", accept);
        request.body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn whoever_asks_for_a_page_gets_words_and_whoever_asks_for_json_gets_a_problem() {
        use tower::ServiceExt as _;
        let wrong =
            || async { Problem::new(StatusCode::CONFLICT, "not <script>now</script> \u{202e}x") };
        let routes = Router::new()
            .route("/page", get(wrong))
            .route("/v1/thing", get(wrong))
            .layer(from_fn(as_pages));
        let page = routes
            .clone()
            .oneshot(asked("/page", "text/html,*/*;q=0.8"))
            .await
            .unwrap();
        assert_eq!(page.status(), 409);
        assert!(
            page.headers()[header::CONTENT_SECURITY_POLICY]
                .to_str()
                .unwrap()
                .contains("default-src 'none'")
        );
        let html = text(page).await;
        assert!(
            html.contains("not &#60;script&#62;now&#60;/script&#62; ⟨U+202E⟩x"),
            "{html}"
        );
        for (path, accept) in [("/page", "application/json"), ("/v1/thing", "text/html")] {
            let answer = routes.clone().oneshot(asked(path, accept)).await.unwrap();
            assert!(text(answer).await.starts_with('{'), "{path}");
        }
    }
}
