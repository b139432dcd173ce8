//! Three nats-servers, each in a network namespace of its own, so that one can really be cut off from the others. It needs `ip`, and
//! leave to use it.

use std::{ffi::OsString, fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, bail, ensure};
use flotilla_common::{io::bus::Bus, names::stream::RUNS};
use tokio::time::{Instant, sleep};

use super::leftovers::{LINK, SPACE};
use crate::{
    child::{Child, find},
    up::{self, NATS},
};

const NODES: [u8; 3] = [1, 2, 3];
/// Where the bridge is: in a namespace of its own too, for the machine's own rules (Docker sets some) may forbid bridges to forward.
const HUB: u8 = 0;
const NAMES: [&str; 3] = ["nats-1", "nats-2", "nats-3"];
/// Servers that keep each stream: all of them.
pub(super) const REPLICAS: usize = NODES.len();
const FORBIDDEN: &str = "network namespaces are not permitted here";
const READY_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The network: a bridge that every node and this machine hang on. Dropped, it is gone.
#[derive(Debug)]
struct Net {
    /// Whose it is: part of every name, so that what a kit leaves behind is known as its own.
    owner: u32,
    /// Part of every address, so that two kits have two networks.
    number: u8,
}

/// The servers.
#[derive(Debug)]
pub(super) struct Cluster {
    nodes: Vec<Child>,
    net: Net,
}

impl Net {
    fn build() -> anyhow::Result<Self> {
        let owner = std::process::id();
        let number = u8::try_from(owner % 250).unwrap_or(0) + 1;
        let net = Self { owner, number };
        net.remove();
        let (hub, own) = (net.space(HUB), net.link());
        ip(&format!("netns add {hub}"))?;
        ip(&format!("-n {hub} link add bridge type bridge"))?;
        ip(&format!("-n {hub} link set bridge up"))?;
        ip(&format!(
            "link add {own} type veth peer name people netns {hub}"
        ))?;
        ip(&format!("-n {hub} link set people master bridge up"))?;
        ip(&format!("addr add {}/24 dev {own}", net.address(254)))?;
        ip(&format!("link set {own} up"))?;
        for node in NODES {
            let space = net.space(node);
            ip(&format!("netns add {space}"))?;
            ip(&format!(
                "-n {hub} link add node{node} type veth peer name eth0 netns {space}"
            ))?;
            ip(&format!("-n {hub} link set node{node} master bridge up"))?;
            let address = net.address(node);
            ip(&format!("-n {space} addr add {address}/24 dev eth0"))?;
            ip(&format!("-n {space} link set eth0 up"))?;
            ip(&format!("-n {space} link set lo up"))?;
        }
        Ok(net)
    }

    fn space(&self, node: u8) -> String {
        format!("{SPACE}{}-{node}", self.owner)
    }

    /// This machine's own end.
    fn link(&self) -> String {
        format!("{LINK}{}", self.owner)
    }

    /// Connects a server with all others, or cuts it off.
    fn set(&self, node: u8, state: &str) -> anyhow::Result<()> {
        ip(&format!(
            "-n {} link set node{node} {state}",
            self.space(HUB)
        ))
    }

    fn address(&self, node: u8) -> String {
        format!("10.213.{}.{node}", self.number)
    }

    fn remove(&self) {
        // What is not there need not be removed.
        drop(ip(&format!("link del {}", self.link())));
        for space in NODES.into_iter().chain([HUB]) {
            drop(ip(&format!("netns del {}", self.space(space))));
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Whether such a network can be made here.
///
/// # Errors
/// Why not.
pub(super) fn possible() -> anyhow::Result<()> {
    Net::build().map(drop).context(FORBIDDEN)
}

impl Cluster {
    /// Starts three servers that know each other.
    ///
    /// # Errors
    /// Namespaces are not permitted here, or a server does not start.
    pub(super) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let net = Net::build().context(FORBIDDEN)?;
        let server = find(NATS).with_context(|| format!("there is no {NATS} on PATH"))?;
        let program = find("ip").context("there is no `ip` on PATH")?;
        let routes = NODES.map(|node| format!("\"nats-route://{}:6222\"", net.address(node)));
        let mut nodes = Vec::new();
        for (node, name) in NODES.into_iter().zip(NAMES) {
            let (address, store) = (net.address(node), folder.join(name));
            let text = format!(
                "server_name: {name}\nlisten: \"{address}:4222\"\njetstream {{ store_dir: \"{}\" }}\n\
cluster {{ name: chaos, listen: \"{address}:6222\", routes: [{}] }}\n",
                store.display(),
                routes.join(", ")
            );
            let file = folder.join(format!("{name}.conf"));
            fs::write(&file, text)?;
            let words = ["netns", "exec", &net.space(node)].map(OsString::from);
            let rest = [server.clone().into(), "-c".into(), file.into()];
            let args: Vec<OsString> = words.into_iter().chain(rest).collect();
            nodes.push(Child::start(name, &program, &args, folder, &[])?);
        }
        for (node, child) in NODES.into_iter().zip(&mut nodes) {
            let address = format!("{}:4222", net.address(node)).parse()?;
            child.until(READY_WITHIN, || up::answers(address)).await?;
        }
        Ok(Self { nodes, net })
    }

    /// Where clients connect to: any of them.
    pub(super) fn url(&self) -> String {
        NODES
            .map(|node| format!("nats://{}:4222", self.net.address(node)))
            .join(",")
    }

    /// Waits until the servers have agreed on who leads.
    pub(super) async fn led(&self, bus: &Bus) -> anyhow::Result<()> {
        let end = Instant::now() + READY_WITHIN;
        while Instant::now() < end {
            if bus.jetstream.query_account().await.is_ok() {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
        bail!("nats-servers have no leader after {READY_WITHIN:?}")
    }

    /// Waits until what the fleet's roles have made is on all of them.
    pub(super) async fn replicated(&self, bus: &Bus) -> anyhow::Result<()> {
        let end = Instant::now() + READY_WITHIN;
        while Instant::now() < end {
            let info = bus.jetstream.get_stream(RUNS).await?.get_info().await?;
            let others = info.cluster.map(|cluster| cluster.replicas);
            let others = others.unwrap_or_default();
            if others.len() + 1 == REPLICAS && others.iter().all(|replica| replica.current) {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
        bail!("{RUNS} is not on {REPLICAS} servers after {READY_WITHIN:?}")
    }

    /// Cuts one server off from everybody for a while: the one that leads RUNS, or one that does not.
    pub(super) async fn cut(&self, bus: &Bus, leader: bool, span: Duration) -> anyhow::Result<()> {
        let leads = leads(bus).await?;
        let mut nodes = NODES.into_iter().zip(NAMES);
        let node = nodes.find(|(_, name)| (*name == leads) == leader);
        let (node, _) = node.context("there is no such server")?;
        self.net.set(node, "down")?;
        sleep(span).await;
        self.net.set(node, "up")
    }

    /// Every server hears every other.
    pub(super) fn heal(&self) -> anyhow::Result<()> {
        NODES
            .into_iter()
            .try_for_each(|node| self.net.set(node, "up"))
    }

    /// Ends all of them.
    pub(super) async fn stop(&mut self) {
        for node in &mut self.nodes {
            node.kill().await;
        }
    }
}

/// The server that leads RUNS; right after another one was cut off, nobody may for a while.
async fn leads(bus: &Bus) -> anyhow::Result<String> {
    let end = Instant::now() + READY_WITHIN;
    while Instant::now() < end {
        if let Ok(stream) = bus.jetstream.get_stream(RUNS).await
            && let Ok(info) = stream.get_info().await
            && let Some(leads) = info.cluster.and_then(|cluster| cluster.leader)
        {
            return Ok(leads);
        }
        sleep(LOOK_EVERY).await;
    }
    bail!("nobody leads {RUNS} after {READY_WITHIN:?}")
}

fn ip(words: &str) -> anyhow::Result<()> {
    let ran = Command::new("ip").args(words.split(' ')).output();
    let ran = ran.context("there is no `ip`")?;
    ensure!(
        ran.status.success(),
        "ip {words}: {}",
        String::from_utf8_lossy(&ran.stderr).trim()
    );
    Ok(())
}
