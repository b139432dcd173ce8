//! One attempt of a step on its way through batches: send its item, look at it now and then, take its answer. What is known of it is
//! in its claim and on the journal; whoever looks next knows as much as who looked last.

use std::time::Duration;

use flotilla_common::{
    claude::Model,
    definition::Unavailable,
    entry::{Batched, Item, ParkedBy},
    io::{
        clock, killpoint,
        store::{Lease, StoreError},
    },
    money::Usd,
};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    collect::{Order, Sent},
    find::Found,
    way::Way,
};
use crate::{
    caller::{Outcome, Question, TRIES_BEFORE_FALLBACK, UNREADABLE_MAX, soon},
    claude::ErrorKind,
    handle::Planner,
    stop::Stop,
};

/// Items and looks of one handling: more is a fault somewhere.
const ROUNDS_MAX: u32 = 1_000;
/// By how much Redis's clock may be off from the one that wrote the journal.
const SKEW: SignedDuration = SignedDuration::from_secs(30);
/// How long after its expiry a batch is looked at.
const EXPIRY_GRACE: SignedDuration = SignedDuration::from_secs(60);

impl Planner {
    /// Asks by batch, under a claim: gives the reply, or parks the run until it is time to look. `fresh` says that this attempt is
    /// what this planner's own entry, or the first delivery of another's, has just led to.
    pub(crate) async fn ask_by_batch(
        &self,
        question: Question<'_>,
        lease: &Lease,
        attempt: usize,
        fresh: bool,
        unwanted: &CancellationToken,
    ) -> Result<Outcome, Stop> {
        let ask = question.ask;
        let known = ask.batched.as_deref();
        let known = known.filter(|_| attempt == ask.replies.len()).cloned();
        let mut way = Way {
            question,
            lease,
            attempt,
            batched: known.unwrap_or_else(|| Batched::new(clock::now())),
            fresh,
            unwanted,
        };
        for _ in 0..ROUNDS_MAX {
            if unwanted.is_cancelled() && way.batched.item.is_none() {
                return Ok(Outcome::Unwanted);
            }
            let outcome = if way.batched.item.is_some() {
                self.look(&mut way).await?
            } else {
                self.send(&mut way).await?
            };
            if let Some(outcome) = outcome {
                return Ok(outcome);
            }
        }
        let until = self.caller.later(way.batched.tries);
        let why = "it was tried too often".to_owned();
        Ok(way.parked(ParkedBy::Unavailable, why, Some(until)))
    }

    /// Sends an item, unless one was sent before. `None`: look at it, or try again.
    async fn send(&self, way: &mut Way<'_>) -> Result<Option<Outcome>, Stop> {
        let run = &way.question.ask.run;
        let custom_id = way
            .batched
            .custom_id(run, &way.question.ask.step, way.attempt);
        if self.was_sent(way, &custom_id).await? {
            return Ok(None);
        }
        self.release_unsent(way).await?;
        if clock::now() >= way.patience_ends(self.caller.patience) {
            return Ok(Some(self.out_of_patience(way, "no answer in time")));
        }
        let Some(model) = way.model().cloned() else {
            return Err(Stop::Dead("a step without a model".into()));
        };
        if let Some(open) = self.caller.breakers.open(&model) {
            if way.is_last_model() {
                let until = soon(open.left + Duration::from_millis(fastrand::u64(20..=1_000)));
                return Ok(Some(way.parked(
                    ParkedBy::Unavailable,
                    open.why,
                    Some(until),
                )));
            }
            way.pass_on(&open.why);
            return Ok(None);
        }
        let held = match self.hold_for(way, &custom_id).await? {
            Ok(held) => held,
            Err(outcome) => return Ok(Some(outcome)),
        };
        killpoint::pass("item_held");
        let now = clock::now();
        let item = Item {
            custom_id,
            model: model.id.clone(),
            from: now,
            to: now,
            held: Some(held),
        };
        self.order(way, item, model).await
    }

    /// Whether an item of this name was sent before, or may have been; then it is looked at.
    async fn was_sent(&self, way: &mut Way<'_>, custom_id: &str) -> Result<bool, Stop> {
        let slips = &self.batches.slips;
        let claim = way.lease.key();
        let slip = self.patient(|| slips.read(claim)).await??;
        let slip = slip.filter(|slip| slip.custom_id == custom_id);
        if slip.is_none() {
            if way.fresh {
                return Ok(false);
            }
            let remembers = self.patient(|| slips.remembers_since()).await??;
            let sure = remembers.checked_add(SKEW);
            if sure.is_ok_and(|sure| sure <= way.question.ask.asked_from) {
                return Ok(false);
            }
            debug!("Redis may have forgotten an item: looking for it");
        }
        let batch = slip.as_ref().and_then(|slip| slip.batch.clone());
        let item = match slip.and_then(|slip| slip.item) {
            Some(item) => item,
            None => Item {
                custom_id: custom_id.to_owned(),
                model: way
                    .model()
                    .map(|model| model.id.clone())
                    .unwrap_or_default(),
                from: way.question.ask.asked_from,
                to: soon(self.batches.config.create_timeout),
                held: self.held_anew(way, custom_id).await,
            },
        };
        (way.batched.id, way.batched.item) = (batch, Some(item));
        Ok(true)
    }

    /// Gives an item to who collects them, and waits until it is sent.
    async fn order(
        &self,
        way: &mut Way<'_>,
        item: Item,
        model: Model,
    ) -> Result<Option<Outcome>, Stop> {
        let dead = |error: serde_json::Error| Stop::Dead(error.to_string());
        let params = serde_json::to_vec(&way.request()).map_err(dead)?;
        let (sent, told) = oneshot::channel();
        let order = Order {
            lease: way.lease.clone(),
            item: item.clone(),
            model,
            params,
            sent,
        };
        way.batched.item = Some(item);
        let told = match self.batches.orders.send(order).await {
            Ok(()) => told.await.ok(),
            Err(_) => None,
        };
        match told {
            Some(Sent::In(item, batch)) => {
                (way.batched.id, way.batched.item) = (Some(batch.id), Some(item));
                Ok(Some(self.wait(way, "", batch.expires_at).await))
            }
            Some(Sent::Unknown(item, why)) => {
                way.batched.item = Some(item);
                let why = format!("not known whether a batch has it: {why}");
                Ok(Some(self.wait(way, &why, None).await))
            }
            Some(Sent::Refused(error)) => {
                self.settle_item(way, Usd::default()).await;
                way.batched.item = None;
                let after = error.after.map(soon);
                Ok(self.after_failure(way, error.kind, &error.why, after))
            }
            Some(Sent::Lost) => {
                self.settle_item(way, Usd::default()).await;
                Err(taken_over(self.lease))
            }
            None => {
                self.settle_item(way, Usd::default()).await;
                Err(Stop::Retry {
                    after: Duration::from_secs(1),
                    why: "its item was not sent".into(),
                })
            }
        }
    }

    /// Looks at the item. `None`: it came to nothing, and another one may be sent.
    async fn look(&self, way: &mut Way<'_>) -> Result<Option<Outcome>, Stop> {
        let Some(item) = way.batched.item.clone() else {
            return Ok(None);
        };
        if way.batched.id.is_none() {
            match self.find(way, &item).await? {
                Found::In(id) => way.batched.id = Some(id),
                Found::NotYet(why) => {
                    let why = format!("not known which batch has it: {why}");
                    return Ok(Some(self.wait(way, &why, None).await));
                }
                Found::Nowhere => {
                    debug!(item = item.custom_id, "it is in no batch: it was not sent");
                    self.settle_item(way, Usd::default()).await;
                    (way.batched.item, way.batched.looks, way.fresh) = (None, 0, true);
                    return Ok(None);
                }
            }
        }
        let Some(id) = way.batched.id.clone() else {
            return Ok(None);
        };
        let status = self.batches.shelf.status(&id);
        let Some(status) = way.unwanted.run_until_cancelled(status).await else {
            return Ok(Some(way.left()));
        };
        match status {
            Ok(batch) if batch.has_ended() => self.collect(way, &batch).await,
            Ok(batch) => Ok(Some(self.wait(way, "", batch.expires_at).await)),
            Err(error) if error.is_not_found() => Ok(self.gone(way, &error.why).await),
            Err(error) => Ok(Some(self.wait(way, &error.why, None).await)),
        }
    }

    async fn find(&self, way: &Way<'_>, item: &Item) -> Result<Found, Stop> {
        let (batches, claim) = (&self.batches, way.lease.key());
        let settles = batches.config.create_timeout;
        let find = || batches.finder.find(claim, item, settles);
        let found = way.unwanted.run_until_cancelled(self.patient(find)).await;
        let Some(found) = found else {
            return Ok(Found::NotYet("nobody wants it any more".to_owned()));
        };
        let found = found??;
        let done = async || -> Result<(), StoreError> {
            match &found {
                Found::In(id) => batches.slips.batched(claim, &item.custom_id, id).await,
                Found::Nowhere => batches.slips.retract(claim, &item.custom_id).await,
                Found::NotYet(_) => Ok(()),
            }
        };
        self.patient(done).await??;
        Ok(found)
    }

    /// Parks the run until the next look; its money is held on.
    pub(super) async fn wait(
        &self,
        way: &mut Way<'_>,
        why: &str,
        expires: Option<Timestamp>,
    ) -> Outcome {
        let now = clock::now();
        let ends = way.patience_ends(self.caller.patience);
        let why = match (&way.batched.id, why) {
            (Some(id), "") => format!("its answer comes with batch {id}"),
            (Some(id), why) => format!("its answer comes with batch {id}: {why}"),
            (None, why) => why.to_owned(),
        };
        if now >= ends && way.question.ask.unavailable == Unavailable::Escalate {
            let why = format!("no answer in time: {why}");
            return self.give_up_on(way, why).await;
        }
        if let Some(held) = way.batched.item.as_ref().and_then(|item| item.held.clone()) {
            self.hold_again(way, &held).await;
        }
        let pause = way.batched.pause(self.batches.config.first_look);
        way.batched.looks = way.batched.looks.saturating_add(1);
        let expires = expires.and_then(|at| at.checked_add(EXPIRY_GRACE).ok());
        let ends = Some(ends).filter(|_| way.question.ask.unavailable == Unavailable::Escalate);
        let sooner = [expires, ends].into_iter().flatten().filter(|at| *at > now);
        let until = sooner.fold(soon(pause), Timestamp::min);
        way.parked(ParkedBy::Batch, why, Some(until))
    }

    /// What follows from an item that came to nothing, or a batch that was not created. `None`: another one is sent at once.
    pub(super) fn after_failure(
        &self,
        way: &mut Way<'_>,
        kind: ErrorKind,
        why: &str,
        after: Option<Timestamp>,
    ) -> Option<Outcome> {
        way.batched.tries = way.batched.tries.saturating_add(1);
        let tries = way.batched.tries;
        let later = self.caller.later(tries.saturating_sub(1));
        let later = after.map_or(later, |after| later.max(after));
        let spent = match kind {
            ErrorKind::Invalid => {
                return Some(Outcome::GivenUp(format!(
                    "Claude refuses the request: {why}"
                )));
            }
            ErrorKind::Blocked => {
                return Some(way.parked(ParkedBy::Blocked, why.to_owned(), Some(later)));
            }
            ErrorKind::Unreadable if tries >= UNREADABLE_MAX && way.is_last_model() => {
                return Some(Outcome::GivenUp(format!(
                    "{UNREADABLE_MAX} replies could not be read: {why}"
                )));
            }
            ErrorKind::Unreadable => tries >= UNREADABLE_MAX,
            ErrorKind::RateLimited => false,
            ErrorKind::Overloaded
            | ErrorKind::Server
            | ErrorKind::Conflict
            | ErrorKind::Timeout
            | ErrorKind::Connection => tries >= TRIES_BEFORE_FALLBACK,
        };
        if clock::now() >= way.patience_ends(self.caller.patience) {
            return Some(self.out_of_patience(way, why));
        }
        if spent && !way.is_last_model() {
            way.pass_on(why);
            return None;
        }
        // The first time at once: its batch has taken its time already.
        let at_once = tries == 1 && after.is_none() && kind != ErrorKind::RateLimited;
        (!at_once).then(|| way.parked(ParkedBy::Unavailable, why.to_owned(), Some(later)))
    }

    /// Nothing is under way, and it was tried for as long as the step waits.
    fn out_of_patience(&self, way: &mut Way<'_>, why: &str) -> Outcome {
        let mut told = way.batched.passed.clone();
        told.extend(way.model().map(|model| format!("{}: {why}", model.id)));
        let why = format!("no answer in time: {}", told.join("; "));
        match way.question.ask.unavailable {
            Unavailable::Escalate => Outcome::GivenUp(why),
            Unavailable::Park => {
                let until = self.caller.later(way.batched.tries);
                let number = way.batched.number;
                way.batched = Batched {
                    number,
                    ..Batched::new(until)
                };
                way.parked(ParkedBy::Unavailable, why, Some(until))
            }
        }
    }
}

/// Its claim is somebody else's by now.
pub(super) fn taken_over(lease: Duration) -> Stop {
    Stop::Retry {
        after: lease / 2,
        why: "another planner has taken over".into(),
    }
}
