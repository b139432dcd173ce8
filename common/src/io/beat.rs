//! Saying that a role of this process is there, and hearing others say so: on core NATS, because what is missed is over.

use std::{
    fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{bus::Bus, clock};
use crate::{
    beat::{BEAT_EVERY, Beat, ClaudeBeat, HttpBeat, Phase, Role, Worker, Workers},
    names::fleet,
};

/// How long the last beat may take to the server.
const LAST_WITHIN: Duration = Duration::from_secs(1);
/// The pause before a subscription that ended is made anew.
const PAUSE: Duration = Duration::from_secs(1);

/// Counts what a role has in work. Clones count together.
#[derive(Debug, Default, Clone)]
pub struct Work(Arc<AtomicU64>);

/// One piece of work; dropped, it is done.
#[derive(Debug)]
pub struct Working(Arc<AtomicU64>);

impl Work {
    /// One more begins.
    #[must_use]
    pub fn begin(&self) -> Working {
        self.0.fetch_add(1, Ordering::Relaxed);
        Working(Arc::clone(&self.0))
    }

    /// How much is in work now.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a role says besides.
#[derive(Debug, Clone)]
pub enum Besides {
    /// Nothing.
    Nothing,
    /// A planner, of Claude.
    Claude(ClaudeBeat),
    /// A gateway, of its requests.
    Http(HttpBeat),
}

/// Says again and again that a role of this process is there.
#[derive(Debug)]
pub struct Heart {
    bus: Bus,
    work: Work,
    like: Beat,
}

impl Heart {
    /// Of a role that begins now.
    #[must_use]
    pub fn new(bus: &Bus, role: Role, worker: &str, slots: Option<usize>, work: Work) -> Self {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let mut like = Beat::new(role, worker, clock::now());
        host.trim().clone_into(&mut like.host);
        like.pid = std::process::id();
        like.slots = slots.and_then(|slots| u64::try_from(slots).ok());
        Self {
            bus: bus.clone(),
            work,
            like,
        }
    }

    /// Beats until it is dropped; from `stop` on as one that drains.
    pub async fn beat(&self, stop: &CancellationToken, besides: impl Fn() -> Besides) {
        let mut due = interval(BEAT_EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = false;
        loop {
            tokio::select! {
                _ = due.tick() => {}
                () = stop.cancelled(), if !told => told = true,
            }
            let phase = if stop.is_cancelled() {
                Phase::Draining
            } else {
                Phase::Active
            };
            self.say(phase, besides()).await;
        }
    }

    /// The last beat.
    pub async fn gone(&self) {
        let last = async {
            self.say(Phase::Gone, Besides::Nothing).await;
            drop(self.bus.client.flush().await);
        };
        if timeout(LAST_WITHIN, last).await.is_err() {
            debug!("that this role ends was not said; it will be missed");
        }
    }

    async fn say(&self, state: Phase, besides: Besides) {
        let mut beat = self.like.clone();
        beat.state = state;
        beat.in_work = self.work.count();
        (beat.rss_bytes, beat.cpu_ms) = of_this_process();
        match besides {
            Besides::Nothing => {}
            Besides::Claude(claude) => beat.claude = Some(claude),
            Besides::Http(http) => beat.http = Some(http),
        }
        // While the connection is away, beats would only pile up.
        let Some(payload) = serde_json::to_vec(&beat)
            .ok()
            .filter(|_| self.bus.is_connected())
        else {
            return;
        };
        let subject = fleet::beat(beat.role, &beat.worker);
        if let Err(problem) = self.bus.client.publish(subject, payload.into()).await {
            debug!(%problem, "a beat was not sent");
        }
    }
}

/// Memory in bytes, and time on the CPU in milliseconds; 0 where the system does not say.
fn of_this_process() -> (u64, u64) {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1);
    let pages: u64 = pages.and_then(|pages| pages.parse().ok()).unwrap_or(0);
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(0);
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold spaces; what follows it does not. utime and stime are fields 14 and 15.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let fields = after.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    (
        pages.saturating_mul(page),
        ticks.saturating_mul(1_000) / per_second,
    )
}

/// What is heard of everybody. Clones hear the same.
#[derive(Debug, Clone)]
pub struct Listening {
    began: Instant,
    workers: Arc<Mutex<Workers>>,
}

impl Default for Listening {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            workers: Arc::default(),
        }
    }
}

impl Listening {
    /// Everybody who was heard of lately.
    #[must_use]
    pub fn workers(&self) -> Vec<Worker> {
        self.with(Workers::look)
    }

    /// How long it has been listening: who is silent may not have been asked for long enough before.
    #[must_use]
    pub fn since(&self) -> Duration {
        self.began.elapsed()
    }

    /// Listens until it is dropped.
    pub async fn listen(&self, bus: &Bus) {
        loop {
            match bus.client.subscribe(fleet::ALL_BEATS).await {
                Ok(mut beats) => {
                    while let Some(message) = beats.next().await {
                        if let Some(beat) = Beat::read(&message.subject, &message.payload) {
                            self.with(|workers, now| workers.hear(beat, now));
                        }
                    }
                }
                Err(problem) => debug!(%problem, "beats are not listened to"),
            }
            sleep(PAUSE).await;
        }
    }

    fn with<T>(&self, what: impl FnOnce(&mut Workers, Duration) -> T) -> T {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        what(&mut workers, self.began.elapsed())
    }
}
