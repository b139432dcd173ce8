//! What is done when a tool fails: which failures it is tried again for, and when nobody calls it any more.

mod yaml;

use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

use serde::Deserialize;

use super::Effect;
pub(super) use yaml::{BreakerYaml, RateYaml, RetriesYaml};

/// How a tool that failed is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    /// How often again, from 1.
    pub times: u32,
    /// The most that is waited before the first time; it doubles each time. What is waited is drawn from nothing up to this.
    pub pause: Duration,
    /// Where it doubles no more.
    pub max_pause: Duration,
    /// After which failures.
    pub on: BTreeSet<Fault>,
    /// How long after its first try an action is still begun anew; `None`: however long.
    pub within: Option<Duration>,
}

/// A kind of failure, as definitions name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum Fault {
    /// It took longer than the tool's timeout.
    Timeout,
    /// No connection came about: nothing was sent.
    Connect,
    /// The connection broke.
    Network,
    /// The program did not start.
    Spawn,
    /// The program was killed.
    Signal,
    /// The program was started, and then nothing could be seen of it any more.
    Lost,
    /// An HTTP status from 400 on.
    Status(Option<u16>),
    /// The program ended with another status than 0.
    Exit(Option<u8>),
}

/// Why a text names no kind of failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no kind of failure: timeout, connect, network, spawn, signal, lost, status, a status such as 503, exit, or a status of a program such as exit:75"
)]
pub struct FaultError(String);

const NAMED: [Fault; 8] = [
    Fault::Timeout,
    Fault::Connect,
    Fault::Network,
    Fault::Spawn,
    Fault::Signal,
    Fault::Lost,
    Fault::Status(None),
    Fault::Exit(None),
];
/// Too many requests: it was not served.
pub const TOO_MANY: u16 = 429;
/// What passes by itself, of a tool that bears a repetition.
const PASSING: [Fault; 7] = [
    Fault::Timeout,
    Fault::Connect,
    Fault::Network,
    Fault::Status(Some(TOO_MANY)),
    Fault::Status(Some(502)),
    Fault::Status(Some(503)),
    Fault::Status(Some(504)),
];

impl Fault {
    /// Whether nothing was done when it failed so, for certain.
    #[must_use]
    pub fn is_harmless(self) -> bool {
        match self {
            Self::Connect | Self::Spawn | Self::Status(Some(TOO_MANY)) => true,
            Self::Timeout
            | Self::Network
            | Self::Signal
            | Self::Lost
            | Self::Status(_)
            | Self::Exit(_) => false,
        }
    }

    /// Whether a failure of this very kind is among what `self` names.
    #[must_use]
    pub fn covers(self, failure: Self) -> bool {
        match (self, failure) {
            (Self::Status(None), Self::Status(_)) | (Self::Exit(None), Self::Exit(_)) => true,
            (named, failure) => named == failure,
        }
    }

    /// What is tried again where nothing is said.
    fn usual(effect: Effect) -> BTreeSet<Self> {
        let may = |fault: &Self| effect != Effect::Once || fault.is_harmless();
        PASSING.into_iter().filter(may).collect()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timeout"),
            Self::Connect => f.write_str("connect"),
            Self::Network => f.write_str("network"),
            Self::Spawn => f.write_str("spawn"),
            Self::Signal => f.write_str("signal"),
            Self::Lost => f.write_str("lost"),
            Self::Status(None) => f.write_str("status"),
            Self::Status(Some(code)) => write!(f, "{code}"),
            Self::Exit(None) => f.write_str("exit"),
            Self::Exit(Some(code)) => write!(f, "exit:{code}"),
        }
    }
}

impl FromStr for Fault {
    type Err = FaultError;
    fn from_str(text: &str) -> Result<Self, FaultError> {
        let named = || NAMED.into_iter().find(|fault| fault.to_string() == text);
        let status = || {
            let code = text.parse().ok().filter(|code| (400..600).contains(code))?;
            Some(Self::Status(Some(code)))
        };
        let exit = || {
            let code = text.strip_prefix("exit:")?.parse().ok();
            Some(Self::Exit(Some(code.filter(|code| *code > 0)?)))
        };
        let found = named().or_else(status).or_else(exit);
        found.ok_or_else(|| FaultError(text.to_owned()))
    }
}

impl TryFrom<String> for Fault {
    type Error = FaultError;
    fn try_from(text: String) -> Result<Self, FaultError> {
        text.parse()
    }
}

impl Retries {
    /// Whether a failure is one to try again after.
    #[must_use]
    pub fn covers(&self, failure: Fault) -> bool {
        self.on.iter().any(|named| named.covers(failure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_failures_read_as_they_are_shown() {
        let codes = [Fault::Status(Some(503)), Fault::Exit(Some(75))];
        for fault in NAMED.into_iter().chain(codes) {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        for wrong in [
            "", "5xx", "200", "600", "exit:0", "exit:256", "exit:", "refused",
        ] {
            assert!(wrong.parse::<Fault>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_kind_covers_its_codes_and_a_code_covers_itself() {
        let (any, one) = (Fault::Exit(None), Fault::Exit(Some(75)));
        assert!(any.covers(one) && any.covers(any) && one.covers(one));
        assert!(!one.covers(Fault::Exit(Some(1))) && !one.covers(any));
        assert!(!any.covers(Fault::Status(Some(503))));
    }

    #[test]
    fn only_what_did_nothing_is_usual_for_what_must_not_happen_twice() {
        assert_eq!(Fault::usual(Effect::Read).len(), PASSING.len());
        let once: Vec<_> = Fault::usual(Effect::Once).into_iter().collect();
        assert_eq!(once, [Fault::Connect, Fault::Status(Some(TOO_MANY))]);
    }
}
