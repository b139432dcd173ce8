//! From a request to what will be answered, how long it takes, and what goes wrong with it.

use crate::access::api_key;
use crate::answer;
use crate::cache::Use;
use crate::call::{Call, hex};
use crate::control::Drawn;
use crate::error::ApiError;
use crate::fault::{Fault, Kind};
use crate::latency::Timing;
use crate::policy::Decision;
use crate::prompt;
use crate::reply::{Part, Reply, Usage};
use crate::server::Sim;
use crate::wire::Request;
use axum::http::HeaderMap;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How late a first byte is, where the fault does not say.
const SLOW_FIRST_BYTE: Duration = Duration::from_secs(10);

/// A reply that is ready, and what is still to be done before and when it goes out.
pub(crate) struct Ready {
    pub(crate) reply: Reply,
    pub(crate) usage: Usage,
    pub(crate) used: Use,
    pub(crate) stream: bool,
    pub(crate) model: &'static str,
}

/// An answer and how it comes about.
pub(crate) struct Planned {
    pub(crate) answer: Result<Ready, ApiError>,
    pub(crate) timing: Timing,
    pub(crate) fault: Option<Fault>,
    /// The settings of faults that it was planned under.
    pub(crate) version: u64,
}

impl Planned {
    /// An error, which is quick.
    pub(crate) fn refusal(error: ApiError) -> Self {
        Self {
            answer: Err(error),
            timing: Timing::default(),
            fault: None,
            version: 0,
        }
    }
}

/// Who asks, and on which way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// Whose prompt cache it is: see [`owner`].
    pub(crate) owner: &'a str,
    /// From a batch, which takes nothing from the rate limits of messages.
    pub(crate) batch: bool,
}

/// The name of an API key's prompt cache.
pub(crate) fn owner(headers: &HeaderMap) -> String {
    digest(api_key(headers).unwrap_or_default())
}

/// What the ledger calls who asks with this key: `key` in an entry.
#[must_use]
pub fn key_digest(key: &str) -> String {
    digest(key.as_bytes())
}

fn digest(key: &[u8]) -> String {
    hex(&Sha256::digest(key))
}

/// Plans the answer to a valid request, and takes what it needs from the rate limits.
pub(crate) fn plan(sim: &Sim, asked: Asked<'_>, request: &Request, call: &mut Call) -> Planned {
    let model = request.model.id;
    let drawn = sim.control.draw(model, asked.batch, &call.digest);
    if let Some(fault) = &drawn.fault {
        let kind = fault.kind;
        call.note(|entry| entry.fault = Some(kind.name()));
        if kind == Kind::Expire {
            return Planned::refusal(ApiError {
                kind: "expired".to_owned(),
                ..ApiError::new(408, "The batch expired before this request was processed")
            });
        }
        if kind == Kind::Error || (kind == Kind::ErrorEvent && !request.stream) {
            let wait = fault.delay(Duration::ZERO);
            return Planned {
                timing: Timing::default().after(wait),
                ..Planned::refusal(fault.error())
            };
        }
    }
    let decision = match decide(sim, request) {
        Ok(decision) => decision,
        Err(error) => return Planned::refusal(error),
    };
    if let Some((policy, rule)) = &decision.by {
        call.note(|entry| {
            entry.policy = Some(Arc::clone(policy));
            entry.rule = Some(*rule);
        });
    }
    let answer = answer::build(request, &decision);
    let timing = timing(&drawn, &decision, answer.is_ok());
    let answer = answer.map(|mut reply| {
        let wrong = sim.control.distort(request, &mut reply, drawn.dice);
        call.note(|entry| entry.wrong = wrong);
        if let Some(fault) = &drawn.fault {
            distort(&mut reply, fault.kind);
        }
        price(sim, asked, request, reply, &decision)
    });
    if let Ok(ready) = &answer
        && !asked.batch
    {
        let usage = &ready.usage;
        let input = usage
            .input_tokens
            .saturating_add(usage.cache_creation_input_tokens);
        let limiter = &sim.control.limiter;
        match limiter.admit(ready.model, input, request.max_tokens, Instant::now()) {
            Ok(ticket) => call.let_in(ticket, timing),
            Err(error) => {
                call.note(|entry| (entry.fault, entry.wrong) = (None, None));
                return Planned::refusal(error);
            }
        }
    }
    Planned {
        answer,
        timing,
        fault: drawn.fault,
        version: drawn.version,
    }
}

/// What the policies say that were set while the server runs, else what its files say.
fn decide(sim: &Sim, request: &Request) -> Result<Decision, ApiError> {
    let set = sim.control.policies().decide(request)?;
    match set.by {
        Some(_) => Ok(set),
        None => sim.policies.decide(request),
    }
}

fn timing(drawn: &Drawn, decision: &Decision, answered: bool) -> Timing {
    let latency = match decision.latency {
        Some(latency) => Timing::of(latency),
        None if answered => drawn.timing,
        // An error is quick unless its rule says otherwise.
        None => Timing::default(),
    };
    let slow = drawn
        .fault
        .as_ref()
        .filter(|fault| fault.kind == Kind::SlowFirstByte)
        .map(|fault| fault.delay(SLOW_FIRST_BYTE));
    latency
        .after(decision.hang.unwrap_or_default())
        .after(slow.unwrap_or_default())
}

/// Makes a reply strange that is otherwise sent as it should be.
fn distort(reply: &mut Reply, kind: Kind) {
    match kind {
        Kind::UnknownBlock => reply.parts.insert(
            0,
            Part::Other(
                json!({"type": "block_of_tomorrow", "data": "unknown to clients of today"}),
            ),
        ),
        Kind::UnknownStopReason => reply.stop_reason = "reason_of_tomorrow".to_owned(),
        Kind::EmptyContent => reply.parts.clear(),
        Kind::Error
        | Kind::Hang
        | Kind::SlowFirstByte
        | Kind::Trickle
        | Kind::CutStream
        | Kind::CutBody
        | Kind::Close
        | Kind::MalformedJson
        | Kind::MalformedEvent
        | Kind::ErrorEvent
        | Kind::UnknownEvent
        | Kind::Expire => {}
    }
}

fn price(
    sim: &Sim,
    asked: Asked<'_>,
    request: &Request,
    reply: Reply,
    decision: &Decision,
) -> Ready {
    let prompt = prompt::render(request, asked.owner);
    let used = sim
        .cache
        .look_up(&prompt, request.model.cache_minimum, Instant::now());
    let mut usage = Usage::new(
        prompt.tokens,
        &used,
        reply.output_tokens,
        decision.usage.as_ref(),
    );
    if asked.batch {
        usage.service_tier = "batch";
    }
    Ready {
        reply,
        usage,
        used,
        stream: request.stream,
        model: request.model.id,
    }
}
