//! A journal folded again: entry by entry, as planners folded it; what it shows; and the questions that Claude was asked, to ask
//! them again.

mod compare;
mod observe;
mod question;
mod standing;

use std::collections::{BTreeMap, VecDeque};

pub use compare::{Difference, Side, compare};
pub use observe::{Observation, observations};
pub use question::{Unreachable, question};
pub use standing::{Change, Standing, changes, standing};

use super::{FoldError, Folded, Run};
use crate::{
    entry::{Body, Decided, Entry},
    ids::RunId,
};

/// A journal on its way into a state: each link of the chain after what it rests on, and what no link rests on at the end. So it
/// is folded in the order in which it was, whatever order its entries come in.
#[derive(Debug)]
pub struct Replay {
    run: Run,
    chain: VecDeque<Entry>,
    others: BTreeMap<u64, Entry>,
    /// What the first of the chain still rests on; `None` where it was not looked at yet.
    rests: Option<VecDeque<u64>>,
    /// Folded since the last link, with it.
    unvouched: Vec<u64>,
}

impl Replay {
    /// At the beginning of this journal.
    #[must_use]
    pub fn new(id: &RunId, entries: impl IntoIterator<Item = Entry>) -> Self {
        let (chain, others) = sorted(entries);
        Self {
            run: Run::new(id.clone()),
            chain: chain.into(),
            others,
            rests: None,
            unvouched: Vec::new(),
        }
    }

    /// The state so far.
    #[must_use]
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The state so far, for keeps.
    #[must_use]
    pub fn into_run(self) -> Run {
        self.run
    }

    /// Sequences of the entries that no hash vouches for yet: the last link, and what was folded after it. Where the next link's
    /// hash is another one, it is one of these that was changed.
    #[must_use]
    pub fn unvouched(&self) -> &[u64] {
        &self.unvouched
    }

    /// The link that is folded next, where all that it rests on is folded.
    #[must_use]
    pub fn next_link(&self) -> Option<&Entry> {
        let link = self.chain.front()?;
        let ready = match &self.rests {
            Some(rests) => rests.is_empty(),
            None => decided(link)?.rests.is_empty(),
        };
        ready.then_some(link)
    }

    /// The links after that one, in order.
    pub fn later_links(&self) -> impl Iterator<Item = &Entry> {
        self.chain.iter().skip(1)
    }

    /// Folds the next entry; gives it, and whether it changed anything. `None` at the end.
    ///
    /// # Errors
    /// [`FoldError`]: the journal is broken here. The whole of it is there, so nothing can be missing from the state: what does
    /// not fit is a fault of the journal.
    pub fn fold_next(&mut self) -> Result<Option<(Entry, Folded)>, FoldError> {
        let Some(link) = self.chain.front() else {
            return self.fold_rest();
        };
        let rests = self.rests.get_or_insert_with(|| {
            decided(link).map_or_else(VecDeque::new, |decided| decided.rests.clone().into())
        });
        if let Some(seq) = rests.pop_front() {
            return self.fold_under(seq).map(Some);
        }
        self.rests = None;
        match self.chain.pop_front() {
            Some(link) => self.follow(link).map(Some),
            None => Ok(None),
        }
    }

    /// Folds what the next link rests on.
    fn fold_under(&mut self, seq: u64) -> Result<(Entry, Folded), FoldError> {
        let link = self.chain.front().map_or(seq, |link| link.seq);
        let rest = self.others.remove(&seq).ok_or_else(|| {
            let problem = format!(
                "it rests on entry {seq}, which is not there, or an earlier one rests on it already"
            );
            self.broken(link, problem)
        })?;
        match self.run.fold(&rest) {
            Ok(folded) => {
                self.unvouched.push(seq);
                Ok((rest, folded))
            }
            Err(FoldError::Stale { .. }) => {
                let problem = format!("it rests on entry {seq}, which rests on no entry before it");
                Err(self.broken(link, problem))
            }
            Err(error) => Err(error),
        }
    }

    fn follow(&mut self, link: Entry) -> Result<(Entry, Folded), FoldError> {
        match self.run.fold(&link) {
            Ok(folded) => {
                self.unvouched = vec![link.seq];
                Ok((link, folded))
            }
            Err(FoldError::Stale { .. }) => {
                let rests = decided(&link).map(|decided| decided.rests.as_slice());
                let problem = if self.run.begun.is_none() {
                    "nothing started this run, or its first decision is missing"
                } else if rests != Some(&self.run.pending) {
                    "what it rests on is not what came before it"
                } else {
                    "its hash of the journal before it is another: an entry was changed"
                };
                Err(self.broken(link.seq, problem.into()))
            }
            Err(error) => Err(error),
        }
    }

    /// Folds what no link rests on.
    fn fold_rest(&mut self) -> Result<Option<(Entry, Folded)>, FoldError> {
        let Some((seq, rest)) = self.others.pop_first() else {
            return Ok(None);
        };
        match self.run.fold(&rest) {
            Ok(folded) => {
                self.unvouched.push(seq);
                Ok(Some((rest, folded)))
            }
            // A result of a decision that is not there: an old one of a purged run, or a forged one. It counts nowhere.
            Err(FoldError::Stale { .. }) => Ok(Some((rest, Folded::Old))),
            Err(error) => Err(error),
        }
    }

    fn broken(&self, seq: u64, problem: String) -> FoldError {
        FoldError::Broken {
            run: self.run.id.clone(),
            seq,
            problem,
        }
    }
}

/// The decision that an entry is, if it is one.
fn decided(entry: &Entry) -> Option<&Decided> {
    match &entry.body {
        Body::Decided(decided) => Some(decided),
        Body::Started(_) | Body::Resulted(_) | Body::Signalled(_) | Body::Fired(_) => None,
    }
}

/// The chain, in order and each link once, and the others' entries by their sequence.
fn sorted(entries: impl IntoIterator<Item = Entry>) -> (Vec<Entry>, BTreeMap<u64, Entry>) {
    let mut others: BTreeMap<u64, Entry> = BTreeMap::new();
    let mut chain: Vec<Entry> = Vec::new();
    for entry in entries {
        match entry.body {
            Body::Decided(_) => chain.push(entry),
            Body::Started(_) | Body::Resulted(_) | Body::Signalled(_) | Body::Fired(_) => {
                others.insert(entry.seq, entry);
            }
        }
    }
    chain.sort_by_key(|entry| entry.seq);
    chain.dedup_by_key(|entry| entry.seq);
    (chain, others)
}
