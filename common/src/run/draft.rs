//! Decisions on their way to the journal.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Run;
use crate::{
    entry::{Account, Address, Batched, Body, Call, Decided, Decision, Item, Kind, chained},
    ids::{Name, Slot, StepKey},
    money::Usd,
};

/// A decision that is not on the journal yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Which step or turn it decides.
    pub step: StepKey,
    /// Which branch.
    pub branch: u32,
    /// What.
    pub decision: Decision,
    /// Why.
    pub reasoning: Option<String>,
    /// How sure.
    pub confidence: Option<f64>,
    /// The Claude call behind it.
    pub call: Option<Call>,
    /// What it leaves in batches.
    pub left: Vec<Left>,
}

/// An item of a batch whose run goes on, or ends, without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The step that it was to decide.
    pub step: Name,
    /// Who is charged.
    pub account: Account,
    /// The item, and what is held for it.
    pub item: Item,
}

impl Draft {
    /// The same, of a step that batches answer: where it is to wait, it knows how far its item came.
    #[must_use]
    pub fn with_batch(mut self, batched: Option<Box<Batched>>) -> Self {
        if let Decision::Park { batch, .. } = &mut self.decision {
            *batch = batched;
        }
        self
    }

    /// Has it tell calls besides that nothing came of.
    pub fn tell(&mut self, others: Option<Call>) {
        self.call = match (self.call.take(), others) {
            (Some(own), Some(others)) => Some(own.telling(others)),
            (own, others) => own.or(others),
        };
    }

    /// Takes back that items were left in batches whose answers were received after all.
    pub(super) fn was_answered(&mut self, answers: &BTreeSet<&String>) {
        let Some(mut call) = self.call.take() else {
            return;
        };
        let came = |left: &mut Left| answers.contains(&left.item.custom_id);
        for left in self.left.extract_if(.., came) {
            call.items.retain(|id| *id != left.item.custom_id);
            call.wasted = call.wasted.saturating_sub(1);
            let held = left
                .item
                .held
                .map_or_else(Usd::default, |held| held.usd_nano);
            let wasted = call.wasted_usd_nano.nano().saturating_sub(held.nano());
            call.wasted_usd_nano = Usd::from_nano(wasted);
        }
        let tells = call.wasted > 0 || !call.attempts.is_empty();
        self.call = tells.then_some(call);
    }

    /// Whether it ends the run.
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(self.decision, Decision::End { .. })
    }

    pub(super) fn new(step: StepKey, decision: Decision) -> Self {
        Self {
            step,
            branch: 0,
            decision,
            reasoning: None,
            confidence: None,
            call: None,
            left: Vec::new(),
        }
    }

    /// A decision for one branch of a step.
    pub(super) fn at(slot: Slot, decision: Decision) -> Self {
        Self {
            branch: slot.branch,
            ..Self::new(slot.step, decision)
        }
    }
}

/// A decision ready to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Where it stands.
    pub address: Address,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// Why a decision cannot be written: a fault of this code, not of the world.
#[derive(Debug, thiserror::Error)]
#[error("the decision for `{step}` cannot be written: {problem}")]
pub struct LinkError {
    step: StepKey,
    problem: String,
}

impl Run {
    /// Drafts as links of the chain: each carries the digest of all before it, the first also what they rest on.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn link(&self, drafts: Vec<Draft>, at: Timestamp) -> Result<Vec<Link>, LinkError> {
        use sha2::{Digest as _, Sha256};
        let mut prev = self.digest.clone();
        let mut links = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let Draft {
                step,
                branch,
                decision,
                reasoning,
                confidence,
                call,
                left: _,
            } = draft;
            let of = step.clone();
            let wrong = |problem: String| LinkError {
                step: of.clone(),
                problem,
            };
            let name = decision.name().map_err(|e| wrong(e.to_string()))?;
            let rests = if links.is_empty() {
                self.pending.clone()
            } else {
                Vec::new()
            };
            let body = Body::Decided(Box::new(Decided {
                step,
                branch,
                decision,
                reasoning,
                confidence,
                call,
                prev: prev.clone(),
                rests,
            }));
            let payload = body.encode(at).map_err(|e| wrong(e.to_string()))?;
            let address = Address {
                run: self.id.clone(),
                kind: Kind::Decided,
                name,
            };
            prev = chained(&prev, &address, Sha256::digest(&payload).into());
            links.push(Link { address, payload });
        }
        Ok(links)
    }
}
