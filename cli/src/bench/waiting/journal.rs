//! What the journal says of runs that waited: each was asked once, answered once, and ended once.

use std::collections::HashMap;

use anyhow::{Context as _, bail, ensure};
use async_nats::jetstream::stream::Stream;
use flotilla_common::{
    entry::{Address, Body, Decision, Entry, Kind, Outcome},
    ids::RunId,
    io::journal::Journal,
    names::{stream, subject},
    run::SIGNAL_APPROVE,
};
use futures_util::StreamExt as _;

/// How often each thing happened to a run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    asked: u32,
    allowed: u32,
    completed: u32,
    others: u32,
}

const AS_IT_SHOULD: Counted = Counted {
    asked: 1,
    allowed: 1,
    completed: 1,
    others: 0,
};

/// Whether each run of a workflow was asked, allowed and completed exactly once, and nothing else became of it.
///
/// # Errors
/// The first that was not, or that these are not so many runs.
pub(super) async fn ensure_each_once(
    journal: &Journal,
    workflow: &str,
    expected: usize,
) -> anyhow::Result<()> {
    let started = format!("runs.*.{}.{workflow}", Kind::Started);
    let mut runs: HashMap<RunId, Counted> = HashMap::with_capacity(expected);
    each(journal, &started, |entry| {
        runs.insert(entry.address.run, Counted::default());
    })
    .await?;
    for kind in [Kind::Decided, Kind::Signalled] {
        each(journal, &subject::every(kind), |entry| {
            if let Some(counted) = runs.get_mut(&entry.address.run) {
                counted.take(&entry);
            }
        })
        .await?;
    }
    ensure!(
        runs.len() == expected,
        "{} runs were started by {expected} events",
        runs.len()
    );
    if let Some((run, counted)) = runs.iter().find(|(_, counted)| **counted != AS_IT_SHOULD) {
        bail!("{run} did not go as it should: {counted:?}");
    }
    let dead = stream(journal, stream::DEAD).await?.get_info().await?;
    let dead = dead.state.messages;
    ensure!(dead == 0, "{dead} messages are on the stream DEAD");
    Ok(())
}

impl Counted {
    fn take(&mut self, entry: &Entry) {
        let counter = match &entry.body {
            Body::Decided(decided) if asks(&decided.decision) => &mut self.asked,
            Body::Decided(decided) if completes(&decided.decision) => &mut self.completed,
            Body::Signalled(_) if entry.address.name.as_str() == SIGNAL_APPROVE => {
                &mut self.allowed
            }
            Body::Started(_)
            | Body::Decided(_)
            | Body::Resulted(_)
            | Body::Signalled(_)
            | Body::Fired(_) => &mut self.others,
        };
        *counter += 1;
    }
}

fn asks(decision: &Decision) -> bool {
    matches!(decision, Decision::Approve(_))
}

fn completes(decision: &Decision) -> bool {
    matches!(decision, Decision::End { outcome, .. } if *outcome == Outcome::Completed)
}

async fn each(
    journal: &Journal,
    subjects: &str,
    mut take: impl FnMut(Entry),
) -> anyhow::Result<()> {
    let read = journal.each_raw(subjects, |raw| {
        let address = Address::parse(&raw.subject)?.context("a schedule among entries")?;
        take(Entry::decode(raw.seq, address, &raw.payload)?);
        anyhow::Ok(())
    });
    read.await
}

/// What the stream RUNS holds: its bytes, and the schedules that stand.
pub(super) async fn held(journal: &Journal) -> anyhow::Result<(u64, usize)> {
    let runs = stream(journal, stream::RUNS).await?;
    let bytes = runs.get_info().await?.state.bytes;
    let mut timers = runs.info_with_subjects("runs.*.timer.*").await?;
    let mut schedules = 0;
    while let Some(timer) = timers.next().await {
        timer?;
        schedules += 1;
    }
    Ok((bytes, schedules))
}

/// What planners have not settled: waiting for one, and in the hands of one.
pub(super) async fn unsettled(journal: &Journal) -> anyhow::Result<(u64, usize)> {
    let runs = stream(journal, stream::RUNS).await?;
    let info = runs.consumer_info(flotilla_common::names::consumer::PLANNER);
    let info = info.await?;
    Ok((info.num_pending, info.num_ack_pending))
}

async fn stream(journal: &Journal, name: &str) -> anyhow::Result<Stream> {
    let jetstream = &journal.bus().jetstream;
    Ok(jetstream.get_stream(name).await?)
}
