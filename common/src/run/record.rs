//! What a decision tells of the Claude calls behind it.

use super::{Draft, Left, Run, Wasted, next::run_end};
use crate::{
    claude::Usage,
    entry::{Account, Answered, Attempt, Batched, Call, Decision, Outcome},
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
        heard: 0,
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
    /// The decision that the run ends. What parked steps keep was paid, and is told with it. So are items that are in a batch:
    /// nothing can take them out again, so they may cost all that is held for them.
    #[must_use]
    pub fn ending(&self, step: StepKey, outcome: Outcome, reason: Option<String>) -> Draft {
        self.telling(run_end(step, outcome, reason))
    }

    /// A decision that leaves parked steps behind, with what they keep.
    pub(super) fn telling(&self, draft: Draft) -> Draft {
        if self.parked.is_empty() {
            return draft;
        }
        let place = draft.step.place();
        let ends = matches!(draft.decision, Decision::End { .. });
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
        let behind = self.parked.iter().filter(|parked| leaves(&parked.step));
        let told = behind.filter_map(|parked| {
            let batched = parked.batch.as_deref();
            told(&parked.step, &parked.replies, batched, account.clone())
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
    /// The decision that tells what was paid for questions that nobody wants answered any more, where nothing else does.
    #[must_use]
    pub fn abandoned(step: &StepKey) -> Self {
        Self::new(step.clone(), Decision::Abandon {})
    }

    /// What was paid for a decision that nobody wants any more, and what it leaves in a batch: the next decision tells it.
    #[must_use]
    pub fn unwanted(self) -> (Option<Call>, Option<Left>) {
        let Decision::Park {
            replies,
            account,
            batch,
            ..
        } = self.decision
        else {
            return (self.call.map(Call::not_taken), None);
        };
        let told = told(&self.step, &replies, batch.as_deref(), account);
        let (call, left) = told.map_or((None, None), |(call, left)| (Some(call), left));
        (call.into_iter().chain(self.call).reduce(Call::and), left)
    }
}

impl Call {
    /// The same, with none of its replies taken.
    fn not_taken(mut self) -> Self {
        for attempt in &mut self.attempts {
            attempt.dropped = true;
            attempt
                .complaint
                .get_or_insert_with(|| "not taken: nobody wanted it any more".to_owned());
        }
        self
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
    let Some((batched, item)) = left else {
        let call = record(replies, attempts, Wasted::default(), account);
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
        ..record(replies, attempts, wasted, account)
    };
    Some((call, Some(left)))
}
