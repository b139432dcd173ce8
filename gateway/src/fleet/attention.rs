//! What a person should look at: a function of how the fleet stands.

use std::collections::BTreeMap;

use flotilla_common::{
    access::Caller,
    beat::{Role, Standing},
    breaker::State,
    entry::ParkedBy,
    money::Usd,
};
use jiff::Timestamp;
use serde::Serialize;

use super::view::{Dot, Fleet};

/// How long what is pending may wait until somebody should look.
const OLD_SECONDS: u64 = 60;
/// The part of a ceiling, in percent, from which on somebody should look.
const BUDGET_PERCENT: u64 = 80;

/// What it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// NATS, Redis or Claude is not well.
    Health,
    /// No planner is there.
    NoPlanner,
    /// Decisions wait for a tool that no executor has.
    NoExecutor,
    /// A breaker is open, or about to find out whether it may close.
    Breaker,
    /// A worker is lost.
    Lost,
    /// Messages wait for long.
    Waiting,
    /// There are dead letters.
    DeadLetters,
    /// A ceiling is reached, or nearly.
    Budget,
    /// Runs wait for money, or for Claude.
    Parked,
    /// The fleet's rate limits are not shared.
    Limiter,
    /// A tool or a step is switched off.
    SwitchedOff,
    /// A part of new runs gets a candidate.
    Rollout,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// Something does not work.
    Critical,
    /// Something soon will not, or works less.
    Warning,
    /// To be known.
    Info,
}

/// Something that a person should look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Attention {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// What it is about.
    pub(crate) kind: Kind,
    /// For people: what there is, and what follows from it.
    pub(crate) text: String,
    /// Since when, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Timestamp>,
    /// Where the API says more.
    pub(crate) link: String,
    /// Whose it is alone.
    #[serde(skip)]
    pub(crate) tenant: Option<String>,
}

impl Attention {
    /// Whether a tenant's caller is told: what is about other tenants' runs and money is not.
    pub(crate) fn is_seen_by(&self, caller: &Caller) -> bool {
        match self.kind {
            Kind::Budget => self
                .tenant
                .as_ref()
                .is_some_and(|tenant| caller.sees(tenant)),
            Kind::DeadLetters | Kind::Parked => false,
            Kind::Health
            | Kind::NoPlanner
            | Kind::NoExecutor
            | Kind::Breaker
            | Kind::Lost
            | Kind::Waiting
            | Kind::Limiter
            | Kind::SwitchedOff
            | Kind::Rollout => true,
        }
    }
}

/// A ceiling of today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Budget {
    /// `workflow x`, `tenant x`.
    pub(crate) whose: String,
    /// The tenant, if it is one's.
    pub(crate) tenant: Option<String>,
    /// What may be spent.
    pub(crate) limit: Usd,
    /// What is spent and held.
    pub(crate) spent: Usd,
}

/// What is switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Off {
    /// `tool x`, `step x of y`.
    pub(crate) what: String,
    /// Since when.
    pub(crate) since: Timestamp,
    /// Why.
    pub(crate) reason: Option<String>,
}

/// What is known besides the fleet's view.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Besides {
    /// Today's ceilings.
    pub(crate) budgets: Vec<Budget>,
    /// Parked runs by what keeps them; of the newest that are.
    pub(crate) parked: BTreeMap<&'static str, u64>,
    /// What is switched off.
    pub(crate) off: Vec<Off>,
    /// Candidates: workflow, version, percent.
    pub(crate) candidates: Vec<(String, u32, String)>,
    /// Whether beats were listened to for long enough to miss a role.
    pub(crate) listened: bool,
}

/// What a person should look at, the worst first.
pub(crate) fn attention(fleet: &Fleet, besides: &Besides) -> Vec<Attention> {
    let mut found = Vec::new();
    of_health(fleet, &mut found);
    of_workers(fleet, besides, &mut found);
    of_tools(fleet, &mut found);
    of_queues(fleet, &mut found);
    of_runs(fleet, besides, &mut found);
    of_definitions(besides, &mut found);
    found.sort();
    found.dedup();
    found
}

fn note(severity: Severity, kind: Kind, text: String, link: &str) -> Attention {
    Attention {
        severity,
        kind,
        text,
        since: None,
        link: link.to_owned(),
        tenant: None,
    }
}

fn of_health(fleet: &Fleet, found: &mut Vec<Attention>) {
    let health = &fleet.health;
    for (name, dot) in [("nats", health.nats), ("redis", health.redis)] {
        let why = health.why.get(name).map_or("", String::as_str);
        if dot == Dot::Down {
            let text = format!("{name} does not answer: {why}");
            found.push(note(Severity::Critical, Kind::Health, text, "/readyz"));
        }
    }
    let mut models: BTreeMap<(&str, State), (u64, &str)> = BTreeMap::new();
    for breaker in &fleet.breakers {
        let why = breaker.why.as_deref().unwrap_or("no reason told");
        let key = (breaker.model.as_str(), breaker.state);
        models.entry(key).or_insert((0, why)).0 += 1;
    }
    for ((model, state), (planners, why)) in models {
        let (severity, how) = match state {
            State::Closed => continue,
            State::HalfOpen => (Severity::Warning, "tries again with one call at a time"),
            State::Open => (Severity::Critical, "is open"),
        };
        let text = format!("the breaker of {model} {how} in {planners} planner(s): {why}");
        found.push(note(severity, Kind::Breaker, text, "/v1/fleet"));
    }
}

fn of_workers(fleet: &Fleet, besides: &Besides, found: &mut Vec<Attention>) {
    let has_planner = fleet
        .workers
        .iter()
        .any(|one| one.role == Role::Planner && one.state.is_there());
    if besides.listened && !has_planner {
        let text = "no planner is there: nothing is decided".to_owned();
        found.push(note(Severity::Critical, Kind::NoPlanner, text, "/v1/fleet"));
    }
    for worker in &fleet.workers {
        if worker.state == Standing::Lost {
            let text = format!(
                "{} {} on {} was heard last {} s ago; what it had in work goes to others",
                worker.role, worker.worker, worker.host, worker.silent_seconds
            );
            // The time is in the text of every look; what it is about stays the same.
            found.push(note(Severity::Warning, Kind::Lost, text, "/v1/fleet"));
        }
        if worker.limiter_degraded == Some(true) && worker.state.is_there() {
            let text = format!(
                "planner {} cannot reach the fleet's rate limits and goes by its part of them alone",
                worker.worker
            );
            found.push(note(Severity::Warning, Kind::Limiter, text, "/v1/fleet"));
        }
    }
}

fn of_tools(fleet: &Fleet, found: &mut Vec<Attention>) {
    for tool in &fleet.tools {
        let link = format!("/v1/tools/{}", tool.name);
        let waiting = tool.waiting.unwrap_or_default();
        if waiting > 0 && tool.executors.is_empty() {
            let text = format!(
                "no executor has tool {}: {waiting} decision(s) wait for one",
                tool.name
            );
            found.push(note(Severity::Critical, Kind::NoExecutor, text, &link));
        }
        if tool.breaker == State::Open {
            let why = match (&tool.forced, &tool.why) {
                (Some(_), _) => "a person decided so",
                (None, Some(why)) => why,
                (None, None) => "no reason told",
            };
            let text = format!("the breaker of tool {} is open: {why}", tool.name);
            found.push(note(Severity::Critical, Kind::Breaker, text, &link));
        }
    }
}

fn of_queues(fleet: &Fleet, found: &mut Vec<Attention>) {
    for queue in &fleet.queues {
        let Some(oldest) = queue.oldest_seconds.filter(|age| *age > OLD_SECONDS) else {
            continue;
        };
        let text = format!(
            "{} message(s) wait for consumer {} of {}, the oldest for {oldest} s",
            queue.pending, queue.consumer, queue.stream
        );
        found.push(note(Severity::Warning, Kind::Waiting, text, "/v1/fleet"));
    }
}

fn of_runs(fleet: &Fleet, besides: &Besides, found: &mut Vec<Attention>) {
    if let Some(letters) = fleet.dead_letters.filter(|letters| *letters > 0) {
        let text = format!("{letters} dead letter(s) wait for somebody");
        found.push(note(Severity::Warning, Kind::DeadLetters, text, "/v1/dead"));
    }
    for budget in &besides.budgets {
        let (spent, limit) = (
            u128::from(budget.spent.nano()),
            u128::from(budget.limit.nano()),
        );
        if spent * 100 < limit * u128::from(BUDGET_PERCENT) {
            continue;
        }
        let severity = if spent >= limit {
            Severity::Critical
        } else {
            Severity::Warning
        };
        let text = format!(
            "{} has spent or holds {} of today's {}",
            budget.whose, budget.spent, budget.limit
        );
        let mut line = note(severity, Kind::Budget, text, "/v1/ceilings");
        line.tenant.clone_from(&budget.tenant);
        found.push(line);
    }
    for (by, runs) in &besides.parked {
        let text = format!("{runs} run(s) are parked: {by}");
        let link = "/v1/runs?status=parked";
        found.push(note(Severity::Warning, Kind::Parked, text, link));
    }
}

fn of_definitions(besides: &Besides, found: &mut Vec<Attention>) {
    for off in &besides.off {
        let reason = off.reason.as_deref().unwrap_or("no reason given");
        let text = format!("{} is switched off: {reason}", off.what);
        let mut line = note(Severity::Info, Kind::SwitchedOff, text, "/v1/switches");
        line.since = Some(off.since);
        found.push(line);
    }
    for (workflow, version, share) in &besides.candidates {
        let text =
            format!("{share} of new runs of {workflow} get its candidate, version {version}");
        let link = format!("/v1/definitions/{workflow}");
        found.push(note(Severity::Info, Kind::Rollout, text, &link));
    }
}

/// Why parked runs should be looked at, in words; `None`: they need not be.
pub(crate) fn why_parked(by: ParkedBy) -> Option<&'static str> {
    match by {
        ParkedBy::Ceiling => Some("a ceiling leaves no money"),
        ParkedBy::Unavailable => Some("Claude does not answer"),
        ParkedBy::Blocked => {
            Some("only a person can help: the key, the account, or a model's name")
        }
        // A batch takes its time, and dead letters are told of themselves.
        ParkedBy::Batch | ParkedBy::Dead => None,
    }
}

#[cfg(test)]
mod tests;
