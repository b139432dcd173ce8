//! A tool that is ill is left alone, and its messages wait in the stream.

use flotilla_common::{
    breaker::{Forced, State},
    io::tools::{Force, ToolState, ToolStates},
};
use flotilla_tests::{PATIENCE, eventually};
use serde_json::{Value, json};

use crate::{
    moody::Moody,
    stage::{Result, Stage, kind},
};

const SLOTS: usize = 4;

fn fragile() -> Value {
    json!({"concurrency": SLOTS, "breaker": {"failures": 3, "cool": {"min": "1s", "max": "1s"}}})
}

impl Stage {
    async fn states(&self) -> Result<ToolStates> {
        Ok(ToolStates::open(self.journal.bus()).await?)
    }

    /// Waits until some executor says this of a tool.
    async fn until(&self, tool: &str, what: &str, is: impl Fn(&ToolState) -> bool) -> Result<()> {
        let states = self.states().await?;
        eventually(what, PATIENCE, || async {
            let told = states.list().await.map_err(|e| e.to_string())?;
            let of_tool = |state: &&ToolState| state.tool.as_str() == tool;
            match told.states.iter().find(of_tool) {
                Some(state) if is(state) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        Ok(())
    }

    /// Messages that wait in the stream, are in hand or put off, have come again, and deliveries.
    async fn counts(&self, tool: &str) -> Result<(u64, usize, usize, u64)> {
        let mut consumer = self.consumer(tool).await?;
        let info = consumer.info().await?;
        Ok((
            info.num_pending,
            info.num_ack_pending,
            info.num_redelivered,
            info.delivered.consumer_sequence,
        ))
    }
}

fn stands(state: State) -> impl Fn(&ToolState) -> bool {
    move |told| told.versions.iter().all(|version| version.state == state)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_breaker_leaves_messages_in_the_stream_and_probes_one_at_a_time() -> Result<()> {
    const ACTIONS: usize = 30;
    let (mut stage, moody) = (Stage::new().await?, Moody::start().await?);
    stage.add(vec![moody.tool("fragile", "read", fragile())])?;
    moody.always("fragile", Some(500));
    let mut decisions = Vec::new();
    for id in 0..ACTIONS {
        let id = id.to_string();
        decisions.push(stage.decide(&id, "fragile", json!({})).await?);
    }
    let running = stage.executor().await?;
    stage
        .until("fragile", "it is open", stands(State::Open))
        .await?;
    let asked = moody.asked("fragile").len();
    assert!((3..=3 + SLOTS).contains(&asked), "{asked}");
    let (waiting, _, redelivered, deliveries) = stage.counts("fragile").await?;
    assert_eq!(redelivered, 0);
    assert!(usize::try_from(deliveries)? <= 3 + SLOTS, "{deliveries}");
    assert!(
        usize::try_from(waiting)? >= ACTIONS - 3 - SLOTS,
        "{waiting}"
    );

    moody.always("fragile", None);
    for decision in &decisions {
        stage.result(decision).await;
    }
    stage.settled("fragile").await?;
    stage
        .until("fragile", "it is closed", stands(State::Closed))
        .await?;
    // Each was done once, those that failed too; the probes came one at a time.
    let all = moody.asked("fragile");
    assert_eq!(all.len(), ACTIONS);
    let probes: Vec<_> = all[asked..asked + 2].iter().map(|one| one.beside).collect();
    assert_eq!(probes, [0, 0]);
    // Handed back was what had been pulled when it opened, once each, and nothing else.
    let (_, _, redelivered, deliveries) = stage.counts("fragile").await?;
    assert_eq!(redelivered, 0);
    assert!(
        usize::try_from(deliveries)? <= ACTIONS + SLOTS,
        "{deliveries}"
    );
    for decision in &decisions {
        let results = stage.results(decision).await?;
        assert_eq!(results.len(), 1);
        assert_eq!(results[0].attempts, 1, "{results:?}");
    }
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_parameters_are_to_blame_for_opens_nothing() -> Result<()> {
    let (mut stage, moody) = (Stage::new().await?, Moody::start().await?);
    stage.add(vec![moody.tool("fragile", "read", fragile())])?;
    moody.always("fragile", Some(404));
    let running = stage.executor().await?;
    for id in 0..20 {
        let decision = stage.decide(&id.to_string(), "fragile", json!({})).await?;
        assert_eq!(kind(&stage.result(&decision).await), "status");
    }
    stage.settled("fragile").await?;
    let (.., deliveries) = stage.counts("fragile").await?;
    assert_eq!((deliveries, moody.asked("fragile").len()), (20, 20));
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_that_a_person_has_stopped_waits_until_they_let_it_go() -> Result<()> {
    let (mut stage, moody) = (Stage::new().await?, Moody::start().await?);
    stage.add(vec![moody.tool("fragile", "read", fragile())])?;
    let (states, tool) = (stage.states().await?, "fragile".parse()?);
    let force = Force::now(Forced::Open, Some("ann".into()), Some("it hurts".into()));
    states.force(&tool, Some(&force)).await?;
    let running = stage.executor().await?;
    stage
        .until("fragile", "it is stopped", stands(State::Open))
        .await?;
    let decision = stage.decide("1", "fragile", json!({})).await?;
    let other = stage.decide("2", "read", json!({})).await?;
    assert_eq!(kind(&stage.result(&other).await), "ok");
    let (waiting, in_hand, ..) = stage.counts("fragile").await?;
    assert_eq!((waiting, in_hand), (1, 0));
    let told = states.list().await?;
    assert_eq!(told.forced.get(&tool), Some(&force));
    states.force(&tool, None).await?;
    assert_eq!(kind(&stage.result(&decision).await), "ok");
    assert!(states.list().await?.forced.is_empty());
    running.stop().await
}
