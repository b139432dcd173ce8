//! What a decision tells of the Claude calls behind it.

use super::{
    Parked, Run, Wasted,
    next::{Draft, Left, run_end},
};
use crate::{
    claude::Usage,
    entry::{Account, Answered, Attempt, Call, Outcome},
    ids::StepKey,
    money::Usd,
};

/// What replies cost and took; the prompt is the caller's.
pub(super) fn record(
    used: &[Answered],
    attempts: Vec<Attempt>,
    wasted: Wasted,
    account: Account,
) -> Call {
    let last = used.last();
    let sum = |first: u64, each: fn(&Answered) -> u64| {
        used.iter()
            .fold(first, |sum, answered| sum.saturating_add(each(answered)))
    };
    Call {
        model: last.map_or_else(String::new, |last| last.reply.model.clone()),
        request_id: last.and_then(|last| last.request_id.clone()),
        batch: last.and_then(|last| last.batch.clone()),
        prompt: String::new(),
        asked: String::new(),
        menu: Vec::new(),
        attempts,
        fallbacks: last.map_or_else(Vec::new, |last| last.fallbacks.clone()),
        usage: used
            .iter()
            .fold(Usage::default(), |sum, answered| sum + answered.reply.usage),
        usd_nano: used.iter().map(|answered| answered.usd_nano).sum(),
        took_ms: sum(0, |answered| answered.took_ms),
        wasted: sum(wasted.calls, |answered| answered.wasted),
        wasted_usd_nano: used
            .iter()
            .map(|answered| answered.wasted_usd_nano)
            .fold(wasted.usd, std::ops::Add::add),
        account,
    }
}

/// Replies that nothing came of.
pub(super) fn not_taken(replies: &[Answered], why: &str) -> Vec<Attempt> {
    let attempts = replies
        .iter()
        .map(|answered| attempt(answered, Some(why.to_owned()), Vec::new(), true));
    attempts.collect()
}

/// One reply, and what is wrong with it.
pub(super) fn attempt(
    answered: &Answered,
    complaint: Option<String>,
    faults: Vec<Option<String>>,
    dropped: bool,
) -> Attempt {
    Attempt {
        content: answered.reply.content.clone(),
        complaint,
        faults,
        dropped,
        request_id: answered.request_id.clone(),
        took_ms: answered.took_ms,
    }
}

impl Run {
    /// The decision that the run ends. What a parked step keeps was paid, and is told with it. So is an item that is in a batch:
    /// nothing can take it out again, so it may cost all that is held for it.
    #[must_use]
    pub fn ending(&self, step: StepKey, outcome: Outcome, reason: Option<String>) -> Draft {
        let kept = self.parked.as_ref().zip(self.begun.as_ref());
        let told = kept.and_then(|(parked, begun)| {
            let account = Account {
                tenant: begun.event.tenant().to_owned(),
                workflow: begun.pin.name.to_string(),
            };
            told(parked, account)
        });
        let (call, left) = told.unzip();
        Draft {
            call,
            left: left.flatten(),
            ..run_end(step, outcome, reason)
        }
    }
}

/// What a parked step has cost and may still cost, if anything.
fn told(parked: &Parked, account: Account) -> Option<(Call, Option<Box<Left>>)> {
    let batched = parked.batch.as_deref();
    let left = batched.and_then(|batched| Some((batched, batched.item.as_ref()?)));
    if parked.replies.is_empty() && left.is_none() {
        return None;
    }
    let attempts = not_taken(&parked.replies, "not taken: the run ended");
    let Some((batched, item)) = left else {
        let call = record(&parked.replies, attempts, Wasted::default(), account);
        return Some((call, None));
    };
    let wasted = Wasted {
        calls: 1,
        usd: item
            .held
            .as_ref()
            .map_or_else(Usd::default, |held| held.usd_nano),
    };
    let left = Left {
        step: parked.step.step.clone(),
        account: account.clone(),
        item: item.clone(),
    };
    let call = Call {
        model: item.model.clone(),
        batch: batched.id.clone(),
        fallbacks: batched.passed.clone(),
        ..record(&parked.replies, attempts, wasted, account)
    };
    Some((call, Some(Box::new(left))))
}
