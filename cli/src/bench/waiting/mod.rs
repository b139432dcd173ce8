//! Runs that wait for a person: what they cost while they wait, and that nothing loses them: not a crash of every process at once,
//! nor a Redis that is emptied. In the end all are allowed, and the journal must say of each that it went on exactly once.

mod figures;
mod journal;
mod people;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use flotilla_common::{
    entry::{RESERVED_APPROVAL, RESERVED_END},
    io::telemetry::metric,
    units::Span,
};
use futures_util::StreamExt as _;
use redis::AsyncConnectionConfig;
use tokio::time::{sleep, timeout};

use self::{
    figures::{Figures, Idle},
    people::Question,
};
use super::{
    Waiting,
    fleet::{BenchFleet, Runs, run_of},
    limits::DEFINITION,
    traffic::Tenant,
    usage::Usage,
};
use crate::{client::Client, settings::Settings};

const WORKFLOW: &str = "waiting";
const EVENT: &str = "bench.wait";
const WAITING: &str = "workflow: waiting\nversion: 1\non: {event: bench.wait}\nsteps:\n\
- {id: ask, approval: {show: 'May number {{ event.data.n }} go on?', timeout: 28d, on_timeout: escalate}}\n\
- {id: done, end: {outcome: completed, reason: a person let it go on}}\n";
const PLANNER: &str = "planner";

/// How long nothing is done but wait, while it is measured what that costs.
const IDLE: Duration = Duration::from_secs(10);
/// Until planners have settled what they hold once the last run waits; also the longest time for one run after that.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The fresh runs whose time is taken: so many a second, for so long.
const FRESH: (u64, Duration) = (50, Duration::from_secs(10));

/// `flotilla bench waiting`.
pub(super) async fn run(settings: &Settings, options: &Waiting) -> anyhow::Result<()> {
    ensure!(options.runs > 0, "--runs must be at least 1");
    let definitions = format!("{DEFINITION}\n---\n{WAITING}");
    let span = Span(Duration::ZERO);
    let mut fleet = BenchFleet::start(settings, WORKFLOW, &definitions, span).await?;
    fleet.output = options.output;
    fleet.role(PLANNER, PLANNER).await?;
    let figures = Box::pin(measure(&mut fleet, options.runs)).await?;
    fleet.stop().await;
    if options.output.json() {
        println!("{}", serde_json::to_string(&figures)?);
    } else {
        figures.print();
    }
    Ok(())
}

async fn measure(fleet: &mut BenchFleet, runs: usize) -> anyhow::Result<Figures> {
    let client = Client::new(&fleet.gateway_url, None)?;
    let mut figures = Figures::of(runs);
    fleet.warm_up().await?;
    // Nobody's time counts before every process has done this for a while.
    fresh(fleet, "first").await?;
    figures.alone_p95_seconds = fresh(fleet, "alone").await?;
    let before = fleet.usages()?;

    let begun = Instant::now();
    let waiting = Runs {
        event: EVENT,
        source: "bench",
        count: runs,
    };
    fleet.starts(waiting, RESERVED_APPROVAL).await?;
    figures.wait_seconds = begun.elapsed().as_secs_f64();
    settled(fleet).await?;
    figures.idle = idle(fleet, &before).await?;
    figures.beside_p95_seconds = fresh(fleet, "beside").await?;
    figures.ratio = figures.beside_p95_seconds / figures.alone_p95_seconds;
    figures.listed_seconds = list(&client, runs).await?.0;

    let begun = fleet.crash().await.context("after everything was killed")?;
    figures.crash.ready_seconds = begun.elapsed().as_secs_f64();
    let first = people::first(&client).await?;
    answer(fleet, &client, &first).await?;
    figures.crash.answered_seconds = begun.elapsed().as_secs_f64();
    people::complete(&client).await?;
    figures.crash.complete_seconds = begun.elapsed().as_secs_f64();
    let left = runs - 1;
    let listed = list(&client, left).await;
    figures.crash.listed_seconds = listed.context("after everything was killed")?.0;

    let begun = Instant::now();
    empty(&fleet.redis_url).await?;
    people::complete(&client).await?;
    figures.emptied.complete_seconds = begun.elapsed().as_secs_f64();
    let listed = list(&client, left).await;
    let (seconds, questions) = listed.context("after Redis was emptied")?;
    figures.emptied.listed_seconds = seconds;

    allow(fleet, &client, &questions, &mut figures).await?;
    list(&client, 0).await?;
    journal::ensure_each_once(&fleet.journal, WORKFLOW, runs).await?;
    Ok(figures)
}

/// The 95th percentile of the time that fresh runs take, in seconds.
async fn fresh(fleet: &BenchFleet, name: &'static str) -> anyhow::Result<f64> {
    let tenant = Tenant::new(fleet, name).await?;
    let (per_second, span) = FRESH;
    tenant.sends(per_second, span).await?;
    tenant.ends().await
}

/// Waits until no planner has anything in its hands.
async fn settled(fleet: &BenchFleet) -> anyhow::Result<()> {
    let settling = async {
        while journal::unsettled(&fleet.journal).await? != (0, 0) {
            sleep(LOOK_EVERY).await;
        }
        anyhow::Ok(())
    };
    let settled = timeout(SETTLED_WITHIN, settling).await;
    settled.context("planners still hold something, although every run waits")?
}

/// What waiting costs, from a while of nothing else.
async fn idle(fleet: &mut BenchFleet, before: &[(&'static str, Usage)]) -> anyhow::Result<Idle> {
    let begun = fleet.usages()?;
    sleep(IDLE).await;
    let ended = fleet.usages()?;
    let in_work = fleet.metric(PLANNER, metric::IN_WORK).await?;
    ensure!(
        in_work == 0.0,
        "{in_work} messages are in work, although every run waits"
    );
    let (bytes, schedules) = journal::held(&fleet.journal).await?;
    let looks = [before, &begun, &ended];
    Ok(Idle::of(IDLE, looks, bytes, schedules))
}

/// All that waits, and how long it takes to page through it.
async fn list(client: &Client, expected: usize) -> anyhow::Result<(f64, Vec<Question>)> {
    let begun = Instant::now();
    let questions = people::all(client, expected).await?;
    Ok((begun.elapsed().as_secs_f64(), questions))
}

/// Allows one run, and waits until it has gone on to its end.
async fn answer(fleet: &BenchFleet, client: &Client, question: &Question) -> anyhow::Result<()> {
    let mut ends = fleet.decided(RESERVED_END).await?;
    people::allow(client, question).await?;
    let ending = async {
        while let Some(end) = ends.next().await {
            if run_of(&end).as_ref() == Some(&question.run) {
                return true;
            }
        }
        false
    };
    let ended = timeout(SETTLED_WITHIN, ending).await;
    ensure!(
        ended == Ok(true),
        "{} was allowed, and did not end within {SETTLED_WITHIN:?}",
        question.run
    );
    Ok(())
}

/// Allows all, and waits until all have ended.
async fn allow(
    fleet: &BenchFleet,
    client: &Client,
    questions: &[Question],
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let mut ends = fleet.decided(RESERVED_END).await?;
    let begun = Instant::now();
    let saying = async {
        people::allow_all(client, questions).await?;
        anyhow::Ok(begun.elapsed())
    };
    let ending = fleet.hear(&mut ends, questions.len());
    let (said, ()) = tokio::try_join!(saying, ending)?;
    figures.allowed_seconds = said.as_secs_f64();
    figures.ended_seconds = begun.elapsed().as_secs_f64();
    settled(fleet).await
}

/// Has Redis forget everything.
async fn empty(redis_url: &str) -> anyhow::Result<()> {
    let patient = AsyncConnectionConfig::new().set_response_timeout(Some(SETTLED_WITHIN));
    let redis = redis::Client::open(redis_url)?;
    let connected = redis.get_multiplexed_async_connection_with_config(&patient);
    redis::cmd("FLUSHALL")
        .query_async::<()>(&mut connected.await?)
        .await
        .context("Redis is not emptied")
}
