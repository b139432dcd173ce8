//! Money of items of batches: held while nobody sits beside them, settled by whoever looks.

use std::time::Duration;

use flotilla_common::{
    entry::{Batched, Decision, Held, Item, ParkedBy},
    ids::Name,
    io::{
        bus::Bus,
        journal::Journal,
        money::{Hold, Money, Reserved},
        store::Store,
        streams::ensure_streams,
    },
    run::{Ceiling, Scope},
};
use flotilla_tests::{Nats, PATIENCE, Redis, eventually};
use jiff::Timestamp;

use crate::money::{Till, append, ceiling, held, sum_up};

async fn item_hold(till: &Till, id: &str, ceilings: &[Ceiling], nano: u64) -> Hold {
    held(till.reserve_as(id, ceilings, nano, true).await)
}

/// A run waits for an item of a batch.
async fn park(journal: &Journal, till: &Till, held: Held) {
    let now = Timestamp::now();
    let item = Item {
        custom_id: "item".into(),
        model: "m".into(),
        from: now,
        to: now,
        held: Some(held),
    };
    let park = Decision::Park {
        by: ParkedBy::Batch,
        why: "its answer comes with a batch".into(),
        until: None,
        replies: Vec::new(),
        account: till.account.clone(),
        batch: Some(Box::new(Batched {
            id: Some("msgbatch_1".into()),
            item: Some(item),
            ..Batched::new(now)
        })),
    };
    append(journal, till, park, None).await;
}

#[tokio::test]
async fn an_items_hold_outlives_leases_and_is_settled_once_by_whoever_looks() {
    let redis = Redis::start().await;
    let mut till = Till::at(&redis).await;
    let store = Store::connect(&redis.url(), "short").await.unwrap();
    till.money = Money::new(store, Duration::from_millis(1));
    let run = [ceiling(Scope::Run, 100, 0)];
    let item = item_hold(&till, "item", &run, 30).await;
    till.hold("lost", &run, 20).await;
    eventually("a call's hold lapses", PATIENCE, || async {
        match till.reserve("next", &run, 60).await {
            Reserved::Full(full) if (full.spent.nano(), full.held.nano()) == (20, 30) => Ok(()),
            other @ (Reserved::Held(_) | Reserved::Full(_) | Reserved::Unknown) => {
                Err(format!("{other:?}"))
            }
        }
    })
    .await;
    // Another planner knows it from the journal, and looks at the same time.
    let other = Till::at(&redis).await;
    let known =
        |hold: &Hold, id| Hold::of_item(&hold.held(id), &other.run, &other.step, &other.account);
    till.settle(&item, 10).await;
    other.settle(&known(&item, "item"), 10).await;
    let over = till.reserve("over", &run, 71).await;
    assert!(
        matches!(over, Reserved::Full(full) if (full.spent.nano(), full.held.nano()) == (30, 0)),
        "{over:?}"
    );
    // One that no ceiling bounds is charged to its day once, too.
    let free = item_hold(&till, "free", &[], 50).await;
    till.settle(&free, 40).await;
    other.settle(&known(&free, "free"), 40).await;
    till.money.finish().await.unwrap();
    other.money.finish().await.unwrap();
    let workflow: Name = "w".parse().unwrap();
    let today = till.money.of_workflow_today(&workflow).await.unwrap();
    assert_eq!((today.spent.nano(), today.held.nano()), (50, 0));
}

#[tokio::test]
async fn what_an_item_holds_is_held_again_from_the_journal_after_redis_lost_it() {
    let (nats, redis) = tokio::join!(Nats::start(), Redis::start());
    let bus = Bus::connect(&nats.url(), "money").await.unwrap();
    ensure_streams(&bus).await.unwrap();
    let journal = Journal::new(bus);
    let till = Till::at(&redis).await;
    let day = [ceiling(Scope::WorkflowDay, 1_000, 0)];
    sum_up(&till, &journal, "a", &day, Duration::from_secs(600)).await;
    let item = item_hold(&till, "item", &day, 400).await;
    park(&journal, &till, item.held("item")).await;

    redis.flush().await;
    sum_up(&till, &journal, "b", &day, Duration::ZERO).await;
    let over = till.reserve("c", &day, 601).await;
    assert!(
        matches!(over, Reserved::Full(full) if full.passing && full.held.nano() == 400),
        "{over:?}"
    );
    till.settle(&item, 150).await;
    till.hold("d", &day, 850).await;
}
