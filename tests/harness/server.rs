//! A server of somebody else's (nats-server, redis-server): on a free port, killed and restarted on the same one.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::ports::free_port;
use crate::process::Process;
use crate::wait::PATIENCE;

/// Asks a server, in its own protocol, whether it does its work.
type Probe = fn(u16) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// How to start it on a port
type Start = Box<dyn Fn(u16) -> Process + Send + Sync>;

/// Tries with another port, if somebody was quicker on one.
const TRIES: u32 = 5;

pub(crate) struct Server {
    name: &'static str,
    port: u16,
    process: Option<Process>,
    start: Start,
    probe: Probe,
}

impl Server {
    pub(crate) async fn start(name: &'static str, start: Start, probe: Probe) -> Self {
        let mut server = Self {
            name,
            port: 0,
            process: None,
            start,
            probe,
        };
        let mut said = String::new();
        for _ in 0..TRIES {
            server.port = free_port();
            match server.launch().await {
                Ok(()) => return server,
                Err(instead) => said = instead,
            }
        }
        panic!("{name} does not start: {said}");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// What it has printed; empty while it is down.
    pub(crate) fn log(&self) -> String {
        let running = self.process.as_ref();
        running.map(Process::log).unwrap_or_default()
    }

    /// SIGKILL. Nothing happens to one that is down.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// SIGTERM, and waits for its end.
    pub(crate) async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.terminate(PATIENCE).await;
        }
    }

    /// On the same port, with what it has stored; kills it first if it runs.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Err(said) = self.launch().await else {
                return;
            };
            assert!(
                Instant::now() < deadline,
                "{} does not restart on port {}: {said}",
                self.name,
                self.port
            );
        }
    }

    /// `Err` when it ended before it answered: with what it said.
    async fn launch(&mut self) -> Result<(), String> {
        let process = self.process.insert((self.start)(self.port));
        let deadline = Instant::now() + PATIENCE;
        loop {
            if process.exited().is_some() {
                return Err(process.log_tail());
            }
            let Err(said) = (self.probe)(self.port).await else {
                return Ok(());
            };
            assert!(
                Instant::now() < deadline,
                "{} does not answer on port {}: {said}",
                self.name,
                self.port
            );
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A server's program: from `.tools/bin`, where `deploy/get-tools` puts it, or else from PATH.
///
/// # Panics
/// When it is in neither.
pub fn program(name: &str) -> PathBuf {
    let fetched = repository().join(".tools/bin").join(name);
    if fetched.exists() {
        return fetched;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| {
            panic!("no {name}, neither in .tools/bin nor on PATH: run deploy/get-tools")
        })
}

/// The folder of the whole repository
pub(crate) fn repository() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("tests/ is in the repository")
        .to_owned()
}
