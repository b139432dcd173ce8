//! What people type.

use std::{path::PathBuf, str::FromStr};

use flotilla_common::{
    ids::{Name, RunId},
    money::Usd,
    units::Span,
};
use jiff::{SignedDuration, Timestamp};

use crate::{output::Output, signals::dollars};

/// Decisions that are asked again when nobody says how many.
const LIMIT: u32 = 1_000;

/// Shows a run state by state; or, with --since, asks Claude again what it was asked and compares. Nothing is published: no
/// executor and no journal hears of it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "With --since, the exit code is 0 when no decision differs (other words alone do not count), 1 when some do, and 6 \
                  when not everything could be asked. Without it, 1 says that the journal is broken."
)]
pub(crate) struct Replay {
    /// The run, or a file that `export` wrote
    #[arg(required_unless_present = "since", conflicts_with = "since")]
    pub(super) target: Option<String>,
    /// The whole state after the entry of this sequence
    #[arg(long, value_name = "SEQ", conflicts_with = "since")]
    pub(super) at: Option<u64>,
    /// Ask again what runs were asked that began or ended since then: 24h ago, or a time such as 2026-11-21T10:00:00Z
    #[arg(long)]
    pub(super) since: Option<Moment>,
    /// …and before then [default: now]
    #[arg(long, requires = "since")]
    pub(super) until: Option<Moment>,
    /// A workflow's name: only its runs; a folder such as ./v2: asks as the newest versions in there would. May be given twice
    #[arg(long, value_name = "NAME_OR_FOLDER", requires = "since")]
    pub(super) workflow: Vec<String>,
    /// Ask this model in place of each step's own: an alias or an id of the table of models
    #[arg(long, requires = "since")]
    pub(super) model: Option<String>,
    /// Only this step
    #[arg(long, requires = "since")]
    pub(super) step: Option<Name>,
    /// At most so many decisions, those of the newest runs first
    #[arg(long, requires = "since", default_value_t = LIMIT, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) limit: u32,
    /// What it may cost: a call that could cost more than is left of it is not made
    #[arg(long, requires = "since", value_parser = dollars)]
    pub(super) usd: Option<Usd>,
    #[command(flatten)]
    pub(super) output: Output,
}

/// Writes a run with its definition to one file.
#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// The run
    pub(super) run: RunId,
    /// The file, which must not be there yet [default: standard output]
    #[arg(long, short)]
    pub(super) output: Option<PathBuf>,
    /// The runs within it too, and those within them
    #[arg(long)]
    pub(super) with_children: bool,
    /// Without the definition: what would be next cannot be shown elsewhere then
    #[arg(long)]
    pub(super) without_definition: bool,
}

/// A time, or so long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Ago(Span),
    At(Timestamp),
}

impl Moment {
    /// As seen from now.
    pub(super) fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(Span(span)) => {
                let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
                now.checked_sub(span).unwrap_or(Timestamp::MIN)
            }
        }
    }
}

impl FromStr for Moment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(span) = text.parse() {
            return Ok(Self::Ago(span));
        }
        text.parse().map(Self::At).map_err(|_| {
            "a time such as 2026-11-21T10:00:00Z, or how long ago, such as 24h".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_so_long_ago() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let of = |text: &str| {
            text.parse::<Moment>()
                .map(|moment| moment.from(now).to_string())
        };
        assert_eq!(of("90m"), Ok("2026-11-21T08:30:00Z".into()));
        assert_eq!(
            of("2026-11-20T00:00:00Z"),
            Ok("2026-11-20T00:00:00Z".into())
        );
        for wrong in ["", "yesterday", "-1h", "24"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
