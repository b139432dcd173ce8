//! What processes say of themselves every two seconds, and what follows when one says nothing any more. Pure: `now` is an argument,
//! the time since any fixed point of the caller's.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{breaker::State, names::fleet};

/// The version this code writes, and the only one it reads.
const VERSION: u32 = 1;
/// How often each role of a process says that it is there.
pub const BEAT_EVERY: Duration = Duration::from_secs(2);
/// Silence after which a worker counts as lost: three beats that did not come.
pub const LOST_AFTER: Duration = Duration::from_secs(6);
/// How long a worker is shown that is lost, or has ended.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(300);
/// Workers that are remembered: beats of more are not heard.
pub const WORKERS_MAX: usize = 2_000;
/// Models of one planner of which breakers are heard.
const MODELS_MAX: usize = 64;
/// Longest text in a beat, in characters.
const TEXT_MAX: usize = 300;

/// What a process is in the fleet. One may be several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Takes events in, and is what people see.
    Gateway,
    /// Asks Claude.
    Planner,
    /// Runs tools.
    Executor,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Gateway, Self::Planner, Self::Executor];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Planner => "planner",
            Self::Executor => "executor",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a worker says that it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It works.
    Active,
    /// It takes no new work, and finishes what it has.
    Draining,
    /// It ends now.
    Gone,
}

/// The breaker of a model in one planner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelBreaker {
    /// Where it stands.
    pub state: State,
    /// While it is open: until a call may be tried again, in milliseconds from the beat on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
    /// What the last failure said, while it is not closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What a planner says besides.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaudeBeat {
    /// Calls to Claude that are out.
    pub in_flight: u64,
    /// Whether it cannot reach the fleet's rate limits and goes by its part of them alone.
    #[serde(default)]
    pub limiter_degraded: bool,
    /// The breakers of the models that it has asked, by their ids.
    #[serde(default)]
    pub breakers: BTreeMap<String, ModelBreaker>,
}

/// What a gateway says besides.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpBeat {
    /// Requests in work.
    pub requests: u64,
}

/// What one role of a process says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Which shape this is.
    v: u32,
    /// Which role.
    pub role: Role,
    /// The process's name in claims and results.
    pub worker: String,
    /// The machine.
    pub host: String,
    /// The process's id there.
    pub pid: u32,
    /// The version of Flotilla.
    pub version: String,
    /// When the role began, by the process's clock.
    pub started_at: Timestamp,
    /// What it does.
    pub state: Phase,
    /// Messages that it can have in work at once; `None`: its tools say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<u64>,
    /// Messages that it has in work.
    pub in_work: u64,
    /// Memory of the process, in bytes.
    pub rss_bytes: u64,
    /// The process's time on the CPU since it began, in milliseconds.
    pub cpu_ms: u64,
    /// Of a planner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claude: Option<ClaudeBeat>,
    /// Of a gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpBeat>,
}

impl Beat {
    /// The first one of a role of a process.
    #[must_use]
    pub fn new(role: Role, worker: &str, started_at: Timestamp) -> Self {
        Self {
            v: VERSION,
            role,
            worker: worker.to_owned(),
            host: String::new(),
            pid: 0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at,
            state: Phase::Active,
            slots: None,
            in_work: 0,
            rss_bytes: 0,
            cpu_ms: 0,
            claude: None,
            http: None,
        }
    }

    /// Reads one; `None`: it is of another version, none at all, or another worker's than its subject says, which is what NATS'
    /// permissions go by. What is too long in it is cut, and a breaker of too long a name left out: anybody may have sent it.
    #[must_use]
    pub fn read(subject: &str, bytes: &[u8]) -> Option<Self> {
        let mut beat: Self = serde_json::from_slice(bytes).ok()?;
        if beat.v != VERSION || beat.worker.is_empty() {
            return None;
        }
        if subject != fleet::beat(beat.role, &beat.worker) {
            return None;
        }
        for text in [&mut beat.worker, &mut beat.host, &mut beat.version] {
            cut(text);
        }
        if let Some(claude) = &mut beat.claude {
            claude
                .breakers
                .retain(|model, _| model.chars().nth(TEXT_MAX).is_none());
            while claude.breakers.len() > MODELS_MAX {
                claude.breakers.pop_last();
            }
            claude
                .breakers
                .values_mut()
                .filter_map(|breaker| breaker.why.as_mut())
                .for_each(cut);
        }
        Some(beat)
    }
}

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(TEXT_MAX) {
        text.truncate(end);
    }
}

/// How a worker stands, as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It works.
    Active,
    /// It takes no new work.
    Draining,
    /// It has said nothing for [`LOST_AFTER`].
    Lost,
    /// It said that it ends.
    Gone,
}

impl Standing {
    /// Whether it is there.
    #[must_use]
    pub fn is_there(self) -> bool {
        match self {
            Self::Active | Self::Draining => true,
            Self::Lost | Self::Gone => false,
        }
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Lost => "lost",
            Self::Gone => "gone",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Everybody who was heard of.
#[derive(Debug, Default)]
pub struct Workers {
    heard: BTreeMap<(Role, String), Heard>,
}

#[derive(Debug)]
struct Heard {
    beat: Beat,
    at: Duration,
}

/// A worker, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// What it said last.
    pub beat: Beat,
    /// How it stands.
    pub standing: Standing,
    /// How long ago it was heard last.
    pub silent: Duration,
}

impl Workers {
    /// Takes a beat.
    pub fn hear(&mut self, beat: Beat, now: Duration) {
        let key = (beat.role, beat.worker.clone());
        if !self.heard.contains_key(&key) {
            self.forget(now);
            if self.heard.len() >= WORKERS_MAX {
                return;
            }
        }
        self.heard.insert(key, Heard { beat, at: now });
    }

    /// Everybody, by role and name.
    pub fn look(&mut self, now: Duration) -> Vec<Worker> {
        self.forget(now);
        let workers = self.heard.values().map(|heard| {
            let silent = now.saturating_sub(heard.at);
            Worker {
                beat: heard.beat.clone(),
                standing: match heard.beat.state {
                    Phase::Gone => Standing::Gone,
                    Phase::Active | Phase::Draining if silent > LOST_AFTER => Standing::Lost,
                    Phase::Active => Standing::Active,
                    Phase::Draining => Standing::Draining,
                },
                silent,
            }
        });
        workers.collect()
    }

    fn forget(&mut self, now: Duration) {
        self.heard
            .retain(|_, heard| now.saturating_sub(heard.at) < FORGOTTEN_AFTER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(worker: &str, state: Phase) -> Beat {
        Beat {
            state,
            ..Beat::new(Role::Planner, worker, Timestamp::UNIX_EPOCH)
        }
    }

    fn standings(workers: &mut Workers, secs: u64) -> Vec<(String, Standing)> {
        let now = Duration::from_secs(secs);
        let all = workers.look(now).into_iter();
        all.map(|one| (one.beat.worker, one.standing)).collect()
    }

    #[test]
    fn a_worker_that_misses_three_beats_is_lost_and_forgotten_five_minutes_later() {
        let mut workers = Workers::default();
        workers.hear(beat("a", Phase::Active), Duration::ZERO);
        workers.hear(beat("b", Phase::Draining), Duration::from_secs(5));
        let named = |name: &str, standing| (name.to_owned(), standing);
        let both = [named("a", Standing::Active), named("b", Standing::Draining)];
        assert_eq!(standings(&mut workers, 6), both);
        let one = [named("a", Standing::Lost), named("b", Standing::Draining)];
        assert_eq!(standings(&mut workers, 7), one);
        workers.hear(beat("a", Phase::Active), Duration::from_secs(8));
        assert_eq!(standings(&mut workers, 9)[0], both[0]);
        workers.hear(beat("a", Phase::Gone), Duration::from_secs(10));
        assert_eq!(standings(&mut workers, 304)[0], named("a", Standing::Gone));
        assert_eq!(standings(&mut workers, 310), []);
    }

    #[test]
    fn so_many_workers_are_remembered_and_no_more() {
        let mut workers = Workers::default();
        for number in 0..=WORKERS_MAX {
            let beat = beat(&format!("w{number:05}"), Phase::Active);
            workers.hear(beat, Duration::ZERO);
        }
        assert_eq!(workers.look(Duration::ZERO).len(), WORKERS_MAX);
        // Those that are gone make room.
        workers.hear(beat("new", Phase::Active), FORGOTTEN_AFTER);
        assert_eq!(workers.look(FORGOTTEN_AFTER).len(), 1);
    }

    #[test]
    fn a_beat_reads_back_and_what_anybody_sends_is_bounded() {
        let mut sent = beat("a", Phase::Active);
        let breaker = ModelBreaker {
            state: State::Open,
            left_ms: Some(5),
            why: Some("x".repeat(TEXT_MAX + 1)),
        };
        let names = (0..=MODELS_MAX).map(|number| number.to_string());
        let names = names.chain(["0".repeat(TEXT_MAX + 1)]);
        let names = names.map(|name| (name, breaker.clone()));
        sent.claude = Some(ClaudeBeat {
            breakers: names.collect(),
            ..ClaudeBeat::default()
        });
        let on = fleet::beat(Role::Planner, "a");
        let read = Beat::read(&on, &serde_json::to_vec(&sent).unwrap()).unwrap();
        let breakers = read.claude.clone().unwrap().breakers;
        assert_eq!(breakers.len(), MODELS_MAX);
        assert!(breakers.keys().all(|name| name.len() < TEXT_MAX));
        let why = breakers["0"].why.as_ref().unwrap();
        assert_eq!(why.len(), TEXT_MAX);
        let plain = beat("a", Phase::Draining);
        let bytes = serde_json::to_vec(&plain).unwrap();
        assert_eq!(Beat::read(&on, &bytes), Some(plain));
        for (role, worker) in [(Role::Gateway, "a"), (Role::Planner, "b")] {
            let others = fleet::beat(role, worker);
            assert_eq!(Beat::read(&others, &bytes), None, "{others}");
        }
        for none in ["", "{}", "null"] {
            assert_eq!(Beat::read(&on, none.as_bytes()), None, "{none}");
        }
        let newer = String::from_utf8(bytes)
            .unwrap()
            .replace("\"v\":1", "\"v\":2");
        assert_eq!(Beat::read(&on, newer.as_bytes()), None);
    }
}
