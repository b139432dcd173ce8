//! What a journal tells already, so that nothing is told twice.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::Link;
use crate::entry::{Body, Call, Decision, Entry};

/// What a journal tells, as it was read.
#[derive(Debug, Default)]
pub struct Told {
    /// The provider's ids of replies.
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
            let attempts = decided.call.iter().flat_map(|call| &call.attempts);
            let attempts = attempts.filter_map(|attempt| attempt.request_id.clone());
            told.replies.extend(attempts);
            if let Decision::Park { replies, .. } = &decided.decision {
                let kept = replies.iter().filter_map(|reply| reply.request_id.clone());
                told.replies.extend(kept);
            }
        }
        told
    }

    /// Whether it tells any of the replies of a call.
    #[must_use]
    pub fn tells(&self, call: &Call) -> bool {
        let mut ids = call.attempts.iter().filter_map(|it| it.request_id.as_ref());
        ids.any(|id| self.replies.contains(id))
    }

    /// Whether this very decision stands there: whoever wrote it may not have learned so.
    #[must_use]
    pub fn has(&self, link: &Link) -> bool {
        let digest: [u8; 32] = Sha256::digest(&link.payload).into();
        self.links.contains(&digest)
    }
}
