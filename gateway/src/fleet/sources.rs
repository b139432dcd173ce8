//! One look: everything is asked at once, and what does not answer is missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use flotilla_common::{
    beat::{LOST_AFTER, Role, Standing, Worker as Heard},
    breaker::State,
    definition::Switched,
    entry::ParkedBy,
    ids::Name,
    io::{
        ceilings::Payer,
        clock,
        journal::JournalError,
        limiter::Snapshot,
        queues::{Queue, QueuesError, decisions, queues},
        schedules::Schedules,
        store::StoreError,
        telemetry::metric,
        tools::{Told, ToolState},
    },
    limit::Scope,
    names::consumer,
    run::Status,
};
use futures_util::{StreamExt as _, stream};
use metrics::gauge;
use tokio::time::timeout;

use super::{
    attention::{Besides, Budget, Off, attention, why_parked},
    view::{Breaker, Dot, Due, Fleet, Health, Tool, Worker},
};
use crate::{ceilings, routes::App, stats::view::active};

/// How long a look waits for each answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Parked runs that are looked at for what keeps them: the newest.
const PARKED_MAX: usize = 500;
/// What keeps runs that somebody should look at.
const STUCK: [ParkedBy; 3] = [ParkedBy::Ceiling, ParkedBy::Unavailable, ParkedBy::Blocked];
/// Schedules that are asked for at once, and in one look.
const SCHEDULES_AT_ONCE: usize = 8;
const SCHEDULES_MAX: usize = 500;

/// What could not be asked, and why.
type Missing = BTreeMap<&'static str, String>;

/// What is asked, in time.
async fn in_time<T, E: std::fmt::Display>(
    question: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match timeout(PATIENCE, question).await {
        Ok(answer) => answer.map_err(|problem| problem.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

fn known<T: Default>(missing: &mut Missing, what: &'static str, asked: Result<T, String>) -> T {
    asked.unwrap_or_else(|problem| {
        missing.insert(what, problem);
        T::default()
    })
}

/// Looks at everything.
pub(super) async fn look(app: &App) -> Fleet {
    let bus = app.journal.bus();
    let (queued, letters, told, redis, due, limits) = tokio::join!(
        in_time(Box::pin(queues(bus))),
        in_time(Box::pin(app.post.letters.state())),
        in_time(Box::pin(app.tools.list())),
        in_time(Box::pin(of_redis(app))),
        in_time(Box::pin(cron(app))),
        Box::pin(limits(app)),
    );
    let mut missing = Missing::new();
    let heard = app.fleet.heard.workers();
    let queues = known(&mut missing, "queues", queued);
    let told = known(&mut missing, "tools", told);
    let mut tools = tool_lines(app, &told, &queues, &heard);
    if !missing.contains_key("queues") {
        let counted = in_time(Box::pin(count_undelivered(app, &mut tools))).await;
        known(&mut missing, "tools", counted);
    }
    let mut besides = Besides {
        listened: app.fleet.heard.since() > LOST_AFTER,
        ..Besides::default()
    };
    of_definitions(app, &mut besides);
    match Box::pin(ceilings::everything(app)).await {
        Ok(listed) => {
            app.fleet.show_budgets(&listed);
            besides.budgets = budgets(&listed);
        }
        Err(problem) => drop(missing.insert("ceilings", problem.detail)),
    }
    let redis_answers = redis.as_ref().err().cloned();
    let of_redis = known(&mut missing, "runs", redis);
    besides.parked = of_redis.parked;
    let mut fleet = Fleet {
        at: clock::now(),
        workers: heard.iter().map(Worker::from).collect(),
        tools,
        queues,
        limits,
        breakers: breakers(&heard),
        cron: known(&mut missing, "cron", due),
        active: of_redis.active,
        dead_letters: letters
            .map_err(|problem| missing.insert("dead_letters", problem))
            .ok()
            .map(|(letters, _)| letters),
        attention: Vec::new(),
        health: Health::default(),
        missing,
    };
    fleet.health = health(bus.is_connected(), redis_answers, &heard);
    fleet.attention = attention(&fleet, &besides);
    fleet
}

/// What Redis says of runs.
#[derive(Debug, Default)]
struct OfRedis {
    active: Option<crate::stats::view::Active>,
    parked: BTreeMap<&'static str, u64>,
}

async fn of_redis(app: &App) -> Result<OfRedis, StoreError> {
    let place = app.ledger.place().await?;
    let resting = app.store.resting().await?;
    let parked = Some(Status::Parked);
    let page = app.store.list(parked, None, PARKED_MAX).await?;
    let mut parked = BTreeMap::new();
    let mut stuck = BTreeMap::from(STUCK.map(|by| (by.to_string(), 0_u32)));
    let lines = page.lines.into_iter().filter_map(|line| line.summary);
    for by in lines.filter_map(|run| run.parked_by) {
        if let Some(why) = why_parked(by) {
            *parked.entry(why).or_default() += 1;
            *stuck.entry(by.to_string()).or_default() += 1;
        }
    }
    for (by, runs) in stuck {
        gauge!(metric::RUNS_STUCK, "by" => by).set(f64::from(runs));
    }
    let open = place.started.saturating_sub(place.ended);
    Ok(OfRedis {
        active: place.current.then(|| active(open, &resting)),
        parked,
    })
}

fn tool_lines(app: &App, told: &Told, queues: &[Queue], heard: &[Heard]) -> Vec<Tool> {
    let catalogue = app.current.catalogue();
    let names = catalogue.tools.iter().map(|tool| tool.name.clone());
    let names: BTreeSet<Name> = names.collect();
    let is_there = |worker: &str| {
        // Its beats are names for the same process; of one that was not heard yet, what it said of the tool counts.
        let own = heard
            .iter()
            .find(|one| one.beat.role == Role::Executor && one.beat.worker == worker);
        own.is_none_or(|one| one.standing.is_there())
    };
    let lines = names.into_iter().map(|name| {
        let states: Vec<&ToolState> = told
            .states
            .iter()
            .filter(|state| state.tool == name && is_there(&state.worker))
            .collect();
        let mut versions = states.iter().flat_map(|state| &state.versions);
        let forced = told.forced.get(&name).map(|said| said.state);
        let queue = consumer::tool(&name);
        let queue = queues.iter().find(|one| one.consumer == queue);
        Tool {
            breaker: told.breaker(&name, &states),
            forced,
            why: versions.find_map(|version| version.why.clone()),
            switched_off: catalogue.switches().iter().any(|(what, _)| match what {
                Switched::Tool { name: off, .. } => *off == name,
                Switched::Step { .. } => false,
            }),
            waiting: queue.map(|queue| queue.pending),
            in_hand: queue.map(|queue| queue.in_flight),
            executors: states.iter().map(|state| state.worker.clone()).collect(),
            name,
        }
    });
    lines.collect()
}

/// What waits for tools that no executor ever had: there is no consumer that could say.
async fn count_undelivered(app: &App, tools: &mut [Tool]) -> Result<(), QueuesError> {
    let bus = app.journal.bus();
    for tool in tools.iter_mut().filter(|tool| tool.waiting.is_none()) {
        tool.waiting = Some(decisions(bus, &tool.name).await?);
        tool.in_hand = Some(0);
    }
    Ok(())
}

fn breakers(heard: &[Heard]) -> Vec<Breaker> {
    let mut lines: Vec<Breaker> = there(heard)
        .flat_map(|one| {
            let claude = one.beat.claude.iter();
            claude.flat_map(|claude| {
                claude.breakers.iter().map(|(model, breaker)| Breaker {
                    model: model.clone(),
                    worker: one.beat.worker.clone(),
                    state: breaker.state,
                    left_ms: breaker.left_ms,
                    why: breaker.why.clone(),
                })
            })
        })
        .collect();
    lines.sort_by(|left, right| (&left.model, &left.worker).cmp(&(&right.model, &right.worker)));
    lines
}

fn there(heard: &[Heard]) -> impl Iterator<Item = &Heard> {
    heard.iter().filter(|one| one.standing.is_there())
}

/// Where the fleet's rate limits stand, of those that anything is known of.
async fn limits(app: &App) -> Vec<Snapshot> {
    let families = app.definitions.families();
    let snapshots = stream::iter(families)
        .map(|family| async move { app.fleet.limiter.snapshot(&Scope::claude(&family)).await })
        .buffered(SCHEDULES_AT_ONCE);
    let told = snapshots.filter(|snapshot| {
        let is_known = snapshot.standing.is_known();
        async move { is_known }
    });
    told.collect().await
}

async fn cron(app: &App) -> Result<Vec<Due>, JournalError> {
    let schedules = Schedules::new(app.journal.clone());
    let triggers = app.current.triggers();
    let names = triggers.by_clock().keys().take(SCHEDULES_MAX).cloned();
    let names: Vec<Name> = names.collect();
    let schedules = &schedules;
    let asked = stream::iter(names)
        .map(|name| async move { schedules.pending(&name).await })
        .buffered(SCHEDULES_AT_ONCE);
    let answers: Vec<_> = asked.collect().await;
    let mut lines = Vec::new();
    for answer in answers {
        lines.extend(answer?.and_then(|pending| pending.due).map(|due| Due {
            workflow: due.workflow,
            next: due.due,
            cron: due.cron,
            timezone: due.timezone,
        }));
    }
    Ok(lines)
}

fn budgets(listed: &ceilings::Listed) -> Vec<Budget> {
    let lines = listed.ceilings.iter().filter_map(|line| {
        Some(Budget {
            whose: format!("{} {}", line.scope, line.name),
            tenant: (line.scope == Payer::Tenant).then(|| line.name.clone()),
            limit: line.usd_nano?,
            spent: line.spent_usd_nano?,
        })
    });
    lines.collect()
}

fn of_definitions(app: &App, besides: &mut Besides) {
    let catalogue = app.current.catalogue();
    let off = catalogue.switches().iter().map(|(what, switch)| Off {
        what: what.to_string(),
        since: switch.off_since,
        reason: switch.reason.clone(),
    });
    besides.off = off.collect();
    let candidates = catalogue.active().filter_map(|(name, active)| {
        let candidate = active.candidate.as_ref()?;
        let percent = candidate.percent.to_string();
        Some((name.to_string(), candidate.version.version, percent))
    });
    besides.candidates = candidates.collect();
}

/// How what the fleet rests on is.
fn health(nats: bool, redis: Option<String>, heard: &[Heard]) -> Health {
    let mut why = BTreeMap::new();
    if !nats {
        why.insert("nats", "this gateway is not connected to it".to_owned());
    }
    let answers = redis.is_none();
    why.extend(redis.map(|problem| ("redis", problem)));
    let planners = || there(heard).filter(|one| one.beat.role == Role::Planner);
    let models = planners().flat_map(|one| one.beat.claude.iter().flat_map(|it| &it.breakers));
    let (open, closed): (Vec<_>, Vec<_>) =
        models.partition(|(_, breaker)| breaker.state != State::Closed);
    let claude = match (planners().next(), open.first()) {
        (None, _) => Dot::Unknown,
        (Some(_), None) => Dot::Ok,
        (Some(_), Some((model, breaker))) => {
            let told = breaker.why.as_deref().unwrap_or("no reason told");
            why.insert("claude", format!("the breaker of {model}: {told}"));
            let is_open = open.iter().any(|(_, breaker)| breaker.state == State::Open);
            if closed.is_empty() && is_open {
                Dot::Down
            } else {
                Dot::Degraded
            }
        }
    };
    if heard.iter().any(|one| one.standing == Standing::Lost) && claude == Dot::Unknown {
        why.insert("claude", "the planners that asked it are lost".to_owned());
    }
    Health {
        nats: if nats { Dot::Ok } else { Dot::Down },
        redis: if answers { Dot::Ok } else { Dot::Down },
        claude,
        why,
    }
}
