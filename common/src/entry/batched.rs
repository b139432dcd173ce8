//! How far a step has come that is answered by batches: what a planner must know that never heard of it before.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    ids::{RunId, StepKey, hex},
    money::Usd,
    run::Scope,
};

/// Hex digits of a step's key in the name of an item: with a run's id, its attempt and its number they keep below the provider's
/// 64 characters.
const STEP_DIGITS: usize = 16;
/// Pauses double up to this one.
const DOUBLING_MAX: Duration = Duration::from_secs(300);
/// Then each is so much longer than the one before: a day costs 26 looks in all.
const GROWTH: f64 = 1.25;

/// How far one attempt of a step has come on its way through batches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batched {
    /// The batch that has its item; `None` with an item: it is not known which, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its item; `None`: none is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Item>,
    /// Items of this attempt that came to nothing.
    #[serde(default)]
    pub number: u32,
    /// Which of the step's models is asked, from 0.
    #[serde(default)]
    pub model: u32,
    /// Failed tries of that model.
    #[serde(default)]
    pub tries: u32,
    /// Why models before it did not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed: Vec<String>,
    /// Since when the step's patience counts.
    pub since: Timestamp,
    /// Looks at this item so far.
    #[serde(default)]
    pub looks: u32,
}

/// An item of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its name.
    pub custom_id: String,
    /// The model that it asks.
    pub model: String,
    /// Not sent before…
    pub from: Timestamp,
    /// …and not after.
    pub to: Timestamp,
    /// What it may cost, and under which ceilings that is held; `None` while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// Money that is held for an item, under whichever planner's eyes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The hold.
    pub id: String,
    /// How much.
    pub usd_nano: Usd,
    /// The day (UTC) whose ceilings it is held under.
    pub day: String,
    /// Which ceilings; empty: no ceiling bounds it.
    pub scopes: Vec<Scope>,
}

impl Batched {
    /// Nothing was sent yet.
    #[must_use]
    pub fn new(since: Timestamp) -> Self {
        Self {
            id: None,
            item: None,
            number: 0,
            model: 0,
            tries: 0,
            passed: Vec::new(),
            since,
            looks: 0,
        }
    }

    /// The name of the item that is sent next, or was: the same whoever asks, and no other run's.
    #[must_use]
    pub fn custom_id(&self, run: &RunId, step: &StepKey, attempt: usize) -> String {
        let digest = hex(&Sha256::digest(step.token()));
        let step = digest.get(..STEP_DIGITS).unwrap_or(&digest);
        format!("{run}-{step}-{attempt}-{}", self.number)
    }

    /// The item came to nothing.
    pub fn drop_item(&mut self) {
        self.id = None;
        self.item = None;
        self.looks = 0;
        self.number = self.number.saturating_add(1);
    }

    /// The pause before the next look at its item; `first` is the first one.
    #[must_use]
    pub fn pause(&self, first: Duration) -> Duration {
        let mut pause = first;
        for _ in 0..self.looks.min(64) {
            pause = if pause < DOUBLING_MAX {
                (pause * 2).min(DOUBLING_MAX)
            } else {
                pause.mul_f64(GROWTH)
            };
        }
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_costs_at_most_thirty_looks_and_the_first_hour_is_seen_within_a_third() {
        let mut batched = Batched::new(Timestamp::UNIX_EPOCH);
        let mut waited = Duration::ZERO;
        while waited < Duration::from_secs(86_400) {
            let pause = batched.pause(Duration::from_secs(5));
            assert!(
                batched.looks < 7 || pause < waited.mul_f64(0.75),
                "{pause:?}"
            );
            waited += pause;
            batched.looks += 1;
        }
        assert!(batched.looks <= 30, "{}", batched.looks);
    }

    #[test]
    fn names_tell_runs_steps_attempts_and_numbers_apart_and_fit() -> Result<(), crate::ids::IdError>
    {
        let run = RunId::derive(&"w".parse()?, "s", "1");
        let other = RunId::derive(&"w".parse()?, "s", "2");
        let long = StepKey::step(&"x".repeat(64).parse()?);
        let step = StepKey::step(&"ask".parse()?);
        let mut batched = Batched::new(Timestamp::UNIX_EPOCH);
        let mut names = std::collections::BTreeSet::new();
        for number in [0, 999] {
            batched.number = number;
            for (run, step) in [(&run, &step), (&run, &long), (&other, &step)] {
                for attempt in [0, 5] {
                    let name = batched.custom_id(run, step, attempt);
                    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
                    assert!(name.len() <= 64 && name.chars().all(plain), "{name}");
                    assert!(names.insert(name));
                }
            }
        }
        Ok(())
    }
}
