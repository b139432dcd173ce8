//! Redis' adapter against a real redis-server: states by compare-and-set, claims with fencing tokens, the index.

use std::time::Duration;

use flotilla_common::{
    entry::{Address, Body, Entry, Kind, Pin, Started},
    event::Event,
    ids::{Name, RunId},
    io::store::{Claimed, INDEX_MAX, Lease, Store},
    run::{Run, Status, Summary},
};
use flotilla_tests::{PATIENCE, Redis, eventually};
use serde_json::json;

const LEASE: Duration = Duration::from_secs(30);

fn begun(id: &str) -> Run {
    let workflow: Name = "w".parse().unwrap();
    let run = RunId::derive(&workflow, "test", id);
    let started = Body::Started(Started {
        workflow: Pin {
            name: workflow.clone(),
            version: 1,
            digest: "d".into(),
        },
        event: Event::new("a.b".parse().unwrap(), "test".into(), id.into(), json!({})),
        parent: None,
        lessons: Vec::new(),
        forked: None,
        received: None,
    });
    let payload = started
        .encode("2026-11-21T10:00:00Z".parse().unwrap())
        .unwrap();
    let address = Address {
        run: run.clone(),
        kind: Kind::Started,
        name: workflow,
    };
    let mut state = Run::new(run);
    state
        .fold(&Entry::decode(1, address, &payload).unwrap())
        .unwrap();
    state
}

async fn free(store: &Store, key: &str, lease: Duration) -> Lease {
    match store.claim::<String>(key.to_owned(), lease).await.unwrap() {
        Claimed::Free(lease) => lease,
        other @ (Claimed::Held(_) | Claimed::Done { .. }) => panic!("not free: {other:?}"),
    }
}

#[tokio::test]
async fn a_state_is_set_only_by_who_knows_the_one_before() {
    let redis = Redis::start().await;
    let store = Store::connect(&redis.url(), "a").await.unwrap();
    let mut run = begun("1");
    let nothing = store.load(&run.id).await.unwrap();
    assert!(nothing.run.is_none());
    let other = store.load(&run.id).await.unwrap().token;
    assert_eq!(other, nothing.token, "the place was kept once");
    let first = store.save(&run, &nothing.token).await.unwrap().unwrap();
    assert!(
        store.save(&run, &other).await.unwrap().is_none(),
        "somebody else was faster"
    );
    let loaded = store.load(&run.id).await.unwrap();
    assert_eq!((loaded.run.as_ref(), &loaded.token), (Some(&run), &first));
    run.version = 2;
    run.overdue = true;
    let second = store.save(&run, &first).await.unwrap().unwrap();
    redis.flush().await;
    assert!(
        store.save(&run, &second).await.unwrap().is_none(),
        "what is known from before Redis was emptied may lack what others knew"
    );
    let again = store.load(&run.id).await.unwrap();
    assert!(again.run.is_none());
    assert!(store.save(&run, &second).await.unwrap().is_none());
    assert!(store.save(&run, &again.token).await.unwrap().is_some());
}

#[tokio::test]
async fn what_is_saved_on_an_old_copy_is_doubted_until_the_journal_is_read() {
    let mut redis = Redis::start().await;
    let store = Store::connect(&redis.url(), "a").await.unwrap();
    let mut run = begun("1");
    let first = store.load(&run.id).await.unwrap().token;
    assert!(store.is_whole(&first).await.unwrap());
    redis.restart().await;
    let old = eventually("Redis answers again", PATIENCE, async || {
        let loaded = store.load(&run.id).await;
        loaded.map(|loaded| loaded.token)
    })
    .await;
    let saved = store.save(&run, &old).await.unwrap().unwrap();
    assert!(
        !store.is_whole(&saved).await.unwrap(),
        "Redis is another process now"
    );
    run.version += 1;
    let again = store.save(&run, &saved).await.unwrap().unwrap();
    assert!(
        !store.is_whole(&again).await.unwrap(),
        "it lacks what the one before lacked"
    );
    let loaded = store.load(&run.id).await.unwrap();
    assert_eq!(loaded.token, again);
    let anew = loaded.read_anew();
    run.version += 1;
    let whole = store.save(&run, &anew).await.unwrap().unwrap();
    assert!(store.is_whole(&whole).await.unwrap());
    let other = Store::connect(&redis.url(), "b").await.unwrap();
    let known = other.load(&run.id).await.unwrap().token;
    assert!(
        other.is_whole(&known).await.unwrap(),
        "whoever loads it knows"
    );
}

#[tokio::test]
async fn a_claim_has_one_holder_and_then_one_result() {
    let redis = Redis::start().await;
    let (a, b) = (
        Store::connect(&redis.url(), "a").await.unwrap(),
        Store::connect(&redis.url(), "b").await.unwrap(),
    );
    let lease = free(&a, "claim", LEASE).await;
    assert_eq!((lease.fence, lease.lost), (1, 0));
    assert!(
        matches!(b.claim::<String>("claim".into(), LEASE).await.unwrap(), Claimed::Held(left) if left <= LEASE)
    );
    assert!(a.extend(&lease).await.unwrap());
    assert!(a.finish(&lease, &"reply").await.unwrap());
    assert!(
        a.finish(&lease, &"reply").await.unwrap(),
        "finishing again changes nothing"
    );
    let done = b.claim::<String>("claim".into(), LEASE).await.unwrap();
    assert!(matches!(done, Claimed::Done { value, .. } if value == "reply"));
    assert!(!a.extend(&lease).await.unwrap());
}

#[tokio::test]
async fn a_holder_that_is_too_slow_loses_and_counts_as_lost() {
    let redis = Redis::start().await;
    let (a, b) = (
        Store::connect(&redis.url(), "a").await.unwrap(),
        Store::connect(&redis.url(), "b").await.unwrap(),
    );
    let slow = free(&a, "claim", Duration::from_millis(1)).await;
    let next = eventually("the lease ends", PATIENCE, async || {
        match b.claim::<String>("claim".into(), LEASE).await.unwrap() {
            Claimed::Free(lease) => Ok(lease),
            other @ (Claimed::Held(_) | Claimed::Done { .. }) => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!((next.fence, next.lost), (2, 1));
    assert!(!a.extend(&slow).await.unwrap());
    assert!(!a.finish(&slow, &"late").await.unwrap());
    assert!(b.finish(&next, &"in time").await.unwrap());
}

#[tokio::test]
async fn a_claim_given_back_is_free_but_known() {
    let redis = Redis::start().await;
    let store = Store::connect(&redis.url(), "a").await.unwrap();
    assert!(!store.is_known("claim").await.unwrap());
    let lease = free(&store, "claim", LEASE).await;
    store.give_back(&lease, 0).await.unwrap();
    assert!(store.is_known("claim").await.unwrap());
    assert!(!store.finish(&lease, &"late").await.unwrap());
    let again = free(&store, "claim", LEASE).await;
    assert_eq!((again.fence, again.lost), (2, 0));
}

#[tokio::test]
async fn a_holder_keeps_its_claim_when_redis_is_emptied() {
    let redis = Redis::start().await;
    let store = Store::connect(&redis.url(), "a").await.unwrap();
    let lease = free(&store, "claim", LEASE).await;
    redis.flush().await;
    assert!(!store.extend(&lease).await.unwrap());
    assert!(matches!(
        store.reclaim::<String>(&lease).await.unwrap(),
        Claimed::Free(_)
    ));
    assert!(store.finish(&lease, &"kept").await.unwrap());
    let other = free(&store, "other", LEASE).await;
    redis.flush().await;
    assert!(
        store.finish(&other, &"kept").await.unwrap(),
        "what came out is worth keeping"
    );
}

#[tokio::test]
async fn the_index_keeps_the_newest_line_of_each_run() {
    let redis = Redis::start().await;
    let store = Store::connect(&redis.url(), "a").await.unwrap();
    let mut summary = begun("1").summary().unwrap();
    (summary.steps, summary.chain) = (3, 9);
    store.index(&summary).await.unwrap();
    let mut old = summary.clone();
    (old.steps, old.chain) = (1, 4);
    store.index(&old).await.unwrap();
    let mut ended = summary.clone();
    ended.status = Status::Completed;
    ended.chain = 12;
    ended.ended_at = Some(ended.started_at);
    store.index(&ended).await.unwrap();
    store.index(&summary).await.unwrap();
    store.index(&begun("2").summary().unwrap()).await.unwrap();
    let lines: Vec<String> = redis.keys("flotilla:{index}:*").await;
    assert_eq!(lines.len(), 3, "{lines:?}");
    let counts = store.counts(|tenant| tenant == "default").await.unwrap();
    let expected = [(Status::Running, 1), (Status::Completed, 1)];
    assert_eq!(counts, expected.into());
    assert!(
        store
            .counts(|tenant| tenant == "acme")
            .await
            .unwrap()
            .is_empty()
    );
    let kept = redis
        .field("flotilla:{index}:summaries", summary.id.as_str())
        .await
        .unwrap();
    assert!(
        kept.contains("\"completed\"") && kept.contains("\"steps\":3"),
        "{kept}"
    );
}

/// Puts so many runs into the index that are newer than any other.
async fn crowd(redis: &Redis, count: usize) {
    let script =
        "for i = 1, ARGV[1] do redis.call('ZADD', KEYS[1], 9000000000000 + i, 'crowd' .. i) end";
    redis::Script::new(script)
        .key("flotilla:{index}:runs")
        .arg(count)
        .invoke_async::<()>(&mut redis.connection().await)
        .await
        .unwrap();
}

async fn listed(store: &Store, wanted: Option<Status>) -> Vec<Status> {
    let lines = store.list(wanted, None, 10).await.unwrap().lines;
    let runs = lines.into_iter().filter_map(|line| line.summary);
    runs.map(|run| run.status).collect()
}

#[tokio::test]
async fn a_run_that_waits_is_listed_however_many_newer_ones_there_are() {
    let redis = Redis::start().await;
    let store = Store::connect(&redis.url(), "a").await.unwrap();
    let mut run = begun("1").summary().unwrap();
    store.index(&run).await.unwrap();
    (run.status, run.chain) = (Status::Waiting, 1);
    store.index(&run).await.unwrap();
    crowd(&redis, INDEX_MAX).await;
    // One that has only begun goes with its line, and pushes nobody out who waits.
    let other = begun("2").summary().unwrap();
    store.index(&other).await.unwrap();
    let waiting = Some(Status::Waiting);
    assert_eq!(listed(&store, waiting).await, [Status::Waiting]);
    let line = async |run: &Summary| {
        let lines = "flotilla:{index}:summaries";
        redis.field(lines, run.id.as_str()).await
    };
    assert_eq!(line(&other).await, None);

    (run.status, run.chain) = (Status::Parked, 2);
    store.index(&run).await.unwrap();
    assert_eq!(listed(&store, waiting).await, []);
    assert_eq!(listed(&store, Some(run.status)).await, [Status::Parked]);
    (run.status, run.chain) = (Status::Running, 3);
    store.index(&run).await.unwrap();
    assert_eq!(listed(&store, Some(Status::Parked)).await, []);
    assert_eq!(line(&run).await, None);
    // What has no line is not counted any more.
    assert!(store.counts(|_| true).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_claim_given_back_in_the_middle_counts_as_lost() {
    let redis = Redis::start().await;
    let store = Store::connect(&redis.url(), "a").await.unwrap();
    let lease = free(&store, "claim", LEASE).await;
    store.give_back(&lease, 1).await.unwrap();
    let again = free(&store, "claim", LEASE).await;
    assert_eq!((again.fence, again.lost), (2, 1));
}

#[tokio::test]
async fn an_emptied_redis_is_told_from_a_faster_planner() {
    let redis = Redis::start().await;
    let store = Store::connect(&redis.url(), "a").await.unwrap();
    let run = begun("1");
    let first = store.load(&run.id).await.unwrap().token;
    let saved = store.save(&run, &first).await.unwrap().unwrap();
    assert!(store.save(&run, &first).await.unwrap().is_none());
    assert!(!store.was_emptied(&run.id, &first).await.unwrap());
    redis.flush().await;
    assert!(store.was_emptied(&run.id, &saved).await.unwrap());
    assert!(store.load(&run.id).await.unwrap().run.is_none());
    assert!(store.was_emptied(&run.id, &saved).await.unwrap());
    assert!(store.save(&run, &saved).await.unwrap().is_none());
}
