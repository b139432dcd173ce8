//! Runs that wait because an entry of theirs became a dead letter.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Run, SIGNAL_DEAD, SIGNAL_DROP, SIGNAL_REDRIVE};
use crate::entry::Signalled;

/// Letters that a run knows of at once. Whoever redrives one has all of the journal looked at again.
const LETTERS_MAX: usize = 32;
/// Characters kept of a letter's reason; the letter has all of it.
const REASON_LENGTH_MAX: usize = 300;

/// The dead letters of a run.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letters {
    /// Those that nobody has settled, by their sequences on DEAD, and why they are there.
    open: BTreeMap<u64, String>,
    /// Those that were redriven: that they are there may be heard only later.
    settled: BTreeSet<u64>,
}

impl Letters {
    /// Those that nobody has settled, with why they are there.
    pub fn open(&self) -> impl Iterator<Item = (u64, &str)> {
        self.open
            .iter()
            .map(|(letter, why)| (*letter, why.as_str()))
    }

    /// Whether there are none that nobody has settled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// What a run says that waits on one.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        let (letter, why) = self.open().next()?;
        Some(format!(
            "waits on dead letter {letter}: {why}; `flotilla dead redrive {letter}`"
        ))
    }

    /// Takes in a signal; whether it is about a letter.
    pub fn take(&mut self, name: &str, signalled: &Signalled) -> bool {
        let Some(letter) = signalled.letter.as_ref().map(|letter| letter.letter) else {
            return false;
        };
        match name {
            SIGNAL_DEAD if self.settled.contains(&letter) => {}
            // What is dropped waits as before until the run's end says so, also where nobody had told the run of it.
            SIGNAL_DEAD | SIGNAL_DROP => {
                if self.open.len() < LETTERS_MAX {
                    let why = signalled.reason.as_deref().unwrap_or("nobody says why");
                    let why = || why.chars().take(REASON_LENGTH_MAX).collect();
                    self.open.entry(letter).or_insert_with(why);
                }
            }
            SIGNAL_REDRIVE => {
                self.open.remove(&letter);
                self.settled.insert(letter);
            }
            _ => return false,
        }
        true
    }
}

impl Run {
    /// Whether it begins nothing new until somebody says so: it is paused, or an entry of it is a dead letter.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.paused.is_some() || !self.dead.is_empty()
    }
}
