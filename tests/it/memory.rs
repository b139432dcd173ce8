//! What Redis knows of the claims of effects, and that it knows what it may have forgotten.

use std::time::Duration;

use flotilla_common::io::store::{Claimed, Lease, Memory, Store};
use flotilla_tests::Redis;

const LEASE: Duration = Duration::from_secs(60);

async fn effect(store: &Store, key: &str) -> (Lease, Memory) {
    match store.claim_effect::<String>(key.to_owned(), LEASE).await {
        Ok(Claimed::Free(lease)) => {
            let memory = lease.memory.clone().unwrap();
            (lease, memory)
        }
        other => panic!("not free: {other:?}"),
    }
}

#[tokio::test]
async fn what_was_decided_after_a_memory_began_is_known_from_its_beginning() {
    let redis = Redis::start().await;
    let store = Store::connect(&redis.url(), "a").await.unwrap();
    let (_, memory) = effect(&store, "1").await;
    assert_eq!(memory.has_all_of(7), None, "nobody has looked yet");
    assert!(store.remember(&memory, 7).await.unwrap());
    // The first to look counts: who looked later saw decisions that were claimed meanwhile.
    assert!(store.remember(&memory, 9).await.unwrap());
    let (lease, memory) = effect(&store, "2").await;
    assert_eq!(
        [7, 8].map(|seq| memory.has_all_of(seq)),
        [Some(false), Some(true)]
    );
    store.give_back(&lease, 0).await.unwrap();
    let (_, again) = effect(&store, "2").await;
    assert_eq!(
        again.has_all_of(1),
        Some(true),
        "it was claimed in this memory"
    );
}

#[tokio::test]
async fn a_memory_ends_with_a_flush_and_nobody_who_looked_before_tells_the_next_one() {
    let redis = Redis::start().await;
    let store = Store::connect(&redis.url(), "a").await.unwrap();
    let before = store.memory().await.unwrap();
    redis.flush().await;
    let after = store.memory().await.unwrap();
    assert!(!store.remember(&before, 7).await.unwrap());
    assert_eq!(store.memory().await.unwrap(), after);
    assert_eq!((after.since, before == after), (None, false));
    // Who holds a claim over the flush knows its past.
    let (mut lease, memory) = effect(&store, "1").await;
    store.remember(&memory, 7).await.unwrap();
    redis.flush().await;
    assert!(!store.extend(&lease).await.unwrap());
    match store.reclaim::<String>(&lease).await.unwrap() {
        Claimed::Free(mine) => lease = mine,
        other @ (Claimed::Held(_) | Claimed::Done { .. }) => panic!("not free: {other:?}"),
    }
    store.give_back(&lease, 0).await.unwrap();
    assert_eq!(effect(&store, "1").await.1.has_all_of(1), Some(true));
}

#[tokio::test]
async fn a_restart_with_a_copy_ends_a_memory_though_all_of_it_is_there() {
    let mut redis = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let store = Store::connect(&redis.url(), "a").await.unwrap();
    let (lease, memory) = effect(&store, "1").await;
    store.remember(&memory, 7).await.unwrap();
    store.give_back(&lease, 0).await.unwrap();
    redis.restart().await;
    let store = Store::connect(&redis.url(), "b").await.unwrap();
    let (lease, memory) = effect(&store, "1").await;
    assert_eq!(lease.fence, 2, "the claim has come back");
    assert_eq!(
        memory.has_all_of(8),
        None,
        "what came after the copy has not"
    );
}

#[tokio::test]
async fn who_dies_while_it_waits_for_its_turn_has_begun_nothing() {
    const SHORT: Duration = Duration::from_millis(50);
    let redis = Redis::start().await;
    let store = Store::connect(&redis.url(), "a").await.unwrap();
    for (waits, lost) in [(vec![true], 0), (vec![true, false], 1), (vec![], 1)] {
        let key = format!("{waits:?}");
        let claim = store.claim_effect::<String>(key.clone(), SHORT).await;
        let Ok(Claimed::Free(dying)) = claim else {
            panic!("not free: {claim:?}");
        };
        for waits in waits {
            assert!(store.waits(&dying, waits).await.unwrap());
        }
        tokio::time::sleep(2 * SHORT).await;
        let (lease, _) = effect(&store, &key).await;
        assert_eq!((lease.fence, lease.lost), (2, lost), "{key}");
        assert!(
            !store.waits(&dying, false).await.unwrap(),
            "it must not begin"
        );
    }
}
