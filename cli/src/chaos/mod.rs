//! `flotilla chaos`: a fleet of its own, load, faults by a seed, and a scorecard. What counts is what ledgers outside the fleet say:
//! the simulated Claude's, the effect sink's, the lists of who sent events and who answered questions, and the raw journal.

mod card;
mod checks;
mod claude;
mod cluster;
mod definitions;
mod disk;
mod evidence;
mod fleet;
mod html;
mod inject;
mod links;
mod load;
mod options;
mod people;
mod scenes;
mod schedule;

use std::{fs, path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use flotilla_sim::sink::Sink;
use futures_util::StreamExt as _;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

pub(crate) use options::Chaos;
use options::Options;

use self::{
    card::Card,
    disk::Disk,
    evidence::Evidence,
    fleet::Fleet,
    inject::{Injector, now_ms},
    load::Submitter,
    people::People,
    scenes::Stage,
    schedule::{Fault, Kind},
};
use crate::{
    roles,
    settings::Settings,
    style::{bold, dim},
};

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Events on their way at once.
const SENDING: usize = 64;

/// `flotilla chaos`.
pub(crate) async fn run(settings: Settings, args: Chaos) -> anyhow::Result<ExitCode> {
    let mut options = Options::of(args)?;
    let folder = fleet::folder(&settings)?;
    let disk = small_disk(&mut options, &folder);
    let schedule = schedule::of(options.seed, &options.kinds, options.span);
    if !options.json {
        announce(&options, &schedule);
    }
    let begun_ms = now_ms();
    let stop = roles::stop_on_signals()?;
    let fleet = Box::pin(Fleet::start(folder, disk, &options)).await?;
    let supervising = fleet.supervise();
    let playing = async {
        fleet.begun().await?;
        Box::pin(play(&fleet, &options, &schedule)).await
    };
    let played = tokio::select! {
        played = Box::pin(playing) => played,
        () = stop.cancelled() => Err(anyhow!("stopped before it was over")),
    };
    supervising.abort();
    let took_ms = now_ms() - begun_ms;
    let card = played.map(|(evidence, problems)| {
        let card = Card::of(&evidence, &options, schedule, problems, took_ms);
        (card, evidence)
    });
    let passed = card.as_ref().is_ok_and(|(card, _)| card.passed);
    // Whoever must look for what went wrong needs what is there.
    let keep = options.keep || (!passed && options.broken.is_none());
    fleet.stop(keep).await;
    let (card, evidence) = card?;
    if let Some(path) = &options.html {
        fs::write(path, html::page(&card, &evidence))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if options.json {
        println!("{}", serde_json::to_string(&card)?);
    } else {
        card.print();
    }
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A small disk for nats-server, where it is to be filled up; where there can be none, that fault is left out, and told.
fn small_disk(options: &mut Options, folder: &Path) -> Option<Disk> {
    if !options.kinds.contains(&Kind::DiskFull) {
        return None;
    }
    let disk = fleet::small_disk(folder);
    if let Err(error) = &disk {
        eprintln!("disk-full is left out, for no disk can be mounted here: {error:#}");
        options.kinds.retain(|kind| *kind != Kind::DiskFull);
    }
    disk.ok()
}

fn announce(options: &Options, schedule: &[Fault]) {
    println!(
        "{} · {} runs, then {} scenes · again with {}",
        bold(format!("chaos, {}", options.profile.name())),
        options.runs,
        options.scenes.len(),
        bold(format!("--seed {}", options.seed))
    );
    for fault in schedule {
        let at = fault.at_ms / 100;
        let span = fault.span_ms / 100;
        println!(
            "{}",
            dim(format!(
                "  {:>4}.{} s  {:<15} {:>2}.{} s  {}",
                at / 10,
                at % 10,
                fault.kind.name(),
                span / 10,
                span % 10,
                fault.target
            ))
        );
    }
}

/// Load with faults, then the scenes, then peace; and what there is to say of all that.
async fn play(
    fleet: &Arc<Fleet>,
    options: &Options,
    schedule: &[Fault],
) -> anyhow::Result<(Evidence, Vec<String>)> {
    let url = fleet.gateway_url()?;
    let submitter = Arc::new(Submitter::new(url.clone(), options.seed)?);
    let people = Arc::new(People::new(&url)?);
    let working = {
        let people = Arc::clone(&people);
        tokio::spawn(async move { people.work().await }).abort_handle()
    };
    let injector = Injector::new(Arc::clone(fleet), Arc::clone(&submitter));
    let begun = Instant::now();
    let faults = all_faults(&injector, begun, schedule);
    let sending = send(&submitter, begun, options);
    tokio::join!(faults, sending);
    fleet.heal().await?;
    all_reported(&submitter, &fleet.sink, options.patience).await;

    let mut problems = Vec::new();
    let stage = Stage { injector };
    for scene in &options.scenes {
        if !options.json {
            println!("{}", dim(format!("  scene: {}", scene.name())));
        }
        if let Err(problem) = Box::pin(scene.play(&stage)).await {
            problems.push(format!("{} was not set up: {problem:#}", scene.name()));
        }
        stage.injector.claude.faults(serde_json::json!([])).await?;
        fleet.heal().await?;
    }
    all_reported(&submitter, &fleet.sink, options.patience).await;
    working.abort();
    problems.extend(submitter.wrong());
    let evidence = Evidence::gather(&stage.injector, &people).await?;
    Ok((evidence, problems))
}

async fn all_faults(injector: &Injector, begun: Instant, schedule: &[Fault]) {
    let mut making = JoinSet::new();
    for (number, fault) in schedule.iter().cloned().enumerate() {
        let injector = injector.clone();
        making.spawn(async move { injector.make(begun, number, &fault).await });
    }
    while making.join_next().await.is_some() {}
}

/// Sends the load, evenly over its span.
async fn send(submitter: &Submitter, begun: Instant, options: &Options) {
    let planned = load::plan(options.seed, options.runs);
    let count = u32::try_from(planned.len()).unwrap_or(u32::MAX).max(1);
    let every = options.span / count;
    futures_util::stream::iter(planned.iter().zip(0u32..))
        .for_each_concurrent(SENDING, |(planned, number)| async move {
            tokio::time::sleep_until(begun + every * number).await;
            submitter.send(planned).await;
        })
        .await;
}

/// Waits until every accepted run has come to its report, or none has for so long.
async fn all_reported(submitter: &Submitter, sink: &Sink, patience: Duration) {
    let mut last = (Instant::now(), 0);
    loop {
        let reports = sink.effects_at("/report");
        let reported: std::collections::BTreeSet<&str> = reports
            .values()
            .filter(|effect| effect.executions > 0)
            .filter_map(evidence::run_of)
            .collect();
        let accepted = submitter.accepted();
        if accepted
            .iter()
            .all(|event| reported.contains(event.run.as_str()))
        {
            return;
        }
        if reported.len() > last.1 {
            last = (Instant::now(), reported.len());
        }
        if last.0.elapsed() > patience {
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}
