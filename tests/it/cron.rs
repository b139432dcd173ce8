//! Workflows that a clock starts. No planner runs: what counts is which runs begin.

use std::collections::BTreeMap;

use flotilla_common::{ids::RunId, io::schedules::Due};
use flotilla_tests::{
    Fleet, PATIENCE, Role, RoleOptions, Workflows, eventually, flotilla, run_flotilla,
};
use jiff::{Timestamp, ToSpan as _};
use serde_json::json;

/// A workflow called `tick`.
fn tick(version: u32, cron: &str) -> String {
    format!(
        "workflow: tick\nversion: {version}\non: {{cron: '{cron}'}}\nsteps:\n  - {{id: a, claude: {{model: haiku, prompt: Say yes.}}}}\n"
    )
}

/// A fleet of one gateway, with `tick` and a workflow that goes by no clock.
async fn fleet(cron: &str) -> Fleet {
    let other = tick(1, "* * * * *")
        .replace("workflow: tick", "workflow: other")
        .replace("{cron: '* * * * *'}", "{event: test.other}");
    let workflows = Workflows::files(&[("tick.yaml", tick(1, cron)), ("other.yaml", other)]);
    Fleet::builder()
        .workflows(workflows)
        .planners(0)
        .executors(0)
        .start()
        .await
}

/// The newest message on a subject of the stream CRON: its sequence, and what it says.
async fn newest(fleet: &Fleet, subject: &str) -> Option<(u64, Due)> {
    let stream = fleet.nats.jetstream().await.get_stream("CRON").await;
    let stream = stream.expect("the stream CRON");
    let found = stream.get_last_raw_message_by_subject(subject).await.ok()?;
    let due = serde_json::from_slice(&found.payload).expect("a due time");
    Some((found.sequence, due))
}

async fn pending(fleet: &Fleet) -> Option<(u64, Due)> {
    newest(fleet, "cron.timer.tick").await
}

/// The runs of `tick` by their due times; no two have the same.
async fn started(fleet: &Fleet) -> BTreeMap<Timestamp, RunId> {
    let mut runs = BTreeMap::new();
    let journal = fleet.journal_of_all().await;
    for entry in journal.of("started", Some("tick")) {
        let id = entry.text("/event/id");
        let event = json!({"specversion": "1.0", "type": "flotilla.cron", "source": "flotilla:cron/tick", "id": id, "time": id,
            "data": {"due": id, "workflow": "tick"}});
        assert_eq!(entry.at("/event"), &event);
        let run = RunId::derive(&"tick".parse().unwrap(), "flotilla:cron/tick", id);
        assert_eq!(entry.run, run.as_str());
        let due: Timestamp = id.parse().unwrap();
        assert_eq!(runs.insert(due, run), None, "two runs are due at {due}");
    }
    runs
}

async fn wait_started(fleet: &Fleet, count: usize) -> BTreeMap<Timestamp, RunId> {
    let what = format!("{count} runs have started");
    eventually(&what, PATIENCE, async || {
        let runs = started(fleet).await;
        if runs.len() < count {
            return Err(runs.len());
        }
        Ok(runs)
    })
    .await
}

async fn fired(gateways: &[&Role]) -> usize {
    let mut sum = 0.0;
    for gateway in gateways {
        sum += gateway.metric("flotilla_cron_fired_total").await;
    }
    format!("{sum}").parse().expect("a whole number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_start_one_run_for_each_due_time() {
    let mut fleet = fleet("* * * * * *").await;
    let mut second = fleet.start_gateway(RoleOptions::default());
    second.wait_ready().await;

    let some = wait_started(&fleet, 6).await;
    let handled = fired(&[&fleet.gateway, &second]).await;
    let more = started(&fleet).await;
    // One chain of schedules, not one for each gateway: every due time was handled once. Where it is, the newest may be in work.
    assert!(
        some.len() <= handled + 1 && handled <= more.len(),
        "{handled} of {some:?} to {more:?}"
    );
    let next = fleet
        .gateway
        .metric("flotilla_cron_next_due_timestamp_seconds")
        .await;
    let first = some.keys().next().unwrap().as_second();
    assert!(next.round() > 0.0 && format!("{next}").parse::<i64>().unwrap() > first);

    // And they go on without the one that began.
    fleet.gateway.kill9();
    wait_started(&fleet, more.len() + 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_falls_due_while_everything_is_down_starts_once_when_it_is_back() {
    let mut fleet = fleet("*/3 * * * * *").await;
    wait_started(&fleet, 1).await;
    fleet.gateway.kill9();
    // Still to come, or (killed in the middle of it) just fired.
    let last = match pending(&fleet).await {
        Some((_, due)) => due.due,
        None => {
            newest(&fleet, "cron.due.tick")
                .await
                .expect("it has fired")
                .1
                .due
        }
    };
    fleet.nats.kill();
    eventually("two more due times are over", PATIENCE, async || {
        let now = Timestamp::now();
        if now > last + 7.seconds() {
            Ok(())
        } else {
            Err(now)
        }
    })
    .await;
    let back = Timestamp::now();
    fleet.nats.restart().await;
    fleet.replace_gateway(RoleOptions::default()).await;

    let runs = eventually("runs start again", PATIENCE, async || {
        let runs = started(&fleet).await;
        if runs.keys().any(|due| *due > back) {
            Ok(runs)
        } else {
            Err(runs)
        }
    })
    .await;
    assert!(runs.contains_key(&last), "{last} is lost: {runs:?}");
    let missed: Vec<_> = runs
        .keys()
        .filter(|due| **due > last && **due <= back)
        .collect();
    assert!(missed.is_empty(), "{missed:?} were started, all at once");
    let log = fleet.gateway.log();
    assert!(log.contains("they are skipped"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_expression_replaces_the_schedule_and_the_same_leaves_it() {
    let mut fleet = fleet("0 0 1 1 *").await;
    let (first, due) = pending(&fleet).await.expect("a schedule");
    assert!(due.due.to_string().ends_with("-01-01T00:00:00Z"), "{due:?}");
    fleet.replace_gateway(RoleOptions::default()).await;
    assert_eq!(pending(&fleet).await, Some((first, due)));

    let file = fleet.workflows().folder().join("tick.yaml");
    std::fs::write(&file, tick(2, "0 0 1 7 *")).unwrap();
    let mut gateways: Vec<_> = (0..3)
        .map(|_| fleet.start_gateway(RoleOptions::default()))
        .collect();
    for gateway in &mut gateways {
        gateway.wait_ready().await;
    }
    let (second, due) = pending(&fleet).await.expect("a schedule");
    assert!(due.due.to_string().ends_with("-07-01T00:00:00Z"), "{due:?}");
    assert_eq!(
        (due.version, second),
        (2, first + 1),
        "set by one of the three"
    );
    assert!(started(&fleet).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_can_send_what_only_the_clock_says() {
    let fleet = fleet("0 0 1 1 *").await;
    let forged = json!({"type": "flotilla.cron", "source": "flotilla:cron/tick", "id": "2026-01-01T00:00:00Z", "data": {}});
    let answer = fleet.api().post_json("/v1/events", &forged).await;
    assert_eq!(answer.status, 422);
    assert!(answer.text.contains("taken from nobody"), "{}", answer.text);

    fleet.publish_event("flotilla.cron", &forged, None).await;
    fleet.wait_intake().await;
    assert!(started(&fleet).await.is_empty());
    let dead = fleet.nats.jetstream().await.get_stream("DEAD").await;
    let dead = dead.unwrap();
    let letter = dead
        .get_last_raw_message_by_subject("dead.gateway.events.flotilla.cron")
        .await;
    let letter = letter.expect("a dead letter");
    let reason = letter.headers.get("Flotilla-Reason").unwrap();
    assert!(reason.as_str().contains("taken from nobody"), "{reason:?}");
}

#[tokio::test]
async fn a_check_says_when_a_workflow_falls_due_next() {
    flotilla();
    let workflows = Workflows::files(&[("tick.yaml", tick(1, "30 2 1 JAN *"))]);
    let folder = workflows.folder().display().to_string();
    let checked = run_flotilla(&["check", "--workflows", &folder], &[], PATIENCE).await;
    assert!(checked.status.success(), "{}", checked.output);
    let line = "tick v1: at `30 2 1 JAN *` UTC, next at ";
    assert!(checked.output.contains(line), "{}", checked.output);
    assert!(
        checked
            .output
            .contains("-01-01T02:30:00+00:00[UTC], 1 steps"),
        "{}",
        checked.output
    );
}
