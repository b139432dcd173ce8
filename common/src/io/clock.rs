//! What time it is: nats-server's, for every role. A machine's own clock may be an hour off, or be set while a process runs; timers
//! are nats-server's, and so are the times of entries, and what is compared with them must be by the same clock. So each process asks
//! nats-server now and then, and counts on by its monotonic clock, which nobody sets.

use std::{
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
};

use async_nats::jetstream::response::Response;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    broken::{self, Rule},
    bus::Bus,
};
use crate::names::stream;

/// How often nats-server is asked. Two monotonic clocks part by a few thousandths of a second in that time at most, but nats-server's
/// own clock may be set, or another server lead.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// What has not answered after this is asked again: a later answer would say little.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How often nats-server is asked before a role begins, which is a matter of milliseconds.
const FIRST_TRIES: usize = 3;
/// How soon it is asked again where it has not answered yet, or a message came from the future; not more often than that.
const ASK_SOON: Duration = Duration::from_millis(500);
/// By how much this machine's clock must be off for people to hear of it.
const WORTH_TELLING: SignedDuration = SignedDuration::from_secs(2);

/// What was heard last; one for a process, as the time is.
static HEARD: RwLock<Option<Heard>> = RwLock::new(None);

/// A message was stored later than it is here: nats-server's clock was set, or this machine has slept.
static BEHIND: Notify = Notify::const_new();

/// What nats-server's clock showed at a moment of the monotonic clock.
#[derive(Debug, Clone, Copy)]
struct Heard {
    shown: Timestamp,
    at: Instant,
    /// How far off that may be: half of the time from question to answer.
    blur: Duration,
}

#[derive(Deserialize)]
struct Told {
    ts: Timestamp,
}

impl Heard {
    /// What that clock shows later, or showed before.
    fn at(&self, moment: Instant) -> Timestamp {
        let signed = |span| SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
        let since = match moment.checked_duration_since(self.at) {
            Some(since) => signed(since),
            None => -signed(self.at.saturating_duration_since(moment)),
        };
        self.shown.saturating_add(since).unwrap_or(self.shown)
    }

    /// Which of two to go by: what was known, as long as the newer answer allows that and is not the sharper one. So the time does not
    /// go to and fro with every answer.
    fn or(self, newer: Self) -> Self {
        let apart = self.at(newer.at).duration_since(newer.shown).unsigned_abs();
        if apart <= self.blur + newer.blur && self.blur <= newer.blur {
            self
        } else {
            newer
        }
    }
}

/// The fleet's time. Before [`follow`] has heard of nats-server, and in a process that never does, this machine's.
#[must_use]
pub fn now() -> Timestamp {
    let heard = *HEARD.read().unwrap_or_else(PoisonError::into_inner);
    match heard {
        Some(heard) if !broken::is(Rule::OwnClock) => heard.at(Instant::now()),
        Some(_) | None => Timestamp::now(),
    }
}

/// Asks nats-server what time it is, then goes on doing so until `stop`. The streams must be there.
pub async fn follow(bus: &Bus, stop: CancellationToken) {
    // The sharpest of them counts.
    for _ in 0..FIRST_TRIES {
        look(bus).await;
    }
    let bus = bus.clone();
    tokio::spawn(async move {
        loop {
            let has_heard = HEARD
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .is_some();
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(if has_heard { ASK_EVERY } else { ASK_SOON }) => {}
                () = async { BEHIND.notified().await; sleep(ASK_SOON).await } => {}
            }
            look(&bus).await;
        }
    });
}

/// Tells of a message that nats-server stored then. From the future, it has nats-server asked soon what time it is: what waits until a
/// time that has passed already would be looked at again and again.
pub fn seen(stored: Timestamp) {
    if stored.duration_since(now()) > WORTH_TELLING {
        BEHIND.notify_one();
    }
}

/// One look. Without an answer, what was known stands.
async fn look(bus: &Bus) {
    let asked = Instant::now();
    let question = format!("STREAM.INFO.{}", stream::RUNS);
    let answer = timeout(ANSWER_WITHIN, bus.jetstream.request(question, &())).await;
    let told: Told = match answer {
        Ok(Ok(Response::Ok(told))) => told,
        Ok(Ok(Response::Err { error })) => {
            return debug!(%error, "nats-server does not say what time it is");
        }
        Ok(Err(error)) => return debug!(%error, "nats-server does not say what time it is"),
        Err(_) => return debug!("nats-server does not say what time it is, not in time"),
    };
    let blur = asked.elapsed() / 2;
    let newer = Heard {
        shown: told.ts,
        at: asked + blur,
        blur,
    };
    let mut heard = HEARD.write().unwrap_or_else(PoisonError::into_inner);
    let was = heard.map(|heard| heard.at(newer.at));
    let is = heard.map_or(newer, |heard| heard.or(newer));
    *heard = Some(is);
    drop(heard);
    tell(was, is.at(newer.at));
}

/// Says that this machine's clock is wrong when that is first seen, and that nats-server's was set.
fn tell(was: Option<Timestamp>, is: Timestamp) {
    let apart = |other: Timestamp| is.duration_since(other).abs() > WORTH_TELLING;
    match was {
        None if apart(Timestamp::now()) => warn!(
            own = %Timestamp::now(), %is, "this machine's clock is not nats-server's; the latter counts"
        ),
        Some(was) if apart(was) => warn!(%was, %is, "nats-server's clock was set"),
        None | Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn heard(at: Instant, shown: &str, blur: Duration) -> Heard {
        let shown = shown.parse().unwrap();
        Heard { shown, at, blur }
    }

    #[test]
    fn time_goes_on_from_what_was_heard() {
        let at = Instant::now() + SECOND;
        let heard = heard(at, "2026-11-22T10:00:00Z", Duration::ZERO);
        let shown = |moment| heard.at(moment).to_string();
        assert_eq!(shown(at + 90 * SECOND), "2026-11-22T10:01:30Z");
        assert_eq!(shown(at - SECOND), "2026-11-22T09:59:59Z");
    }

    #[test]
    fn an_answer_counts_that_is_sharper_or_cannot_be_explained_by_its_delay() {
        let at = Instant::now();
        let known = heard(at, "2026-11-22T10:00:00Z", SECOND / 10);
        let went_by = |seconds, shown: &str, blur| {
            let newer = heard(at + SECOND * seconds, shown, blur);
            known.or(newer).at == newer.at
        };
        assert!(!went_by(10, "2026-11-22T10:00:11Z", SECOND));
        assert!(went_by(10, "2026-11-22T10:00:12Z", SECOND));
        assert!(went_by(10, "2026-11-22T10:00:10.05Z", SECOND / 100));
        assert!(went_by(10, "2026-11-22T09:00:10Z", SECOND));
    }
}
