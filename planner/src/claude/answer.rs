//! What comes back from the Messages API: replies, whole or as streams, and what its errors mean.

use std::time::Duration;

use flotilla_common::{
    claude::{RateLimits, Reply, ReplyStream, StreamError},
    io::clock,
};
use reqwest::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, LOCATION},
};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::{
    Billed, ErrorKind,
    call::{Times, Told},
};

/// Longest `retry-after` that is obeyed as told.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// Largest reply that is read.
const REPLY_BYTES_MAX: usize = 8 << 20;
/// What is read of an error's body: its message is a few hundred bytes.
pub(super) const ERROR_BYTES_MAX: usize = 64 << 10;

/// How one try failed, without what the headers say.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) kind: ErrorKind,
    pub(super) why: String,
    pub(super) billed: Billed,
}

impl Failed {
    pub(super) fn new(kind: ErrorKind, why: String, billed: Billed) -> Self {
        Self { kind, why, billed }
    }
}

/// A connection that could not be had, or broke before an answer began.
pub(super) fn lost(error: &reqwest::Error) -> Failed {
    // The address may carry credentials; the cause says what matters.
    let (what, billed) = if error.is_connect() {
        ("no connection", Billed::Nothing)
    } else {
        ("the connection broke", Billed::Unknown)
    };
    Failed::new(ErrorKind::Connection, with_causes(what, error), billed)
}

fn with_causes(what: &str, error: &reqwest::Error) -> String {
    let mut why = what.to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    why
}

/// An answer that has begun.
#[derive(Debug)]
pub(super) struct Incoming {
    response: Response,
    times: Times,
    /// Until when the next bytes must come.
    until: Instant,
    first_byte: Option<Duration>,
}

impl Incoming {
    pub(super) fn new(response: Response, times: Times) -> Self {
        Self {
            response,
            times,
            until: times.first,
            first_byte: None,
        }
    }

    /// What its headers say.
    pub(super) fn told(&self) -> Told {
        let headers = self.response.headers();
        let pairs = headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        Told {
            request_id: text(headers, "request-id").map(ToOwned::to_owned),
            after: retry_after(headers),
            limits: RateLimits::parse(pairs),
            status: Some(self.response.status().as_u16()),
        }
    }

    /// Its status.
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The reply, and how long its first byte took.
    pub(super) async fn reply(&mut self) -> Result<(Reply, Duration), Failed> {
        let status = self.response.status();
        let reply = if !status.is_success() {
            return Err(self.refused(status).await);
        } else if is_stream(self.response.headers()) {
            self.streamed().await?
        } else {
            self.whole().await?
        };
        let first_byte = self.first_byte;
        Ok((
            reply,
            first_byte.unwrap_or_else(|| self.times.begun.elapsed()),
        ))
    }

    /// The next bytes, `None` at the end; the error is a kind and why.
    pub(super) async fn chunk(
        &mut self,
    ) -> Result<Option<impl AsRef<[u8]> + use<>>, (ErrorKind, String)> {
        let chunk = match timeout_at(self.until, self.response.chunk()).await {
            Ok(Ok(chunk)) => chunk,
            Ok(Err(error)) => {
                let why = with_causes("the answer broke off", &error);
                return Err((ErrorKind::Unreadable, why));
            }
            Err(_) if self.first_byte.is_none() => {
                let late = self.times.late_first();
                return Err((late.kind, late.why));
            }
            Err(_) => return Err((ErrorKind::Timeout, self.times.late(self.until))),
        };
        let begun = self.times.begun;
        self.first_byte.get_or_insert_with(|| begun.elapsed());
        self.until = self.times.next();
        Ok(chunk)
    }

    async fn whole(&mut self) -> Result<Reply, Failed> {
        let unknown = |(kind, why)| Failed::new(kind, why, Billed::Unknown);
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await.map_err(unknown)? {
            let chunk = chunk.as_ref();
            if body.len() + chunk.len() > REPLY_BYTES_MAX {
                let why = format!("the reply is larger than {REPLY_BYTES_MAX} bytes");
                return Err(unknown((ErrorKind::Invalid, why)));
            }
            body.extend_from_slice(chunk);
        }
        serde_json::from_slice(&body).map_err(|error| {
            let why = format!("the reply is not a message: {error}");
            unknown((ErrorKind::Unreadable, why))
        })
    }

    async fn streamed(&mut self) -> Result<Reply, Failed> {
        let mut stream = ReplyStream::new();
        // Said before it began: refused like by an error status.
        let mut refused = false;
        let (kind, why) = loop {
            match self.chunk().await {
                Ok(Some(chunk)) => match stream.push(chunk.as_ref()) {
                    Ok(Some(reply)) => return Ok(reply),
                    Ok(None) => {}
                    Err(error) => {
                        refused = matches!(error, StreamError::Fault { .. });
                        break (kind_of_stream(&error), error.to_string());
                    }
                },
                Ok(None) => break (ErrorKind::Unreadable, "the answer broke off".into()),
                Err(broken) => break broken,
            }
        };
        let billed = match stream.billed() {
            Some(usage) => Billed::AtLeast(usage),
            None if refused => Billed::Nothing,
            None => Billed::Unknown,
        };
        Err(Failed::new(kind, why, billed))
    }

    /// What an error status means. A body that cannot be read changes nothing about that.
    pub(super) async fn refused(&mut self, status: StatusCode) -> Failed {
        let mut body = Vec::new();
        while body.len() < ERROR_BYTES_MAX
            && let Ok(Some(chunk)) = self.chunk().await
        {
            body.extend_from_slice(chunk.as_ref());
        }
        refusal(status, self.response.headers(), &body)
    }
}

fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().starts_with("text/event-stream"))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn kind_of_stream(error: &StreamError) -> ErrorKind {
    match error {
        StreamError::TooLarge(_) => ErrorKind::Invalid,
        StreamError::Malformed(_) => ErrorKind::Unreadable,
        StreamError::Fault { kind, .. } => kind_of_error(kind),
    }
}

/// What an error's `type` means, where no status comes with it.
pub(crate) fn kind_of_error(name: &str) -> ErrorKind {
    match name {
        "overloaded_error" => ErrorKind::Overloaded,
        "rate_limit_error" => ErrorKind::RateLimited,
        "conflict_error" => ErrorKind::Conflict,
        "authentication_error" | "billing_error" | "permission_error" | "not_found_error" => {
            ErrorKind::Blocked
        }
        "invalid_request_error" | "request_too_large" => ErrorKind::Invalid,
        _ => ErrorKind::Server,
    }
}

#[derive(Default, Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Default, Deserialize)]
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

/// After the table in the provider's documentation and the retry rules of its SDK.
pub(super) fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failed {
    let ErrorDetail {
        kind: name,
        message,
        details,
    } = serde_json::from_slice::<ErrorBody>(body)
        .unwrap_or_default()
        .error;
    let code = details.and_then(|details| details.error_code);
    let spent = code.as_deref() == Some("enforced_spend_limit_reached") || name == "billing_error";
    let kind = match (status.as_u16(), text(headers, "x-should-retry")) {
        _ if spent => ErrorKind::Blocked,
        (300..=399 | 401..=404, _) => ErrorKind::Blocked,
        // What overload is does not depend on what this one caller should do.
        (429, _) => ErrorKind::RateLimited,
        (529, _) => ErrorKind::Overloaded,
        (409, _) => ErrorKind::Conflict,
        (408 | 500.., _) | (_, Some("true")) => ErrorKind::Server,
        _ => ErrorKind::Invalid,
    };
    let why = match headers.get(LOCATION).and_then(|to| to.to_str().ok()) {
        Some(to) if status.is_redirection() => {
            // Its query may hold a secret.
            let to = to.split(['?', '#']).next().unwrap_or_default();
            format!("{status}: it points to {to}; set ANTHROPIC_BASE_URL to where Claude is")
        }
        Some(_) | None => format!("{} {name}: {message}", status.as_u16()),
    };
    Failed::new(kind, why, Billed::Nothing)
}

/// `retry-after-ms`, else `retry-after` in seconds (or as a date, RFC 9110), at most ten minutes.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let millis = text(headers, "retry-after-ms")
        .and_then(|ms| ms.trim().parse::<f64>().ok())
        .map(|ms| ms / 1_000.0);
    let seconds = millis
        .or_else(|| text(headers, "retry-after")?.trim().parse::<f64>().ok())
        .or_else(|| {
            let date = jiff::fmt::rfc2822::parse(text(headers, "retry-after")?).ok()?;
            Some(date.timestamp().duration_since(clock::now()).as_secs_f64())
        })?;
    let told = Duration::try_from_secs_f64(seconds.max(0.0)).ok()?;
    Some(told.min(RETRY_AFTER_MAX))
}
