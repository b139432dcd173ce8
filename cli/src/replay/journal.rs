//! A run's journal, as far as it can be read.

use flotilla_common::{
    entry::{Body, Decision, Entry, Kind, Pin},
    ids::RunId,
    io::journal::{Raw, decode},
};

/// A journal.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) entries: Vec<Entry>,
    pub(super) unreadable: Vec<Unreadable>,
}

/// What is no entry that this version can read.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) seq: u64,
    pub(super) why: String,
    /// Whether the run cannot be folded without it. Anyone may have written the others.
    pub(super) is_needed: bool,
}

impl Journal {
    pub(super) fn of(raws: &[Raw]) -> Self {
        let (mut entries, mut unreadable) = (Vec::new(), Vec::new());
        let needed = [Kind::Started, Kind::Decided].map(|kind| kind.to_string());
        for raw in raws {
            match decode(raw) {
                Ok(entry) => entries.extend(entry),
                Err(problem) => {
                    let kind = raw.subject.split('.').nth(2).unwrap_or_default();
                    unreadable.push(Unreadable {
                        seq: raw.seq,
                        why: problem.to_string(),
                        is_needed: needed.iter().any(|needed| needed == kind),
                    });
                }
            }
        }
        Self {
            entries,
            unreadable,
        }
    }

    /// What cannot be done without and cannot be read, if there is such a thing.
    pub(super) fn fault(&self) -> Option<&Unreadable> {
        self.unreadable.iter().find(|one| one.is_needed)
    }

    /// The definition that the run is pinned to.
    pub(super) fn pin(&self) -> Option<&Pin> {
        self.entries.iter().find_map(|entry| match &entry.body {
            Body::Started(started) => Some(&started.workflow),
            Body::Decided(_) | Body::Resulted(_) | Body::Signalled(_) | Body::Fired(_) => None,
        })
    }

    /// The runs within it, whether they have begun or not.
    pub(super) fn children(&self) -> impl Iterator<Item = &RunId> {
        self.entries.iter().filter_map(|entry| {
            if let Body::Decided(decided) = &entry.body
                && let Decision::Run { child, .. } = &decided.decision
            {
                Some(child)
            } else {
                None
            }
        })
    }
}
