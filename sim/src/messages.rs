//! `POST /v1/messages`.

use crate::answer::{self, id};
use crate::cache::Use;
use crate::call::{Call, hex};
use crate::error::ApiError;
use crate::policy::Decision;
use crate::prompt::{self, Prompt};
use crate::reply::{Reply, Usage};
use crate::server::Sim;
use crate::validate;
use crate::wire::{Object, Request};
use axum::body::Body;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// The largest request body, in bytes.
pub(crate) const MAX_BODY: usize = 32 << 20;

/// Versions of the API: what the official SDK (2.11) sends, and what older clients do.
const VERSIONS: &[&str] = &["2026-10-21", "2023-06-01", "2023-01-01"];

/// The longest that a reply is held by `PUT /control`; the real API gives up a whole call after this, too.
const MAX_HOLD: Duration = Duration::from_secs(600);

/// A reply that is ready, and what is still to be done before and when it goes out.
struct Ready {
    reply: Reply,
    usage: Usage,
    used: Use,
    stream: bool,
    model: &'static str,
}

/// An answer and how long it takes.
struct Planned {
    answer: Result<Ready, ApiError>,
    wait: Duration,
}

pub(crate) async fn create(
    State(sim): State<Arc<Sim>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let request_id = id("req_01");
    let (bytes, unread) = match body {
        Ok(bytes) => (bytes, None),
        Err(rejection) => (Bytes::new(), Some(rejection.status())),
    };
    let mut call = Call::begin(&sim, request_id.clone(), &bytes);
    let read = match unread {
        None => read(&headers, &bytes, &mut call),
        Some(StatusCode::PAYLOAD_TOO_LARGE) => Err(too_large()),
        Some(_) => Err(ApiError::invalid("The request body could not be read")),
    };
    let planned = match read {
        Ok(request) => sim.control.take_failure().map_or_else(
            || plan(&sim, &headers, &request, &mut call),
            |error| Planned {
                answer: Err(error),
                wait: Duration::ZERO,
            },
        ),
        Err(error) => Planned {
            answer: Err(error),
            wait: Duration::ZERO,
        },
    };
    // Before the wait, so that a client that leaves during it is in the ledger with the answer it would have got.
    note(&mut call, &planned.answer);
    drop((headers, bytes));
    let answer = wait(&sim, planned, &mut call).await;
    if let Ok(ready) = &answer {
        sim.cache.commit(&ready.used, Instant::now());
    }
    respond(call, &request_id, answer)
}

fn too_large() -> ApiError {
    ApiError::new(413, "Request exceeds the maximum size")
}

fn read(headers: &HeaderMap, bytes: &Bytes, call: &mut Call) -> Result<Request, ApiError> {
    api_key(headers)?;
    let version = headers
        .get("anthropic-version")
        .map(|version| version.to_str().unwrap_or_default());
    match version {
        None | Some("") => return Err(ApiError::invalid("anthropic-version: header is required")),
        Some(version) if !VERSIONS.contains(&version) => {
            return Err(ApiError::invalid(format!(
                "anthropic-version: \"{version}\" is not a valid version"
            )));
        }
        Some(_) => {}
    }
    if bytes.len() > MAX_BODY {
        return Err(too_large());
    }
    let body: Object = serde_json::from_slice(bytes).map_err(|error| {
        ApiError::invalid(format!("The request body is not valid JSON: {error}"))
    })?;
    call.describe(&body);
    let request = Request::read(body)?;
    validate::check(&request)?;
    Ok(request)
}

/// The API key, from `x-api-key` or from `authorization: Bearer`: the documentation has the first, the official Python
/// SDK (2.11) sends the second. Any key will do.
///
/// # Errors
/// 401 without one.
pub(crate) fn api_key(headers: &HeaderMap) -> Result<&[u8], ApiError> {
    let bearer = || {
        headers
            .get(header::AUTHORIZATION)?
            .as_bytes()
            .strip_prefix(b"Bearer ")
    };
    match headers
        .get("x-api-key")
        .map(HeaderValue::as_bytes)
        .or_else(bearer)
    {
        None => Err(ApiError::new(401, "x-api-key header is required")),
        Some([]) => Err(ApiError::new(401, "invalid x-api-key")),
        Some(key) => Ok(key),
    }
}

fn plan(sim: &Sim, headers: &HeaderMap, request: &Request, call: &mut Call) -> Planned {
    let decision = match sim.policies.decide(request) {
        Ok(decision) => decision,
        Err(error) => {
            return Planned {
                answer: Err(error),
                wait: Duration::ZERO,
            };
        }
    };
    if let Some((policy, rule)) = &decision.by {
        call.note(|entry| {
            entry.policy = Some(Arc::clone(policy));
            entry.rule = Some(*rule);
        });
    }
    let answer = answer::build(request, &decision);
    // An error is quick unless its rule says otherwise.
    let latency = decision.latency.unwrap_or_else(|| {
        if answer.is_ok() {
            sim.control.latency()
        } else {
            Duration::ZERO
        }
    });
    let wait = latency + decision.hang.unwrap_or_default();
    let answer = answer.map(|reply| price(sim, headers, request, reply, &decision));
    Planned { answer, wait }
}

fn price(
    sim: &Sim,
    headers: &HeaderMap,
    request: &Request,
    reply: Reply,
    decision: &Decision,
) -> Ready {
    let key = api_key(headers).unwrap_or_default();
    let prompt: Prompt = prompt::render(request, &hex(&Sha256::digest(key)));
    let used = sim
        .cache
        .look_up(&prompt, request.model.cache_minimum, Instant::now());
    let usage = Usage::new(
        prompt.tokens,
        &used,
        reply.output_tokens,
        decision.usage.as_ref(),
    );
    Ready {
        reply,
        usage,
        used,
        stream: request.stream,
        model: request.model.id,
    }
}

fn note(call: &mut Call, answer: &Result<Ready, ApiError>) {
    call.note(|entry| match answer {
        Ok(ready) => {
            entry.status = 200;
            entry.stop_reason = Some(ready.reply.stop_reason.clone());
            entry.tools_used = ready.reply.tools_used();
            entry.usage = Some(ready.usage.clone());
        }
        Err(error) => {
            entry.status = error.status;
            entry.error = Some(error.kind.clone());
            entry.stop_reason = None;
            entry.tools_used = Vec::new();
            entry.usage = None;
        }
    });
}

/// Latency first, then for as long as `PUT /control` holds replies.
async fn wait(sim: &Sim, planned: Planned, call: &mut Call) -> Result<Ready, ApiError> {
    let silence = async {
        if !planned.wait.is_zero() {
            sleep(planned.wait).await;
        }
        timeout(MAX_HOLD, sim.control.held()).await
    };
    let gave_up = tokio::select! {
        held = silence => match held {
            Ok(()) => return planned.answer,
            Err(_) => ApiError::new(504, "Request timed out"),
        },
        () = sim.stop.cancelled() => ApiError::new(500, "The simulated Claude is stopping"),
    };
    let answer = Err(gave_up);
    note(call, &answer);
    answer
}

fn respond(call: Call, request_id: &str, answer: Result<Ready, ApiError>) -> Response {
    let mut response = Response::builder().header("request-id", request_id);
    let (kind, frames) = match answer {
        Ok(ready) if ready.stream => {
            response = response.header(header::CACHE_CONTROL, "no-cache");
            (
                "text/event-stream; charset=utf-8",
                ready.reply.events(&id("msg_01"), ready.model, &ready.usage),
            )
        }
        Ok(ready) => {
            let message = ready
                .reply
                .message(&id("msg_01"), ready.model, &ready.usage)
                .to_string();
            response = response.header(header::CONTENT_LENGTH, message.len());
            ("application/json", vec![Bytes::from(message)])
        }
        Err(error) => {
            let body = error.body(request_id);
            response = response
                .status(error.status)
                .header(header::CONTENT_LENGTH, body.len());
            if let Some(seconds) = error.retry_after {
                response = response.header(header::RETRY_AFTER, seconds.to_string());
            }
            ("application/json", vec![Bytes::from(body)])
        }
    };
    response
        .header(header::CONTENT_TYPE, kind)
        .body(call.body(frames))
        .unwrap_or_else(|_| {
            // Only a status out of range gets here, and those are refused when policies and controls are read.
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        })
}
