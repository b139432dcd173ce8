//! How an answer goes out: at once or over time, whole or broken.

use crate::call::Call;
use crate::fault::{Fault, Kind};
use crate::reply::{Event, event};
use axum::body::Body;
use bytes::Bytes;
use futures_util::Stream;
use serde_json::json;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// Between the last bytes before a break and the break, so that they leave.
const FLUSH: Duration = Duration::from_millis(20);

/// Deltas between two pings, and pieces that a trickle is made of at most.
const PING_EVERY: usize = 16;
const TRICKLE_PIECES: usize = 64;

/// Pause between the pieces of a trickle, where the fault names none.
const TRICKLE_PAUSE: Duration = Duration::from_millis(100);

/// What is to be done with a connection, in order.
#[derive(Debug)]
enum Step {
    /// Bytes, and the part of the answer's tokens that is out with them.
    Frame(Bytes, f64),
    Wait(Duration),
    /// The connection ends, or the stream of it.
    Break,
}

/// A body on its way.
pub(crate) struct Delivery {
    steps: VecDeque<Step>,
    /// Whether the client can read the answer when all of it is out.
    readable: bool,
    /// `content-length`, where it is known.
    pub(crate) length: Option<usize>,
}

/// The connection ends before the body does.
#[derive(Debug, thiserror::Error)]
#[error("broken off by a fault")]
pub(crate) struct Broken;

impl Delivery {
    /// A body in one piece.
    pub(crate) fn of_body(mut body: Vec<u8>, fault: Option<&Fault>) -> Self {
        let whole = body.len();
        let kind = fault.map(|fault| fault.kind);
        let mut steps = VecDeque::new();
        let mut length = Some(whole);
        let mut readable = true;
        match kind {
            Some(Kind::CutBody | Kind::CutStream) => {
                body.truncate(whole / 2);
                steps.extend([frame(body), Step::Wait(FLUSH), Step::Break]);
            }
            Some(Kind::MalformedJson | Kind::MalformedEvent) => {
                body.truncate(whole / 2);
                length = Some(body.len());
                readable = false;
                steps.push_back(frame(body));
            }
            Some(Kind::Trickle) => steps = trickle(&body, fault),
            Some(Kind::Close) => steps.push_back(Step::Break),
            Some(
                Kind::Error
                | Kind::Hang
                | Kind::SlowFirstByte
                | Kind::ErrorEvent
                | Kind::UnknownEvent
                | Kind::UnknownBlock
                | Kind::UnknownStopReason
                | Kind::EmptyContent
                | Kind::Expire,
            )
            | None => steps.push_back(frame(body)),
        }
        Self {
            steps,
            readable,
            length,
        }
    }

    /// A stream of events, written over `pace`.
    pub(crate) fn of_events(mut events: Vec<Event>, pace: Duration, fault: Option<&Fault>) -> Self {
        let half = events.len() / 2;
        let at = fault
            .and_then(|fault| fault.after_events)
            .unwrap_or(half)
            .min(events.len());
        let mut readable = true;
        let mut broken = false;
        let deltas = events.iter().filter(|event| event.delta).count();
        match fault.map(|fault| (fault, fault.kind)) {
            Some((_, Kind::CutStream | Kind::CutBody)) => {
                events.truncate(at);
                broken = true;
            }
            Some((_, Kind::Close)) => {
                events.clear();
                broken = true;
            }
            Some((_, Kind::MalformedEvent | Kind::MalformedJson)) => {
                readable = false;
                events.insert(at, Event::other(Bytes::from_static(MALFORMED)));
            }
            Some((fault, Kind::ErrorEvent)) => {
                events.truncate(at);
                readable = false;
                let error = fault.error().json("");
                events.push(Event::other(event(
                    &json!({"type": "error", "error": error["error"]}),
                )));
            }
            Some((_, Kind::UnknownEvent)) => events.insert(
                1.min(events.len()),
                Event::other(event(&json!({"type": "event_of_tomorrow", "index": 0}))),
            ),
            Some((fault, Kind::Trickle)) => {
                let body: Vec<u8> = events
                    .iter()
                    .flat_map(|event| event.bytes.to_vec())
                    .collect();
                return Self {
                    steps: trickle(&body, Some(fault)),
                    readable,
                    length: None,
                };
            }
            Some((
                _,
                Kind::Error
                | Kind::Hang
                | Kind::SlowFirstByte
                | Kind::UnknownBlock
                | Kind::UnknownStopReason
                | Kind::EmptyContent
                | Kind::Expire,
            ))
            | None => {}
        }
        let mut steps = paced(events, deltas, pace);
        if broken {
            if !steps.is_empty() {
                steps.push_back(Step::Wait(FLUSH));
            }
            steps.push_back(Step::Break);
        }
        Self {
            steps,
            readable,
            length: None,
        }
    }

    /// The response body, which makes the ledger entry when its last frame goes out.
    pub(crate) fn send(self, call: Call) -> Body {
        Body::from_stream(Frames {
            left: self.steps,
            readable: self.readable,
            call: Some(call),
            pause: None,
        })
    }
}

const MALFORMED: &[u8] =
    b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"del\n\n";

fn frame(body: Vec<u8>) -> Step {
    Step::Frame(Bytes::from(body), 1.0)
}

fn trickle(body: &[u8], fault: Option<&Fault>) -> VecDeque<Step> {
    let pause = fault.map_or(TRICKLE_PAUSE, |fault| fault.delay(TRICKLE_PAUSE));
    let size = body.len().div_ceil(TRICKLE_PIECES).max(1);
    let pieces = body.chunks(size);
    let count = pieces.len() as f64;
    pieces
        .enumerate()
        .flat_map(|(index, piece)| {
            let part = (index + 1) as f64 / count;
            let bytes = Bytes::copy_from_slice(piece);
            [Step::Wait(pause), Step::Frame(bytes, part)]
        })
        .collect()
}

/// The deltas spread over the time that is left, with a ping now and then.
fn paced(events: Vec<Event>, deltas: usize, pace: Duration) -> VecDeque<Step> {
    let gap = u32::try_from(deltas)
        .ok()
        .filter(|deltas| *deltas > 0)
        .map_or(Duration::ZERO, |deltas| pace / deltas);
    let mut steps = VecDeque::with_capacity(events.len());
    let mut written = 0;
    for next in events {
        if next.delta {
            if !gap.is_zero() {
                steps.push_back(Step::Wait(gap));
            }
            written += 1;
            if written % PING_EVERY == 0 {
                steps.push_back(Step::Frame(
                    event(&json!({"type": "ping"})),
                    part(written - 1, deltas),
                ));
            }
        }
        steps.push_back(Step::Frame(next.bytes, part(written, deltas)));
    }
    steps
}

fn part(written: usize, all: usize) -> f64 {
    if all == 0 {
        1.0
    } else {
        written as f64 / all as f64
    }
}

struct Frames {
    left: VecDeque<Step>,
    readable: bool,
    call: Option<Call>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Stream for Frames {
    type Item = Result<Bytes, Broken>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            let readable = self.readable;
            match self.left.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Wait(pause)) => self.pause = Some(Box::pin(sleep(pause))),
                Some(Step::Frame(bytes, part)) => {
                    if let Some(call) = &mut self.call {
                        call.sent(part);
                    }
                    // Before the last frame is on its way, so that its reader finds the entry.
                    if self.left.is_empty()
                        && let Some(mut call) = self.call.take()
                    {
                        call.end(readable);
                    }
                    return Poll::Ready(Some(Ok(bytes)));
                }
                Some(Step::Break) => {
                    if let Some(mut call) = self.call.take() {
                        call.end(false);
                    }
                    return Poll::Ready(Some(Err(Broken)));
                }
            }
        }
    }
}
