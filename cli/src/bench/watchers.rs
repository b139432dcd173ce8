//! People who watch: what runs keep of their throughput beside them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use flotilla_common::{
    entry::{Body, RESERVED_APPROVAL, RESERVED_END, Signalled},
    ids::{Name, RunId},
    io::{journal::Journal, listener::connections_max},
    run::SIGNAL_FEEDBACK,
    units::Span,
};
use jiff::Timestamp;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::json;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    Watchers,
    fleet::{BenchFleet, Runs},
};
use crate::settings::Settings;

/// Runs that wait for a person, and are watched meanwhile.
const WATCHED: usize = 20;
/// One in so many watches the list of all runs instead.
const OF_LIST: usize = 100;
/// How often each of the watched runs has one more entry.
const TICK: Duration = Duration::from_secs(1);
/// How long all watchers may take until each has heard something.
const WATCHING_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const SOURCE: &str = "watched";

const WATCHED_WORKFLOW: &str = "watched";
const DEFINITIONS: &str = "workflow: watched\nversion: 1\non: {event: bench.wait}\nsteps:\n\
- {id: ask, approval: {show: 'May it go on?', timeout: 28d, on_timeout: escalate}}\n\
\n---\n\
workflow: bench\nversion: 1\non: {event: bench.go}\nmodel: haiku\nsteps:\n\
- {id: first, claude: {prompt: 'Is {{ event.data.n }} a number?', output: {type: object, properties: {ok: {type: boolean}}, required: [ok]}}}\n\
- {id: second, claude: {prompt: 'And now?', output: {type: object, properties: {ok: {type: boolean}}, required: [ok]}}}\n";

/// `flotilla bench watchers`.
pub(super) async fn run(settings: &Settings, options: &Watchers) -> anyhow::Result<()> {
    let most = connections_max();
    ensure!(
        options.watchers < most,
        "{} watchers need as many open files, and this process may have {most}; see `ulimit -n`",
        options.watchers
    );
    let latency = Span(Duration::ZERO);
    let mut fleet = BenchFleet::start(settings, "watchers", DEFINITIONS, latency).await?;
    fleet.output = options.output;
    fleet.role("planner", "planner").await?;
    fleet.warm_up().await?;
    let waiting = Runs {
        event: "bench.wait",
        source: SOURCE,
        count: WATCHED,
    };
    fleet.starts(waiting, RESERVED_APPROVAL).await?;
    let workflow: Name = WATCHED_WORKFLOW.parse()?;
    let id = |n: usize| RunId::derive(&workflow, SOURCE, &n.to_string());
    let watched: Vec<RunId> = (0..WATCHED).map(id).collect();
    // They go on in both measurements: what differs is who watches.
    let ticking = tick(fleet.journal.clone(), watched.clone());
    let alone = runs_per_second(&fleet, options.runs, "alone").await?;
    let crowd = Crowd::gather(&fleet, options.watchers, &watched).await?;
    let before = crowd.frames();
    let beside = runs_per_second(&fleet, options.runs, "beside").await?;
    let heard = crowd.frames() - before;
    let lost = crowd.lost();
    ticking.abort();
    drop(crowd);
    fleet.stop().await;
    ensure!(lost == 0, "{lost} watchers were cut off");
    let ratio = beside / alone;
    let watchers = options.watchers;
    if options.output.json() {
        println!(
            "{}",
            json!({"watchers": watchers, "runs": options.runs, "alone_per_second": alone, "beside_per_second": beside, "ratio": ratio, "chunks_heard": heard})
        );
        return Ok(());
    }
    println!(
        "{} runs of two Claude steps: {alone:.1} runs/s",
        options.runs
    );
    println!("the same beside {watchers} watchers, who heard {heard} times: {beside:.1} runs/s");
    println!("ratio {ratio:.3}");
    Ok(())
}

async fn runs_per_second(
    fleet: &BenchFleet,
    count: usize,
    source: &'static str,
) -> anyhow::Result<f64> {
    let event = super::fleet::EVENT;
    let runs = Runs {
        event,
        source,
        count,
    };
    let begun = Instant::now();
    fleet.starts(runs, RESERVED_END).await?;
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// Something happens to every watched run again and again.
fn tick(journal: Journal, runs: Vec<RunId>) -> AbortHandle {
    let ticking = tokio::spawn(async move {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let signal: Name = SIGNAL_FEEDBACK.parse()?;
        for number in 0_u64.. {
            ticks.tick().await;
            for run in &runs {
                let said = Signalled {
                    id: format!("tick-{number}"),
                    text: Some("It goes on.".into()),
                    ..Signalled::default()
                };
                let id = format!("{run}-{number}");
                let payload = Body::Signalled(said).encode(Timestamp::now())?;
                journal.signal(run, &signal, &id, payload).await?;
            }
        }
        anyhow::Ok(())
    });
    ticking.abort_handle()
}

/// All who watch. They go when it is dropped.
struct Crowd {
    frames: Arc<AtomicUsize>,
    lost: Arc<AtomicUsize>,
    _watching: JoinSet<()>,
}

/// What a watcher is answered. Where so many ask at once that some are sent away for now, those come again; `None`:
/// refused.
async fn admitted(request: RequestBuilder) -> Option<Response> {
    loop {
        let answer = request.try_clone()?.send().await.ok()?;
        if answer.status() != StatusCode::SERVICE_UNAVAILABLE {
            return answer.status().is_success().then_some(answer);
        }
        sleep(LOOK_EVERY).await;
    }
}

impl Crowd {
    /// Gathers so many, and waits until each has heard something.
    async fn gather(
        fleet: &BenchFleet,
        watchers: usize,
        watched: &[RunId],
    ) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let (frames, lost) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let there = Arc::<AtomicUsize>::default();
        let mut watching = JoinSet::new();
        for n in 0..watchers {
            let run = watched.get(n % watched.len()).context("no run to watch")?;
            let url = match n % OF_LIST {
                0 => format!("{}/v1/live", fleet.gateway_url),
                _ => format!("{}/v1/runs/{run}/live", fleet.gateway_url),
            };
            let request = http.get(url);
            let (frames, lost, there) =
                (Arc::clone(&frames), Arc::clone(&lost), Arc::clone(&there));
            watching.spawn(async move {
                if let Some(mut answer) = admitted(request).await {
                    let mut is_first = true;
                    while let Ok(Some(_)) = answer.chunk().await {
                        frames.fetch_add(1, Ordering::Relaxed);
                        there.fetch_add(usize::from(is_first), Ordering::Relaxed);
                        is_first = false;
                    }
                }
                lost.fetch_add(1, Ordering::Relaxed);
            });
        }
        let until = Instant::now() + WATCHING_WITHIN;
        while there.load(Ordering::Relaxed) < watchers {
            let (there, lost) = (there.load(Ordering::Relaxed), lost.load(Ordering::Relaxed));
            if lost > 0 || Instant::now() > until {
                bail!(
                    "of {watchers} watchers {there} are there, and {lost} were refused or cut off"
                );
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(Self {
            frames,
            lost,
            _watching: watching,
        })
    }

    fn frames(&self) -> usize {
        self.frames.load(Ordering::Relaxed)
    }

    fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }
}
