//! The load on a fleet, and what is heard of it.

use std::time::Duration;

use anyhow::{Context as _, bail};
use async_nats::{Message, Subscriber};
use flotilla_common::{
    entry::RESERVED_END,
    event::Event,
    ids::{EventType, RunId},
    names::subject,
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use tokio::time::timeout;

use super::{BenchFleet, EVENT};
use crate::progress::Progress;

/// Longest pause between two decisions that are waited for before the bench gives up.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// Events being published at once.
const PUBLISHING: usize = 256;

/// Runs to be started, one by each event.
#[derive(Debug, Clone, Copy)]
pub(in crate::bench) struct Runs<'a> {
    /// The events' type.
    pub(in crate::bench) event: &'a str,
    /// Their source.
    pub(in crate::bench) source: &'a str,
    /// How many.
    pub(in crate::bench) count: usize,
}

impl BenchFleet {
    /// One run, so that every process knows its way, and which limits there are: nothing that is measured is the first of its kind.
    pub(in crate::bench) async fn warm_up(&self) -> anyhow::Result<()> {
        let one = Runs {
            event: EVENT,
            source: "warm-up",
            count: 1,
        };
        self.starts(one, RESERVED_END).await
    }

    /// Publishes so many events, each of which starts a run, and waits for all runs to end; `each` is called now and then.
    pub(in crate::bench) async fn load(
        &self,
        runs: usize,
        mut each: impl FnMut(),
    ) -> anyhow::Result<()> {
        let runs = Runs {
            event: EVENT,
            source: "bench",
            count: runs,
        };
        let ticking = async {
            loop {
                each();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            done = self.starts(runs, RESERVED_END) => done,
            () = ticking => Ok(()),
        }
    }

    /// Starts runs, and waits until this was decided as often.
    pub(in crate::bench) async fn starts(
        &self,
        runs: Runs<'_>,
        decision: &str,
    ) -> anyhow::Result<()> {
        let mut heard = self.decided(decision).await?;
        let hearing = self.hear(&mut heard, runs.count);
        let (published, heard) = tokio::join!(self.publish(runs), hearing);
        published.and(heard)
    }

    /// Hears from now on of what is decided under this name, in all runs.
    pub(in crate::bench) async fn decided(&self, decision: &str) -> anyhow::Result<Subscriber> {
        let client = &self.journal.bus().client;
        let subject = subject::decided(&decision.parse()?);
        let heard = client.subscribe(subject.clone()).await;
        let heard = heard.with_context(|| format!("cannot watch {subject}"))?;
        client.flush().await?;
        Ok(heard)
    }

    /// Waits until so many decisions were heard of.
    pub(in crate::bench) async fn hear(
        &self,
        heard: &mut Subscriber,
        count: usize,
    ) -> anyhow::Result<()> {
        let progress = Progress::of(count as u64, "runs", self.output);
        for so_far in 0..count {
            match timeout(SILENCE_MAX, heard.next()).await {
                Ok(Some(_)) => progress.more(1),
                Ok(None) => bail!("the connection to NATS closed"),
                Err(_) => bail!(
                    "{so_far} of {count} runs came to what they should, then none for {SILENCE_MAX:?}; see {}",
                    self.folder.display()
                ),
            }
        }
        Ok(())
    }

    async fn publish(&self, runs: Runs<'_>) -> anyhow::Result<()> {
        let kind: EventType = runs.event.parse()?;
        let (journal, kind) = (&self.journal, &kind);
        futures_util::stream::iter(0..runs.count)
            .map(Ok)
            .try_for_each_concurrent(PUBLISHING, |index| async move {
                let (source, data) = (runs.source.into(), json!({"n": index}));
                let event = Event::new(kind.clone(), source, index.to_string(), data);
                journal.publish_event(&event, None).await?;
                anyhow::Ok(())
            })
            .await
    }
}

/// The run that something was heard of.
pub(in crate::bench) fn run_of(heard: &Message) -> Option<RunId> {
    heard.subject.split('.').nth(1)?.parse().ok()
}
