//! Workflows by the clock, changed on a running fleet. No planner runs: what counts is when they are due.

use flotilla_common::{
    ids::Name,
    io::{
        definitions::{Activate, Said},
        schedules::Due,
    },
};
use flotilla_tests::{Fleet, PATIENCE, RoleOptions, eventually};

use super::fleet::Stage;

fn tick(version: u32, on: &str) -> [(String, String); 1] {
    let text = format!(
        "workflow: tick\nversion: {version}\non: {on}\nsteps:\n  - {{id: a, claude: {{model: haiku, prompt: Say yes.}}}}\n"
    );
    [(format!("tick{version}.yaml"), text)]
}

/// When `tick` is due next, and by which of its versions; `None`: never.
async fn pending(fleet: &Fleet) -> Option<(u32, String)> {
    let stream = fleet.nats.jetstream().await.get_stream("CRON").await;
    let stream = stream.expect("the stream CRON");
    let found = stream
        .get_last_raw_message_by_subject("cron.timer.tick")
        .await;
    let due: Due = serde_json::from_slice(&found.ok()?.payload).expect("a due time");
    Some((due.version, due.cron))
}

async fn until(fleet: &Fleet, expected: Option<(u32, &str)>) {
    let expected = expected.map(|(version, cron)| (version, cron.to_owned()));
    let what = format!("the schedule is {expected:?}");
    eventually(&what, PATIENCE, || async {
        let found = pending(fleet).await;
        if found == expected {
            Ok(())
        } else {
            Err(found)
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_comes_and_goes_with_what_is_active_and_no_gateway_is_restarted() {
    let mut stage = Stage::new(0, 0).await;
    let mut second = stage.fleet.start_gateway(RoleOptions::default());
    second.wait_ready().await;
    until(&stage.fleet, None).await;
    let (new_year, july) = ("0 0 1 1 *", "0 0 1 7 *");
    let by_clock = |cron: &str| format!("{{cron: '{cron}'}}");
    stage
        .apply(&tick(1, &by_clock(new_year)), Activate::Newer)
        .await;
    until(&stage.fleet, Some((1, new_year))).await;
    stage
        .apply(&tick(2, &by_clock(july)), Activate::Newer)
        .await;
    until(&stage.fleet, Some((2, july))).await;

    let (name, said): (Name, _) = ("tick".parse().unwrap(), Said::default());
    let definitions = &stage.definitions;
    definitions.rollback(&name, &said).await.unwrap();
    until(&stage.fleet, Some((1, new_year))).await;
    // A part of the runs gets the other version, and the time is still the first one's.
    let half = "50".parse().unwrap();
    definitions.rollout(&name, 2, half, &said).await.unwrap();
    stage
        .until_all_say("flotilla_workflow_candidate_percent", 50.0)
        .await;
    until(&stage.fleet, Some((1, new_year))).await;

    // By an event, not by the clock any more.
    stage
        .apply(&tick(3, "{event: test.tick}"), Activate::Newer)
        .await;
    until(&stage.fleet, None).await;
    definitions.activate(&name, 2, &said).await.unwrap();
    until(&stage.fleet, Some((2, july))).await;
    definitions.deactivate(&name, &said).await.unwrap();
    until(&stage.fleet, None).await;
    let stream = stage.fleet.nats.jetstream().await.get_stream("CRON").await;
    let stream = stream.unwrap().get_info().await.unwrap();
    assert_eq!(stream.state.messages, 0);
    definitions.rollback(&name, &said).await.unwrap();
    until(&stage.fleet, Some((2, july))).await;
}
