//! What a try waits for in place: a breaker, the fleet's rate limits, a pause.

use std::time::Duration;

use flotilla_common::{
    io::limiter::{Refused, Ticket},
    limit::Reason,
};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::{Caller, Lane, Question, breakers::Open};
use crate::stop::Stop;

/// Longest time that a run waits in a planner's hands for a breaker; for longer ones it is parked and its slot is free.
const BREAKER_WAIT_MAX: Duration = Duration::from_secs(15);
/// How often a run that waits for the rate limits looks whether too many do.
const CROWD_LOOK: Duration = Duration::from_secs(5);

/// What came of asking for a place within the rate limits.
pub(super) enum Entered {
    Ticket(Ticket),
    /// There is none in time.
    Spent(String),
    /// Others need this run's slot.
    Parked(String, Timestamp),
}

impl Caller {
    /// Waits for an open breaker, or says why that would take too long.
    pub(super) async fn stand_by(
        &self,
        lane: &Lane<'_>,
        open: Open,
    ) -> Result<Option<String>, Stop> {
        let pause = open.left + Duration::from_millis(fastrand::u64(20..=250));
        let late = Instant::now() + pause >= lane.deadline;
        if !lane.last || open.left > BREAKER_WAIT_MAX || late {
            return Ok(Some(open.why));
        }
        self.wait(pause, &open.why).await.map(|()| None)
    }

    /// A place within the fleet's rate limits. Where many wait, those whose tenant or workflow has had its share make room for
    /// others: their runs are parked, or the others would never come out of the stream.
    pub(super) async fn enter(
        &self,
        question: Question<'_>,
        lane: &Lane<'_>,
    ) -> Result<Entered, Stop> {
        let _here = self.waiting.count();
        loop {
            let until = lane.deadline.min(Instant::now() + CROWD_LOOK);
            let entered = self
                .limiter
                .enter(&lane.scope, &lane.flow, lane.want, &self.stop, until)
                .await;
            let why = match entered {
                Ok(ticket) => return Ok(Entered::Ticket(ticket)),
                Err(Refused::Stopping) => {
                    return Err(Stop::handed_back(
                        "stopped while waiting for the rate limits",
                    ));
                }
                Err(Refused::Deadline { why }) => why,
            };
            let told = why.map_or_else(String::new, |why| format!(": {why}"));
            if Instant::now() >= lane.deadline {
                return Ok(Entered::Spent(format!(
                    "no room within the rate limits{told}"
                )));
            }
            if why == Some(Reason::Share) && self.waiting.are_many() {
                let until = self.later(question.ask.parked_times);
                return Ok(Entered::Parked(
                    format!("it waits for its share of the rate limits{told}"),
                    until,
                ));
            }
        }
    }

    pub(super) async fn wait(&self, pause: Duration, why: &str) -> Result<(), Stop> {
        tokio::select! {
            () = self.stop.cancelled() => Err(Stop::handed_back(why)),
            () = sleep(pause) => Ok(()),
        }
    }
}
