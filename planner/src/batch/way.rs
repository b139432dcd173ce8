//! An attempt on its way through batches: what is known of it while it is worked on.

use std::time::Duration;

use flotilla_common::{
    claude::{Model, Request},
    entry::{Batched, Held, ParkedBy},
    io::{money::Hold, store::Lease},
};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::caller::{Outcome, Question};

/// An attempt on its way.
pub(super) struct Way<'a> {
    pub(super) question: Question<'a>,
    pub(super) lease: &'a Lease,
    pub(super) attempt: usize,
    pub(super) batched: Batched,
    /// Nobody can have sent anything of it before.
    pub(super) fresh: bool,
    /// Nobody wants to know any more what comes of it.
    pub(super) unwanted: &'a CancellationToken,
}

impl Way<'_> {
    /// Who is asked.
    pub(super) fn model(&self) -> Option<&Model> {
        let models = &self.question.ask.models;
        let index = usize::try_from(self.batched.model).ok();
        index.and_then(|index| models.get(index)).or(models.last())
    }

    pub(super) fn is_last_model(&self) -> bool {
        let next = usize::try_from(self.batched.model).map(|model| model + 1);
        next.map_or(true, |next| next >= self.question.ask.models.len())
    }

    /// The request as it stands in an item.
    pub(super) fn request(&self) -> Request {
        let model = self.model().map(|model| model.id.clone());
        Request {
            model: model.unwrap_or_default(),
            stream: false,
            ..self.question.request.clone()
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.request().bytes()
    }

    /// What anybody held for an item of this attempt.
    pub(super) fn hold(&self, held: &Held) -> Hold {
        let ask = self.question.ask;
        Hold::of_item(held, &ask.run, &ask.step.step, &ask.account)
    }

    /// When its patience is over.
    pub(super) fn patience_ends(&self, default: Duration) -> Timestamp {
        let patience = self.question.ask.patience.unwrap_or(default);
        let patience = SignedDuration::try_from(patience).unwrap_or(SignedDuration::MAX);
        let since = self.batched.since;
        since.checked_add(patience).unwrap_or(Timestamp::MAX)
    }

    pub(super) fn parked(&self, by: ParkedBy, why: String, until: Option<Timestamp>) -> Outcome {
        Outcome::Parked {
            by,
            why,
            until,
            batch: Some(Box::new(self.batched.clone())),
        }
    }

    /// Nobody waits for the item any more: it stays where it is, and may cost what is held for it.
    pub(super) fn left(&self) -> Outcome {
        self.parked(ParkedBy::Batch, String::new(), None)
    }

    /// The next model is asked.
    pub(super) fn pass_on(&mut self, why: &str) {
        let told = self.model().map(|model| format!("{}: {why}", model.id));
        self.batched.passed.extend(told);
        (self.batched.model, self.batched.tries) = (self.batched.model.saturating_add(1), 0);
    }
}
