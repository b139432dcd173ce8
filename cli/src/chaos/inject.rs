//! Making things go wrong, and noting when they did.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use axum::http::StatusCode;
use flotilla_common::ids::RunId;
use flotilla_sim::{proxy::Proxy, sink::Trouble};
use jiff::Timestamp;
use rustix::process::Signal;
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    claude::Claude,
    fleet::Fleet,
    load::{self, Submitter, Workload},
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

/// Breaks a fleet.
#[derive(Debug, Clone)]
pub(super) struct Injector {
    pub(super) fleet: Arc<Fleet>,
    pub(super) claude: Claude,
    pub(super) submitter: Arc<Submitter>,
    happened: Arc<Mutex<Vec<Happened>>>,
}

pub(super) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

impl Injector {
    pub(super) fn new(fleet: Arc<Fleet>, submitter: Arc<Submitter>) -> Self {
        Self {
            claude: Claude::at(&fleet.claude_url),
            fleet,
            submitter,
            happened: Arc::default(),
        }
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

    /// Makes one fault at its time, from the beginning of the load on, and ends it.
    pub(super) async fn make(&self, begun: Instant, number: usize, fault: &Fault) {
        sleep_until(begun + Duration::from_millis(fault.at_ms)).await;
        let begun_ms = now_ms();
        let probing = async {
            let id = format!("probe-{number}");
            self.submitter
                .submit(Workload::Short, &id, number)
                .await
                .ok()
        };
        let breaking = async {
            if let Err(error) = self.apply(fault).await {
                eprintln!("{} {}: {error:#}", fault.kind.name(), fault.target);
            }
            now_ms()
        };
        let (probe, ended_ms) = tokio::join!(probing, breaking);
        let happened = self.happened.lock();
        let mut happened = happened.unwrap_or_else(PoisonError::into_inner);
        happened.push(Happened {
            kind: fault.kind,
            target: fault.target,
            begun_ms,
            ended_ms,
            probe,
        });
    }

    async fn apply(&self, fault: &Fault) -> anyhow::Result<()> {
        let span = Duration::from_millis(fault.span_ms);
        let (fleet, target) = (&self.fleet, fault.target);
        match fault.kind {
            Kind::Kill => fleet.kill(target).await,
            Kind::Stop => {
                fleet.signal(target, Signal::STOP).await?;
                sleep(span).await;
                fleet.signal(target, Signal::CONT).await
            }
            Kind::NatsKill => self.restart(NATS, span, false).await,
            Kind::NodeCut => fleet.cut_node(false, span).await,
            Kind::LeaderCut => fleet.cut_node(true, span).await,
            Kind::DiskFull => self.fill_disk(span).await,
            Kind::RedisKill => self.restart(REDIS, span, false).await,
            Kind::RedisEmpty => self.restart(REDIS, span, true).await,
            Kind::Flush => fleet.flush_redis().await,
            Kind::Poison => load::poison(fleet.journal.bus()).await,
            Kind::Delay => {
                let slow = |link: &Proxy| link.delay(DELAY);
                self.break_link(target, span, slow).await
            }
            Kind::Throttle => {
                let narrow = |link: &Proxy| link.throttle(THROTTLED);
                self.break_link(target, span, narrow).await
            }
            Kind::HalfOpen => self.break_link(target, span, Proxy::swallow).await,
            Kind::OneWay => {
                fleet.links.get(target)?.pause_upstream().await?;
                self.break_link(target, span, |_| {}).await
            }
            Kind::Cut => {
                fleet.links.get(target)?.cut().await;
                Ok(())
            }
            Kind::Refuse => {
                let link = fleet.links.get(target)?;
                link.refuse();
                link.cut().await;
                self.break_link(target, span, |_| {}).await
            }
            Kind::Claude429 => self.claude_fails(span, CLAUDE_429).await,
            Kind::Claude529 => self.claude_fails(span, CLAUDE_529).await,
            Kind::ClaudeHang => self.claude_fails(span, CLAUDE_HANG).await,
            Kind::ClaudeCut => self.claude_fails(span, CLAUDE_CUT).await,
            Kind::ClaudeGarbage => self.claude_fails(span, CLAUDE_GARBAGE).await,
            Kind::ToolHang => self.tools_hang(span).await,
            Kind::Tool500 => {
                let refused = Trouble::Refuse(StatusCode::INTERNAL_SERVER_ERROR);
                self.trouble(refused, span).await
            }
            Kind::ToolCut => self.trouble(Trouble::Cut, span).await,
            Kind::ToolGarbage => self.trouble(Trouble::Garbage, span).await,
        }
    }

    async fn restart(&self, name: &str, span: Duration, empty: bool) -> anyhow::Result<()> {
        self.fleet.take_down(name).await?;
        if empty {
            self.fleet.forget_redis()?;
        }
        sleep(span).await;
        self.fleet.bring_up(name).await
    }

    /// nats-server may have given up on its streams meanwhile: it is started again when there is room.
    async fn fill_disk(&self, span: Duration) -> anyhow::Result<()> {
        let disk = self.fleet.disk.as_ref().context("it has no disk")?;
        disk.fill()?;
        sleep(span).await;
        disk.free()?;
        self.restart(NATS, Duration::ZERO, false).await
    }

    /// Does something to a link, and heals it after a while.
    async fn break_link(
        &self,
        link: &str,
        span: Duration,
        how: impl FnOnce(&Proxy),
    ) -> anyhow::Result<()> {
        let proxy = self.fleet.links.get(link)?;
        how(proxy);
        sleep(span).await;
        proxy.heal().await;
        Ok(())
    }

    /// Has Claude fail in these ways (JSON, as its `PUT /control` takes them) for a while.
    async fn claude_fails(&self, span: Duration, ways: &str) -> anyhow::Result<()> {
        self.claude.faults(serde_json::from_str(ways)?).await?;
        sleep(span).await;
        self.claude.faults(json!([])).await
    }

    async fn tools_hang(&self, span: Duration) -> anyhow::Result<()> {
        let sink = &self.fleet.sink;
        HELD.into_iter().for_each(|path| sink.hold(path));
        sleep(span).await;
        HELD.into_iter().for_each(|path| sink.release_at(path));
        Ok(())
    }

    async fn trouble(&self, trouble: Trouble, span: Duration) -> anyhow::Result<()> {
        self.fleet.sink.trouble(Some(trouble), SPARED);
        sleep(span).await;
        self.fleet.sink.trouble(None, &[]);
        Ok(())
    }
}
