//! What the fleet is to run, and whether somebody is there to do it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use flotilla_common::{
    definition::Catalogue,
    ids::Name,
    io::{
        bus::Bus,
        definitions::{Definitions, load_models},
        queues::{Queue, queues},
    },
    names::consumer,
};
use tokio::time::sleep;

use super::{
    finding::{Finding, Verdict},
    within,
};
use crate::settings::Settings;

const CHECK: &str = "workflows";
const WORKERS: &str = "workers";
/// Work that waits for longer has nobody, or too few.
const OLD_SECONDS: u64 = 60;
const LOOKS: u32 = 3;
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// What there is to say, as far as the bucket of definitions and the streams are there.
pub(super) async fn check(
    settings: &Settings,
    bus: &Bus,
    definitions: bool,
    consumers: bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut tools = BTreeMap::new();
    if definitions {
        match within(Box::pin(known(settings, bus))).await {
            Ok(Ok(catalogue)) => {
                findings.extend(active(&catalogue));
                tools = used(&catalogue);
            }
            Ok(Err(problem)) => findings.push(Finding::fail(CHECK, crate::in_full(&problem))),
            Err(silent) => findings.push(Finding::warn(CHECK, silent)),
        }
    }
    if consumers {
        findings.extend(match within(Box::pin(looked(bus, &tools))).await {
            Ok(found) => found,
            Err(silent) => vec![Finding::warn(
                WORKERS,
                format!("who takes work is not known: {silent}"),
            )],
        });
    }
    findings
}

/// Who takes work. Between two pulls, and while a role starts, nobody seems to: so it is looked again before that is told.
async fn looked(bus: &Bus, tools: &BTreeMap<Name, BTreeSet<Name>>) -> Vec<Finding> {
    let (mut found, mut first) = (Vec::new(), None);
    for look in 0..LOOKS {
        if look > 0 {
            sleep(LOOK_PAUSE).await;
        }
        found = match queues(bus).await {
            Ok(queues) => {
                let before = first.get_or_insert_with(|| queues.clone());
                workers(&queues, before, tools)
            }
            Err(problem) => vec![Finding::warn(WORKERS, problem.to_string())],
        };
        if found.iter().all(|one| one.verdict == Verdict::Ok) {
            break;
        }
    }
    found
}

async fn known(settings: &Settings, bus: &Bus) -> anyhow::Result<Arc<Catalogue>> {
    let models = load_models(settings.models.as_deref())?;
    let bucket = Box::pin(Definitions::open(bus)).await?;
    Ok(Box::pin(bucket.known(Arc::new(models))).await?)
}

/// What new runs get.
fn active(catalogue: &Catalogue) -> Vec<Finding> {
    let (mut right, mut findings) = (Vec::new(), Vec::new());
    for (name, active) in catalogue.active() {
        if active.retired {
            continue;
        }
        match catalogue.stable(name) {
            Some(workflow) => right.push(format!("{name} v{}", workflow.pin.version)),
            None => {
                let version = active.stable.version;
                let says = format!("{name} v{version} is active, and this flotilla cannot read it");
                let todo = format!("upgrade the roles, or roll back: flotilla rollback {name}");
                findings.push(Finding::fail(CHECK, says).todo(todo));
            }
        }
    }
    if right.is_empty() && findings.is_empty() {
        let todo = "bring some: flotilla apply FOLDER, or start a gateway with FLOTILLA_WORKFLOWS";
        return vec![Finding::warn(CHECK, "none is active: events start nothing").todo(todo)];
    }
    if !right.is_empty() {
        findings.push(Finding::ok(CHECK, format!("active: {}", right.join(", "))));
    }
    findings
}

/// The tools of what is active, each with who uses it.
fn used(catalogue: &Catalogue) -> BTreeMap<Name, BTreeSet<Name>> {
    let mut tools: BTreeMap<Name, BTreeSet<Name>> = BTreeMap::new();
    for (name, _) in catalogue.active() {
        let workflows = [catalogue.stable(name), catalogue.candidate(name)];
        for tool in workflows.into_iter().flatten().flat_map(|one| one.tools()) {
            tools
                .entry(tool.name.clone())
                .or_default()
                .insert(name.clone());
        }
    }
    tools
}

/// Who takes the messages of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Served {
    Yes,
    /// So many messages are in hand, and no more are asked for: all may be busy, or dead with what they had.
    Perhaps(u64),
    No,
}

/// How it is served, by how it was when it was looked at first.
fn served(queues: &[Queue], before: &[Queue], name: &str) -> Served {
    let of = |queues: &[Queue]| queues.iter().find(|one| one.consumer == name).cloned();
    let Some(now) = of(queues) else {
        return Served::No;
    };
    let has_moved = of(before).is_some_and(|before| before.reached != now.reached);
    match now.in_flight {
        _ if now.waiting_pulls > 0 || has_moved => Served::Yes,
        0 => Served::No,
        in_hand => Served::Perhaps(in_hand),
    }
}

fn workers(
    queues: &[Queue],
    before: &[Queue],
    tools: &BTreeMap<Name, BTreeSet<Name>>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, role, cost) in [
        (consumer::INTAKE, "gateway", "events start no runs"),
        (consumer::PLANNER, "planner", "no run goes on"),
    ] {
        match served(queues, before, name) {
            Served::Yes => {}
            Served::Perhaps(in_hand) => findings.push(busy_or_dead(role, in_hand)),
            Served::No => {
                let says = format!("no {role} takes work: {cost}");
                let todo = format!("start one: flotilla {role}");
                findings.push(Finding::fail(WORKERS, says).todo(todo));
            }
        }
    }
    let mut alone = Vec::new();
    for (tool, by) in tools {
        match served(queues, before, &consumer::tool(tool)) {
            Served::Yes => {}
            Served::Perhaps(in_hand) => {
                findings.push(busy_or_dead(&format!("executor of {tool}"), in_hand));
            }
            Served::No => {
                let by: Vec<&str> = by.iter().map(Name::as_str).collect();
                alone.push(format!("{tool} ({})", by.join(", ")));
            }
        }
    }
    if !alone.is_empty() {
        let says = format!("no executor takes work for: {}", alone.join(", "));
        findings.push(Finding::warn(WORKERS, says).todo(
            "start one: flotilla executor; if there are some, their breakers may be open: flotilla tools",
        ));
    }
    let old = queues
        .iter()
        .filter(|one| one.oldest_seconds.is_some_and(|age| age > OLD_SECONDS));
    for one in old {
        let (age, pending) = (one.oldest_seconds.unwrap_or(0), one.pending);
        let says = format!(
            "{pending} wait for {} of {}, the oldest for {age} s",
            one.consumer, one.stream
        );
        findings.push(
            Finding::warn(WORKERS, says)
                .todo("add workers of that kind, or look what holds them up: flotilla fleet"),
        );
    }
    if findings.is_empty() {
        let says = format!(
            "a gateway, a planner, and executors for all {} tools in use",
            tools.len()
        );
        findings.push(Finding::ok(WORKERS, says));
    }
    findings
}

fn busy_or_dead(role: &str, in_hand: u64) -> Finding {
    let says = format!("{role}: {in_hand} in hand, nobody asks for more");
    Finding::warn(WORKERS, says)
        .todo("see whether one lives: flotilla fleet; all of them may be busy, or dead with what they had")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(consumer: &str, stream: &'static str, pulls: u64, oldest: Option<u64>) -> Queue {
        Queue {
            consumer: consumer.to_owned(),
            stream,
            pending: oldest.map_or(0, |_| 7),
            in_flight: 0,
            redelivered: 0,
            waiting_pulls: pulls,
            oldest_seconds: oldest,
            reached: (9, 6),
        }
    }

    #[test]
    fn work_that_nobody_takes_is_told_with_whom_to_start() {
        let tool: Name = "disk".parse().unwrap();
        let by = BTreeSet::from(["triage".parse().unwrap()]);
        let tools = BTreeMap::from([(tool, by)]);
        let mut queues = vec![
            queue("intake", "EVENTS", 1, None),
            queue("planner", "RUNS", 3, None),
            queue("tool-disk", "RUNS", 1, None),
        ];
        assert_eq!(workers(&queues, &queues, &tools)[0].verdict, Verdict::Ok);
        queues[1] = queue("planner", "RUNS", 0, Some(90));
        queues[2].waiting_pulls = 0;
        let told: Vec<(Verdict, String)> = workers(&queues, &queues, &tools)
            .into_iter()
            .map(|one| (one.verdict, one.says))
            .collect();
        let expected = [
            (Verdict::Fail, "no planner takes work: no run goes on"),
            (Verdict::Warn, "no executor takes work for: disk (triage)"),
            (
                Verdict::Warn,
                "7 wait for planner of RUNS, the oldest for 90 s",
            ),
        ];
        assert_eq!(
            told,
            expected.map(|(verdict, says)| (verdict, says.to_owned()))
        );
    }

    #[test]
    fn workers_that_died_with_messages_in_hand_do_not_count_as_there() {
        let at = |pulls, in_flight, reached| {
            let mut queue = queue("planner", "RUNS", pulls, None);
            (queue.in_flight, queue.reached) = (in_flight, reached);
            [queue]
        };
        let before = at(0, 3, (9, 6));
        let served = |now: [Queue; 1]| served(&now, &before, "planner");
        assert_eq!(served(at(0, 3, (9, 6))), Served::Perhaps(3));
        assert_eq!(served(at(0, 3, (10, 6))), Served::Yes);
        assert_eq!(served(at(0, 3, (9, 7))), Served::Yes);
        assert_eq!(served(at(1, 3, (9, 6))), Served::Yes);
        assert_eq!(served(at(0, 0, (9, 6))), Served::No);
        let found = workers(&before, &before, &BTreeMap::new());
        let planner = Finding {
            todo: None,
            ..found[1].clone()
        };
        let says = "planner: 3 in hand, nobody asks for more";
        assert_eq!(planner, Finding::warn(WORKERS, says));
    }
}
