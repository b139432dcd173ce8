//! Which version of a workflow new runs get, and how large a part of them a candidate.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    entry::Pin,
    ids::{Name, RunId},
};

/// The value version this code writes, and the only one it reads.
pub(super) const VERSION: u32 = 1;
/// Slots that runs fall into: a hundredth of a percent each.
const SLOTS: u16 = 10_000;

/// A version of a workflow, exactly.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VersionRef {
    /// Its number.
    pub version: u32,
    /// As [`Pin::digest`].
    pub digest: String,
}

impl From<&Pin> for VersionRef {
    fn from(pin: &Pin) -> Self {
        Self {
            version: pin.version,
            digest: pin.digest.clone(),
        }
    }
}

impl VersionRef {
    /// What a run of it is pinned to.
    #[must_use]
    pub fn pin(&self, name: &Name) -> Pin {
        Pin {
            name: name.clone(),
            version: self.version,
            digest: self.digest.clone(),
        }
    }
}

/// A part of all runs: more than 0 and less than 100 percent, with two decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Percent(u16);

/// Why something is no part of all runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no percentage of runs: more than 0 and less than 100, with at most two decimals. Activate a version to give it all runs"
)]
pub struct PercentError(String);

impl Percent {
    /// In hundredths of a percent, from 1 to 9,999.
    #[must_use]
    pub fn hundredths(self) -> u16 {
        self.0
    }
}

impl TryFrom<f64> for Percent {
    type Error = PercentError;
    fn try_from(percent: f64) -> Result<Self, PercentError> {
        let slots = (percent * 100.0).round();
        // What is written in decimals is not the same in binary; nobody means less than a millionth.
        let is_exact = (slots - percent * 100.0).abs() < 1e-6;
        if is_exact && slots >= 1.0 && slots < f64::from(SLOTS) {
            return Ok(Self(slots as u16));
        }
        Err(PercentError(percent.to_string()))
    }
}

impl FromStr for Percent {
    type Err = PercentError;
    fn from_str(text: &str) -> Result<Self, PercentError> {
        let number = text.trim().trim_end_matches('%').trim_end();
        let percent: f64 = number.parse().map_err(|_| PercentError(text.to_owned()))?;
        Self::try_from(percent).map_err(|_| PercentError(text.to_owned()))
    }
}

impl From<Percent> for f64 {
    fn from(percent: Percent) -> Self {
        Self::from(percent.0) / 100.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", f64::from(*self))
    }
}

/// A version that is tried on a part of the runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Which.
    #[serde(flatten)]
    pub version: VersionRef,
    /// How many runs get it.
    pub percent: Percent,
}

/// Which version of a workflow new runs get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// Which shape this is.
    pub(crate) v: u32,
    /// The version that runs get.
    pub stable: VersionRef,
    /// The one that a part of them gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
    /// No run gets any: the workflow is not started until a version is activated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retired: bool,
    /// The highest version that an apply has activated or left alone: none up to it becomes active by being applied again.
    pub considered: u32,
    /// Who said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Why a value of the bucket cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// It is of another flotilla.
    #[error("it has version {found}, this flotilla reads version {VERSION}")]
    Version {
        /// Its version.
        found: u32,
    },
    /// It has another shape.
    #[error("{0}")]
    Shape(#[from] serde_json::Error),
}

/// Whether a value has the version that this code reads.
///
/// # Errors
/// [`ValueError`].
pub(super) fn check_version(bytes: &[u8]) -> Result<(), ValueError> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    let Versioned { v: found } = serde_json::from_slice(bytes)?;
    if found == VERSION {
        Ok(())
    } else {
        Err(ValueError::Version { found })
    }
}

impl Active {
    /// All runs get this version.
    #[must_use]
    pub fn only(stable: VersionRef, at: Timestamp) -> Self {
        Self {
            v: VERSION,
            considered: stable.version,
            stable,
            candidate: None,
            retired: false,
            by: None,
            reason: None,
            at,
        }
    }

    /// The version that this run gets, if it begins now: a function of its id and of nothing else, so an event that comes twice
    /// gives the same one. A part that grows keeps the runs that it had.
    #[must_use]
    pub fn pick(&self, run: &RunId) -> &VersionRef {
        match &self.candidate {
            Some(candidate) if slot(run) < candidate.percent.hundredths() => &candidate.version,
            Some(_) | None => &self.stable,
        }
    }

    /// As the bucket keeps it.
    ///
    /// # Errors
    /// [`ValueError::Shape`]; never for what this code makes.
    pub fn encode(&self) -> Result<Vec<u8>, ValueError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Reads what the bucket has.
    ///
    /// # Errors
    /// [`ValueError`].
    pub fn read(bytes: &[u8]) -> Result<Self, ValueError> {
        check_version(bytes)?;
        Ok(serde_json::from_slice(bytes)?)
    }
}

/// Where a run falls among all of them, from 0 to 9,999.
#[must_use]
pub fn slot(run: &RunId) -> u16 {
    let hash: [u8; 32] = Sha256::digest(run.as_str()).into();
    let [a, b, c, d, ..] = hash;
    let slot = u32::from_be_bytes([a, b, c, d]) % u32::from(SLOTS);
    u16::try_from(slot).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(version: u32) -> VersionRef {
        let digest = format!("{version:064x}");
        VersionRef { version, digest }
    }

    fn run(number: u32) -> RunId {
        RunId::derive(&"w".parse().unwrap(), "test", &number.to_string())
    }

    fn at(percent: &str) -> Active {
        Active {
            candidate: Some(Candidate {
                version: version(2),
                percent: percent.parse().unwrap(),
            }),
            ..Active::only(version(1), Timestamp::UNIX_EPOCH)
        }
    }

    fn picked(active: &Active) -> Vec<u32> {
        let runs = (0..20_000).filter(|number| active.pick(&run(*number)).version == 2);
        runs.collect()
    }

    #[test]
    fn about_so_many_runs_get_the_candidate_as_was_said() {
        for (percent, expected) in [
            ("0.01", 2),
            ("10", 2_000),
            ("50", 10_000),
            ("99.99", 19_998),
        ] {
            let found = picked(&at(percent)).len();
            let off = found.abs_diff(expected);
            assert!(off * off <= expected * 16 + 16, "{percent} %: {found}");
        }
        let all = Active::only(version(1), Timestamp::UNIX_EPOCH);
        assert!(picked(&all).is_empty());
    }

    #[test]
    fn a_part_that_grows_keeps_the_runs_it_had_and_a_run_has_one_answer() {
        let (few, more) = (picked(&at("5")), picked(&at("20.5")));
        assert!(few.iter().all(|run| more.contains(run)));
        assert_eq!(picked(&at("5")), few);
        let slots: Vec<u16> = (0..3).map(|number| slot(&run(number))).collect();
        // Fixed for ever: another hash would move runs between versions in the middle of a rollout.
        assert_eq!(slots, [1804, 890, 8573]);
    }

    #[test]
    fn a_percentage_has_two_decimals_and_leaves_something_for_both() {
        for (text, hundredths) in [
            ("10", 1_000),
            ("0.01", 1),
            ("33.33 %", 3_333),
            ("99.99%", 9_999),
        ] {
            assert_eq!(text.parse::<Percent>().unwrap().hundredths(), hundredths);
        }
        for bad in [
            "0", "100", "-1", "0.001", "12.345", "1e9", "NaN", "inf", "", "ten",
        ] {
            let problem = bad.parse::<Percent>().unwrap_err().to_string();
            assert!(problem.contains(&format!("`{bad}`")), "{problem}");
        }
        for slots in 1..SLOTS {
            let text = serde_json::to_string(&Percent(slots)).unwrap();
            assert_eq!(
                serde_json::from_str::<Percent>(&text).unwrap(),
                Percent(slots)
            );
        }
    }

    #[test]
    fn a_value_comes_back_as_it_was_and_one_of_another_flotilla_is_told() {
        let active = at("12.5");
        let bytes = active.encode().unwrap();
        assert_eq!(Active::read(&bytes).unwrap(), active);
        let text = String::from_utf8(bytes).unwrap();
        let newer = text.replace("\"v\":1", "\"v\":2");
        let problem = Active::read(newer.as_bytes()).unwrap_err();
        assert!(matches!(problem, ValueError::Version { found: 2 }));
        assert!(matches!(Active::read(b"[]"), Err(ValueError::Shape(_))));
    }
}
