//! The gate of fleet-wide limits, in several processes' places, against a real redis-server.

use std::{
    task::{Context, Poll, Waker},
    time::Duration,
};

use flotilla_common::{
    io::{
        limiter::{Limiter, LimiterConfig, Outcome, Refused, Ticket},
        store::Store,
    },
    limit::{Flow, Limits, Observed, Reason, Scope, Seen, Want},
};
use flotilla_tests::{PATIENCE, Redis, eventually};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

fn flow(tenant: &str, workflow: &str) -> Flow {
    Flow {
        tenant: tenant.parse().unwrap(),
        workflow: workflow.parse().unwrap(),
    }
}

fn requests(limit: u64) -> Limits {
    Limits {
        requests: Some(limit),
        ..Limits::default()
    }
}

fn told(limit: u64) -> Observed {
    Observed {
        requests: Seen {
            limit: Some(limit),
            remaining: None,
        },
        ..Observed::default()
    }
}

const WISH: Want = Want {
    input_estimate: 100,
    output_max: 100,
};

fn scope() -> Scope {
    Scope::claude("family")
}

fn configured(limits: Limits) -> LimiterConfig {
    LimiterConfig {
        configured: [(scope(), limits)].into(),
        ..LimiterConfig::default()
    }
}

/// A process of the fleet.
async fn process(redis: &Redis, name: &str, config: LimiterConfig) -> Limiter {
    let store = Store::connect(&redis.url(), name).await.unwrap();
    Limiter::new(&store, config)
}

async fn enter(limiter: &Limiter, flow: &Flow, wait: Duration) -> Result<Ticket, Refused> {
    let stop = CancellationToken::new();
    let deadline = Instant::now() + wait;
    limiter.enter(&scope(), flow, WISH, &stop, deadline).await
}

fn outcome(headers: Option<Observed>) -> Outcome {
    Outcome {
        input: 10,
        output: 10,
        headers,
    }
}

/// How many scripts Redis has run.
async fn scripts_run(redis: &Redis) -> u64 {
    let mut connection = redis.connection().await;
    let stats: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(&mut connection)
        .await
        .unwrap();
    let calls = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="))
        .and_then(|rest| rest.split(',').next());
    calls.map_or(0, |calls| calls.parse().unwrap())
}

#[tokio::test]
async fn what_one_process_learns_the_others_keep_to() {
    let redis = Redis::start().await;
    let a = process(&redis, "a", LimiterConfig::default()).await;
    let b = process(&redis, "b", configured(requests(6_000))).await;
    let flow = flow("t", "w");
    let ticket = enter(&a, &flow, PATIENCE).await.unwrap();
    a.settle(ticket, outcome(Some(told(2_400)))).await;
    assert_eq!(b.snapshot(&scope()).await.standing.limits, requests(2_400));
    let ticket = enter(&b, &flow, PATIENCE).await.unwrap();
    b.settle(ticket, outcome(Some(told(12_000)))).await;
    let snapshot = b.snapshot(&scope()).await;
    assert_eq!(snapshot.standing.limits, requests(6_000));
    assert_eq!((snapshot.degraded, snapshot.standing.fleet), (false, 2));
    assert_eq!((snapshot.standing.tenants, snapshot.standing.flows), (1, 1));
}

#[tokio::test]
async fn two_processes_together_stay_below_the_limit() {
    let redis = Redis::start().await;
    let (begun, mut calls) = (Instant::now(), Vec::new());
    for name in ["a", "b"] {
        let limiter = process(&redis, name, configured(requests(6_000))).await;
        for number in 0..50 {
            let limiter = limiter.clone();
            calls.push(tokio::spawn(async move {
                let flow = flow("t", &format!("w{}", number % 3));
                let ticket = enter(&limiter, &flow, PATIENCE).await.unwrap();
                let at = Instant::now();
                limiter.settle(ticket, outcome(None)).await;
                at
            }));
        }
    }
    let mut granted = Vec::new();
    for call in calls {
        granted.push(call.await.unwrap());
    }
    granted.sort();
    // A cold scope begins at a quarter, 25 a second, with half a second of it at once and one in debt.
    let first = |at: &&Instant| **at - begun < Duration::from_secs(5);
    for (before, at) in granted.iter().filter(first).enumerate() {
        let most = 25.0 * (*at - begun).as_secs_f64() + 12.5 + 1.0;
        assert!(before as f64 <= most, "{before} in {:?}", *at - begun);
    }
    assert_eq!(granted.len(), 100);
}

#[tokio::test]
async fn a_429_in_one_process_stops_the_others_and_says_why() {
    let redis = Redis::start().await;
    let a = process(&redis, "a", configured(requests(6_000))).await;
    let b = process(&redis, "b", configured(requests(6_000))).await;
    let flow = flow("t", "w");
    let ticket = enter(&a, &flow, PATIENCE).await.unwrap();
    a.give_back(ticket).await;
    let long = Some(Duration::from_secs(300));
    a.limited(&scope(), long, Observed::default()).await;
    let mut waiting = Vec::new();
    let before = scripts_run(&redis).await;
    for _ in 0..2_000 {
        let (b, flow) = (b.clone(), flow.clone());
        waiting.push(tokio::spawn(async move {
            enter(&b, &flow, Duration::from_secs(1)).await.unwrap_err()
        }));
    }
    let mut blocked = 0;
    for waiting in waiting {
        match waiting.await.unwrap() {
            Refused::Deadline { why } => blocked += u32::from(why == Some(Reason::Blocked)),
            Refused::Stopping => panic!("nobody stops"),
        }
    }
    assert!(
        (1..100).contains(&blocked),
        "only the front asks: {blocked}"
    );
    let asked = scripts_run(&redis).await - before;
    assert!(asked <= 20, "{asked} questions for 2,000 that wait");
}

#[tokio::test]
async fn without_limits_thousands_of_calls_ask_a_few_times() {
    let redis = Redis::start().await;
    let a = process(&redis, "a", LimiterConfig::default()).await;
    let flow = flow("t", "w");
    let first = enter(&a, &flow, PATIENCE).await.unwrap();
    a.settle(first, outcome(Some(Observed::default()))).await;
    let before = scripts_run(&redis).await;
    for _ in 0..5_000 {
        let ticket = enter(&a, &flow, PATIENCE).await.unwrap();
        a.settle(ticket, outcome(Some(Observed::default()))).await;
    }
    let asked = scripts_run(&redis).await - before;
    assert!(asked < 500, "{asked} questions for 5,000 calls");
}

#[tokio::test]
async fn an_overload_ends_that_there_are_no_limits_for_every_process() {
    let redis = Redis::start().await;
    let a = process(&redis, "a", LimiterConfig::default()).await;
    let b = process(&redis, "b", LimiterConfig::default()).await;
    let flow = flow("t", "w");
    for _ in 0..3 {
        let ticket = enter(&a, &flow, PATIENCE).await.unwrap();
        a.settle(ticket, outcome(Some(Observed::default()))).await;
    }
    assert!(a.snapshot(&scope()).await.standing.unlimited);
    b.overloaded(&scope()).await;
    let cap = b.snapshot(&scope()).await.standing.cap_per_s;
    assert!(cap.is_some_and(|cap| cap >= 0.5), "{cap:?}");
    eventually(
        "the other process is held back too",
        PATIENCE,
        async || match enter(&a, &flow, Duration::from_millis(100)).await {
            Err(Refused::Deadline {
                why: Some(Reason::Ramp),
            }) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
}

#[tokio::test]
async fn callers_that_go_away_leave_nothing_reserved() {
    let redis = Redis::start().await;
    // Tokens come back at two a second: what leaked would be missing for minutes.
    let slow = Limits {
        requests: Some(60_000),
        input: Some(120_000),
        output: None,
    };
    let config = LimiterConfig {
        burst: Duration::from_secs(60),
        ..configured(slow)
    };
    let limiter = process(&redis, "a", config).await;
    let mut gone = 0;
    for polls in 0..200 {
        let flow = flow("t", &format!("w{}", polls % 10));
        let mut call = Box::pin(enter(&limiter, &flow, PATIENCE));
        for _ in 0..polls % 20 {
            let mut context = Context::from_waker(Waker::noop());
            if let Poll::Ready(ticket) = call.as_mut().poll(&mut context) {
                limiter.give_back(ticket.unwrap()).await;
                break;
            }
            tokio::task::yield_now().await;
        }
        gone += 1;
    }
    limiter.finish().await;
    let requests = limiter.snapshot(&scope()).await.standing.levels.requests;
    assert!(
        gone == 200 && requests.is_some_and(|left| left >= 59_999.0),
        "{requests:?}"
    );
}

#[tokio::test]
async fn a_process_that_stops_waits_no_longer() {
    let redis = Redis::start().await;
    let limiter = process(&redis, "a", configured(requests(60))).await;
    let scope = scope();
    limiter
        .limited(&scope, Some(Duration::from_secs(300)), Observed::default())
        .await;
    let (stop, flow) = (CancellationToken::new(), flow("t", "w"));
    let waiting = limiter.enter(&scope, &flow, WISH, &stop, Instant::now() + PATIENCE);
    let (refused, ()) = tokio::join!(waiting, async { stop.cancel() });
    assert_eq!(refused.unwrap_err(), Refused::Stopping);
}

#[tokio::test]
async fn without_redis_a_process_goes_on_with_its_part_and_returns_to_the_fleet() {
    let mut redis = Redis::start().await;
    let limiter = process(&redis, "a", configured(requests(6_000))).await;
    let flow = flow("t", "w");
    let ticket = enter(&limiter, &flow, PATIENCE).await.unwrap();
    redis.kill();
    limiter.settle(ticket, outcome(Some(told(2_400)))).await;
    for _ in 0..20 {
        let ticket = enter(&limiter, &flow, PATIENCE).await.unwrap();
        limiter.settle(ticket, outcome(None)).await;
    }
    limiter
        .limited(&scope(), Some(Duration::from_secs(2)), Observed::default())
        .await;
    let refused = enter(&limiter, &flow, Duration::from_millis(500)).await;
    let blocked = Some(Reason::Blocked);
    assert_eq!(
        refused.unwrap_err(),
        Refused::Deadline { why: blocked },
        "a 429 holds here at least"
    );
    let snapshot = limiter.snapshot(&scope()).await;
    assert!(snapshot.degraded);
    assert_eq!(
        snapshot.standing.limits,
        requests(2_400),
        "what was heard meanwhile counts"
    );
    redis.restart().await;
    eventually(
        "the fleet's limits are shared again",
        PATIENCE,
        async || {
            let ticket = enter(&limiter, &flow, PATIENCE).await.unwrap();
            limiter.give_back(ticket).await;
            let snapshot = limiter.snapshot(&scope()).await;
            if !snapshot.degraded && snapshot.standing.fleet == 1 {
                Ok(())
            } else {
                Err(snapshot)
            }
        },
    )
    .await;
}
