//! Whether there is room for more events. Who sends is told before there is none, so that nothing is refused that was on its way.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use flotilla_common::io::{
    http::Problem,
    room::{FULL, Filled, Room, Used},
    telemetry::metric,
};
use metrics::gauge;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::problem::unavailable;

/// Used no more than this of each of them, it takes events again.
const ROOM: f64 = 0.85;
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
const SAMPLE_PATIENCE: Duration = Duration::from_secs(3);
/// The `code` of the problem.
const CODE: &str = "backlog";

/// Why there is no room, if there is none. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backlog(Arc<RwLock<Option<String>>>);

impl Backlog {
    /// A 503 where there is no room.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let full = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(why) = full.as_ref() else {
            return Ok(());
        };
        let detail = format!("no events are taken in for now: {why}. Send it again later");
        Err(unavailable(detail).with("code", json!(CODE)))
    }

    fn set(&self, why: Option<String>) {
        let mut full = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match (&*full, &why) {
            (None, Some(why)) => warn!(why, "no events are taken in"),
            (Some(_), None) => info!("events are taken in again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        *full = why;
    }

    fn is_full(&self) -> bool {
        let full = self.0.read().unwrap_or_else(PoisonError::into_inner);
        full.is_some()
    }
}

/// Why there is no room, by what is used.
fn verdict(was_full: bool, used: &[Used]) -> Option<String> {
    let most = used.iter().max_by(|a, b| a.share.total_cmp(&b.share))?;
    let from = if was_full { ROOM } else { FULL };
    let is_full = most.share > from;
    is_full.then(|| format!("{:.0} % of {} are used", most.share * 100.0, most.what))
}

/// Looks at the limits again and again.
#[derive(Debug)]
pub(crate) struct Lookout {
    pub(crate) room: Room,
    pub(crate) backlog: Backlog,
}

impl Lookout {
    /// Until `stop`. While NATS does not answer, what was seen last holds; nothing can be published then anyway.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut ticks = interval(SAMPLE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            match timeout(SAMPLE_PATIENCE, self.room.filled()).await {
                Ok(Ok(filled)) => self.tell(&filled),
                Ok(Err(problem)) => debug!(%problem, "whether there is room is not known"),
                Err(_) => debug!("NATS does not say in time how full it is"),
            }
        }
    }

    fn tell(&self, filled: &Filled) {
        #[expect(clippy::cast_precision_loss, reason = "bytes, for dashboards")]
        let stored = filled.stored as f64;
        gauge!(metric::STORED).set(stored);
        for one in &filled.used {
            gauge!(metric::BACKLOG, "kind" => one.what.label()).set(one.share);
        }
        let why = verdict(self.backlog.is_full(), &filled.used);
        self.backlog.set(why);
    }
}

#[cfg(test)]
mod tests {
    use flotilla_common::io::room::Limited;

    use super::*;

    fn used(used: u64, limit: i64) -> Vec<Used> {
        Used::of(Limited::EventsBytes, used, limit)
            .into_iter()
            .collect()
    }

    #[test]
    fn it_is_full_above_nine_tenths_and_has_room_again_only_some_way_below() {
        assert_eq!(verdict(false, &used(90, 100)), None);
        let why = verdict(false, &used(91, 100)).unwrap();
        assert!(why.contains("91 %") && why.contains("EVENTS"), "{why}");
        assert!(verdict(true, &used(86, 100)).is_some());
        assert_eq!(verdict(true, &used(85, 100)), None);
    }

    #[test]
    fn what_has_no_limit_is_never_full() {
        assert_eq!(verdict(false, &used(u64::MAX, -1)), None);
        assert_eq!(verdict(true, &used(1, 0)), None);
    }

    #[test]
    fn the_problem_says_that_it_is_the_backlog() {
        let backlog = Backlog::default();
        backlog.check().unwrap();
        backlog.set(Some("x".into()));
        let problem = backlog.check().unwrap_err();
        assert_eq!(
            (problem.status, &problem.more["code"]),
            (503, &json!("backlog"))
        );
        backlog.set(None);
        backlog.check().unwrap();
    }
}
