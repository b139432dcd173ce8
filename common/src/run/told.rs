//! What a journal tells already, so that nothing is told twice.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::{Concluded, Draft, Left, Link, Run};
use crate::entry::{Body, Call, Decision, Entry};

/// What a journal tells, as it was read.
#[derive(Debug, Default)]
pub struct Told {
    /// The provider's ids of replies, and of items that were left in batches.
    replies: BTreeSet<String>,
    /// The payloads of decisions, by their SHA-256.
    links: BTreeSet<[u8; 32]>,
}

impl Told {
    /// What these entries tell of Claude's replies, or keep for a decision that will, and which decisions they are.
    #[must_use]
    pub fn by(journal: &[Entry]) -> Self {
        let mut told = Self::default();
        for entry in journal {
            let Body::Decided(decided) = &entry.body else {
                continue;
            };
            told.links.insert(entry.digest);
            let ids = decided.call.iter().flat_map(ids);
            told.replies.extend(ids.cloned());
            if let Decision::Park { replies, .. } = &decided.decision {
                let kept = replies.iter().filter_map(|reply| reply.request_id.clone());
                told.replies.extend(kept);
            }
        }
        told
    }

    /// What of these calls a decision must tell beside what it and others append: each reply once, and each item of a batch, that
    /// neither journal nor run tells.
    #[must_use]
    pub fn untold(&self, run: &Run, drafts: &[Draft], calls: &[Call]) -> Option<Call> {
        let own = drafts.iter().filter_map(|draft| draft.call.as_ref());
        let mut known: BTreeSet<&String> = own.flat_map(ids).collect();
        let mut untold = Vec::new();
        for call in calls {
            if !ids(call).any(|id| self.is_told(run, id) || known.contains(id)) {
                known.extend(ids(call));
                untold.push(call.clone());
            }
        }
        untold.into_iter().reduce(Call::and)
    }

    /// Has decisions tell what nobody wants any more: the first that tells no call of its own, or else the first. Where they tell that
    /// an item was left in its batch whose answer has come meanwhile, they tell that answer instead.
    pub fn tell(&self, run: &Run, drafts: &mut [Draft], calls: &[Call], left: &[Left]) {
        let answers = calls.iter().flat_map(|call| &call.attempts);
        let answers: BTreeSet<&String> = answers
            .filter_map(|attempt| attempt.request_id.as_ref())
            .collect();
        for draft in &mut *drafts {
            draft.was_answered(&answers);
        }
        let known = drafts.iter().flat_map(|draft| &draft.left);
        let known: BTreeSet<String> = known.map(|left| left.item.custom_id.clone()).collect();
        let untold = self.untold(run, drafts, calls);
        let free = drafts.iter().position(|draft| draft.call.is_none());
        let Some(draft) = drafts.get_mut(free.unwrap_or(0)) else {
            return;
        };
        draft.tell(untold);
        let others = left.iter().filter(|left| {
            let id = &left.item.custom_id;
            !known.contains(id) && !self.is_told(run, id)
        });
        draft.left.extend(others.cloned());
    }

    /// Whether the journal, or the run, tells this reply or item.
    fn is_told(&self, run: &Run, id: &String) -> bool {
        self.replies.contains(id) || run.told.contains(id)
    }

    /// Whether this very decision stands there: whoever wrote it may not have learned so.
    #[must_use]
    pub fn has(&self, link: &Link) -> bool {
        let digest: [u8; 32] = Sha256::digest(&link.payload).into();
        self.links.contains(&digest)
    }
}

impl Run {
    /// Whether an answer would tell a reply that a decision tells since it was asked: asked again, it says so.
    pub(super) fn tells(&self, answer: &Concluded) -> bool {
        let calls = answer.drafts.iter().filter_map(|draft| draft.call.as_ref());
        let attempts = calls.flat_map(|call| &call.attempts);
        let mut untold = attempts.filter(|attempt| !attempt.told);
        untold.any(|attempt| {
            let id = attempt.request_id.as_ref();
            id.is_some_and(|id| self.told.contains(id))
        })
    }
}

fn ids(call: &Call) -> impl Iterator<Item = &String> {
    let attempts = call.attempts.iter();
    let attempts = attempts.filter_map(|attempt| attempt.request_id.as_ref());
    attempts.chain(&call.items)
}
