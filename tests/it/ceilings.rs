//! Ceilings of a day, as people set them on a running fleet.

use std::{collections::BTreeSet, time::Duration};

use flotilla_common::{
    entry::{Account, ParkedBy},
    ids::RunId,
    io::{
        ceilings::{Ceilings, DayCeilings},
        money::Money,
        store::Store,
    },
    money::Usd,
};
use flotilla_tests::{Fleet, PATIENCE, RoleOptions, eventually};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::signals::{Still, accepted};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ceiling_outlives_gateways_and_servers_and_is_seen_by_who_watches() {
    let mut still = Still::start().await;
    let stop = CancellationToken::new();
    let ceilings = Ceilings::open(still.journal.bus()).await.unwrap();
    let watched = ceilings.watch(stop.clone());
    let account = Account {
        tenant: "acme".into(),
        workflow: "spender".into(),
    };
    let seen = async |workflow: Option<u64>, tenant: Option<u64>| {
        let dollars = |usd: Option<u64>| usd.map(|usd| Usd::from_nano(usd * 1_000_000_000));
        let expected = DayCeilings {
            workflow: dollars(workflow),
            tenant: dollars(tenant),
        };
        eventually("the ceilings are seen", PATIENCE, async || {
            let seen = watched.of(&account);
            if seen == Some(expected) {
                Ok(())
            } else {
                Err(seen)
            }
        })
        .await;
    };
    seen(None, None).await;

    let set = json!({"usd": 20, "by": "me", "reason": "sale"});
    let put = async |fleet: &Fleet, path: &str, body: &Value| -> Value {
        let answer = fleet.api().put(&format!("/v1/ceilings/{path}"), body).await;
        accepted(&answer, 200)
    };
    let changed = put(&still.fleet, "workflow/spender", &set).await;
    assert_eq!(changed["ceiling"]["usd_nano"], 20_000_000_000_u64);
    assert_eq!(changed["ceiling"]["known"], true);
    seen(Some(20), None).await;
    put(&still.fleet, "tenant/acme", &json!({"usd": 0})).await;
    seen(Some(20), Some(0)).await;

    still.fleet.replace_gateway(RoleOptions::default()).await;
    let listed: Value = still.fleet.api().get("/v1/ceilings").await.json();
    let lines = listed["ceilings"].as_array().unwrap();
    let [workflow, tenant] = &lines[..] else {
        panic!("two ceilings: {listed}");
    };
    let origin = |line: &Value| {
        (
            line["name"].clone(),
            line["from"].clone(),
            line["by"].clone(),
        )
    };
    assert_eq!(
        origin(workflow),
        (json!("spender"), json!("set"), json!("me"))
    );
    assert_eq!(workflow["definition_usd_nano"], 10_000_000_000_u64);
    assert_eq!(workflow["spent_usd_nano"], 0);
    assert_eq!(
        (&tenant["scope"], &tenant["usd_nano"]),
        (&json!("tenant"), &json!(0))
    );
    assert_eq!(listed["complete"], false, "nobody summed the day up yet");

    let store = Store::connect(&still.fleet.redis.url(), "test").await;
    let money = Money::new(store.unwrap(), Duration::from_secs(30));
    let grace = Duration::ZERO;
    money.sum_up(&still.journal, grace).await.unwrap();
    let listed: Value = still.fleet.api().get("/v1/ceilings").await.json();
    assert_eq!(listed["complete"], true);

    still.fleet.nats.restart().await;
    still.fleet.wait_ready().await;
    put(&still.fleet, "workflow/spender", &json!({"usd": 30})).await;
    seen(Some(30), Some(0)).await;
    let answer = still
        .fleet
        .api()
        .delete("/v1/ceilings/workflow/spender")
        .await;
    assert_eq!(accepted(&answer, 200)["ceiling"]["from"], "definition");
    seen(None, Some(0)).await;

    // A watch that begins now knows nothing at first, and then all: never a part that lacks what is set.
    let late = ceilings.watch(stop);
    let first = eventually("another watch loads what is there", PATIENCE, async || {
        late.of(&account).ok_or("nothing is known")
    })
    .await;
    assert_eq!(first.tenant, Some(Usd::default()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raised_ceiling_resumes_each_run_that_a_ceiling_parked_once() {
    let still = Still::start().await;
    let mut waiting = Vec::new();
    for (id, tenant) in [("a", "acme"), ("b", "default"), ("c", "default")] {
        let run = still.run(id, tenant).await;
        still.park(&run, ParkedBy::Ceiling).await;
        waiting.push(run);
    }
    let blocked = still.run("blocked", "acme").await;
    still.park(&blocked, ParkedBy::Blocked).await;
    still.run("running", "acme").await;
    still.index(4).await;
    let put = async |path: &str, usd: u32| -> Value {
        let path = format!("/v1/ceilings/{path}");
        let answer = still.fleet.api().put(&path, &json!({"usd": usd})).await;
        accepted(&answer, 200)
    };

    assert_eq!(
        put("workflow/spender", 0).await["resuming"],
        0,
        "a ceiling of nothing frees nobody"
    );
    assert_eq!(put("workflow/another", 5).await["resuming"], 0);
    let changed = put("workflow/spender", 20).await;
    assert_eq!(
        (&changed["resuming"], &changed["complete"]),
        (&json!(3), &json!(true))
    );
    // Parked by the ceiling of before, while that changed.
    let late = still.run("late", "default").await;
    still.park(&late, ParkedBy::Ceiling).await;
    waiting.push(late);
    still.index(5).await;
    let resumed = still.wait_resumed(4).await;
    let runs: BTreeSet<_> = resumed.iter().map(|(run, _)| run.as_str()).collect();
    assert_eq!(runs, waiting.iter().map(RunId::as_str).collect());

    // The same again, then another one: only that one is news.
    assert_eq!(put("workflow/spender", 20).await["resuming"], 4);
    assert_eq!(put("tenant/acme", 30).await["resuming"], 1);
    let resumed = still.wait_resumed(5).await;
    let of_acme = resumed.iter().filter(|(run, _)| run == waiting[0].as_str());
    assert_eq!(of_acme.count(), 2);
    let answer = still
        .fleet
        .api()
        .delete("/v1/ceilings/workflow/spender")
        .await;
    assert_eq!(accepted(&answer, 200)["resuming"], 4);
    still.wait_resumed(9).await;
}
