//! Making things go wrong, and noting when they did.

mod course;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use axum::http::StatusCode;
use flotilla_common::{ids::RunId, io::journal::Journal};
use flotilla_sim::{
    proxy::Proxy,
    sink::{Sink, Trouble},
};
use jiff::Timestamp;
use rustix::process::Signal;
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use course::Course;

use super::{
    claude::Claude,
    fleet::Fleet,
    load::{Submitter, Workload},
    poison::poison,
    schedule::{Fault, Kind},
};
use crate::up::{NATS, REDIS};

/// How much a slow link delays each piece.
const DELAY: Duration = Duration::from_millis(150);
/// What a throttled link lets through, in bytes a second.
const THROTTLED: u64 = 8_000;
/// Where tools are never in trouble: nobody tries again to undo.
const SPARED: &[&str] = &["/unbook"];
/// Where tools hang.
const HELD: [&str; 6] = ["/note", "/tell", "/left", "/right", "/pay", "/book"];
/// How long Redis is tried until it forgets, and how often.
const FLUSHED_WITHIN: Duration = Duration::from_secs(10);
const FLUSH_PAUSE: Duration = Duration::from_millis(100);
/// How far clocks are set ahead or behind, in seconds.
const CLOCK_FAR: i64 = 3_600;
const CLOCK_NEAR: i64 = 180;
const CLAUDE_429: &str = r#"[{"status": 429, "rate": 0.8, "retry_after": 1}]"#;
const CLAUDE_529: &str = r#"[{"status": 529, "rate": 0.8}]"#;
const CLAUDE_HANG: &str = r#"[{"kind": "hang", "rate": 0.7}]"#;
const CLAUDE_CUT: &str = r#"[{"kind": "cut_stream", "rate": 0.4}, {"kind": "cut_body", "rate": 0.3}, {"kind": "close", "rate": 0.3}]"#;
const CLAUDE_GARBAGE: &str = r#"[{"kind": "malformed_json", "rate": 0.3}, {"kind": "malformed_event", "rate": 0.3},
    {"kind": "unknown_block", "rate": 0.2}, {"kind": "empty_content", "rate": 0.3}]"#;

/// A fault that happened.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Happened {
    pub(super) kind: Kind,
    pub(super) target: &'static str,
    /// Unix milliseconds.
    pub(super) begun_ms: i64,
    /// Unix milliseconds; of what has no end, its beginning.
    pub(super) ended_ms: i64,
    /// The run that was sent when it began.
    pub(super) probe: Option<RunId>,
}

impl Happened {
    /// Whether it lasted at any moment of this time, Unix milliseconds.
    pub(super) fn overlaps(&self, from_ms: i64, to_ms: i64) -> bool {
        self.begun_ms <= to_ms && from_ms <= self.ended_ms
    }
}

/// What stands outside a fleet: what is believed, and what can be broken of any fleet.
#[derive(Debug, Clone)]
pub(super) struct Outside {
    pub(super) sink: Arc<Sink>,
    /// Read past all proxies.
    pub(super) journal: Journal,
    pub(super) claude: Claude,
    /// Redis, to make it forget.
    pub(super) redis_url: String,
}

/// Breaks a fleet.
#[derive(Debug, Clone)]
pub(super) struct Injector {
    /// One of our own; what else runs is only broken from outside.
    fleet: Option<Arc<Fleet>>,
    pub(super) outside: Outside,
    pub(super) submitter: Arc<Submitter>,
    happened: Arc<Mutex<Vec<Happened>>>,
}

pub(super) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

impl Injector {
    /// Of a fleet that runs somewhere.
    pub(super) fn outside(outside: Outside, submitter: Arc<Submitter>) -> Self {
        Self {
            fleet: None,
            outside,
            submitter,
            happened: Arc::default(),
        }
    }

    /// Of a fleet of our own.
    pub(super) fn of(fleet: &Arc<Fleet>, submitter: Arc<Submitter>) -> anyhow::Result<Self> {
        let outside = Outside {
            sink: Arc::clone(&fleet.sink),
            journal: fleet.journal.clone(),
            claude: Claude::at(&fleet.claude_url),
            redis_url: fleet.redis_url()?,
        };
        Ok(Self {
            fleet: Some(Arc::clone(fleet)),
            ..Self::outside(outside, submitter)
        })
    }

    fn fleet(&self) -> anyhow::Result<&Fleet> {
        let fleet = self.fleet.as_deref();
        fleet.context("that can be done to a fleet of the kit's own alone")
    }

    /// Everything that happened, the earliest first.
    pub(super) fn happened(&self) -> Vec<Happened> {
        let happened = self.happened.lock();
        let mut all = happened.unwrap_or_else(PoisonError::into_inner).clone();
        all.sort_by_key(|fault| fault.begun_ms);
        all
    }

    /// Notes a fault that was made from then until now.
    pub(super) fn note(
        &self,
        kind: Kind,
        target: &'static str,
        begun_ms: i64,
        probe: Option<RunId>,
    ) {
        let happened = self.happened.lock();
        let mut happened = happened.unwrap_or_else(PoisonError::into_inner);
        happened.push(Happened {
            kind,
            target,
            begun_ms,
            ended_ms: now_ms(),
            probe,
        });
    }

    /// Makes one fault at its time, from the beginning of the load on, and ends it. It is noted if it was made, also if this is dropped
    /// in the middle of it; what could not be made, or not be ended, is a problem of this run.
    pub(super) async fn make(&self, begun: Instant, number: usize, fault: &Fault) {
        sleep_until(begun + Duration::from_millis(fault.at_ms)).await;
        let course = Course::of(&self.happened, &self.submitter, fault);
        let probing = async {
            let id = format!("probe-{number}");
            let probe = self.submitter.try_submit(Workload::Short, &id, number);
            // Set here alone.
            drop(probe.await.map(|run| course.probe.set(run)));
        };
        let breaking = async { course.over(&self.apply(fault, &course).await) };
        tokio::join!(probing, breaking);
    }

    async fn apply(&self, fault: &Fault, course: &Course<'_>) -> anyhow::Result<()> {
        let span = Duration::from_millis(fault.span_ms);
        let target = fault.target;
        match fault.kind {
            Kind::Kill => self.fleet()?.kill(target).await,
            Kind::Stop => {
                self.fleet()?.signal(target, Signal::STOP).await?;
                course.lasts(span).await;
                self.fleet()?.signal(target, Signal::CONT).await
            }
            Kind::NatsKill => self.restart(NATS, span, false, course).await,
            Kind::NodeCut => self.fleet()?.cut_node(false, span).await,
            Kind::LeaderCut => self.fleet()?.cut_node(true, span).await,
            Kind::DiskFull => self.fill_disk(span, course).await,
            Kind::RedisKill => self.restart(REDIS, span, false, course).await,
            Kind::RedisEmpty => self.restart(REDIS, span, true, course).await,
            Kind::Flush => self.flush().await,
            Kind::Poison => poison(self.outside.journal.bus(), self.submitter.kit()).await,
            Kind::Delay => {
                let slow = |link: &Proxy| link.delay(DELAY);
                self.break_link((target, span), course, slow).await
            }
            Kind::Throttle => {
                let narrow = |link: &Proxy| link.throttle(THROTTLED);
                self.break_link((target, span), course, narrow).await
            }
            Kind::HalfOpen => {
                let gone = Proxy::swallow;
                self.break_link((target, span), course, gone).await
            }
            Kind::OneWay => {
                self.fleet()?.links.get(target)?.pause_upstream().await?;
                self.break_link((target, span), course, |_| {}).await
            }
            Kind::Cut => {
                self.fleet()?.links.get(target)?.cut().await;
                Ok(())
            }
            Kind::Refuse => {
                let link = self.fleet()?.links.get(target)?;
                link.refuse();
                link.cut().await;
                self.break_link((target, span), course, |_| {}).await
            }
            Kind::ClockAhead => self.set_clock(target, CLOCK_FAR, span, course).await,
            Kind::ClockBehind => self.set_clock(target, -CLOCK_FAR, span, course).await,
            Kind::ClockStep => self.set_clock(target, CLOCK_NEAR, span, course).await,
            Kind::ClockDrift => {
                let clocks = self.fleet()?.clocks()?;
                clocks.drift(target, span).await?;
                clocks.set(target, 0)
            }
            Kind::Claude429 => self.claude_fails(span, CLAUDE_429, course).await,
            Kind::Claude529 => self.claude_fails(span, CLAUDE_529, course).await,
            Kind::ClaudeHang => self.claude_fails(span, CLAUDE_HANG, course).await,
            Kind::ClaudeCut => self.claude_fails(span, CLAUDE_CUT, course).await,
            Kind::ClaudeGarbage => self.claude_fails(span, CLAUDE_GARBAGE, course).await,
            Kind::ToolHang => self.tools_hang(span, course).await,
            Kind::Tool500 => {
                let refused = Trouble::Refuse(StatusCode::INTERNAL_SERVER_ERROR);
                self.trouble(refused, span, course).await
            }
            Kind::ToolCut => self.trouble(Trouble::Cut, span, course).await,
            Kind::ToolGarbage => self.trouble(Trouble::Garbage, span, course).await,
        }
    }

    async fn flush(&self) -> anyhow::Result<()> {
        let end = Instant::now() + FLUSHED_WITHIN;
        loop {
            match self.flush_once().await {
                // It may not be back yet from what was done to it before.
                Err(_) if Instant::now() < end => sleep(FLUSH_PAUSE).await,
                flushed => return flushed,
            }
        }
    }

    async fn flush_once(&self) -> anyhow::Result<()> {
        let client = redis::Client::open(&*self.outside.redis_url)?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let flush = redis::cmd("FLUSHALL");
        flush.query_async::<()>(&mut connection).await?;
        Ok(())
    }

    async fn restart(
        &self,
        name: &str,
        span: Duration,
        empty: bool,
        course: &Course<'_>,
    ) -> anyhow::Result<()> {
        self.fleet()?.take_down(name).await?;
        course.is_made();
        if empty {
            self.fleet()?.forget_redis()?;
        }
        course.lasts(span).await;
        self.fleet()?.bring_up(name).await
    }

    /// nats-server may have given up on its streams meanwhile: it is started again when there is room.
    async fn fill_disk(&self, span: Duration, course: &Course<'_>) -> anyhow::Result<()> {
        let disk = self.fleet()?.disk.as_ref().context("it has no disk")?;
        disk.fill()?;
        course.lasts(span).await;
        disk.free()?;
        self.restart(NATS, Duration::ZERO, false, course).await
    }

    /// Sets a role's clock, and sets it right after a while.
    async fn set_clock(
        &self,
        role: &str,
        seconds: i64,
        span: Duration,
        course: &Course<'_>,
    ) -> anyhow::Result<()> {
        let clocks = self.fleet()?.clocks()?;
        clocks.set_and_see(role, seconds).await?;
        course.lasts(span).await;
        clocks.set(role, 0)
    }

    /// Does something to a link, and heals it after a while.
    async fn break_link(
        &self,
        (link, span): (&str, Duration),
        course: &Course<'_>,
        how: impl FnOnce(&Proxy),
    ) -> anyhow::Result<()> {
        let proxy = self.fleet()?.links.get(link)?;
        how(proxy);
        course.lasts(span).await;
        proxy.heal().await;
        Ok(())
    }

    /// Has Claude fail in these ways (JSON, as its `PUT /control` takes them) for a while.
    async fn claude_fails(
        &self,
        span: Duration,
        ways: &str,
        course: &Course<'_>,
    ) -> anyhow::Result<()> {
        self.outside
            .claude
            .faults(serde_json::from_str(ways)?)
            .await?;
        course.lasts(span).await;
        self.outside.claude.faults(json!([])).await
    }

    async fn tools_hang(&self, span: Duration, course: &Course<'_>) -> anyhow::Result<()> {
        let sink = &self.outside.sink;
        HELD.into_iter().for_each(|path| sink.hold(path));
        course.lasts(span).await;
        HELD.into_iter().for_each(|path| sink.release_at(path));
        Ok(())
    }

    /// Everything that is broken from outside is well again.
    pub(super) async fn heal_outside(&self) -> anyhow::Result<()> {
        let sink = &self.outside.sink;
        HELD.into_iter().for_each(|path| sink.release_at(path));
        sink.trouble(None, &[]);
        self.outside.claude.faults(json!([])).await
    }

    async fn trouble(
        &self,
        trouble: Trouble,
        span: Duration,
        course: &Course<'_>,
    ) -> anyhow::Result<()> {
        self.outside.sink.trouble(Some(trouble), SPARED);
        course.lasts(span).await;
        self.outside.sink.trouble(None, &[]);
        Ok(())
    }
}
