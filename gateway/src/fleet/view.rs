//! The fleet as it is shown. It is looked at every two seconds while somebody asks, for all who do.

use std::collections::BTreeMap;

use flotilla_common::{
    access::Caller,
    beat::{self, Role, Standing},
    breaker::{Forced, State},
    ids::Name,
    io::{limiter::Snapshot, queues::Queue},
};
use jiff::Timestamp;
use serde::Serialize;

use super::attention::Attention;
use crate::{routes::App, stats::view::Active};

/// A role of a process.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Worker {
    /// Which role.
    pub(crate) role: Role,
    /// The process's name in claims and results; roles of one process share it.
    pub(crate) worker: String,
    /// The machine.
    pub(crate) host: String,
    /// The process's id there.
    pub(crate) pid: u32,
    /// The version of Flotilla.
    pub(crate) version: String,
    /// When the role began, by the process's clock.
    pub(crate) started_at: Timestamp,
    /// `active`, `draining`; `lost` after six seconds without a word, `gone` when it said that it ends. These go five minutes later.
    pub(crate) state: Standing,
    /// Seconds since it was heard last.
    pub(crate) silent_seconds: u64,
    /// Messages that it can have in work at once; `None`: its tools say.
    pub(crate) slots: Option<u64>,
    /// Messages that it has in work.
    pub(crate) in_work: u64,
    /// Memory of the process, in bytes.
    pub(crate) rss_bytes: u64,
    /// The process's time on the CPU since it began, in milliseconds.
    pub(crate) cpu_ms: u64,
    /// Of a planner: calls to Claude that are out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) claude_in_flight: Option<u64>,
    /// Of a planner: whether it goes by its part of the fleet's rate limits alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limiter_degraded: Option<bool>,
    /// Of a gateway: requests in work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requests: Option<u64>,
}

impl From<&beat::Worker> for Worker {
    fn from(heard: &beat::Worker) -> Self {
        let beat = heard.beat.clone();
        Self {
            role: beat.role,
            worker: beat.worker,
            host: beat.host,
            pid: beat.pid,
            version: beat.version,
            started_at: beat.started_at,
            state: heard.standing,
            silent_seconds: heard.silent.as_secs(),
            slots: beat.slots,
            in_work: beat.in_work,
            rss_bytes: beat.rss_bytes,
            cpu_ms: beat.cpu_ms,
            claude_in_flight: beat.claude.as_ref().map(|claude| claude.in_flight),
            limiter_degraded: beat.claude.as_ref().map(|claude| claude.limiter_degraded),
            requests: beat.http.map(|http| http.requests),
        }
    }
}

/// A tool in short; `/v1/tools` has the rest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Tool {
    /// Its name.
    pub(crate) name: Name,
    /// Where its breakers stand: the worst of all executors and versions, or what a person decided.
    pub(crate) breaker: State,
    /// What a person decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) forced: Option<Forced>,
    /// What the last failure said, while a breaker is not closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// Whether it, or a version of it, is switched off.
    pub(crate) switched_off: bool,
    /// Decisions that wait in the stream; `None`: not known.
    pub(crate) waiting: Option<u64>,
    /// Decisions that executors hold, or have put off; `None`: not known.
    pub(crate) in_hand: Option<u64>,
    /// Executors that have it, as far as they are there.
    pub(crate) executors: Vec<String>,
}

/// The breaker of a model in one planner.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Breaker {
    /// The model's id.
    pub(crate) model: String,
    /// The planner.
    pub(crate) worker: String,
    /// Where it stands.
    pub(crate) state: State,
    /// While it is open: until a call may be tried again, in milliseconds as of its planner's last beat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) left_ms: Option<u64>,
    /// What the last failure said, while it is not closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

/// A workflow that goes by the clock.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Due {
    /// Which.
    pub(crate) workflow: Name,
    /// When it falls due next.
    pub(crate) next: Timestamp,
    /// Its expression.
    pub(crate) cron: String,
    /// The expression's time zone.
    pub(crate) timezone: String,
}

/// How a dependency is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Dot {
    /// Well.
    Ok,
    /// Not all of it.
    Degraded,
    /// It does not answer.
    Down,
    /// Nobody can say.
    #[default]
    Unknown,
}

/// How what the fleet rests on is.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Health {
    /// NATS, as this gateway sees it.
    pub(crate) nats: Dot,
    /// Redis, as this gateway sees it.
    pub(crate) redis: Dot,
    /// Claude, as planners see it: by the breakers of the models that they have asked.
    pub(crate) claude: Dot,
    /// Why, of what is not well.
    pub(crate) why: BTreeMap<&'static str, String>,
}

/// The fleet.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub(crate) struct Fleet {
    /// When it was looked at.
    pub(crate) at: Timestamp,
    /// By role and name.
    pub(crate) workers: Vec<Worker>,
    /// By stream and name.
    pub(crate) queues: Vec<Queue>,
    /// By name.
    pub(crate) tools: Vec<Tool>,
    /// The fleet's rate limits, of those families of models that were called.
    pub(crate) limits: Vec<Snapshot>,
    /// Breakers of models, by model and planner.
    pub(crate) breakers: Vec<Breaker>,
    /// By workflow.
    pub(crate) cron: Vec<Due>,
    /// Runs that have not ended; `None`: not known.
    pub(crate) active: Option<Active>,
    /// Dead letters that nobody has settled; `None`: not known.
    pub(crate) dead_letters: Option<u64>,
    /// What a person should look at, the worst first.
    pub(crate) attention: Vec<Attention>,
    /// How what it rests on is.
    pub(crate) health: Health,
    /// What could not be looked at, and why: what is said above of it is not known.
    pub(crate) missing: BTreeMap<&'static str, String>,
}

/// The fleet, as far as this caller may see: a tenant's sees nothing of other tenants' money.
pub(crate) async fn fleet(app: &App, caller: &Caller) -> Fleet {
    let latest = app.fleet.latest().await;
    let mut fleet = Fleet::clone(&latest);
    if caller.tenant.is_some() {
        fleet.active = None;
        fleet.dead_letters = None;
        fleet.attention.retain(|one| one.is_seen_by(caller));
    }
    fleet
}
