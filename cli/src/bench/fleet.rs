//! A fleet of processes for measuring.

mod crash;
mod load;

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use flotilla_common::{
    io::{bus::Bus, journal::Journal},
    units::Span,
};
use serde_json::Value;
use tokio::net::TcpStream;

pub(super) use load::{Runs, run_of};

use crate::{
    child::{Child, free_port},
    output::Output,
    settings::Settings,
    up::Children,
};

/// Events that may wait for their runs, before gateways turn more away.
const PENDING_MAX: &str = "100000000";
const READY_WITHIN: Duration = Duration::from_secs(30);
/// The event that starts the bench's workflow.
pub(super) const EVENT: &str = "bench.go";
/// The bench's workflow.
pub(super) const WORKFLOW: &str = "bench";

/// A fleet of processes.
#[derive(Debug)]
pub(super) struct BenchFleet {
    children: Children,
    folder: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    /// Its journal.
    pub(super) journal: Journal,
    nats_url: String,
    /// Its Redis.
    pub(super) redis_url: String,
    /// The simulated Claude.
    pub(super) claude_url: String,
    /// Each with its name and where it serves HTTP.
    roles: Vec<(&'static str, SocketAddr)>,
    /// Where its gateway is.
    pub(super) gateway_url: String,
    /// Whether people are told how far it is.
    pub(super) output: Output,
}

impl BenchFleet {
    /// Starts NATS, Redis, a simulated Claude and a gateway for this workflow: one or more documents of YAML.
    pub(super) async fn start(
        settings: &Settings,
        name: &str,
        definitions: &str,
        latency: Span,
    ) -> anyhow::Result<Self> {
        let documents = definitions.split("\n---\n").enumerate();
        let files: Vec<_> = documents
            .map(|(index, document)| (format!("{index}.yaml"), document.to_owned()))
            .collect();
        Self::start_with(settings, name, &files, latency).await
    }

    /// The same with files, each with its path below the folder of definitions.
    pub(super) async fn start_with(
        settings: &Settings,
        name: &str,
        files: &[(impl AsRef<Path>, String)],
        latency: Span,
    ) -> anyhow::Result<Self> {
        let folder = settings.data().join("bench").join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        let workflows = folder.join("workflows");
        fs::create_dir_all(&workflows)
            .with_context(|| format!("cannot make {}", workflows.display()))?;
        let folder = folder.canonicalize()?;
        for (path, text) in files {
            let path = folder.join("workflows").join(path);
            fs::create_dir_all(path.parent().unwrap_or(&folder))?;
            fs::write(path, text)?;
        }
        let mut children = Children::default();
        let nats_url = children.nats(&folder).await?;
        let redis_url = children.redis(&folder).await?;
        let claude_url = children
            .sim(&folder, &folder.join("workflows"), latency)
            .await?;
        let environment = vec![
            ("FLOTILLA_NATS_URL", nats_url.clone().into()),
            ("FLOTILLA_REDIS_URL", redis_url.clone().into()),
            ("ANTHROPIC_BASE_URL", claude_url.clone().into()),
            ("ANTHROPIC_API_KEY", "bench".into()),
            // What comes in is measured, not from when on it is turned away.
            ("FLOTILLA_PENDING_MAX", PENDING_MAX.into()),
            ("FLOTILLA_WORKFLOWS", folder.join("workflows").into()),
            // Nobody but this machine's own programs reaches it.
            ("FLOTILLA_AUTH", "off".into()),
            ("RUST_LOG", "warn".into()),
        ];
        let bus = Bus::connect(&nats_url, "bench").await?;
        let journal = Journal::new(bus);
        let mut fleet = Self {
            children,
            folder,
            environment,
            journal,
            nats_url,
            redis_url,
            claude_url,
            roles: Vec::new(),
            gateway_url: String::new(),
            output: Output::default(),
        };
        let (_, http) = fleet.start_role("gateway", "gateway").await?;
        fleet.gateway_url = format!("http://{http}");
        Ok(fleet)
    }

    /// Starts one more process of a role; gives its process id.
    pub(super) async fn role(
        &mut self,
        role: &'static str,
        name: &'static str,
    ) -> anyhow::Result<u32> {
        self.start_role(role, name).await.map(|(pid, _)| pid)
    }

    async fn start_role(
        &mut self,
        role: &'static str,
        name: &'static str,
    ) -> anyhow::Result<(u32, SocketAddr)> {
        let own = std::env::current_exe().context("cannot find this program's own file")?;
        let http: SocketAddr = free_port(0)?;
        let args: [OsString; 3] = [role.into(), "--http".into(), http.to_string().into()];
        let mut child = Child::start(name, &own, &args, &self.folder, &self.environment)?;
        let waited = child
            .until(READY_WITHIN, || async {
                TcpStream::connect(http).await.is_ok()
            })
            .await;
        let pid = child.pid();
        self.children.add(child);
        self.roles.push((name, http));
        waited?;
        let pid = pid.context("a process that was just started has no id")?;
        Ok((pid, http))
    }

    /// Where its definitions are.
    pub(super) fn workflows(&self) -> PathBuf {
        self.folder.join("workflows")
    }

    /// Posts JSON to the gateway; gives its answer.
    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.gateway_url);
        let answer = reqwest::Client::new().post(url).json(body).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path} answers {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// Changes how Claude answers.
    pub(super) async fn control(&self, change: &Value) -> anyhow::Result<()> {
        let answer = reqwest::Client::new()
            .put(format!("{}/control", self.claude_url))
            .json(change)
            .send()
            .await?;
        ensure!(
            answer.status().is_success(),
            "the simulated Claude does not take {change}: {}",
            answer.text().await?
        );
        Ok(())
    }

    /// What the simulated Claude's ledger says.
    pub(super) async fn ledger(&self, what: &str) -> anyhow::Result<Value> {
        self.claude(&format!("ledger/{what}")).await
    }

    /// Every call in the simulated Claude's ledger.
    pub(super) async fn calls(&self) -> anyhow::Result<Value> {
        self.claude("ledger").await
    }

    /// Has the simulated Claude forget its prompt cache.
    pub(super) async fn forget_cache(&self) -> anyhow::Result<()> {
        let url = format!("{}/cache", self.claude_url);
        let answer = reqwest::Client::new().delete(url).send().await?;
        answer.error_for_status()?;
        Ok(())
    }

    async fn claude(&self, what: &str) -> anyhow::Result<Value> {
        let url = format!("{}/{what}", self.claude_url);
        Ok(reqwest::get(url).await?.error_for_status()?.json().await?)
    }

    /// Roles started from now on have so many slots.
    pub(super) fn slots(&mut self, slots: usize) {
        self.set("FLOTILLA_SLOTS", slots.to_string().into());
    }

    /// Roles started from now on have this variable.
    pub(super) fn set(&mut self, name: &'static str, value: OsString) {
        self.environment.push((name, value));
    }

    /// Ends all processes and removes their data.
    pub(super) async fn stop(mut self) {
        self.children.stop().await;
        remove(&self.folder);
    }
}

fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        eprintln!("cannot remove {}: {error}", folder.display());
    }
}
