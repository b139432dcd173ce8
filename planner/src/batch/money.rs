//! The money of items: held before they are sent, by whoever sends them; settled when their batch has ended, by whoever looks then.

use std::time::Duration;

use flotilla_common::{
    claude::request_tokens_max,
    entry::{Held, ParkedBy},
    ids::RunId,
    io::{money::Hold, telemetry::metric},
    money::Usd,
    run::Left,
};
use metrics::counter;
use tokio::time::Instant;
use tracing::debug;

use super::{step::taken_over, way::Way};
use crate::{
    caller::{NoRoom, Outcome, settle_money},
    handle::Planner,
    stop::Stop,
};

/// How long money that others hold is waited for in place, and how often it is asked for.
const MONEY_WAIT: Duration = Duration::from_secs(10);
const MONEY_PAUSE: Duration = Duration::from_secs(1);

impl Planner {
    /// Holds what an item can cost. What is about to be held is noted under its claim before, so that a planner that dies before it
    /// has sent the item leaves nothing held. The inner error: the run waits.
    pub(super) async fn hold_for(
        &self,
        way: &Way<'_>,
        custom_id: &str,
    ) -> Result<Result<Held, Outcome>, Stop> {
        // Each order has its own: one that was settled holds nothing any more.
        let (fence, model, tries) = (way.lease.fence, way.batched.model, way.batched.tries);
        let id = format!("{custom_id}.{fence}.{model}.{tries}");
        let (question, worst) = (way.question, worst(way));
        let ends = Instant::now() + MONEY_WAIT;
        let mut noted = None;
        loop {
            if let Some(planned) = self.caller.planned(question, worst, &id) {
                self.note(way, planned.held(&id), &mut noted).await?;
            }
            let why = match self.caller.room(question, worst, &id).await {
                Ok(hold) => {
                    let held = hold.held(&id);
                    // Ceilings, or the day, may have changed in between.
                    self.note(way, held.clone(), &mut noted).await?;
                    return Ok(Ok(held));
                }
                Err(NoRoom::Parked(why, until)) => {
                    return Ok(Err(way.parked(ParkedBy::Ceiling, why, until)));
                }
                Err(NoRoom::Unknown) => {
                    self.caller.sum_up().await;
                    "the day's costs are being summed up from the journal".to_owned()
                }
                Err(NoRoom::Later(why)) => why,
            };
            let pause = MONEY_PAUSE.mul_f64(0.5 + fastrand::f64());
            if Instant::now() + pause >= ends {
                let until = self.caller.later_for_money(question.ask.parked_times);
                return Ok(Err(way.parked(ParkedBy::Ceiling, why, Some(until))));
            }
            self.caller.wait(pause, &why).await?;
        }
    }

    async fn note(&self, way: &Way<'_>, held: Held, noted: &mut Option<Held>) -> Result<(), Stop> {
        if noted.as_ref() == Some(&held) {
            return Ok(());
        }
        let slips = &self.batches.slips;
        if !self.patient(|| slips.note(way.lease, &held)).await?? {
            self.settle_held(way, &held, Usd::default()).await;
            return Err(taken_over(self.lease));
        }
        *noted = Some(held);
        Ok(())
    }

    /// Releases what holders of this claim before held for an item that they did not live to send.
    pub(super) async fn release_unsent(&self, way: &Way<'_>) -> Result<(), Stop> {
        // The first holder has none before it.
        if way.lease.fence <= 1 {
            return Ok(());
        }
        let (slips, claim) = (&self.batches.slips, way.lease.key());
        if let Some(held) = self.patient(|| slips.noted(claim)).await?? {
            self.settle_held(way, &held, Usd::default()).await;
        }
        Ok(())
    }

    /// What an item holds of which nobody knows what it holds: Redis was emptied. It is held again, whatever is left.
    pub(super) async fn held_anew(&self, way: &Way<'_>, custom_id: &str) -> Option<Held> {
        let planned = self.caller.planned(way.question, worst(way), custom_id)?;
        let held = planned.held(custom_id);
        self.hold_again(way, &held).await;
        Some(held)
    }

    /// Makes it last on, and holds it again where Redis has lost it.
    pub(super) async fn hold_again(&self, way: &Way<'_>, held: &Held) {
        if let Err(problem) = self.caller.money.hold_again(&way.hold(held)).await {
            debug!(%problem, "not known whether the money of an item is still held");
        }
    }

    /// Sets what the item cost in place of what is held for it.
    pub(super) async fn settle_item(&self, way: &Way<'_>, cost: Usd) {
        let item = way.batched.item.as_ref();
        if let Some(held) = item.and_then(|item| item.held.as_ref()) {
            self.settle_held(way, held, cost).await;
        }
    }

    async fn settle_held(&self, way: &Way<'_>, held: &Held, cost: Usd) {
        settle_money(&self.caller.money, &way.hold(held), cost).await;
    }

    /// A run that ends leaves its item in the batch: it may cost all that is held.
    pub(crate) async fn leave_behind(&self, run: &RunId, left: &Left) {
        counter!(metric::BATCH_ITEMS, "model" => left.item.model.clone(), "outcome" => "left")
            .increment(1);
        if let Some(held) = &left.item.held {
            let hold = Hold::of_item(held, run, &left.step, &left.account);
            settle_money(&self.caller.money, &hold, held.usd_nano).await;
        }
    }
}

/// The most that an item can cost.
pub(super) fn worst(way: &Way<'_>) -> Usd {
    let request = way.question.request;
    way.model().map_or_else(Usd::default, |model| {
        model.worst_batch_cost(request_tokens_max(way.bytes()), request.max_tokens)
    })
}
