//! Room for a try's worst case under every ceiling.

use std::time::Duration;

use flotilla_common::{
    io::money::{Full, Hold, Reserved, next_day},
    money::Usd,
    run::{Ceiling, Scope},
};
use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{Caller, Lane, Question, soon};
use crate::stop::Stop;

/// Pause before a ceiling that others hold is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(250);
/// How long a run that only held money is in the way of is parked.
const BUSY_PARK: Duration = Duration::from_secs(120);
/// Runs that wait for a new day do not begin it all at once.
const MIDNIGHT_SPREAD: Duration = Duration::from_secs(60);

/// What a try finds.
pub(super) enum Room {
    /// Its worst case is held.
    Held(Hold),
    /// A pause is over: ask again from the beginning.
    Later,
    /// The run waits for this, until then or until it is told.
    Parked(String, Option<Timestamp>),
}

impl Caller {
    pub(super) async fn room(
        &self,
        question: Question<'_>,
        lane: &Lane<'_>,
        id: &str,
    ) -> Result<Room, Stop> {
        let Some(ceilings) = self.ceilings_of(question) else {
            let why = "the ceilings that people set are not known yet";
            return self.later_or_park(lane, why, BUSY_PARK).await;
        };
        if ceilings.is_empty() {
            return Ok(Room::Held(Hold::nothing()));
        }
        let (run, ask) = (question.run, question.ask);
        let reserved = self
            .money
            .reserve(
                id,
                &run.id,
                &ask.step.step,
                &ask.account,
                &ceilings,
                lane.worst,
            )
            .await;
        match reserved {
            Ok(Reserved::Held(hold)) => Ok(Room::Held(hold)),
            Ok(Reserved::Unknown(hold)) => {
                self.sum_up(&hold).await;
                let why = "the day's costs are being summed up from the journal";
                self.later_or_park(lane, why, BUSY_PARK).await
            }
            Ok(Reserved::Full(full)) if full.passing => {
                self.later_or_park(lane, &told(&full, lane.worst), BUSY_PARK)
                    .await
            }
            Ok(Reserved::Full(full)) => {
                let until = match full.ceiling.scope {
                    Scope::Step | Scope::Run => None,
                    Scope::WorkflowDay | Scope::TenantDay => Some(tomorrow()),
                };
                Ok(Room::Parked(told(&full, lane.worst), until))
            }
            Err(problem) => {
                debug!(%problem, "Redis does not say whether there is money left");
                self.later_or_park(
                    lane,
                    "Redis does not say whether there is money left",
                    BUSY_PARK,
                )
                .await
            }
        }
    }

    /// All ceilings of a call: the definition's, and what people set for the day. `None`: not known yet.
    fn ceilings_of(&self, question: Question<'_>) -> Option<Vec<Ceiling>> {
        let of_day = self.ceilings.of(&question.ask.account)?;
        let own = question.ask.ceilings.iter().copied();
        let mut ceilings: Vec<Ceiling> = own
            .filter(|own| own.scope != Scope::WorkflowDay || of_day.workflow.is_none())
            .collect();
        let set = [
            (Scope::WorkflowDay, of_day.workflow),
            (Scope::TenantDay, of_day.tenant),
        ];
        ceilings.extend(set.into_iter().filter_map(|(scope, limit)| {
            Some(Ceiling {
                scope,
                limit: limit?,
                spent: Usd::default(),
            })
        }));
        Some(ceilings)
    }

    /// Waits a little in place, while there is time for that.
    async fn later_or_park(
        &self,
        lane: &Lane<'_>,
        why: &str,
        parked_for: Duration,
    ) -> Result<Room, Stop> {
        let pause = BUSY_PAUSE.mul_f64(0.5 + fastrand::f64());
        if Instant::now() + pause >= lane.deadline {
            return Ok(Room::Parked(why.to_owned(), Some(soon(parked_for))));
        }
        self.wait(pause, why).await.map(|()| Room::Later)
    }

    /// Sums up the day; one at a time in this process.
    async fn sum_up(&self, hold: &Hold) {
        let Ok(_turn) = self.summing.try_lock() else {
            return;
        };
        // A holder's money is held again within a third of a lease.
        let grace = self.lease / 3 + Duration::from_secs(2);
        if let Err(problem) = self.money.sum_up(&self.journal, hold, grace).await {
            warn!(%problem, "the day's costs could not be summed up; trying on");
        }
    }
}

fn tomorrow() -> Timestamp {
    let spread = MIDNIGHT_SPREAD.mul_f64(fastrand::f64());
    next_day(Timestamp::now())
        .checked_add(spread)
        .unwrap_or(Timestamp::MAX)
}

/// The ceiling, for people.
fn told(full: &Full, worst: Usd) -> String {
    let name = match full.ceiling.scope {
        Scope::Step => "the step's `usd`",
        Scope::Run => "`limits.usd`",
        Scope::WorkflowDay => "the workflow's ceiling for today",
        Scope::TenantDay => "the tenant's ceiling for today",
    };
    let held = match full.held.nano() {
        0 => String::new(),
        _ => format!(" and {} held by calls in flight", full.held),
    };
    format!(
        "{name} is {}: {} spent{held}, and the next call may cost up to {worst}",
        full.ceiling.limit, full.spent
    )
}
