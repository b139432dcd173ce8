//! Request bodies: of a known type, and bounded.

use axum::{
    body::{Body, BodyDataStream},
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use flotilla_common::io::http::Problem;
use futures_util::StreamExt as _;

use crate::problem::bad_request;

/// `application/json`.
pub(crate) const JSON: &str = "application/json";
/// `application/cloudevents+json`: a structured CloudEvent.
pub(crate) const CLOUD_EVENT: &str = "application/cloudevents+json";
/// `application/cloudevents-batch+json`: a list of structured CloudEvents.
pub(crate) const CLOUD_EVENTS: &str = "application/cloudevents-batch+json";
/// What is read of a body that is too large only to throw it away: a client that is still sending sees no answer.
const THROWN_AWAY_MAX: usize = 8 << 20;

/// Which of the accepted media types the body has; parameters such as `charset` say nothing, JSON is UTF-8.
///
/// It also keeps out what other sites' pages can send from a browser without asking: that is never JSON.
pub(crate) fn media_type(
    headers: &HeaderMap,
    accepted: &[&'static str],
) -> Result<&'static str, Problem> {
    let given = headers.get(header::CONTENT_TYPE);
    let given = given
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    let found = accepted
        .iter()
        .find(|known| known.eq_ignore_ascii_case(essence));
    found.copied().ok_or_else(|| {
        let what = match essence {
            "" => "the request names no content type".to_owned(),
            other => format!(
                "content type `{}` is not taken here",
                other.escape_default()
            ),
        };
        let detail = format!("{what}; send `Content-Type: {}`", accepted.join("` or `"));
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    })
}

/// How a body begins: all of it, where it has at most `bytes`; else so much and a little more, and what follows.
pub(crate) async fn begin(
    body: Body,
    bytes: usize,
) -> Result<(Bytes, Option<BodyDataStream>), Problem> {
    let mut begins = BytesMut::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        begins.extend_from_slice(&chunk.map_err(|error| cut(&error))?);
        if begins.len() > bytes {
            return Ok((begins.freeze(), Some(chunks)));
        }
    }
    Ok((begins.freeze(), None))
}

fn cut(error: &axum::Error) -> Problem {
    bad_request(format!("the body ended before it was whole: {error}"))
}

/// The whole body, of at most `bytes_max`.
pub(crate) async fn read(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let mut read = BytesMut::new();
    let mut length = 0;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| cut(&error))?;
        length += chunk.len();
        if length <= bytes_max {
            read.extend_from_slice(&chunk);
        } else {
            read = BytesMut::new();
            if length > bytes_max + THROWN_AWAY_MAX {
                break;
            }
        }
    }
    if length <= bytes_max {
        return Ok(read.freeze());
    }
    let detail = format!(
        "the body has more than the {bytes_max} bytes that are taken here; put the bulk elsewhere and send a reference"
    );
    Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_are_told_apart_whatever_their_case_and_parameters() {
        let of = |text: &str| {
            let headers = [(header::CONTENT_TYPE, text.parse().unwrap())];
            media_type(&headers.into_iter().collect(), &[JSON, CLOUD_EVENT])
        };
        assert_eq!(of("application/json").ok(), Some(JSON));
        assert_eq!(of("Application/JSON; charset=utf-8").ok(), Some(JSON));
        assert_eq!(of("application/cloudevents+json").ok(), Some(CLOUD_EVENT));
        for bad in [
            "",
            "text/plain",
            "application/jsonx",
            "application/cloudevents-batch+json",
        ] {
            let problem = of(bad).unwrap_err();
            assert_eq!(problem.status, 415, "{bad}");
            assert!(
                problem.detail.contains("application/json"),
                "{}",
                problem.detail
            );
        }
    }

    #[tokio::test]
    async fn a_body_is_taken_up_to_its_limit_and_not_a_byte_more() {
        assert_eq!(read(Body::from("1234"), 4).await.unwrap(), "1234");
        assert_eq!(read(Body::from("12345"), 4).await.unwrap_err().status, 413);
    }
}
