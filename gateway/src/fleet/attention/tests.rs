//! Every reason to look, alone: the fleet that is well gives none.

use flotilla_common::{breaker::Forced, io::queues::Queue};

use super::*;
use crate::fleet::view::{Breaker, Health, Tool, Worker};

fn worker(role: Role, state: Standing) -> Worker {
    Worker {
        role,
        worker: format!("{role}-1"),
        host: "h".into(),
        pid: 1,
        version: "0.1.0".into(),
        started_at: Timestamp::UNIX_EPOCH,
        state,
        silent_seconds: 9,
        slots: Some(1),
        in_work: 0,
        rss_bytes: 0,
        cpu_ms: 0,
        claude_in_flight: None,
        limiter_degraded: None,
        requests: None,
    }
}

fn tool() -> Tool {
    Tool {
        name: "df".parse().unwrap(),
        breaker: State::Closed,
        forced: None,
        why: None,
        switched_off: false,
        waiting: Some(0),
        in_hand: Some(0),
        executors: vec!["executor-1".into()],
    }
}

fn queue() -> Queue {
    Queue {
        consumer: "planner".into(),
        stream: "RUNS",
        pending: 5,
        in_flight: 3,
        redelivered: 0,
        waiting_pulls: 1,
        oldest_seconds: Some(1),
        reached: (9, 6),
    }
}

/// A fleet that is well.
fn well() -> (Fleet, Besides) {
    let fleet = Fleet {
        workers: vec![worker(Role::Planner, Standing::Active)],
        tools: vec![tool()],
        queues: vec![queue()],
        dead_letters: Some(0),
        ..Fleet::default()
    };
    let besides = Besides {
        listened: true,
        ..Besides::default()
    };
    (fleet, besides)
}

/// What is found when one thing is otherwise.
fn found(change: impl FnOnce(&mut Fleet, &mut Besides)) -> Vec<(Severity, Kind, String)> {
    let (mut fleet, mut besides) = well();
    change(&mut fleet, &mut besides);
    let found = attention(&fleet, &besides).into_iter();
    found
        .map(|one| (one.severity, one.kind, one.text))
        .collect()
}

#[track_caller]
fn is_one(found: &[(Severity, Kind, String)], severity: Severity, kind: Kind, words: &str) {
    let [(how_bad, what, text)] = found else {
        panic!("one thing: {found:?}");
    };
    assert_eq!((*how_bad, *what), (severity, kind), "{text}");
    assert!(text.contains(words), "{text}");
}

#[test]
fn a_fleet_that_is_well_needs_nobody() {
    assert_eq!(found(|_, _| {}), []);
}

fn open_of(model: &str) -> Breaker {
    Breaker {
        model: model.into(),
        worker: "planner-1".into(),
        state: State::Open,
        left_ms: None,
        why: Some("529".into()),
    }
}

#[test]
fn an_open_breaker_is_named_with_its_reason() {
    let open = open_of("sonnet");
    let twice = found(|fleet, _| fleet.breakers = vec![open.clone(), open]);
    is_one(
        &twice,
        Severity::Critical,
        Kind::Breaker,
        "sonnet is open in 2 planner(s): 529",
    );
    let probing = found(|fleet, _| {
        fleet.breakers = vec![Breaker {
            state: State::HalfOpen,
            ..open_of("haiku")
        }];
    });
    is_one(
        &probing,
        Severity::Warning,
        Kind::Breaker,
        "haiku tries again",
    );
    let of_tool = found(|fleet, _| {
        fleet.tools[0].breaker = State::Open;
        fleet.tools[0].why = Some("refused".into());
    });
    is_one(
        &of_tool,
        Severity::Critical,
        Kind::Breaker,
        "tool df is open: refused",
    );
    let forced = found(|fleet, _| {
        fleet.tools[0].breaker = State::Open;
        fleet.tools[0].forced = Some(Forced::Open);
    });
    is_one(
        &forced,
        Severity::Critical,
        Kind::Breaker,
        "a person decided so",
    );
}

#[test]
fn a_tool_that_nobody_has_matters_while_something_waits_for_it() {
    assert_eq!(found(|fleet, _| fleet.tools[0].executors.clear()), []);
    let waits = found(|fleet, _| {
        fleet.tools[0].executors.clear();
        fleet.tools[0].waiting = Some(2);
    });
    is_one(
        &waits,
        Severity::Critical,
        Kind::NoExecutor,
        "tool df: 2 decision(s)",
    );
}

#[test]
fn a_fleet_without_planners_is_told_once_they_could_have_been_heard() {
    let gone = found(|fleet, _| fleet.workers[0].state = Standing::Gone);
    is_one(&gone, Severity::Critical, Kind::NoPlanner, "no planner");
    let early = found(|fleet, besides| {
        fleet.workers.clear();
        besides.listened = false;
    });
    assert_eq!(early, []);
}

#[test]
fn a_lost_worker_and_one_without_the_fleets_limits_are_told() {
    let lost = found(|fleet, _| {
        fleet.workers.push(worker(Role::Executor, Standing::Lost));
    });
    is_one(
        &lost,
        Severity::Warning,
        Kind::Lost,
        "executor executor-1 on h was heard last 9 s ago",
    );
    let alone = found(|fleet, _| fleet.workers[0].limiter_degraded = Some(true));
    is_one(
        &alone,
        Severity::Warning,
        Kind::Limiter,
        "planner-1 cannot reach",
    );
}

#[test]
fn what_waits_for_more_than_a_minute_is_told() {
    let at = |seconds| found(|fleet, _| fleet.queues[0].oldest_seconds = Some(seconds));
    assert_eq!(at(60), []);
    is_one(
        &at(61),
        Severity::Warning,
        Kind::Waiting,
        "5 message(s) wait for consumer planner of RUNS, the oldest for 61 s",
    );
}

#[test]
fn a_budget_is_told_from_four_fifths_on_and_to_its_tenant_alone() {
    let spent = |spent| {
        found(|_, besides| {
            besides.budgets = vec![Budget {
                whose: "tenant acme".into(),
                tenant: Some("acme".into()),
                limit: Usd::from_nano(100),
                spent: Usd::from_nano(spent),
            }];
        })
    };
    assert_eq!(spent(79), []);
    is_one(&spent(80), Severity::Warning, Kind::Budget, "tenant acme");
    is_one(&spent(100), Severity::Critical, Kind::Budget, "tenant acme");
    let mut line = note(Severity::Warning, Kind::Budget, String::new(), "");
    line.tenant = Some("acme".into());
    let caller = |tenant: &str| Caller {
        tenant: Some(tenant.parse().unwrap()),
        ..Caller::anyone()
    };
    assert!(line.is_seen_by(&caller("acme")) && !line.is_seen_by(&caller("other")));
}

#[test]
fn dead_letters_parked_runs_switches_and_rollouts_are_told() {
    let letters = found(|fleet, _| fleet.dead_letters = Some(3));
    is_one(
        &letters,
        Severity::Warning,
        Kind::DeadLetters,
        "3 dead letter(s)",
    );
    let why = why_parked(ParkedBy::Ceiling).unwrap();
    let parked = found(|_, besides| besides.parked = BTreeMap::from([(why, 4)]));
    is_one(
        &parked,
        Severity::Warning,
        Kind::Parked,
        "4 run(s) are parked: a ceiling",
    );
    assert_eq!(
        (why_parked(ParkedBy::Batch), why_parked(ParkedBy::Dead)),
        (None, None)
    );
    let off = found(|_, besides| {
        besides.off = vec![Off {
            what: "tool `df`".into(),
            since: Timestamp::UNIX_EPOCH,
            reason: None,
        }];
    });
    is_one(
        &off,
        Severity::Info,
        Kind::SwitchedOff,
        "tool `df` is switched off",
    );
    let rollout = found(|_, besides| {
        besides.candidates = vec![("triage".into(), 4, "10%".into())];
    });
    is_one(
        &rollout,
        Severity::Info,
        Kind::Rollout,
        "10% of new runs of triage get its candidate, version 4",
    );
}

#[test]
fn what_the_fleet_rests_on_is_told_when_it_is_down_and_the_worst_comes_first() {
    let down = found(|fleet, besides| {
        fleet.health = Health {
            redis: Dot::Down,
            why: BTreeMap::from([("redis", "refused".to_owned())]),
            ..Health::default()
        };
        besides.candidates = vec![("a".into(), 1, "1%".into())];
        fleet.dead_letters = Some(1);
    });
    let kinds: Vec<Kind> = down.iter().map(|(_, kind, _)| *kind).collect();
    assert_eq!(kinds, [Kind::Health, Kind::DeadLetters, Kind::Rollout]);
    assert!(down[0].2.contains("refused"), "{}", down[0].2);
}
