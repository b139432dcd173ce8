//! A state from a whole journal.

use std::collections::BTreeMap;

use super::{FoldError, Run};
use crate::{
    entry::{Body, Entry},
    ids::RunId,
};

impl Run {
    /// The state from a whole journal, in whatever order and however often its entries come: the others' entries are folded
    /// where a decision says that it rests on them, and at the end where none does.
    ///
    /// # Errors
    /// [`FoldError`]: the journal is broken.
    pub fn rebuild(
        id: &RunId,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<Self, FoldError> {
        let (chain, mut by_seq) = sorted(entries);
        let mut run = Self::new(id.clone());
        for link in chain {
            run.follow(&link, &mut by_seq)?;
        }
        for rest in by_seq.values() {
            match run.fold(rest) {
                // A result of a decision that is not there: an old one of a purged run, or a forged one. It counts nowhere.
                Ok(_) | Err(FoldError::Stale { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(run)
    }

    /// The state in which a decision was taken, from a whole journal: all that its chain held before it, and what it rests on.
    ///
    /// # Errors
    /// [`FoldError`]: the journal is broken before this decision, or has no such decision.
    pub fn before(
        id: &RunId,
        entries: impl IntoIterator<Item = Entry>,
        decided: u64,
    ) -> Result<Self, FoldError> {
        let (chain, mut by_seq) = sorted(entries);
        let mut run = Self::new(id.clone());
        for link in chain {
            if link.seq == decided {
                run.rest(&link, &mut by_seq)?;
                return Ok(run);
            }
            run.follow(&link, &mut by_seq)?;
        }
        Err(FoldError::Broken {
            run: id.clone(),
            seq: decided,
            problem: "there is no such decision".into(),
        })
    }

    /// Folds a link of the chain after what it rests on. The whole journal is there, so nothing can be missing from the state:
    /// what does not fit is a fault of the journal.
    fn follow(&mut self, link: &Entry, others: &mut BTreeMap<u64, Entry>) -> Result<(), FoldError> {
        self.rest(link, others)?;
        let Body::Decided(decided) = &link.body else {
            return Ok(());
        };
        match self.fold(link) {
            Ok(_) => Ok(()),
            Err(FoldError::Stale { .. }) => Err(broken(
                link,
                if self.begun.is_none() {
                    "nothing started this run, or its first decision is missing"
                } else if decided.rests != self.pending {
                    "what it rests on is not what came before it"
                } else {
                    "its hash of the journal before it is another: an entry was changed"
                }
                .into(),
            )),
            Err(error) => Err(error),
        }
    }

    /// Folds what a link rests on.
    fn rest(&mut self, link: &Entry, others: &mut BTreeMap<u64, Entry>) -> Result<(), FoldError> {
        let Body::Decided(decided) = &link.body else {
            return Ok(());
        };
        for seq in &decided.rests {
            let rest = others.remove(seq).ok_or_else(|| {
                let problem = format!(
                    "it rests on entry {seq}, which is not there, or an earlier one rests on it already"
                );
                broken(link, problem)
            })?;
            if matches!(self.fold(&rest), Err(FoldError::Stale { .. })) {
                let problem = format!("it rests on entry {seq}, which rests on no entry before it");
                return Err(broken(link, problem));
            }
        }
        Ok(())
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

fn broken(link: &Entry, problem: String) -> FoldError {
    FoldError::Broken {
        run: link.address.run.clone(),
        seq: link.seq,
        problem,
    }
}
