//! Thousands of effects while executors are killed, or replaced one after the other. What the sink was asked for is held against
//! what each run's ledger says.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use flotilla_common::{
    entry::RESERVED_END,
    run::{EffectLine, Known},
    units::Span,
};
use flotilla_sim::sink::{Effect, Sink};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::timeout;

use super::{
    Effects,
    fleet::{BenchFleet, EVENT},
};
use crate::settings::Settings;

/// Items of each run; for each there is an effect of `note`, which is `idempotent`, and one of `send`, which is `once`.
const ITEMS: usize = 10;
const EXECUTORS: [&str; 3] = ["executor-1", "executor-2", "executor-3"];
/// What a tool's bulkhead lets one executor have in flight.
const AT_ONCE: usize = 16;
/// How long each request takes: a kill falls into the middle of some.
const TAKES: Duration = Duration::from_millis(20);
/// Requests between one kill, or restart, and the next.
const EVERY: usize = 100;
/// How soon a dead executor is replaced.
const ACK_WAIT: &str = "5s";
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Longest pause between two ends before the bench gives up.
const SILENCE_MAX: Duration = Duration::from_secs(120);

fn definitions(sink: &str) -> String {
    let tool = |name: &str, effect: &str| {
        format!(
            "- {{tool: {name}, version: 1, description: Is counted., input: {{type: object}}, effect: {effect}, concurrency: {AT_ONCE}, \
             http: {{method: POST, url: '{sink}/{name}', body: '{{{{ input }}}}'}}}}\n"
        )
    };
    format!(
        "workflow: bench\nversion: 1\non: {{event: {EVENT}}}\nlimits: {{steps: 1000}}\nsteps:\n\
         - id: all\n  for_each:\n    in: event.data.items\n    width: {ITEMS}\n    steps:\n\
         \x20   - {{id: note, tool: note, with: {{n: '{{{{ item }}}}'}}}}\n\
         \x20   - {{id: send, tool: send, with: {{n: '{{{{ item }}}}'}}, on_error: continue}}\n\
         \n---\ntools:\n{}{}",
        tool("note", "idempotent"),
        tool("send", "once")
    )
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Figures {
    effects: usize,
    seconds: f64,
    kills: usize,
    restarts: usize,
    /// Of `idempotent` effects: how often the sink was asked for one again.
    idempotent_repeated: usize,
    /// Of `once` effects: those of which the ledger says that they were done.
    once_done: usize,
    /// …and that nobody knows.
    once_unknown: usize,
    /// Of the unknown ones: those that the sink was at when their executor died.
    once_cut: usize,
    /// What must not be: an effect that was not done, a `once` asked for twice, one that is said to be done and whose executor
    /// died before it heard so, one that is unknown where nothing was killed.
    wrong: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Ledger {
    effects: Vec<EffectLine>,
}

/// `flotilla bench effects`.
pub(super) async fn run(settings: &Settings, options: &Effects) -> anyhow::Result<()> {
    ensure!(options.effects > 0, "--effects must be at least 1");
    let sink = Sink::start().await?;
    sink.delay(TAKES);
    let definitions = definitions(&sink.url(""));
    let span = Span(Duration::ZERO);
    let mut fleet = BenchFleet::start(settings, "effects", &definitions, span).await?;
    fleet.output = options.output;
    fleet.set("FLOTILLA_ACK_WAIT", ACK_WAIT.into());
    fleet.role("planner", "planner").await?;
    for name in EXECUTORS {
        fleet.role("executor", name).await?;
    }
    let figures = Box::pin(measure(&mut fleet, &sink, options)).await?;
    fleet.stop().await;
    if options.output.json() {
        println!("{}", serde_json::to_string(&figures)?);
    } else {
        figures.print();
    }
    ensure!(
        figures.wrong.is_empty(),
        "the sink's book and the ledgers do not agree"
    );
    Ok(())
}

async fn measure(
    fleet: &mut BenchFleet,
    sink: &Sink,
    options: &Effects,
) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let mut heard = fleet.decided(RESERVED_END).await?;
    let begun = Instant::now();
    let items: Vec<usize> = (0..ITEMS).collect();
    let mut runs = Vec::new();
    for number in 0..options.effects.div_ceil(2 * ITEMS) {
        let event = json!({"id": number.to_string(), "source": "bench", "type": EVENT, "data": {"items": items}});
        let answer = fleet.post("/v1/events", &event).await?;
        let run = answer["runs"][0].as_str();
        runs.push(run.context("no run was started")?.to_owned());
    }
    let (mut ended, mut last) = (0, Instant::now());
    let mut next = EVERY;
    while ended < runs.len() {
        match timeout(LOOK_EVERY, heard.next()).await {
            Ok(Some(_)) => (ended, last) = (ended + 1, Instant::now()),
            Ok(None) => bail!("the connection to NATS closed"),
            Err(_) if last.elapsed() > SILENCE_MAX => {
                bail!(
                    "{ended} of {} runs ended, then none for {SILENCE_MAX:?}",
                    runs.len()
                )
            }
            Err(_) => {}
        }
        // The last ones end undisturbed: what is measured ends.
        if sink.requests() >= next && next + EVERY < options.effects {
            next += EVERY;
            let turn = figures.kills + figures.restarts;
            let chosen = if options.kills {
                fastrand::usize(..EXECUTORS.len())
            } else {
                turn % EXECUTORS.len()
            };
            let name = EXECUTORS.get(chosen).copied().unwrap_or_default();
            fleet.replace(name, options.kills).await?;
            if options.kills {
                figures.kills += 1;
            } else {
                figures.restarts += 1;
            }
        }
    }
    figures.seconds = begun.elapsed().as_secs_f64();
    let (book, cut) = (sink.effects(), sink.cut());
    for run in runs {
        let url = format!("{}/v1/runs/{run}/effects", fleet.gateway_url);
        let ledger: Ledger = reqwest::get(url).await?.error_for_status()?.json().await?;
        for line in ledger.effects {
            figures.count(&line, &book, &cut);
        }
    }
    let most = figures.kills * AT_ONCE;
    if figures.once_unknown > most {
        let unknown = figures.once_unknown;
        let told = format!("{unknown} unknown, and no more than {most} were in flight at kills");
        figures.wrong.push(told);
    }
    Ok(figures)
}

impl Figures {
    fn count(
        &mut self,
        line: &EffectLine,
        book: &BTreeMap<String, Effect>,
        cut: &BTreeSet<String>,
    ) {
        self.effects += 1;
        let asked = book.get(&line.key);
        let (requests, done) = asked.map_or((0, 0), |asked| (asked.requests, asked.executions));
        let is_cut = cut.contains(&line.key);
        let is_once = line.tool.as_str() == "send";
        let is_right = match (&line.outcome, is_once) {
            (Known::Ok, false) => {
                self.idempotent_repeated += usize::from(requests > 1);
                done == 1
            }
            (Known::Ok, true) => {
                self.once_done += 1;
                requests == 1 && !is_cut
            }
            (Known::Unknown { .. }, true) => {
                self.once_unknown += 1;
                self.once_cut += usize::from(is_cut);
                requests <= 1
            }
            (Known::Unknown { .. }, false) | (Known::Pending | Known::Failed { .. }, _) => false,
        };
        if !is_right {
            let told = format!(
                "{}: asked for {requests} times, done {done} times, and {:?}",
                line.key, line.outcome
            );
            self.wrong.push(told);
        }
    }

    fn print(&self) {
        println!(
            "{} effects in {:.1} s; {} executors killed (-9), {} restarted",
            self.effects, self.seconds, self.kills, self.restarts
        );
        println!(
            "idempotent: each was done once, {} were asked for again under the same key",
            self.idempotent_repeated
        );
        println!(
            "once: {} done, each asked for once; {} unknown, {} of them in the middle of the request",
            self.once_done, self.once_unknown, self.once_cut
        );
        for wrong in &self.wrong {
            println!("WRONG {wrong}");
        }
    }
}
