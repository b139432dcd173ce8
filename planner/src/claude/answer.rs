//! What comes back from the Messages API: replies, and what its errors mean.

use std::time::Duration;

use flotilla_common::claude::Reply;
use reqwest::{Response, StatusCode, header::HeaderMap};
use serde::Deserialize;

/// Longest `retry-after` that is obeyed as told.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// The outcome of a call whose reply came, and could not be read.
pub(super) const UNREADABLE: &str = "malformed";
/// Largest reply that is read.
const REPLY_BYTES_MAX: usize = 8 << 20;

/// How one try failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// Again after a pause; the server may have said how long.
    Again {
        why: String,
        after: Option<Duration>,
        outcome: &'static str,
    },
    /// Only a person can help; then the same request will do.
    Parked(String),
    /// Never.
    Never(String),
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Deserialize)]
struct ErrorDetail {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    error_code: Option<String>,
}

/// A connection that broke, before or in the middle of an answer: the call may have been paid, and there is no way to know.
pub(super) fn lost(error: &reqwest::Error) -> Failed {
    let outcome = if error.is_timeout() {
        "timeout"
    } else {
        "connection"
    };
    // The address may carry credentials; the cause says what matters.
    let mut why = if error.is_connect() {
        "no connection".to_owned()
    } else {
        "the connection broke".to_owned()
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    Failed::Again {
        why,
        after: None,
        outcome,
    }
}

pub(super) async fn read(mut response: Response) -> Result<(Reply, Option<String>), Failed> {
    let status = response.status();
    let headers = response.headers().clone();
    let request_id = headers
        .get("request-id")
        .and_then(|id| id.to_str().ok())
        .map(ToOwned::to_owned);
    let mut body = Vec::new();
    // A reply that breaks off in the middle is paid like one that is garbage.
    let broken = |error: reqwest::Error| match lost(&error) {
        Failed::Again { why, after, .. } if status.is_success() => Failed::Again {
            why,
            after,
            outcome: UNREADABLE,
        },
        other @ (Failed::Again { .. } | Failed::Parked(_) | Failed::Never(_)) => other,
    };
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > REPLY_BYTES_MAX {
            return Err(Failed::Never(format!(
                "the reply is larger than {REPLY_BYTES_MAX} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    if !status.is_success() {
        return Err(refusal(status, &headers, &body));
    }
    match serde_json::from_slice(&body) {
        Ok(reply) => Ok((reply, request_id)),
        Err(error) => {
            let why = format!("the reply is not a message: {error}");
            Err(Failed::Again {
                why,
                after: None,
                outcome: UNREADABLE,
            })
        }
    }
}

/// What an error status means, after the table in the provider's documentation and the retry rules of its SDK.
fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failed {
    let detail = serde_json::from_slice::<ErrorBody>(body)
        .ok()
        .map(|body| body.error);
    let (kind, message) = detail.as_ref().map_or(("", ""), |detail| {
        (detail.kind.as_str(), detail.message.as_str())
    });
    let why = format!(
        "{} {kind}: {}",
        status.as_u16(),
        message.chars().take(500).collect::<String>()
    );
    let code = detail
        .as_ref()
        .and_then(|detail| detail.details.as_ref()?.error_code.as_deref());
    let told = headers
        .get("x-should-retry")
        .and_then(|told| told.to_str().ok());
    let after = retry_after(headers);
    match (status.as_u16(), told) {
        (_, _) if code == Some("enforced_spend_limit_reached") => Failed::Parked(why),
        (401..=404, _) => Failed::Parked(why),
        (_, Some("false")) => Failed::Never(why),
        (429, _) => Failed::Again {
            why,
            after,
            outcome: "rate_limited",
        },
        (529, _) => Failed::Again {
            why,
            after,
            outcome: "overloaded",
        },
        (408 | 409 | 500.., _) | (_, Some("true")) => Failed::Again {
            why,
            after,
            outcome: "error",
        },
        _ => Failed::Never(why),
    }
}

/// `retry-after-ms`, else `retry-after` in seconds (or as a date, RFC 9110), at most ten minutes.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let millis = text("retry-after-ms")
        .and_then(|ms| ms.trim().parse::<f64>().ok())
        .map(|ms| ms / 1_000.0);
    let seconds = millis
        .or_else(|| text("retry-after")?.trim().parse::<f64>().ok())
        .or_else(|| {
            let date = jiff::fmt::rfc2822::parse(text("retry-after")?).ok()?;
            Some(
                date.timestamp()
                    .duration_since(jiff::Timestamp::now())
                    .as_secs_f64(),
            )
        })?;
    let told = Duration::try_from_secs_f64(seconds.max(0.0)).ok()?;
    Some(told.min(RETRY_AFTER_MAX))
}
