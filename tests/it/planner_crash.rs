//! A planner that dies costs at most the call it was waiting for.

use flotilla_tests::{Fleet, PATIENCE, Proxy, Role, RoleOptions, Sink, eventually};

use crate::flows::{CALLS, incident, incidents};

/// A fleet whose one planner reaches NATS and Claude through proxies, and a run whose first reply from Claude is given but
/// has not come to that planner.
struct Waiting {
    fleet: Fleet,
    sink: Sink,
    planner: Role,
    to_nats: Proxy,
    to_claude: Proxy,
    run: String,
}

async fn waiting() -> Waiting {
    let sink = Sink::start().await;
    let workflows = incidents(&sink, "idempotent");
    let mut fleet = Fleet::builder()
        .workflows(workflows)
        .planners(0)
        .start()
        .await;
    let to_nats = Proxy::to(fleet.nats.port()).await;
    let to_claude = Proxy::to(fleet.sim.port()).await;
    to_claude.pause_downstream().await;
    let ways = RoleOptions::default()
        .nats(to_nats.url("nats"))
        .claude(to_claude.url("http"));
    let planner = fleet.planner(ways).await;

    let [run] = fleet.submit(&incident("a")).await.runs.try_into().unwrap();
    eventually("Claude has answered once", PATIENCE, || async {
        let calls = fleet.sim.ledger_of(&run).await;
        if calls.len() == 1 { Ok(()) } else { Err(calls) }
    })
    .await;
    Waiting {
        fleet,
        sink,
        planner,
        to_nats,
        to_claude,
        run,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_saved_by_a_planner_that_died_is_not_asked_for_again() {
    let Waiting {
        mut fleet,
        sink: _sink,
        mut planner,
        to_nats,
        to_claude,
        run,
    } = waiting().await;

    // From here on nothing that the planner appends arrives.
    to_nats.pause_upstream().await;
    to_claude.resume();
    eventually("the reply is saved in its claim", PATIENCE, || async {
        let mut claims = Vec::new();
        for key in fleet
            .redis
            .keys(&format!("flotilla:{{{run}}}:claim:*"))
            .await
        {
            let state = fleet.redis.field(&key, "state").await;
            claims.push((key, state));
        }
        let saved = claims
            .iter()
            .any(|(_, state)| state.as_deref() == Some("done"));
        if saved { Ok(()) } else { Err(claims) }
    })
    .await;
    planner.kill9();
    to_nats.cut().await;
    assert_eq!(
        fleet.journal(&run).await.of("decided", None).count(),
        0,
        "the append was to be held"
    );

    let _other = fleet.planner(RoleOptions::default()).await;
    let end = fleet.wait_run_end(&run).await;
    assert_eq!((end.status.as_str(), end.wasted_calls), ("completed", 0));
    assert_eq!(fleet.sim.ledger_of(&run).await.len(), CALLS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_lost_with_its_planner_is_asked_for_again_and_counted_as_wasted() {
    let Waiting {
        mut fleet,
        sink: _sink,
        mut planner,
        to_nats: _to_nats,
        to_claude,
        run,
    } = waiting().await;

    planner.kill9();
    to_claude.cut().await;

    let _other = fleet.planner(RoleOptions::default()).await;
    let end = fleet.wait_run_end(&run).await;
    assert_eq!((end.status.as_str(), end.wasted_calls), ("completed", 1));
    assert_eq!(fleet.sim.ledger_of(&run).await.len(), CALLS + 1);
}
