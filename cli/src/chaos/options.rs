//! What is asked of the kit.

use std::{path::PathBuf, time::Duration};

use anyhow::{anyhow, bail};
use flotilla_common::{io::broken, units::Span};

use super::{
    attach::{Attach, SinkAddress},
    permitted::LeftOut,
    scenes::Scene,
    schedule::{
        Kind::{self, DiskFull, Flush, Kill, LeaderCut, NodeCut},
        Part,
    },
};
use crate::{exit::Usage, output::Output};

/// How long nothing may come to its end: waits of our own fleets are short, those of others are as their people like.
const PATIENCE: Duration = Duration::from_secs(30);
const PATIENCE_ATTACHED: Duration = Duration::from_secs(180);
/// Runs for a fleet of others, and how long: two a second.
const ATTACHED: (usize, Duration) = (240, Duration::from_secs(120));

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
    /// How long nothing may come to its end before what has not is lost [default: 30s, attached 3m]
    #[arg(long)]
    patience: Option<Span>,
    #[command(flatten)]
    output: Output,
    /// File that gets a report with a timeline
    #[arg(long)]
    html: Option<PathBuf>,
    /// Where this machine does not permit what the profile or --faults needs: say so, and end as if it had passed
    #[arg(long)]
    skip_if_impossible: bool,
    /// Keep logs and data
    #[arg(long)]
    keep: bool,
    /// Break a fleet that runs already, from outside. It needs its gateway (--url), its NATS as a user who may read everything
    /// (FLOTILLA_NATS_URL), and the simulated Claude that answers it (FLOTILLA_SIM_URL)
    #[arg(long, requires = "sink_address", conflicts_with_all = ["profile", "broken", "keep"])]
    attach: bool,
    /// Where that fleet's executors reach this kit, which listens at this port: host:port
    #[arg(long, requires = "attach")]
    sink_address: Option<SinkAddress>,
    /// Go on until Ctrl-C; the rate is that of --runs and --for, or --rate
    #[arg(long, requires = "attach")]
    until_signal: bool,
    /// Have that fleet's Redis forget everything now and then, whoever else uses it; FLOTILLA_REDIS_URL must say which one it is
    #[arg(long, requires = "attach")]
    flush: bool,
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
    /// Whether somebody has named these faults and scenes; else they are the profile's.
    pub(super) is_named: bool,
    /// Those that the profile has, and that this machine does not permit.
    pub(super) left_out: Vec<LeftOut>,
    pub(super) patience: Duration,
    pub(super) output: Output,
    pub(super) html: Option<PathBuf>,
    pub(super) keep: bool,
    pub(super) skip_if_impossible: bool,
    pub(super) broken: Option<broken::Rule>,
    /// To a fleet that runs, in place of one of our own.
    pub(super) attach: Option<Attach>,
    attached: bool,
}

impl Options {
    /// Settles them; `knows_redis`: somebody has said where Redis is.
    ///
    /// # Errors
    /// What is asked for does not go together ([`Usage`]).
    pub(super) fn of(args: Chaos, knows_redis: bool) -> anyhow::Result<Self> {
        let settled = Self::settled(args, knows_redis);
        settled.map_err(|wrong| Usage::of(&wrong).into())
    }

    fn settled(args: Chaos, knows_redis: bool) -> anyhow::Result<Self> {
        let (runs, span) = if args.attach {
            ATTACHED
        } else {
            args.profile.load()
        };
        let span = args.span.map_or(span, |span| span.0);
        let runs = match (args.runs, args.rate) {
            (Some(runs), _) => runs,
            (None, Some(rate)) => of_rate(rate, span)?,
            (None, None) => runs,
        };
        if args.flush && !knows_redis {
            bail!(
                "--flush empties a Redis, whoever else uses it: say which one (FLOTILLA_REDIS_URL)"
            );
        }
        if args.attach && (runs == 0 || span.is_zero()) {
            bail!("--attach is for load: give it some --runs or --rate, and time");
        }
        let (kinds, scenes) = if args.attach {
            (outside(args.flush, &args.faults)?, Vec::new())
        } else {
            chosen(args.profile, &args.faults)?
        };
        let patience = args.patience.map(|span| span.0);
        let patience = patience.unwrap_or(if args.attach {
            PATIENCE_ATTACHED
        } else {
            PATIENCE
        });
        let attach = args.sink_address.map(|sink| Attach {
            sink,
            until_signal: args.until_signal,
        });
        Ok(Self {
            profile: args.profile,
            // Nothing to break, and nobody to wait for.
            span: if runs == 0 { Duration::ZERO } else { span },
            runs,
            seed: args.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
            kinds,
            scenes,
            is_named: !args.faults.is_empty(),
            left_out: Vec::new(),
            patience,
            attach,
            attached: args.attach,
            output: args.output,
            html: args.html,
            keep: args.keep,
            skip_if_impossible: args.skip_if_impossible,
            broken: args.broken.as_deref().map(rule).transpose()?,
        })
    }

    /// What it is called in reports.
    pub(super) fn profile(&self) -> &'static str {
        if self.attached {
            "attached"
        } else {
            self.profile.name()
        }
    }

    /// Runs that have begun after so long.
    pub(super) fn runs_by(&self, elapsed: Duration) -> usize {
        let (elapsed, whole) = (elapsed.as_millis(), self.span.as_millis().max(1));
        let runs = (self.runs as u128).saturating_mul(elapsed) / whole;
        usize::try_from(runs).unwrap_or(usize::MAX)
    }
}

/// The faults that can be made from outside a fleet, of these names; all of them, where none is named.
fn outside(flush: bool, names: &[String]) -> anyhow::Result<Vec<Kind>> {
    let all = Kind::ALL.into_iter();
    let all: Vec<Kind> = all
        .filter(|kind| {
            matches!(kind.part(), Part::Input | Part::Claude | Part::Tool)
                || (flush && *kind == Flush)
        })
        .collect();
    if names.is_empty() {
        return Ok(all);
    }
    let (kinds, scenes) = chosen(Profile::Smoke, names)?;
    let foreign = kinds.iter().find(|kind| !all.contains(kind));
    if let Some(kind) = foreign {
        bail!(
            "`{}` cannot be made from outside a fleet (--flush lets `flush`)",
            kind.name()
        );
    }
    if let Some(scene) = scenes.first() {
        bail!(
            "the scene `{}` needs a fleet of the kit's own",
            scene.name()
        );
    }
    Ok(kinds)
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

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser;

    use super::*;
    use crate::exit::Exit;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        chaos: Chaos,
    }

    /// What these arguments come to.
    pub(in crate::chaos) fn settled(args: &str, knows_redis: bool) -> anyhow::Result<Options> {
        let line = Line::parse_from(["chaos"].into_iter().chain(args.split_whitespace()));
        Options::of(line.chaos, knows_redis)
    }

    #[test]
    fn what_does_not_go_together_is_wrong_usage() {
        let attached = "--attach --sink-address kit:8099";
        for (args, why) in [
            ("--faults no-such", "no fault"),
            (&format!("{attached} --runs 0"), "--runs"),
            (&format!("{attached} --faults kill"), "from outside"),
            (&format!("{attached} --flush"), "FLOTILLA_REDIS_URL"),
        ] {
            let wrong = settled(args, false).unwrap_err();
            assert_eq!(Exit::of(&wrong), Exit::Usage, "{args}");
            assert!(wrong.to_string().contains(why), "{args}: {wrong}");
        }
        let flushes = settled(&format!("{attached} --flush"), true).unwrap();
        assert!(flushes.kinds.contains(&Flush));
    }

    #[test]
    fn runs_of_all_parts_are_as_many_as_were_asked_for() {
        let of = |args: &str| settled(args, false).unwrap();
        let options = of("--runs 100 --for 130s");
        let by = [0, 60, 120, 130].map(|at| options.runs_by(Duration::from_secs(at)));
        assert_eq!(by, [0, 46, 92, 100]);
        // And on at that rate, where it goes on.
        assert_eq!(options.runs_by(Duration::from_secs(260)), 200);
    }
}
