//! The fleet that is broken on purpose: every part a process of its own, every link through a proxy, and somebody who starts again
//! what has died, as any supervisor would.

mod starting;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use flotilla_common::io::{bus::Bus, journal::Journal};
use flotilla_sim::sink::Sink;
use rustix::process::Signal;
use tokio::{
    sync::Mutex,
    task::AbortHandle,
    time::{sleep, timeout},
};

use starting::Starting;
pub(super) use starting::key;

use super::{
    clocks::Clocks,
    cluster::Cluster,
    definitions,
    disk::{self, Disk},
    leftovers,
    links::Links,
    options::{Options, Profile},
    ports,
    schedule::ROLES,
};
use crate::{
    child::Child,
    settings::Settings,
    up::{self, CLAUDE, NATS, REDIS},
};

/// How long a worker may be silent: short, so that a dead one is replaced in seconds.
pub(super) const ACK_WAIT: Duration = Duration::from_secs(2);
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often the supervisor looks, and how long it waits before it starts again what has died.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const RESTART_PAUSE: Duration = Duration::from_millis(300);

/// A process of the fleet.
#[derive(Debug)]
struct Member {
    child: Child,
    /// Nobody starts it again.
    down: bool,
}

/// The fleet.
#[derive(Debug)]
pub(super) struct Fleet {
    folder: PathBuf,
    members: BTreeMap<&'static str, Mutex<Member>>,
    addresses: BTreeMap<&'static str, SocketAddr>,
    /// Not of the fleet, and never broken: it keeps the ledger of calls.
    claude: Mutex<Child>,
    pub(super) links: Links,
    pub(super) sink: Arc<Sink>,
    /// Read past all proxies.
    pub(super) journal: Journal,
    pub(super) claude_url: String,
    /// Where nats-server's streams are, if it is a small one of its own.
    pub(super) disk: Option<Disk>,
    /// Where roles' clocks can be set.
    clocks: Option<Clocks>,
    /// In place of one nats-server.
    cluster: Mutex<Option<Cluster>>,
}

/// Where all is that a fleet writes.
pub(super) fn place(settings: &Settings) -> PathBuf {
    settings.data().join("chaos")
}

/// An empty folder for all that a fleet writes, and what keeps others away from it.
pub(super) fn folder(settings: &Settings) -> anyhow::Result<(PathBuf, fs::File)> {
    let folder = place(settings);
    let owner = leftovers::take(&folder)?;
    fs::create_dir_all(folder.join(REDIS))
        .with_context(|| format!("cannot make {}", folder.display()))?;
    Ok((folder.canonicalize()?, owner))
}

/// The disk of a fleet in this folder.
pub(super) fn small_disk(folder: &Path) -> anyhow::Result<Disk> {
    Disk::mount(&folder.join(NATS))
}

impl Fleet {
    /// Starts everything; the roles need not be ready yet.
    pub(super) async fn start(
        folder: PathBuf,
        disk: Option<Disk>,
        clocks: Option<Clocks>,
        options: &Options,
    ) -> anyhow::Result<Arc<Self>> {
        let workflows = folder.join("workflows");
        definitions::write(&workflows)?;

        let sink = Arc::new(Sink::start().await?);
        let names = [NATS, REDIS, CLAUDE].into_iter().chain(ROLES);
        let free = ports::free(names.clone().count())?;
        let addresses: BTreeMap<&'static str, SocketAddr> = names.zip(free).collect();
        let address = |name: &str| addresses.get(name).copied();
        let port = |to: &str| match to {
            "nats" => address(NATS).map(|at| at.port()),
            "redis" => address(REDIS).map(|at| at.port()),
            "claude" => address(CLAUDE).map(|at| at.port()),
            "sink" => Some(sink.port()),
            role => address(role).map(|at| at.port()),
        };
        let links = Links::start(port).await?;
        let cluster = if options.profile == Profile::Cluster {
            Some(Cluster::start(&folder).await?)
        } else {
            None
        };
        let starting = Starting {
            cluster_url: cluster.as_ref().map(Cluster::url),
            folder: &folder,
            workflows: &workflows,
            addresses: &addresses,
            links: &links,
            clocks: clocks.as_ref(),
            break_rule: options.broken,
        };
        let claude = starting.claude().await?;
        let mut members = BTreeMap::new();
        if cluster.is_none() {
            members.insert(NATS, starting.server(NATS).await?);
        }
        members.insert(REDIS, starting.server(REDIS).await?);
        let nats = format!("nats://{}", starting.address(NATS)?);
        let bus = Bus::connect(starting.cluster_url.as_deref().unwrap_or(&nats), "chaos").await?;
        if let Some(cluster) = &cluster {
            cluster.led(&bus).await?;
        }
        for role in ROLES {
            members.insert(role, starting.role(role)?);
        }
        let journal = Journal::new(bus);
        let fleet = Arc::new(Self {
            claude_url: format!("http://{}", starting.address(CLAUDE)?),
            folder,
            disk,
            clocks,
            cluster: Mutex::new(cluster),
            members,
            claude: Mutex::new(claude),
            links,
            sink,
            journal,
            addresses,
        });
        Ok(fleet)
    }

    /// Waits until every role is ready for the first time.
    pub(super) async fn begun(&self) -> anyhow::Result<()> {
        for role in ROLES {
            self.ready(role).await?;
        }
        if let Some(cluster) = &*self.cluster.lock().await {
            cluster.replicated(self.journal.bus()).await?;
        }
        Ok(())
    }

    /// Cuts a server of the cluster off for a while: the one that leads, or another one.
    pub(super) async fn cut_node(&self, leader: bool, span: Duration) -> anyhow::Result<()> {
        let cluster = self.cluster.lock().await;
        let cluster = cluster.as_ref().context("there is one nats-server only")?;
        cluster.cut(self.journal.bus(), leader, span).await
    }

    /// The clocks of its roles.
    pub(super) fn clocks(&self) -> anyhow::Result<&Clocks> {
        let clocks = self.clocks.as_ref();
        clocks.context("its clocks cannot be set")
    }

    /// Starts again what has died, for as long as it is not aborted.
    pub(super) fn supervise(self: &Arc<Self>) -> AbortHandle {
        let fleet = Arc::clone(self);
        let watching = async move {
            loop {
                sleep(LOOK_EVERY).await;
                for (name, member) in &fleet.members {
                    let is_dead = {
                        let mut member = member.lock().await;
                        !member.down && member.child.is_gone()
                    };
                    if is_dead {
                        sleep(RESTART_PAUSE).await;
                        let mut member = member.lock().await;
                        if !member.down && member.child.is_gone() {
                            match member.child.again() {
                                Ok(()) => fleet.note_clock(name, &member.child),
                                Err(error) => eprintln!("{name}: {error:#}"),
                            }
                        }
                    }
                }
            }
        };
        tokio::spawn(watching).abort_handle()
    }

    async fn member(&self, name: &str) -> anyhow::Result<tokio::sync::MutexGuard<'_, Member>> {
        let member = self.members.get(name);
        let member = member.with_context(|| format!("there is no {name}"))?;
        Ok(member.lock().await)
    }

    /// Kills a process (-9); the supervisor starts it again.
    pub(super) async fn kill(&self, name: &str) -> anyhow::Result<()> {
        self.member(name).await?.child.kill().await;
        Ok(())
    }

    /// Kills a process (-9), and keeps it down.
    pub(super) async fn take_down(&self, name: &str) -> anyhow::Result<()> {
        let mut member = self.member(name).await?;
        member.down = true;
        member.child.kill().await;
        Ok(())
    }

    /// Starts what was taken down, and waits until it is ready.
    pub(super) async fn bring_up(&self, name: &str) -> anyhow::Result<()> {
        self.start_again(name).await?;
        self.ready(name).await
    }

    async fn start_again(&self, name: &str) -> anyhow::Result<()> {
        let mut member = self.member(name).await?;
        if member.down {
            member.child.again()?;
            member.down = false;
            self.note_clock(name, &member.child);
        }
        Ok(())
    }

    /// Of what has a clock of its own, something is left when it is killed.
    fn note_clock(&self, name: &str, child: &Child) {
        let clocks = self.clocks.as_ref().filter(|_| ROLES.contains(&name));
        if let Some((clocks, id)) = clocks.zip(child.pid()) {
            clocks.note(id);
        }
    }

    /// What a process's environment has when it is started again; `None`: nothing.
    pub(super) async fn set(
        &self,
        name: &str,
        variable: &str,
        value: Option<&str>,
    ) -> anyhow::Result<()> {
        let value = value.map(OsString::from);
        let mut member = self.member(name).await?;
        member.child.set(variable, value.as_ref());
        Ok(())
    }

    /// Sends a process a signal.
    pub(super) async fn signal(&self, name: &str, signal: Signal) -> anyhow::Result<()> {
        self.member(name).await?.child.signal(signal);
        Ok(())
    }

    /// Removes what Redis has written down; it must be down.
    pub(super) fn forget_redis(&self) -> anyhow::Result<()> {
        let folder = self.folder.join(REDIS);
        fs::remove_dir_all(&folder)?;
        fs::create_dir_all(&folder)?;
        Ok(())
    }

    /// Where Redis is, past all proxies.
    pub(super) fn redis_url(&self) -> anyhow::Result<String> {
        Ok(format!("redis://{}", self.address(REDIS)?))
    }

    /// The gateway, as people reach it.
    pub(super) fn gateway_url(&self) -> anyhow::Result<String> {
        Ok(self.links.get("people/gateway")?.url("http"))
    }

    /// Waits until a process answers.
    pub(super) async fn ready(&self, name: &str) -> anyhow::Result<()> {
        let address = self.address(name)?;
        let is_role = ROLES.contains(&name);
        let url = format!("http://{address}/readyz");
        let waiting = async {
            loop {
                let ready = if is_role {
                    let answer = reqwest::get(&url).await;
                    answer.is_ok_and(|answer| answer.status().is_success())
                } else {
                    up::answers(address).await
                };
                if ready {
                    return;
                }
                sleep(Duration::from_millis(30)).await;
            }
        };
        if timeout(READY_WITHIN, waiting).await.is_err() {
            bail!(
                "{name} is not ready after {READY_WITHIN:?}; see {}",
                self.folder.display()
            );
        }
        Ok(())
    }

    /// Every process is there and ready, whatever was done to it.
    pub(super) async fn heal(&self) -> anyhow::Result<()> {
        self.links.heal().await;
        if let Some(clocks) = &self.clocks {
            clocks.heal()?;
        }
        if let Some(cluster) = &*self.cluster.lock().await {
            cluster.heal()?;
        }
        for name in self.members.keys() {
            self.signal(name, Signal::CONT).await?;
            self.start_again(name).await?;
        }
        for name in self.members.keys() {
            self.ready(name).await?;
        }
        Ok(())
    }

    /// Ends all processes; removes their data, unless it is to be kept.
    pub(super) async fn stop(&self, keep: bool) {
        for member in self.members.values() {
            let mut member = member.lock().await;
            member.down = true;
            member.child.kill().await;
        }
        self.claude.lock().await.kill().await;
        if let Some(mut cluster) = self.cluster.lock().await.take() {
            cluster.stop().await;
        }
        if keep {
            eprintln!("logs and data: {}", self.folder.display());
            return;
        }
        disk::unmount(&self.folder.join(NATS));
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("cannot remove {}: {error}", self.folder.display());
        }
    }

    fn address(&self, name: &str) -> anyhow::Result<SocketAddr> {
        let address = self.addresses.get(name).copied();
        address.with_context(|| format!("{name} has no address"))
    }
}
