//! One side of the comparison: a fleet of its own, which gets the recorded events one after the other.

use std::time::Duration;

use anyhow::{Context as _, bail};
use async_nats::Subscriber;
use flotilla_common::{
    claude::Models,
    entry::{Body, Decision, Entry, RESERVED_END},
    ids::RunId,
    units::Span,
};
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{
    super::fleet::{BenchFleet, run_of},
    bill::Bill,
    definitions,
    recording::Recording,
    replay::Replay,
};
use crate::settings::Settings;

/// Longest time for one run.
const RUN_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// One model for everything, and no caching.
    Naive,
    /// As defined.
    Ours,
}

impl Side {
    /// Name of its folder.
    fn name(self) -> &'static str {
        match self {
            Self::Naive => "cost-naive",
            Self::Ours => "cost-ours",
        }
    }
}

/// What a side did, and what it cost.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) bill: Bill,
    /// In the order of the events.
    pub(super) runs: Vec<Trace>,
}

/// How a run went.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trace {
    pub(super) workflow: String,
    /// What was decided, step by step, in order; the last one is the run's end.
    pub(super) decided: Vec<String>,
}

/// What both sides play.
#[derive(Debug, Clone, Copy)]
pub(super) struct Set<'a> {
    pub(super) recordings: &'a [Recording],
    pub(super) replay: &'a Replay,
    pub(super) models: &'a Models,
    /// Whether every run finds an empty prompt cache. If not, what one leaves there is read by the next, as it is where a workflow's
    /// events are less than five minutes apart.
    pub(super) apart: bool,
}

/// Plays all recordings on a fleet of this side, one after the other: that way both sides see the same, and so does anybody who
/// measures again.
pub(super) async fn play(settings: &Settings, side: Side, set: Set<'_>) -> anyhow::Result<Done> {
    let (files, cache) = match side {
        Side::Naive => (definitions::naive(), "false"),
        Side::Ours => (definitions::defined(), "true"),
    };
    let mut fleet =
        BenchFleet::start_with(settings, side.name(), &files, Span(Duration::ZERO)).await?;
    let played = async {
        if side == Side::Naive {
            definitions::ensure_naive(&fleet.workflows(), set.models)?;
        }
        fleet.set("FLOTILLA_CLAUDE_CACHE", cache.into());
        fleet.role("planner", "planner").await?;
        for (name, value) in set.replay.environment()? {
            fleet.set(name, value);
        }
        fleet.role("executor", "executor").await?;
        let runs = play_all(&fleet, set).await?;
        let ledger = fleet.calls().await?;
        let bill = Bill::of(&serde_json::from_value::<Vec<_>>(ledger)?, set.models)?;
        anyhow::Ok(Done { bill, runs })
    };
    let done = played.await;
    fleet.stop().await;
    done
}

async fn play_all(fleet: &BenchFleet, set: Set<'_>) -> anyhow::Result<Vec<Trace>> {
    let Set {
        recordings, replay, ..
    } = set;
    let mut ends = fleet.decided(RESERVED_END).await?;
    let mut runs = Vec::with_capacity(recordings.len());
    for (number, recording) in recordings.iter().enumerate() {
        let played = async {
            if set.apart {
                fleet.forget_cache().await?;
            }
            replay.play(recording)?;
            let run = submit(fleet, recording).await?;
            wait_end(&mut ends, &run).await?;
            let trace = trace(fleet, &run).await?;
            replay
                .ensure_used_up()
                .with_context(|| format!("{} decided {:?}", trace.workflow, trace.decided))?;
            anyhow::Ok(trace)
        };
        let trace = played.await;
        runs.push(trace.with_context(|| format!("recording {number}"))?);
    }
    Ok(runs)
}

/// Sends the event; gives the one run that it starts.
async fn submit(fleet: &BenchFleet, recording: &Recording) -> anyhow::Result<RunId> {
    let answer = fleet.post(recording.path, &recording.body).await?;
    let started = answer
        .pointer("/runs/0")
        .or(answer.pointer("/events/0/runs/0"));
    let run = started.and_then(Value::as_str);
    let run = run.with_context(|| format!("the event started no run: {answer}"))?;
    Ok(run.parse()?)
}

async fn wait_end(ends: &mut Subscriber, run: &RunId) -> anyhow::Result<()> {
    let waiting = async {
        while let Some(end) = ends.next().await {
            if run_of(&end).as_ref() == Some(run) {
                return Ok(());
            }
        }
        bail!("the connection to NATS closed")
    };
    match timeout(RUN_WITHIN, waiting).await {
        Ok(ended) => ended,
        Err(_) => bail!("run {run} did not end within {RUN_WITHIN:?}"),
    }
}

/// The journal of a run whose end was heard of: nats-server may tell of it a moment before it has stored it.
async fn ended(fleet: &BenchFleet, run: &RunId) -> anyhow::Result<Vec<Entry>> {
    let reading = async {
        loop {
            let entries = fleet.journal.read(run).await?;
            if entries
                .iter()
                .any(|entry| entry.address.name.as_str() == RESERVED_END)
            {
                return anyhow::Ok(entries);
            }
            sleep(LOOK_EVERY).await;
        }
    };
    let read = timeout(RUN_WITHIN, reading).await;
    read.with_context(|| format!("the end of run {run} is not on its journal"))?
}

async fn trace(fleet: &BenchFleet, run: &RunId) -> anyhow::Result<Trace> {
    let mut workflow = None;
    let mut decided = Vec::new();
    for entry in ended(fleet, run).await? {
        match entry.body {
            Body::Started(started) => workflow = Some(started.workflow.name.to_string()),
            Body::Decided(one) => decided.push(format!("{} {}", one.step, shown(&one.decision)?)),
            Body::Resulted(_) | Body::Signalled(_) | Body::Fired(_) => {}
        }
    }
    Ok(Trace {
        workflow: workflow.with_context(|| format!("run {run} has no beginning"))?,
        decided,
    })
}

fn shown(decision: &Decision) -> anyhow::Result<String> {
    if let Decision::Park { why, .. } = decision {
        bail!("a run had to wait: {why}");
    }
    Ok(serde_json::to_string(decision)?)
}
