//! The fleet's money against a real redis-server: whoever races at a ceiling, it holds.

use std::{sync::Arc, time::Duration};

use flotilla_common::{
    entry::{Account, Address, Body, Call, Decided, Decision, Kind},
    ids::{Name, RunId, StepKey},
    io::{
        bus::Bus,
        journal::Journal,
        money::{Hold, Money, Reserved, Wanted},
        store::Store,
        streams::ensure_streams,
    },
    money::Usd,
    run::{Ceiling, Link, Scope},
};
use flotilla_tests::{Nats, PATIENCE, Redis, eventually};
use jiff::Timestamp;
use tokio::sync::Barrier;

/// Long enough that no hold of a test lapses that should not.
const LEASE: Duration = Duration::from_secs(300);

pub(crate) struct Till {
    pub(crate) money: Money,
    pub(crate) run: RunId,
    pub(crate) step: Name,
    pub(crate) account: Account,
}

impl Till {
    pub(crate) async fn at(redis: &Redis) -> Self {
        let store = Store::connect(&redis.url(), "money").await.unwrap();
        let workflow: Name = "w".parse().unwrap();
        Self {
            money: Money::new(store, LEASE),
            run: RunId::derive(&workflow, "test", "1"),
            step: "s".parse().unwrap(),
            account: Account {
                tenant: "default".into(),
                workflow: "w".into(),
            },
        }
    }

    pub(crate) async fn reserve(&self, id: &str, ceilings: &[Ceiling], nano: u64) -> Reserved {
        self.reserve_as(id, ceilings, nano, false).await
    }

    pub(crate) async fn reserve_as(
        &self,
        id: &str,
        ceilings: &[Ceiling],
        nano: u64,
        item: bool,
    ) -> Reserved {
        let amount = Usd::from_nano(nano);
        eventually("an answer from Redis", PATIENCE, || async {
            let wanted = Wanted {
                id,
                run: &self.run,
                step: &self.step,
                account: &self.account,
                amount,
                item,
            };
            let reserved = self.money.reserve(&wanted, ceilings);
            reserved.await.map_err(|error| error.to_string())
        })
        .await
    }

    pub(crate) async fn hold(&self, id: &str, ceilings: &[Ceiling], nano: u64) -> Hold {
        held(self.reserve(id, ceilings, nano).await)
    }

    pub(crate) async fn settle(&self, hold: &Hold, nano: u64) {
        self.money.settle(hold, Usd::from_nano(nano)).await.unwrap();
    }
}

pub(crate) fn held(reserved: Reserved) -> Hold {
    match reserved {
        Reserved::Held(hold) => hold,
        other @ (Reserved::Full(_) | Reserved::Unknown) => panic!("not held: {other:?}"),
    }
}

pub(crate) fn ceiling(scope: Scope, limit: u64, spent: u64) -> Ceiling {
    Ceiling {
        scope,
        limit: Usd::from_nano(limit),
        spent: Usd::from_nano(spent),
    }
}

/// A small generator: the same every time for a seed.
fn random(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

/// A hundred at once, each with its own worst case, each cheaper in the end or as dear as it said; some are lost and never settle.
async fn race(till: &Arc<Till>, seed: u64) {
    const LIMIT: u64 = 10_000;
    let both = [
        ceiling(Scope::Run, LIMIT, 0),
        ceiling(Scope::Step, 3 * LIMIT, 0),
    ];
    let run = RunId::derive(&"w".parse().unwrap(), "race", &seed.to_string());
    let till = Arc::new(Till {
        money: till.money.clone(),
        run,
        step: till.step.clone(),
        account: till.account.clone(),
    });
    let start = Arc::new(Barrier::new(100));
    let racers = (0..100_u64).map(|racer| {
        let (till, start) = (Arc::clone(&till), Arc::clone(&start));
        tokio::spawn(async move {
            let mut seed = seed * 1_000 + racer;
            start.wait().await;
            let mut charged = 0;
            for turn in 0..5 {
                let worst = 1 + random(&mut seed) % 900;
                let id = format!("{seed}.{racer}.{turn}");
                let Reserved::Held(hold) = till.reserve(&id, &both, worst).await else {
                    continue;
                };
                if random(&mut seed).is_multiple_of(10) {
                    // Its planner is lost: it may have cost all of it.
                    charged += worst;
                    continue;
                }
                let cost = random(&mut seed) % (worst + 1);
                till.settle(&hold, cost).await;
                // An answer that got lost is asked for again.
                till.settle(&hold, cost).await;
                charged += cost;
            }
            charged
        })
    });
    let mut charged = 0;
    for racer in racers.collect::<Vec<_>>() {
        charged += racer.await.unwrap();
    }
    assert!(charged <= LIMIT, "seed {seed}: {charged} of {LIMIT}");
    assert!(
        charged > LIMIT / 2,
        "seed {seed}: only {charged} were spent"
    );
    // What the counter says is what was charged: what is left can be had to the last nano-dollar, and no more.
    let left = LIMIT - charged;
    let over = till.reserve("over", &both, left + 1).await;
    assert!(matches!(over, Reserved::Full(_)), "seed {seed}: {over:?}");
    if left > 0 {
        till.hold("rest", &both, left).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_racing_at_a_ceiling_never_pass_it() {
    let redis = Redis::start().await;
    let till = Arc::new(Till::at(&redis).await);
    for seed in 0..30 {
        race(&till, seed).await;
    }
}

#[tokio::test]
async fn what_others_only_hold_is_waited_for_and_what_is_spent_is_not() {
    let redis = Redis::start().await;
    let till = Till::at(&redis).await;
    let run = [ceiling(Scope::Run, 100, 10)];
    let first = till.hold("a", &run, 60).await;
    let Reserved::Full(full) = till.reserve("b", &run, 60).await else {
        panic!("there is not enough for both");
    };
    assert!(full.passing);
    assert_eq!((full.spent.nano(), full.held.nano()), (10, 60));
    till.settle(&first, 20).await;
    let second = till.hold("b", &run, 60).await;
    till.settle(&second, 60).await;
    let Reserved::Full(full) = till.reserve("c", &run, 20).await else {
        panic!("90 of 100 are spent");
    };
    assert!(!full.passing, "waiting does not help");
    // Raised, it goes on.
    till.hold("c", &[ceiling(Scope::Run, 120, 90)], 20).await;
}

#[tokio::test]
async fn a_hold_whose_planner_was_lost_counts_as_spent_until_it_is_settled() {
    let redis = Redis::start().await;
    let mut till = Till::at(&redis).await;
    let run = [ceiling(Scope::Run, 100, 0)];
    let alive = till.hold("alive", &run, 30).await;
    let store = Store::connect(&redis.url(), "short").await.unwrap();
    let long = std::mem::replace(&mut till.money, Money::new(store, Duration::from_millis(1)));
    let lost = till.hold("lost", &run, 60).await;
    till.money = long;
    let full = eventually("it lapses", PATIENCE, || async {
        match till.reserve("next", &run, 50).await {
            Reserved::Full(full) if full.spent.nano() == 60 => Ok(full),
            other @ (Reserved::Held(_) | Reserved::Full(_) | Reserved::Unknown) => {
                Err(format!("{other:?}"))
            }
        }
    })
    .await;
    assert_eq!(
        (full.held.nano(), full.passing),
        (30, false),
        "waiting does not help"
    );
    till.settle(&lost, 5).await;
    till.settle(&alive, 30).await;
    till.hold("next", &run, 65).await;
    let over = till.reserve("over", &run, 1).await;
    assert!(matches!(over, Reserved::Full(_)), "{over:?}");
}

#[tokio::test]
async fn a_day_that_redis_lost_is_summed_up_from_the_journal_with_what_is_in_flight() {
    let (nats, mut redis) = tokio::join!(Nats::start(), Redis::start());
    let bus = Bus::connect(&nats.url(), "money").await.unwrap();
    ensure_streams(&bus).await.unwrap();
    let journal = Journal::new(bus);
    let till = Till::at(&redis).await;
    let day = [ceiling(Scope::WorkflowDay, 1_000, 0)];
    // Nobody knows what was spent before; an empty journal has nothing in flight, so that nothing is waited for.
    let long = Duration::from_secs(600);
    sum_up(&till, &journal, "a", &day, long).await;
    let settled = till.hold("a", &day, 300).await;
    till.settle(&settled, 200).await;
    decide(&journal, &till, 200).await;
    let in_flight = till.hold("b", &day, 500).await;

    redis.flush().await;
    till.money.hold_again(&in_flight).await.unwrap();
    till.money.hold_again(&in_flight).await.unwrap();
    sum_up(&till, &journal, "c", &day, Duration::ZERO).await;
    let workflow: Name = "w".parse().unwrap();
    let today = till.money.of_workflow_today(&workflow).await.unwrap();
    let seen = (today.spent.nano(), today.held.nano(), today.complete);
    assert_eq!(seen, (200, 500, true));
    let over = till.reserve("c", &day, 301).await;
    assert!(
        matches!(over, Reserved::Full(full) if full.passing),
        "{over:?}"
    );
    till.hold("d", &day, 300).await;

    // The journal's costs are in its tenant's counter too.
    let tenant = [ceiling(Scope::TenantDay, 250, 0)];
    let over = till.reserve("t", &tenant, 51).await;
    assert!(
        matches!(over, Reserved::Full(full) if full.spent.nano() == 200),
        "{over:?}"
    );
    // Somebody else's first ceiling: the day is known, and so it is that nothing was spent.
    let mut other = Till::at(&redis).await;
    other.account.tenant = "acme".into();
    other.hold("o", &tenant, 250).await;
    // What is spent without a ceiling is charged all the same: one that is set later knows it.
    let free = other.hold("f", &[], 70).await;
    other.settle(&free, 70).await;
    other.money.finish().await.unwrap();
    let workflow = other
        .reserve("w", &[ceiling(Scope::WorkflowDay, 1_069, 0)], 1)
        .await;
    assert!(
        matches!(workflow, Reserved::Full(full) if full.spent.nano() == 270),
        "{workflow:?}"
    );

    redis.restart().await;
    let over = till.reserve("e", &day, 1).await;
    assert!(
        matches!(over, Reserved::Unknown),
        "what a restart lost is not known: {over:?}"
    );
}

pub(crate) async fn sum_up(
    till: &Till,
    journal: &Journal,
    id: &str,
    day: &[Ceiling],
    grace: Duration,
) {
    let before = till.reserve(id, day, 1).await;
    assert!(matches!(before, Reserved::Unknown), "{before:?}");
    till.money.sum_up(journal, grace).await.unwrap();
}

/// A decision on the journal that cost so much.
async fn decide(journal: &Journal, till: &Till, nano: u64) {
    let call = Call {
        model: "m".into(),
        asked: String::new(),
        menu: Vec::new(),
        request_id: None,
        batch: None,
        prompt: String::new(),
        attempts: Vec::new(),
        fallbacks: Vec::new(),
        usage: flotilla_common::claude::Usage::default(),
        usd_nano: Usd::from_nano(nano),
        took_ms: 1,
        heard: 0,
        wasted: 0,
        wasted_usd_nano: Usd::default(),
        items: Vec::new(),
        account: till.account.clone(),
    };
    let answer = Decision::Answer {
        output: "yes".into(),
    };
    append(journal, till, answer, Some(call)).await;
}

pub(crate) async fn append(journal: &Journal, till: &Till, decision: Decision, call: Option<Call>) {
    let name = decision.name().unwrap();
    let decided = Decided {
        step: StepKey::step(&till.step),
        branch: 0,
        decision,
        reasoning: None,
        confidence: None,
        call,
        prev: String::new(),
        rests: Vec::new(),
    };
    let body = Body::Decided(Box::new(decided));
    let address = Address {
        run: till.run.clone(),
        kind: Kind::Decided,
        name,
    };
    let payload = body.encode(Timestamp::now()).unwrap();
    let link = Link { address, payload };
    journal.append(&till.run, &[link], 0).await.unwrap();
}
