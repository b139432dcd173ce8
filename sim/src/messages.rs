//! `POST /v1/messages` and `POST /v1/messages/count_tokens`.

use crate::access;
use crate::answer::id;
use crate::call::Call;
use crate::deliver::Delivery;
use crate::error::ApiError;
use crate::fault::Kind;
use crate::plan::{self, Asked, Planned, Ready};
use crate::prompt;
use crate::server::{self, Sim};
use crate::validate;
use crate::wire::{Object, Request};
use axum::body::Body;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// The largest request body, in bytes.
pub(crate) const MAX_BODY: usize = 32 << 20;

/// Stands for the `max_tokens` of a request that only counts: more than any budget of thinking.
const MAX_COUNTED: u64 = u64::MAX;

/// The longest that a reply hangs; the real API gives up a whole call after this, too.
const MAX_HANG: Duration = Duration::from_secs(600);

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
    let owner = plan::owner(&headers);
    call.note(|entry| entry.key.clone_from(&owner));
    let asked = Asked {
        owner: &owner,
        batch: false,
    };
    let mut planned = match read {
        Ok(request) => plan::plan(&sim, asked, &request, &mut call),
        Err(error) => Planned::refusal(error),
    };
    // Before the wait, so that a client that leaves during it is in the ledger with the answer it would have got.
    note(&mut call, &planned.answer);
    drop((headers, bytes));
    if let Err(gave_up) = wait(&sim, &planned).await {
        planned.answer = Err(gave_up);
        note(&mut call, &planned.answer);
    }
    if let Ok(ready) = &planned.answer {
        sim.cache.commit(&ready.used, Instant::now());
    }
    let limits = call.model().map(|model| {
        let limiter = &sim.control.limiter;
        limiter.headers(model.id, Instant::now(), Timestamp::now())
    });
    respond(call, &request_id, planned, limits.unwrap_or_default())
}

/// The size of a prompt, as a message of it would be billed. It is free, and in no rate limit of messages.
pub(crate) async fn count_tokens(
    State(sim): State<Arc<Sim>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let counted = body.map_err(|_| too_large()).and_then(|bytes| {
        access::check(&headers)?;
        let mut body = object(&bytes, MAX_BODY)?;
        // A message needs it and a count does not; it has no part in the prompt.
        body.insert("max_tokens".to_owned(), MAX_COUNTED.into());
        let request = Request::read(body)?;
        validate::check(&request)?;
        Ok(prompt::render(&request, "").tokens)
    });
    match counted {
        Ok(tokens) => {
            sim.ledger.count();
            let counted = json!({"input_tokens": tokens}).to_string();
            server::json(StatusCode::OK, &id("req_01"), counted)
        }
        Err(error) => server::failure(&error),
    }
}

pub(crate) fn too_large() -> ApiError {
    ApiError::new(413, "Request exceeds the maximum size")
}

fn read(headers: &HeaderMap, bytes: &Bytes, call: &mut Call) -> Result<Request, ApiError> {
    access::check(headers)?;
    let body = object(bytes, MAX_BODY)?;
    call.describe(&body);
    let request = Request::read(body)?;
    validate::check(&request)?;
    Ok(request)
}

/// A body that is a JSON object of at most so many bytes.
pub(crate) fn object(bytes: &Bytes, most: usize) -> Result<Object, ApiError> {
    if bytes.len() > most {
        return Err(too_large());
    }
    serde_json::from_slice(bytes)
        .map_err(|error| ApiError::invalid(format!("The request body is not valid JSON: {error}")))
}

pub(crate) fn note(call: &mut Call, answer: &Result<Ready, ApiError>) {
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

/// The latency first, up to the first token of a stream; then for as long as a fault hangs.
///
/// # Errors
/// The answer in place of the planned one, when nobody waits any longer.
async fn wait(sim: &Sim, planned: &Planned) -> Result<(), ApiError> {
    let silence = match &planned.answer {
        Ok(ready) if ready.stream => planned.timing.first,
        Ok(_) | Err(_) => planned.timing.total,
    };
    let hang = planned
        .fault
        .as_ref()
        .filter(|fault| fault.kind == Kind::Hang)
        .map(|fault| fault.delay(MAX_HANG));
    let quiet = async {
        if !silence.is_zero() {
            sleep(silence).await;
        }
        let Some(hang) = hang else { return Ok(()) };
        match timeout(hang.min(MAX_HANG), sim.control.set_anew(planned.version)).await {
            Err(_) if hang >= MAX_HANG => Err(ApiError::new(504, "Request timed out")),
            Ok(()) | Err(_) => Ok(()),
        }
    };
    tokio::select! {
        waited = quiet => waited,
        () = sim.stop.cancelled() => Err(ApiError::new(500, "The simulated Claude is stopping")),
    }
}

fn respond(
    call: Call,
    request_id: &str,
    planned: Planned,
    limits: Vec<(&'static str, String)>,
) -> Response {
    let mut response = Response::builder().header("request-id", request_id);
    for (name, value) in limits {
        response = response.header(name, value);
    }
    let fault = planned.fault.as_ref();
    let (kind, delivery) = match planned.answer {
        Ok(ready) if ready.stream => {
            response = response.header(header::CACHE_CONTROL, "no-cache");
            let events = ready.reply.events(&id("msg_01"), ready.model, &ready.usage);
            let pace = planned.timing.total.saturating_sub(planned.timing.first);
            (
                "text/event-stream; charset=utf-8".to_owned(),
                Delivery::of_events(events, pace, fault),
            )
        }
        Ok(ready) => {
            let message = ready
                .reply
                .message(&id("msg_01"), ready.model, &ready.usage)
                .to_string();
            (
                "application/json".to_owned(),
                Delivery::of_body(message.into_bytes(), fault),
            )
        }
        Err(error) => {
            response = response.status(error.status);
            for (name, value) in error.headers() {
                response = response.header(name, value);
            }
            let (kind, body) = match error.raw {
                Some(raw) => (raw.content_type, raw.body),
                None => ("application/json".to_owned(), error.body(request_id)),
            };
            (kind, Delivery::of_body(body.into_bytes(), None))
        }
    };
    if let Some(length) = delivery.length {
        response = response.header(header::CONTENT_LENGTH, length);
    }
    response
        .header(header::CONTENT_TYPE, kind)
        .body(delivery.send(call))
        .unwrap_or_else(|_| {
            // Only a status or a header that cannot be gets here.
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        })
}
