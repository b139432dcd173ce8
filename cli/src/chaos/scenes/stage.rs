//! What scenes are played on.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use flotilla_common::{
    ids::RunId,
    names::{consumer, stream},
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::super::{
    fleet::{ACK_WAIT, Fleet},
    inject::{Injector, now_ms},
    load::Workload,
    schedule::Kind,
};

/// The longest that anything in a scene takes to come about.
const WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// The runs of a scene: one would do.
pub(super) const RUNS: usize = 2;
/// A reply that was delivered is in its claim after this, where Redis is well.
pub(in crate::chaos) const SAVED_WITHIN: Duration = Duration::from_secs(2);
/// After this a message that nobody keeps alive was given to another worker.
pub(super) const GIVEN_AWAY: Duration = ACK_WAIT.saturating_mul(2);

/// A fleet at rest, and who breaks it.
#[derive(Debug)]
pub(in crate::chaos) struct Stage {
    pub(in crate::chaos) injector: Injector,
    pub(in crate::chaos) fleet: Arc<Fleet>,
}

/// What a consumer has out and has not given out, and how many ask it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Queue {
    pub(super) pending: u64,
    pub(super) in_hand: usize,
    pub(super) asking: usize,
}

impl Stage {
    /// Starts runs of their own.
    pub(super) async fn runs(
        &self,
        workload: Workload,
        scene: &str,
        count: usize,
    ) -> anyhow::Result<Vec<RunId>> {
        let mut runs = Vec::new();
        for number in 0..count {
            let id = format!("{scene}-{number}");
            let submitter = &self.injector.submitter;
            runs.push(submitter.submit(workload, &id, number).await?);
        }
        Ok(runs)
    }

    /// From now on Claude takes calls and does not answer.
    pub(super) async fn silence_claude(&self) -> anyhow::Result<()> {
        self.injector
            .outside
            .claude
            .faults(json!([{"kind": "hang"}]))
            .await
    }

    /// Claude answers what it was asked.
    pub(super) async fn let_claude_speak(&self) -> anyhow::Result<()> {
        self.injector.outside.claude.faults(json!([])).await
    }

    /// Waits until so many calls are in flight.
    pub(super) async fn calls_in_flight(&self, count: usize) -> anyhow::Result<()> {
        let claude = &self.injector.outside.claude;
        self.until("Claude is being asked", || async move {
            Ok(claude.in_flight().await? >= count as u64)
        })
        .await
    }

    /// Waits until these paths of the sink have so many requests more than before.
    pub(super) async fn requests(&self, path: &str, count: usize) -> anyhow::Result<()> {
        let sink = &self.injector.outside.sink;
        self.until(
            path,
            || async move { Ok(sink.effects_at(path).len() >= count) },
        )
        .await
    }

    /// How many effects this path has seen.
    pub(super) fn seen(&self, path: &str) -> usize {
        self.injector.outside.sink.effects_at(path).len()
    }

    /// How the planners' queue stands.
    pub(super) async fn planners(&self) -> anyhow::Result<Queue> {
        let jetstream = &self.injector.outside.journal.bus().jetstream;
        let runs = jetstream.get_stream(stream::RUNS).await?;
        let info = runs.consumer_info(consumer::PLANNER).await?;
        Ok(Queue {
            pending: info.num_pending,
            in_hand: info.num_ack_pending,
            asking: info.num_waiting,
        })
    }

    /// Waits until planners have so many messages in hand and none waits for them.
    pub(super) async fn in_planners_hands(&self, count: usize) -> anyhow::Result<()> {
        self.until("planners have what there is", || async move {
            let queue = self.planners().await?;
            Ok(queue.pending == 0 && queue.in_hand == count)
        })
        .await
    }

    /// Waits until the journal has so many entries of these runs under such a subject: `decided.claude`.
    pub(super) async fn written(
        &self,
        runs: &[RunId],
        kind: &str,
        count: usize,
    ) -> anyhow::Result<()> {
        let journal = &self.injector.outside.journal;
        self.until(kind, || async move {
            for run in runs {
                let subject = format!("runs.{run}.{kind}");
                if journal.raw_page(&subject, 1).await?.messages.len() < count {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await
    }

    /// Waits until it is so.
    pub(super) async fn until<F>(&self, what: &str, mut is: impl FnMut() -> F) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<bool>>,
    {
        let end = Instant::now() + WITHIN;
        let mut last = Ok(false);
        while Instant::now() < end {
            last = is().await;
            if matches!(last, Ok(true)) {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
        last.with_context(|| format!("waiting for: {what}"))?;
        bail!("not within {WITHIN:?}: {what}")
    }

    /// Has the first planner start anew with so many slots; `None`: as many as it likes.
    pub(super) async fn first_planner(&self, slots: Option<usize>) -> anyhow::Result<()> {
        const NAME: &str = "planner-1";
        self.take_down(NAME).await?;
        let slots = slots.map(|slots| slots.to_string());
        let fleet = &self.fleet;
        fleet.set(NAME, "FLOTILLA_SLOTS", slots.as_deref()).await?;
        self.bring_up(NAME).await
    }

    /// Kills a role for good, until it is brought up.
    pub(super) async fn take_down(&self, role: &'static str) -> anyhow::Result<()> {
        let begun_ms = now_ms();
        self.fleet.take_down(role).await?;
        self.injector.note(Kind::Kill, role, begun_ms, None);
        Ok(())
    }

    pub(super) async fn bring_up(&self, role: &'static str) -> anyhow::Result<()> {
        self.fleet.bring_up(role).await
    }
}
