//! What came of a question to Claude, as of when that is decided: others' decisions may have come between.

use super::{
    Ask, Draft, Left, Next, Raised, Run, Told, Wasted,
    next::{counts, too_many},
};
use crate::{
    definition::Workflow,
    entry::{Answered, Call, Decision, ParkedBy},
    ids::StepKey,
};

/// What came of a question.
#[derive(Debug, Clone, PartialEq)]
pub struct Concluded {
    /// What was asked.
    pub step: StepKey,
    /// What it decides; never empty.
    pub drafts: Vec<Draft>,
    /// What was paid for it since the run last waited there: what no decision tells that nobody wants.
    paid: Vec<Call>,
    /// What of that is in no claim.
    unclaimed: Vec<Call>,
    /// What people had said that it may cost when it was asked.
    raised: Raised,
}

impl Ask {
    /// What the replies lead to. `wasted` is in none of them: by earlier holders of the claim, which knows it, and by this one.
    #[must_use]
    pub fn concludes(
        &self,
        drafts: Vec<Draft>,
        replies: &[Answered],
        (before, own): (Wasted, Wasted),
    ) -> Concluded {
        Concluded {
            step: self.step.clone(),
            drafts,
            paid: self.abandoned(replies, before + own),
            unclaimed: self.abandoned(&[], own),
            raised: self.raised.clone(),
        }
    }
}

impl Concluded {
    /// What another decision tells of it where its question is to be asked again: whoever asks finds the rest in the claims.
    #[must_use]
    pub fn unclaimed(self) -> Vec<Call> {
        self.unclaimed
    }

    /// What another decision tells of it where nobody wants it any more: what was paid, and what it leaves in batches.
    #[must_use]
    pub fn unwanted(self) -> (Vec<Call>, Vec<Left>) {
        let items = self.drafts.into_iter().filter_map(Draft::item);
        let (calls, left): (Vec<Call>, Vec<Option<Left>>) = items.unzip();
        let calls = self.paid.into_iter().chain(calls);
        (calls.collect(), left.into_iter().flatten().collect())
    }
}

impl Run {
    /// Whether an answer was come to by what is not so any more, and what comes of its question must be worked out anew: it would
    /// tell a reply that a decision tells since then, or wait for money that people have given since then.
    #[must_use]
    pub fn is_past(&self, answer: &Concluded) -> bool {
        let waits_for_money = answer.drafts.iter().any(|draft| {
            let Decision::Park { by, .. } = &draft.decision else {
                return false;
            };
            *by == ParkedBy::Ceiling
        });
        (waits_for_money && answer.raised != self.raised) || self.tells(answer)
    }

    /// What a question's answer decides now. Where others' decisions left less of `limits.steps` than it needs, the run fails;
    /// where it ends the run, that tells what other steps keep.
    #[must_use]
    pub fn answered(&self, workflow: &Workflow, answer: Concluded) -> Vec<Draft> {
        let wanted = answer.drafts.iter().filter(|draft| counts(draft)).count();
        let left = workflow.limits.steps.saturating_sub(self.decisions);
        let fits = u32::try_from(wanted).is_ok_and(|wanted| wanted <= left);
        if !fits
            && self.failing.is_none()
            && let Next::Decide(instead) = too_many(workflow)
        {
            let (calls, left) = answer.unwanted();
            let told = instead.into_iter().map(|draft| self.telling(draft, None));
            let mut drafts: Vec<Draft> = told.collect();
            Told::default().tell(self, &mut drafts, &calls, &left);
            return drafts;
        }
        let Concluded { step, drafts, .. } = answer;
        let mut kept = self.kept_beside(&step, &drafts);
        let told = drafts.into_iter().map(|draft| {
            let mut draft = if draft.is_end() {
                self.telling(draft, Some(&step))
            } else {
                self.in_time(workflow, draft)
            };
            draft.tell(kept.take());
            draft
        });
        told.collect()
    }

    /// Nobody can be late for a question before it is asked, whatever the clock says of who asks it.
    fn in_time(&self, workflow: &Workflow, mut draft: Draft) -> Draft {
        if let Decision::Approve(approve) = &mut draft.decision
            && let Some((span, _)) = workflow.approvals.timeout
        {
            let least = self.time().checked_add(span).ok();
            approve.until = approve.until.max(least);
        }
        draft
    }
}
