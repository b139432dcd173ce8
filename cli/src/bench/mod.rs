//! `flotilla bench`: figures anyone can get again. Everything runs as real processes, started for it and ended after it, on data
//! of its own; Claude is simulated. Build with `--release` first.

mod bare;
mod cost;
mod effects;
mod fleet;
mod ingest;
mod limits;
mod planner;
mod steps;
mod storm;
mod tools;
mod traffic;
mod usage;
mod waiting;
mod watchers;

use clap::Subcommand;
use flotilla_common::units::Span;

use crate::{output::Output, settings::Settings};

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Steps per second, end to end, with a Claude that answers at once; and what share of the bare journal that is
    Steps(Steps),
    /// Memory and throughput of one planner process with many Claude calls in flight
    Planner(Planner),
    /// Planners against a Claude that enforces rate limits: use of the allowance, share of 429s, and one tenant beside another
    Limits(Limits),
    /// A storm of 529s in the middle of a steady load: calls per second
    Storm(Storm),
    /// What Claude costs: the same recorded runs with one model for everything and no caching, and as defined; and the ratio
    Cost(Cost),
    /// Runs that wait for a person: what they cost meanwhile, and that a crash of everything and an emptied Redis lose none
    Waiting(Waiting),
    /// Events per second that a gateway takes in over HTTP, one by one and in batches, and what share of a bare publisher's that is; needs wrk
    Ingest(Ingest),
    /// Effects while executors are restarted one by one, or killed: what was done, held against what the ledgers say
    Effects(Effects),
    /// People who watch runs live: what runs keep of their throughput beside them
    Watchers(Watchers),
    /// Twenty tools, one of which hangs, one fails and one is slow: what the others keep of their throughput
    Tools(Tools),
}

/// Options of `bench effects`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Effects {
    /// Effects, half of them `idempotent` and half `once`
    #[arg(long, default_value_t = 5_000)]
    effects: usize,
    /// Kill executors (-9) at random throughout, instead of restarting them one by one
    #[arg(long)]
    kills: bool,
    #[command(flatten)]
    output: Output,
}

/// Options of `bench ingest`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Ingest {
    /// Connections of wrk, and messages in flight of the bare publisher
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// How long each of the six measurements takes
    #[arg(long, default_value = "10s")]
    span: Span,
    #[command(flatten)]
    output: Output,
}

/// Options of `bench tools`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Tools {
    /// Runs of each tool, each of one step, in each of the two measurements
    #[arg(long, default_value_t = 100)]
    runs: usize,
    #[command(flatten)]
    output: Output,
}

/// Options of `bench watchers`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Watchers {
    /// Who watches at once: most of them a run, some the list
    #[arg(long, default_value_t = 2_000)]
    watchers: usize,
    /// Runs in each of the two measurements
    #[arg(long, default_value_t = 2_000)]
    runs: usize,
    #[command(flatten)]
    output: Output,
}

/// Options of `bench waiting`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Waiting {
    /// Runs that wait at once
    #[arg(long, default_value_t = 100_000)]
    runs: usize,
    #[command(flatten)]
    output: Output,
}

/// Options of `bench cost`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Cost {
    /// Runs on each side: alerts and failed builds in turn
    #[arg(long, default_value_t = 60)]
    runs: usize,
    /// What the recordings are made from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Let nothing that earlier runs wrote be in the prompt cache, as where events are more than five minutes apart
    #[arg(long)]
    apart: bool,
    #[command(flatten)]
    output: Output,
}

/// Options of `bench limits`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Limits {
    /// Planner processes, at most 8
    #[arg(long, default_value_t = 4)]
    planners: usize,
    /// Requests a minute that Claude allows
    #[arg(long, default_value_t = 6_000)]
    per_minute: u64,
    /// How long each of the three measurements takes
    #[arg(long, default_value = "30s")]
    span: Span,
    #[command(flatten)]
    output: Output,
}

/// Options of `bench storm`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Storm {
    /// Runs that begin each second
    #[arg(long, default_value_t = 50)]
    per_second: u64,
    /// How long the storm lasts
    #[arg(long, default_value = "20s")]
    span: Span,
    #[command(flatten)]
    output: Output,
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
    #[command(flatten)]
    output: Output,
}

/// Options of `bench planner`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Planner {
    /// Runs of one Claude step each, all at once
    #[arg(long, default_value_t = 10_000)]
    calls: usize,
    /// How long each call takes
    #[arg(long, default_value = "5s")]
    latency: Span,
    #[command(flatten)]
    output: Output,
}

impl Bench {
    pub(crate) async fn run(self, settings: Settings) -> anyhow::Result<()> {
        match self {
            Self::Steps(options) => steps::run(&settings, &options).await,
            Self::Planner(options) => planner::run(&settings, &options).await,
            Self::Limits(options) => Box::pin(limits::run(&settings, &options)).await,
            Self::Storm(options) => Box::pin(storm::run(&settings, &options)).await,
            Self::Cost(options) => Box::pin(cost::run(&settings, &options)).await,
            Self::Waiting(options) => Box::pin(waiting::run(&settings, &options)).await,
            Self::Effects(options) => Box::pin(effects::run(&settings, &options)).await,
            Self::Watchers(options) => Box::pin(watchers::run(&settings, &options)).await,
            Self::Ingest(options) => Box::pin(ingest::run(&settings, &options)).await,
            Self::Tools(options) => Box::pin(tools::run(&settings, &options)).await,
        }
    }
}
