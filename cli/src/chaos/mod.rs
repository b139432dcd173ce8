//! `flotilla chaos`: a fleet of its own, load, faults by a seed, and a scorecard. What counts is what ledgers outside the fleet say:
//! the simulated Claude's, the effect sink's, the lists of who sent events and who answered questions, and the raw journal.

mod announce;
mod attach;
mod card;
mod checks;
mod claude;
mod clocks;
mod cluster;
mod definitions;
mod disk;
mod evidence;
mod fleet;
mod html;
mod inject;
mod leftovers;
mod links;
mod load;
mod options;
mod people;
mod permitted;
mod poison;
mod ports;
mod scenes;
mod schedule;

use std::{fs, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use flotilla_sim::sink::Sink;
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

pub(crate) use options::Chaos;
use options::Options;

use self::{
    card::Card,
    definitions::KIT,
    evidence::Evidence,
    fleet::Fleet,
    inject::{Injector, now_ms},
    load::{Planned, Submitter},
    people::People,
    scenes::Stage,
    schedule::Fault,
};
use crate::{
    client::Client, output::Output, progress::Progress, roles, settings::Settings, style::dim,
};

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Events on their way at once.
const SENDING: usize = 64;

/// `flotilla chaos`.
pub(crate) async fn run(settings: Settings, args: Chaos) -> anyhow::Result<ExitCode> {
    let mut options = Options::of(args, settings.redis_url.is_some())?;
    if let Some(attach) = options.attach.take() {
        return Box::pin(attach::run(&settings, &attach, &options)).await;
    }
    for left in leftovers::clean(&fleet::place(&settings)) {
        eprintln!("removed what a kit that was killed had left: {left}");
    }
    if let Err(why) = permitted::profile(&options) {
        return permitted::skipped(&options, why);
    }
    let (folder, _owner) = fleet::folder(&settings)?;
    let (disk, clocks) = match permitted::faults(&mut options, &folder) {
        Ok(both) => both,
        Err(why) => {
            // Nothing has been started that wrote into it. Where it stays, the next kit removes it.
            drop(fs::remove_dir_all(&folder));
            return permitted::skipped(&options, why);
        }
    };
    let schedule = schedule::of(options.seed, &options.kinds, options.span);
    if !options.output.json() {
        announce::all(&options, &schedule);
    }
    let begun_ms = now_ms();
    let stop = roles::stop_on_signals()?;
    let fleet = Box::pin(Fleet::start(folder, disk, clocks, &options)).await?;
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
    card.told(options.output.json())
}

/// Load with faults, then the scenes, then peace; and what there is to say of all that.
async fn play(
    fleet: &Arc<Fleet>,
    options: &Options,
    schedule: &[Fault],
) -> anyhow::Result<(Evidence, Vec<String>)> {
    let url = fleet.gateway_url()?;
    let http = Client::connections(None, Vec::new())?;
    let session = options.seed.to_string();
    let submitter = Arc::new(Submitter::new(&url, http, KIT, session)?);
    let people = Arc::new(People::new(Client::new(&url, None)?, KIT));
    let working = {
        let people = Arc::clone(&people);
        tokio::spawn(async move { people.work().await }).abort_handle()
    };
    let injector = Injector::of(fleet, Arc::clone(&submitter))?;
    let planned = load::plan(options.seed, 0, options.runs);
    let begun = Instant::now();
    let faults = all_faults(&injector, begun, 0, schedule);
    let sending = send(&submitter, begun, &planned, options.span, options.output);
    tokio::join!(faults, sending);
    fleet.heal().await?;
    all_reported(&submitter, &fleet.sink, options).await;

    let mut problems = Vec::new();
    let fleet = Arc::clone(fleet);
    let stage = Stage { injector, fleet };
    for scene in &options.scenes {
        if !options.output.json() {
            println!("{}", dim(format!("  scene: {}", scene.name())));
        }
        if let Err(problem) = Box::pin(scene.play(&stage)).await {
            problems.push(format!("{} was not set up: {problem:#}", scene.name()));
        }
        stage.injector.outside.claude.faults(json!([])).await?;
        stage.fleet.heal().await?;
    }
    all_reported(&submitter, &stage.fleet.sink, options).await;
    working.abort();
    problems.extend(submitter.wrong());
    let evidence = Evidence::gather(&stage.injector, &people).await?;
    Ok((evidence, problems))
}

/// Makes all faults, each at its time; their numbers begin at `first`.
async fn all_faults(injector: &Injector, begun: Instant, first: usize, schedule: &[Fault]) {
    let mut making = JoinSet::new();
    for (number, fault) in (first..).zip(schedule.iter().cloned()) {
        let injector = injector.clone();
        making.spawn(async move { injector.make(begun, number, &fault).await });
    }
    while making.join_next().await.is_some() {}
}

/// Sends the load, evenly over its span.
async fn send(
    submitter: &Submitter,
    begun: Instant,
    planned: &[Planned],
    span: Duration,
    output: Output,
) {
    let count = u32::try_from(planned.len()).unwrap_or(u32::MAX).max(1);
    let every = span / count;
    let progress = Progress::of(u64::from(count), "runs sent", output);
    let progress = &progress;
    futures_util::stream::iter(planned.iter().zip(0u32..))
        .for_each_concurrent(SENDING, |(planned, number)| async move {
            tokio::time::sleep_until(begun + every * number).await;
            submitter.send(planned).await;
            progress.more(1);
        })
        .await;
}

/// Waits until every accepted run has come to its report, or none has for so long.
async fn all_reported(submitter: &Submitter, sink: &Sink, options: &Options) {
    let runs = submitter.accepted().len();
    let progress = Progress::of(runs as u64, "runs reported", options.output);
    let mut last = (Instant::now(), 0);
    loop {
        let reports = sink.effects_at("/report");
        let reported: std::collections::BTreeSet<&str> = reports
            .values()
            .filter(|effect| effect.executions > 0)
            .filter_map(evidence::run_of)
            .collect();
        progress.at(reported.len() as u64);
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
        if last.0.elapsed() > options.patience {
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}
