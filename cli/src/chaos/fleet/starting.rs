//! How each process of the fleet is started.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use flotilla_common::{io::broken, units::Span};
use tokio::sync::Mutex;

use super::{
    super::{clocks::Clocks, cluster::REPLICAS, links::Links},
    ACK_WAIT, Member, READY_WITHIN,
};
use crate::{
    child::{Child, find},
    programs,
    up::{self, CLAUDE, NATS},
};

/// What the simulated Claude takes for an answer: long enough that faults hit calls in flight.
const CLAUDE_LATENCY: Span = Span(Duration::from_millis(150));

/// What nats-server may keep, as it reads sizes: more than all streams of a fleet are given.
const NATS_STORE: &str = "64GB";

/// What every process is started with.
pub(super) struct Starting<'a> {
    /// Where the cluster of NATS is, in place of the one server that roles reach by their links.
    pub(super) cluster_url: Option<String>,
    pub(super) folder: &'a Path,
    pub(super) workflows: &'a Path,
    pub(super) addresses: &'a BTreeMap<&'static str, SocketAddr>,
    pub(super) links: &'a Links,
    pub(super) clocks: Option<&'a Clocks>,
    pub(super) break_rule: Option<broken::Rule>,
}

impl Starting<'_> {
    pub(super) fn address(&self, name: &str) -> anyhow::Result<SocketAddr> {
        let address = self.addresses.get(name).copied();
        address.with_context(|| format!("{name} has no address"))
    }

    pub(super) async fn claude(&self) -> anyhow::Result<Child> {
        let own = own()?;
        let address = self.address(CLAUDE)?;
        let args = programs::sim(address, self.folder, self.workflows, CLAUDE_LATENCY);
        let mut child = Child::start(CLAUDE, &own, &args, self.folder, &[])?;
        child
            .until(READY_WITHIN, || up::answers(address))
            .await
            .map(|()| child)
    }

    /// A file with nats-server's settings. It takes three quarters of its disk for what it may keep, and refuses streams that may grow
    /// beyond that; on a small disk, that is to be seen when it is full.
    fn nats_settings(&self, address: SocketAddr, store: &Path) -> anyhow::Result<PathBuf> {
        let file = self.folder.join("nats-server.conf");
        let text = format!(
            "listen: \"{address}\"\njetstream {{ store_dir: \"{}\", max_file_store: {NATS_STORE} }}\n",
            store.display()
        );
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    pub(super) async fn server(&self, name: &'static str) -> anyhow::Result<Mutex<Member>> {
        let address = self.address(name)?;
        let store = self.folder.join(name);
        let args = if name == NATS {
            vec!["-c".into(), self.nats_settings(address, &store)?.into()]
        } else {
            programs::redis(address, &store)
        };
        let program = find(name).with_context(|| format!("there is no {name} on PATH"))?;
        let mut child = Child::start(name, &program, &args, self.folder, &[])?;
        child.until(READY_WITHIN, || up::answers(address)).await?;
        Ok(Mutex::new(Member { child, down: false }))
    }

    pub(super) fn role(&self, name: &'static str) -> anyhow::Result<Mutex<Member>> {
        let kind = name.split('-').next().unwrap_or(name);
        let http = self.address(name)?.to_string();
        let args: Vec<OsString> = vec![kind.into(), "--http".into(), http.into()];
        let url = |to: &str, scheme: &str| -> anyhow::Result<OsString> {
            let link = self.links.get(&format!("{name}/{to}"))?;
            Ok(link.url(scheme).into())
        };
        let nats = match &self.cluster_url {
            Some(url) => url.into(),
            None => url("nats", "nats")?,
        };
        let mut environment: Vec<(&str, OsString)> = vec![
            ("FLOTILLA_NATS_URL", nats),
            ("FLOTILLA_REDIS_URL", url("redis", "redis")?),
            ("FLOTILLA_WORKFLOWS", self.workflows.into()),
            ("FLOTILLA_ACK_WAIT", Span(ACK_WAIT).to_string().into()),
            ("FLOTILLA_PARK_PAUSE", "1s".into()),
            ("FLOTILLA_FIRST_BYTE_TIMEOUT", "6s".into()),
            ("FLOTILLA_CALL_TIMEOUT", "20s".into()),
            ("FLOTILLA_CALL_PATIENCE", "20s".into()),
            // Nobody but this machine's own programs reaches it.
            ("FLOTILLA_AUTH", "off".into()),
            ("RUST_LOG", "info".into()),
        ];
        match kind {
            "planner" => {
                environment.push(("ANTHROPIC_BASE_URL", url("claude", "http")?));
                environment.push(("ANTHROPIC_API_KEY", key(name).into()));
            }
            "executor" => environment.push(("SINK_URL", url("sink", "http")?)),
            _ => {}
        }
        if self.cluster_url.is_some() {
            environment.push(("FLOTILLA_REPLICAS", REPLICAS.to_string().into()));
        }
        if let Some(clocks) = self.clocks {
            environment.extend(clocks.environment(name));
        }
        if let Some(rule) = self.break_rule {
            environment.push((broken::VARIABLE, rule.name().into()));
        }
        let child = Child::start(name, &own()?, &args, self.folder, &environment)?;
        if let Some((clocks, id)) = self.clocks.zip(child.pid()) {
            clocks.note(id);
        }
        Ok(Mutex::new(Member { child, down: false }))
    }
}

/// A planner's own key, so that the ledger says whose call it was.
pub(in crate::chaos) fn key(planner: &str) -> String {
    format!("chaos-{planner}")
}

fn own() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find this program's own file")
}
