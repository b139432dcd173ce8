//! What the program ends with: one number for each way in which something is not done.

use std::{fmt, process::ExitCode};

use flotilla_common::io::{bus::BusError, store::StoreError};

use crate::client::{Refused, Unreachable};

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked.
    Done,
    /// It did not, or what it tells of did not go well.
    NotDone,
    /// It was asked wrongly; clap ends with the same.
    Usage,
    /// What it is about is not there.
    NotFound,
    /// The gateway, NATS or Redis does not answer, or is busy.
    Unreachable,
    /// The gateway wants another token.
    Refused,
    /// Some of it was done, and nothing went wrong in that.
    Incomplete,
}

impl Exit {
    /// All, in the order of their numbers.
    pub(crate) const ALL: [Self; 7] = [
        Self::Done,
        Self::NotDone,
        Self::Usage,
        Self::NotFound,
        Self::Unreachable,
        Self::Refused,
        Self::Incomplete,
    ];

    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::NotDone => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Unreachable => 4,
            Self::Refused => 5,
            Self::Incomplete => 6,
        }
    }

    /// What it means, for people.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotDone => "not done; or a run failed, a check found something, decisions differ",
            Self::Usage => "asked wrongly: arguments, settings",
            Self::NotFound => "what it is about is not there",
            Self::Unreachable => {
                "the gateway, NATS or Redis does not answer, or is busy: the same may work later"
            }
            Self::Refused => "the gateway wants a token, or another one",
            Self::Incomplete => "`replay --since`: not all of it could be done",
        }
    }

    /// What an error ends the program with: the first of its causes that says so.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        error.chain().find_map(of_cause).unwrap_or(Self::NotDone)
    }

    /// The lines at the end of `flotilla --help`.
    pub(crate) fn help() -> String {
        let lines = Self::ALL.map(|exit| format!("  {}  {}", exit.number(), exit.meaning()));
        format!("Exit codes:\n{}", lines.join("\n"))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(refused) = cause.downcast_ref::<Refused>() {
        return refused.exit();
    }
    let unreachable = cause.is::<Unreachable>()
        || matches!(cause.downcast_ref(), Some(BusError::Connect { .. }))
        || matches!(
            cause.downcast_ref(),
            Some(StoreError::Connect { .. } | StoreError::Unavailable(_))
        );
    if unreachable {
        return Some(Exit::Unreachable);
    }
    let wrong = cause.is::<Usage>()
        || matches!(cause.downcast_ref(), Some(BusError::Address { .. }))
        || matches!(cause.downcast_ref(), Some(StoreError::Address { .. }));
    if wrong {
        return Some(Exit::Usage);
    }
    cause.is::<NotFound>().then_some(Exit::NotFound)
}

/// It was asked wrongly, in a way that only the command itself can tell.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl Usage {
    /// What is wrong with the settings, or with a file that they name.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        Self(crate::in_full(error))
    }
}

impl std::error::Error for Usage {}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a command is about is not there.
#[derive(Debug)]
pub(crate) struct NotFound(pub(crate) String);

impl std::error::Error for NotFound {}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use reqwest::StatusCode;

    use super::*;

    fn refused(status: u16) -> anyhow::Error {
        Refused::answered(StatusCode::from_u16(status).unwrap()).into()
    }

    #[test]
    fn every_way_to_fail_has_its_number_however_deep_the_cause_is() {
        for (error, number) in [
            (anyhow!("whatever"), 1),
            (refused(422), 1),
            (refused(500), 1),
            (Usage("x".to_owned()).into(), 2),
            (NotFound("x".to_owned()).into(), 3),
            (refused(404), 3),
            (refused(503).context("the list"), 4),
            (refused(429), 4),
            (refused(401), 5),
            (refused(403).context("one").context("two"), 5),
        ] {
            assert_eq!(Exit::of(&error).number(), number, "{error:#}");
        }
    }

    #[test]
    fn the_numbers_are_told_in_their_order() {
        let numbers = Exit::ALL.map(Exit::number);
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6]);
        assert!(Exit::help().contains("\n  3  what it is about is not there"));
    }
}
