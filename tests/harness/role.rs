//! A role of the fleet as a process of its own, as in production.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::api::Api;
use crate::binary::flotilla;
use crate::ports::free_port;
use crate::process::Process;
use crate::wait::{PATIENCE, eventually};

/// What one role gets that the others of its fleet do not. Empty: exactly what the fleet has.
#[derive(Debug, Clone, Default)]
pub struct RoleOptions {
    nats: Option<String>,
    redis: Option<String>,
    claude: Option<String>,
    env: Vec<(String, String)>,
    without: Vec<String>,
    program: Option<PathBuf>,
}

impl RoleOptions {
    /// Another way to NATS: a proxy's URL.
    #[must_use]
    pub fn nats(mut self, url: impl Into<String>) -> Self {
        self.nats = Some(url.into());
        self
    }

    /// Another way to Redis.
    #[must_use]
    pub fn redis(mut self, url: impl Into<String>) -> Self {
        self.redis = Some(url.into());
        self
    }

    /// Another way to Claude.
    #[must_use]
    pub fn claude(mut self, url: impl Into<String>) -> Self {
        self.claude = Some(url.into());
        self
    }

    /// One more variable, or another value for one that the fleet sets.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Without a variable that the fleet sets.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.without.push(name.to_owned());
        self
    }

    /// Another `flotilla` than the one that is built here.
    #[must_use]
    pub fn program(mut self, program: &Path) -> Self {
        self.program = Some(program.to_owned());
        self
    }

    /// What it runs.
    pub(crate) fn its_program(&self) -> &Path {
        self.program.as_deref().unwrap_or_else(|| flotilla())
    }

    /// Whether it is to be without this variable.
    pub(crate) fn lacks(&self, name: &str) -> bool {
        self.without.iter().any(|other| other == name)
    }

    /// Later ones win.
    pub(crate) fn into_env(self) -> Vec<(String, String)> {
        let ways = [
            ("FLOTILLA_NATS_URL", self.nats),
            ("FLOTILLA_REDIS_URL", self.redis),
            ("ANTHROPIC_BASE_URL", self.claude),
        ];
        ways.into_iter()
            .filter_map(|(name, url)| Some((name.to_owned(), url?)))
            .chain(self.env)
            .collect()
    }
}

/// A running (or stopped, or killed) `flotilla gateway`, `planner` or `executor`. It is killed and held as any [`Process`].
#[derive(Debug)]
pub struct Role {
    process: Process,
    api: Api,
}

impl Role {
    /// Starts `<program> <role>`, called `name` in messages, with its log in `folder`. It need not be ready yet.
    pub(crate) fn start(
        program: &Path,
        role: &str,
        name: &str,
        env: &[(String, String)],
        folder: &Path,
    ) -> Self {
        let mut env = env.to_vec();
        let given = env.iter().rev().find(|(name, _)| name == "FLOTILLA_HTTP");
        let http = given.map(|(_, http)| http.clone());
        let http = http.unwrap_or_else(|| format!("127.0.0.1:{}", free_port()));
        env.push(("FLOTILLA_HTTP".to_owned(), http.clone()));
        let log = folder.join(format!("{name}.log"));
        Self {
            process: Process::start(name, program, &[role], &env, &log),
            api: Api::new(&format!("http://{http}")),
        }
    }

    /// What it answers over HTTP: a gateway the whole API, the others `/healthz /readyz /metrics`.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Waits until `/readyz` says 200.
    ///
    /// # Panics
    /// When it does not in time, or has ended.
    pub async fn wait_ready(&mut self) {
        let what = format!("{} is ready", self.process.name());
        let api = self.api.clone();
        let process = &mut self.process;
        eventually(&what, PATIENCE, || {
            if let Some(status) = process.exited() {
                panic!(
                    "{} ended ({status}) before it was ready:\n{}",
                    process.name(),
                    process.log_tail()
                );
            }
            let api = api.clone();
            async move {
                match api.try_get("/readyz").await {
                    Ok(answer) if answer.status == 200 => Ok(()),
                    Ok(answer) => Err(format!("{} {}", answer.status, answer.text)),
                    Err(error) => Err(error.to_string()),
                }
            }
        })
        .await;
    }

    /// One number of `/metrics`, summed over its labels; 0 when it is not there (yet).
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.api.get("/metrics").await.text;
        text.lines()
            .filter(|line| {
                let rest = line.strip_prefix(name);
                rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// SIGTERM; it must drain and end with status 0 within `limit`.
    ///
    /// # Panics
    /// When it does not.
    pub async fn drain(&mut self, limit: Duration) {
        let status = self.process.terminate(limit).await;
        assert!(
            status.success(),
            "{} ended with {status} on SIGTERM:\n{}",
            self.process.name(),
            self.process.log_tail()
        );
    }
}

impl Deref for Role {
    type Target = Process;
    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Role {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}
