//! What a decision tells of the Claude calls behind it.

use std::collections::BTreeSet;

use super::{Draft, Left, Run, Wasted, next::run_end};
use crate::{
    claude::Usage,
    entry::{Account, Answered, Attempt, Batched, Call, Decision, Outcome},
    ids::StepKey,
    money::Usd,
};

/// What replies cost and took, but for those that the run has told; the prompt is the caller's.
pub(super) fn record(
    used: &[Answered],
    mut attempts: Vec<Attempt>,
    wasted: Wasted,
    (account, told): (Account, &BTreeSet<String>),
) -> Call {
    let last = used.last();
    let is_told = |id: &Option<String>| id.as_ref().is_some_and(|id| told.contains(id));
    for attempt in &mut attempts {
        attempt.told = is_told(&attempt.request_id);
    }
    let untold = || used.iter().filter(|it| !is_told(&it.request_id));
    let sum = |first: u64, each: fn(&Answered) -> u64| {
        untold().fold(first, |sum, answered| sum.saturating_add(each(answered)))
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
        usage: untold().fold(Usage::default(), |sum, answered| sum + answered.reply.usage),
        usd_nano: untold().map(|answered| answered.usd_nano).sum(),
        took_ms: sum(0, |answered| answered.took_ms),
        heard: 0,
        wasted: sum(wasted.calls, |answered| answered.wasted),
        wasted_usd_nano: untold()
            .map(|answered| answered.wasted_usd_nano)
            .fold(wasted.usd, std::ops::Add::add),
        items: Vec::new(),
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
        told: false,
    }
}

impl Run {
    /// The decision that the run ends. What parked steps keep was paid, and is told with it. So are items that are in a batch:
    /// nothing can take them out again, so they may cost all that is held for them.
    #[must_use]
    pub fn ending(&self, step: StepKey, outcome: Outcome, reason: Option<String>) -> Draft {
        self.telling(run_end(step, outcome, reason), None)
    }

    /// The decision that tells what was paid for questions that nobody wants answered any more, where nothing else does; with what
    /// the step keeps.
    #[must_use]
    pub fn abandoning(&self, step: &StepKey) -> Draft {
        let draft = Draft::new(step.clone(), Decision::Abandon {});
        self.telling(draft, None)
    }

    /// Replies that a parked step keeps and its answer does not know, because its question was asked by a planner who did not know
    /// that it was parked: nothing else will tell them.
    pub(super) fn kept_beside(&self, step: &StepKey, drafts: &[Draft]) -> Option<Call> {
        let ids = |answered: &Answered| answered.request_id.clone();
        let attempts = drafts.iter().filter_map(|draft| draft.call.as_ref());
        let attempts = attempts.flat_map(|call| &call.attempts);
        let mut known = self.told.clone();
        known.extend(attempts.filter_map(|it| it.request_id.clone()));
        for draft in drafts {
            if let Decision::Park { replies, .. } = &draft.decision {
                known.extend(replies.iter().filter_map(ids));
            }
        }
        let kept = self.parked_at(step)?.replies.iter();
        let is_unknown = |reply: &&Answered| ids(reply).is_some_and(|id| !known.contains(&id));
        let kept: Vec<Answered> = kept.filter(is_unknown).cloned().collect();
        let attempts = not_taken(&kept, "not taken: it was asked for anew");
        let call = || {
            record(
                &kept,
                attempts,
                Wasted::default(),
                (self.account(), &self.told),
            )
        };
        (!kept.is_empty()).then(call)
    }

    /// A decision that leaves parked steps behind, with what they keep; but for `own`, of which it tells all itself.
    pub(super) fn telling(&self, draft: Draft, own: Option<&StepKey>) -> Draft {
        if self.parked.is_empty() {
            return draft;
        }
        let place = draft.step.place();
        let ends = draft.is_end();
        let abandons = matches!(draft.decision, Decision::Abandon {});
        let fails = matches!(draft.decision, Decision::Fail { .. });
        let leaves = |step: &StepKey| {
            let again = if let Decision::Again { resets, .. } = &draft.decision {
                resets.contains(&step.step) && step.items.starts_with(&place.items)
            } else {
                false
            };
            ends || again || (fails && step.place() == place)
        };
        let account = self.account();
        let others = self.parked.iter().filter(|one| Some(&one.step) != own);
        let behind = others.filter(|parked| {
            leaves(&parked.step) || (abandons && parked.awake && parked.step == draft.step)
        });
        let told = behind.filter_map(|parked| {
            // Whoever was asked about an item tells that it is not wanted any more.
            let is_told = |id: &String| self.told.contains(id);
            let batched = parked.batch.as_deref().filter(|batched| {
                let item = batched.item.as_ref();
                !abandons && !item.is_some_and(|item| is_told(&item.custom_id))
            });
            let untold = |reply: &&Answered| !reply.request_id.as_ref().is_some_and(is_told);
            let untold: Vec<Answered> = parked.replies.iter().filter(untold).cloned().collect();
            told(&parked.step, &untold, batched, account.clone())
        });
        let (calls, left): (Vec<Call>, Vec<Option<Left>>) = told.unzip();
        let mut draft = draft;
        draft.call = draft.call.into_iter().chain(calls).reduce(Call::and);
        draft.left.extend(left.into_iter().flatten());
        draft
    }

    /// Who is charged for what it asks.
    pub(super) fn account(&self) -> Account {
        let account = self.begun.as_ref().map(|begun| Account {
            tenant: begun.event.tenant().to_owned(),
            workflow: begun.pin.name.to_string(),
        });
        account.unwrap_or_default()
    }
}

impl Draft {
    /// What is told of the item of a batch that a decision to wait knows of, where nobody wants that any more.
    pub(super) fn item(self) -> Option<(Call, Option<Left>)> {
        let Decision::Park { account, batch, .. } = self.decision else {
            return None;
        };
        told(&self.step, &[], batch.as_deref(), account)
    }
}

/// What a parked step has cost and may still cost, if anything.
fn told(
    step: &StepKey,
    replies: &[Answered],
    batched: Option<&Batched>,
    account: Account,
) -> Option<(Call, Option<Left>)> {
    let left = batched.and_then(|batched| Some((batched, batched.item.as_ref()?)));
    if replies.is_empty() && left.is_none() {
        return None;
    }
    let attempts = not_taken(replies, "not taken: the run ended");
    let none = BTreeSet::new();
    let Some((batched, item)) = left else {
        let call = record(replies, attempts, Wasted::default(), (account, &none));
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
        step: step.step.clone(),
        account: account.clone(),
        item: item.clone(),
    };
    let call = Call {
        model: item.model.clone(),
        batch: batched.id.clone(),
        fallbacks: batched.passed.clone(),
        items: vec![item.custom_id.clone()],
        ..record(replies, attempts, wasted, (account, &none))
    };
    Some((call, Some(left)))
}
