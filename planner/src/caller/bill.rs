//! Room for a try's worst case under every ceiling.

use std::time::Duration;

use flotilla_common::{
    io::{
        clock,
        money::{Full, Hold, Reserved, Wanted, next_day},
    },
    money::Usd,
    run::{Ceiling, Scope},
};
use jiff::Timestamp;
use tracing::{debug, warn};

use super::{Caller, Question};

/// Runs that wait for a new day do not begin it all at once.
const MIDNIGHT_SPREAD: Duration = Duration::from_secs(60);
/// Tries to reserve under one id: an answer may be lost, and the money held.
const RESERVE_TRIES: u32 = 3;

/// Why a try finds no room.
pub(crate) enum NoRoom {
    /// Not now, for this reason, which passes by itself.
    Later(String),
    /// The day must be summed up first.
    Unknown,
    /// The run waits for this, until then or until it is told.
    Parked(String, Option<Timestamp>),
}

impl Caller {
    /// Holds a try's worst case.
    pub(crate) async fn room(
        &self,
        question: Question<'_>,
        worst: Usd,
        id: &str,
    ) -> Result<Hold, NoRoom> {
        let Some(ceilings) = self.ceilings_of(question) else {
            let why = "the ceilings that people set are not known yet";
            return Err(NoRoom::Later(why.into()));
        };
        let wanted = wanted(&question, worst, id);
        for attempt in 1..=RESERVE_TRIES {
            match self.money.reserve(&wanted, &ceilings).await {
                Ok(Reserved::Held(hold)) => return Ok(hold),
                Ok(Reserved::Unknown) => return Err(NoRoom::Unknown),
                Ok(Reserved::Full(full)) if full.passing => {
                    return Err(NoRoom::Later(told(&full, worst)));
                }
                Ok(Reserved::Full(full)) => {
                    let until = match full.ceiling.scope {
                        Scope::Step | Scope::Run => None,
                        Scope::WorkflowDay | Scope::TenantDay => Some(tomorrow()),
                    };
                    return Err(NoRoom::Parked(told(&full, worst), until));
                }
                Err(problem) => {
                    debug!(%problem, attempt, "Redis does not say whether there is money left")
                }
            }
        }
        let why = "Redis does not say whether there is money left";
        Err(NoRoom::Later(why.into()))
    }

    /// What [`Self::room`] would hold now; `None`: the ceilings are not known yet.
    pub(crate) fn planned(&self, question: Question<'_>, worst: Usd, id: &str) -> Option<Hold> {
        let ceilings = self.ceilings_of(question)?;
        Some(Hold::planned(&wanted(&question, worst, id), &ceilings))
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

    /// Sums up the day; one at a time in this process.
    pub(crate) async fn sum_up(&self) {
        let Ok(_turn) = self.summing.try_lock() else {
            return;
        };
        // A holder's money is held again within a third of a lease, if Redis answers it slowly some seconds later.
        let grace = self.lease / 3 + Duration::from_secs(8);
        if let Err(problem) = self.money.sum_up(&self.journal, grace).await {
            warn!(%problem, "the day's costs could not be summed up; trying on");
        }
    }
}

fn wanted<'a>(question: &Question<'a>, worst: Usd, id: &'a str) -> Wanted<'a> {
    let ask = question.ask;
    Wanted {
        id,
        run: &ask.run,
        step: &ask.step.step,
        account: &ask.account,
        amount: worst,
        item: ask.by_batch,
    }
}

fn tomorrow() -> Timestamp {
    let spread = MIDNIGHT_SPREAD.mul_f64(fastrand::f64());
    next_day(clock::now())
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
        "{name} is {}: {} spent (calls that were lost at their most){held}, and the next call may cost up to {worst}",
        full.ceiling.limit, full.spent
    )
}
