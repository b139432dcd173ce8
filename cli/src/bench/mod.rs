//! `flotilla bench`: figures anyone can get again. Everything runs as real processes, started for it and ended after it, on data
//! of its own; Claude is simulated. Build with `--release` first.

mod bare;
mod fleet;
mod planner;
mod steps;

use clap::Subcommand;
use flotilla_common::units::Span;

use crate::settings::Settings;

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Steps per second, end to end, with a Claude that answers at once; and what share of the bare journal that is
    Steps(Steps),
    /// Memory and throughput of one planner process with many Claude calls in flight
    Planner(Planner),
}

/// Options of `bench steps`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Steps {
    /// Runs; each has four steps: two Claude steps, two tool steps
    #[arg(long, default_value_t = 5_000)]
    runs: usize,
    /// Planner processes
    #[arg(long, default_value_t = 1)]
    planners: usize,
    /// Executor processes
    #[arg(long, default_value_t = 1)]
    executors: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Options of `bench planner`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Planner {
    /// Runs of one Claude step each, all at once
    #[arg(long, default_value_t = 5_000)]
    calls: usize,
    /// How long each call takes
    #[arg(long, default_value = "5s")]
    latency: Span,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub(crate) async fn run(self, settings: Settings) -> anyhow::Result<()> {
        match self {
            Self::Steps(options) => steps::run(&settings, &options).await,
            Self::Planner(options) => planner::run(&settings, &options).await,
        }
    }
}
