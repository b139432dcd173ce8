//! What is asked of the kit.

use std::{path::PathBuf, time::Duration};

use anyhow::{anyhow, bail};
use flotilla_common::{io::broken, units::Span};

use super::{
    scenes::Scene,
    schedule::Kind::{self, DiskFull, Flush, Kill, LeaderCut, NodeCut},
};

/// How much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Profile {
    /// Two minutes: some faults by chance, and every scene
    Smoke,
    /// An hour of everything
    Hour,
    /// Two minutes on three nats-servers, of which one after the other is cut off; it needs leave to make network namespaces
    Cluster,
}

impl Profile {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Smoke => "smoke",
            Self::Hour => "hour",
            Self::Cluster => "cluster",
        }
    }

    /// Runs of its load, and how long that takes.
    fn load(self) -> (usize, Duration) {
        match self {
            Self::Smoke => (150, Duration::from_secs(30)),
            Self::Cluster => (300, Duration::from_secs(90)),
            Self::Hour => (10_000, Duration::from_secs(3_600)),
        }
    }
}

/// Options of `flotilla chaos`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Chaos {
    /// How much
    #[arg(long, value_enum, default_value = "smoke")]
    profile: Profile,
    /// Runs of the load [default: smoke 150, cluster 300, hour 10000]
    #[arg(long)]
    runs: Option<usize>,
    /// Runs that begin each second, in place of --runs
    #[arg(long, conflicts_with = "runs")]
    rate: Option<f64>,
    /// What load and schedule are made from [default: any]
    #[arg(long)]
    seed: Option<u64>,
    /// How long load and faults last [default: smoke 30s, cluster 90s, hour 1h]
    #[arg(long = "for")]
    span: Option<Span>,
    /// Only these faults and scenes: `kill,nats-kill,fan-in`; `none` for none
    #[arg(long, value_delimiter = ',')]
    faults: Vec<String>,
    /// How long nothing may come to its end before what has not is lost
    #[arg(long, default_value = "30s")]
    patience: Span,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// File that gets a report with a timeline
    #[arg(long)]
    html: Option<PathBuf>,
    /// Keep logs and data
    #[arg(long)]
    keep: bool,
    /// Have the fleet break a rule of the protocol: the scorecard must turn red. Only in builds for tests
    #[arg(long = "break", value_name = "RULE", hide = !cfg!(debug_assertions))]
    broken: Option<String>,
}

/// The same, settled.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) profile: Profile,
    pub(super) runs: usize,
    pub(super) seed: u64,
    pub(super) span: Duration,
    pub(super) kinds: Vec<Kind>,
    pub(super) scenes: Vec<Scene>,
    pub(super) patience: Duration,
    pub(super) json: bool,
    pub(super) html: Option<PathBuf>,
    pub(super) keep: bool,
    pub(super) broken: Option<broken::Rule>,
}

impl Options {
    pub(super) fn of(args: Chaos) -> anyhow::Result<Self> {
        let (runs, span) = args.profile.load();
        let span = args.span.map_or(span, |span| span.0);
        let runs = match (args.runs, args.rate) {
            (Some(runs), _) => runs,
            (None, Some(rate)) => of_rate(rate, span)?,
            (None, None) => runs,
        };
        let (kinds, scenes) = chosen(args.profile, &args.faults)?;
        Ok(Self {
            profile: args.profile,
            // Nothing to break, and nobody to wait for.
            span: if runs == 0 { Duration::ZERO } else { span },
            runs,
            seed: args.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
            kinds,
            scenes,
            patience: args.patience.0,
            json: args.json,
            html: args.html,
            keep: args.keep,
            broken: args.broken.as_deref().map(rule).transpose()?,
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be from 0 to a million"
)]
fn of_rate(rate: f64, span: Duration) -> anyhow::Result<usize> {
    let runs = rate * span.as_secs_f64();
    if (0.0..=1e6).contains(&runs) {
        Ok(runs.round() as usize)
    } else {
        bail!("--rate {rate} for {span:?} is not from 0 to a million runs")
    }
}

fn without(left_out: &[Kind]) -> Vec<Kind> {
    let all = Kind::ALL.into_iter();
    all.filter(|kind| !left_out.contains(kind)).collect()
}

/// The faults and scenes of these names; all that the profile has, where none is named.
fn chosen(profile: Profile, names: &[String]) -> anyhow::Result<(Vec<Kind>, Vec<Scene>)> {
    if names.is_empty() {
        return Ok(match profile {
            Profile::Smoke => (
                without(&[NodeCut, LeaderCut, DiskFull]),
                Scene::ALL.to_vec(),
            ),
            Profile::Hour => (without(&[NodeCut, LeaderCut]), Scene::ALL.to_vec()),
            // Scenes and links are of one nats-server.
            Profile::Cluster => (vec![NodeCut, LeaderCut, Kill, Flush], Vec::new()),
        });
    }
    let (mut kinds, mut scenes) = (Vec::new(), Vec::new());
    for name in names.iter().filter(|name| *name != "none") {
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        let scene = Scene::ALL.into_iter().find(|scene| scene.name() == name);
        kinds.extend(kind);
        scenes.extend(scene);
        if kind.is_none() && scene.is_none() {
            let known = Kind::ALL.map(Kind::name).into_iter();
            let known: Vec<_> = known.chain(Scene::ALL.map(Scene::name)).collect();
            bail!("there is no fault `{name}`; there are {}", known.join(", "));
        }
    }
    Ok((kinds, scenes))
}

fn rule(name: &str) -> anyhow::Result<broken::Rule> {
    if !cfg!(debug_assertions) {
        bail!("--break is only in builds for tests (cargo build without --release)");
    }
    let known = broken::Rule::ALL;
    known
        .into_iter()
        .find(|rule| rule.name() == name)
        .ok_or_else(|| {
            let known = known.map(broken::Rule::name).join(", ");
            anyhow!("there is no rule `{name}`; there are {known}")
        })
}
