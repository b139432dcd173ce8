//! A state from a whole journal.

use super::{FoldError, Replay, Run};
use crate::{entry::Entry, ids::RunId};

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
        let mut replay = Replay::new(id, entries);
        while replay.fold_next()?.is_some() {}
        Ok(replay.into_run())
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
        let mut replay = Replay::new(id, entries);
        loop {
            if replay.next_link().is_some_and(|link| link.seq == decided) {
                return Ok(replay.into_run());
            }
            if replay.fold_next()?.is_none() {
                return Err(FoldError::Broken {
                    run: id.clone(),
                    seq: decided,
                    problem: "there is no such decision".into(),
                });
            }
        }
    }
}
