//! Ids of signals and of their messages: what comes a second time under the same one changes nothing.

use crate::ids::{Name, RunId, Slot};

/// The verdict on a question to a person: one for ever, whoever says it and whatever it says.
#[must_use]
pub fn verdict(slot: &Slot, hash: &str) -> String {
    format!("approval.{}.{}.{hash}", slot.step.token(), slot.branch)
}

/// That a run has this dead letter.
#[must_use]
pub fn dead(letter: u64) -> String {
    format!("dead.{letter}")
}

/// That a dead letter was redriven.
#[must_use]
pub fn redriven(letter: u64) -> String {
    format!("redrive.{letter}")
}

/// That a dead letter was dropped.
#[must_use]
pub fn dropped(letter: u64) -> String {
    format!("drop.{letter}")
}

/// The message of a signal. Message ids are the whole stream's: two runs may be sent signals of one id.
#[must_use]
pub fn message(run: &RunId, signal: &Name, id: &str) -> String {
    format!("{run}.{signal}.{id}")
}

/// The message of a verdict: an approval and a rejection at the same moment are one message, the first.
#[must_use]
pub fn verdict_message(run: &RunId, slot: &Slot, hash: &str) -> String {
    format!("{run}.{}", verdict(slot, hash))
}
