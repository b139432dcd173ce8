//! Processes that `up` starts. They end with it, even when it is killed: each is started by this binary as a small launcher that
//! asks the kernel to end it with its parent, then becomes the program. Each has its own process group, so that Ctrl-C
//! reaches only us: the roles drain first, and need them for that.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, kill_process, set_parent_process_death_signal, setrlimit,
};
use tokio::{process::Command, time::timeout};

const END_GRACE: Duration = Duration::from_secs(10);

/// A running child.
#[derive(Debug)]
pub(crate) struct Child {
    /// What it is, for people.
    pub(crate) name: &'static str,
    log: PathBuf,
    command: Command,
    process: tokio::process::Child,
}

impl Child {
    /// Starts a program; what it prints goes to `<logs>/<name>.log`.
    pub(crate) fn start(
        name: &'static str,
        program: &Path,
        args: &[OsString],
        logs: &Path,
        environment: &[(&str, OsString)],
    ) -> anyhow::Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let file = std::fs::File::create(&log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let again = file
            .try_clone()
            .with_context(|| format!("cannot write {}", log.display()))?;
        let own = std::env::current_exe().context("cannot find this program's own file")?;
        let mut command = Command::new(own);
        command
            .arg("launch")
            .arg(std::process::id().to_string())
            // Or a first argument that is also one of ours would be taken for it.
            .arg("--")
            .arg(program)
            .args(args)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(again)
            .process_group(0)
            .kill_on_drop(true);
        let process = spawn(&mut command, name)?;
        Ok(Self {
            name,
            log,
            command,
            process,
        })
    }

    /// Kills it, as the kernel does when memory is short: it finishes nothing.
    pub(crate) async fn kill(&mut self) {
        // One that is gone already is what was wanted.
        drop(self.process.kill().await);
    }

    /// Starts it once more as it was started; what it prints goes on in its log.
    pub(crate) fn again(&mut self) -> anyhow::Result<()> {
        self.process = spawn(&mut self.command, self.name)?;
        Ok(())
    }

    /// Whether it has ended.
    pub(crate) fn is_gone(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Sends it a signal; nothing happens to one that is gone.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = self.id().map(|pid| kill_process(pid, signal));
    }

    /// What its environment has under this name when it is started once more; `None`: nothing.
    pub(crate) fn set(&mut self, name: &str, value: Option<&OsString>) {
        match value {
            Some(value) => self.command.env(name, value),
            None => self.command.env_remove(name),
        };
    }

    /// Waits until `ready` says so; a child that ends before that is an error with the end of its log.
    pub(crate) async fn until<F: Future<Output = bool>>(
        &mut self,
        patience: Duration,
        mut ready: impl FnMut() -> F,
    ) -> anyhow::Result<()> {
        let waiting = async {
            loop {
                if let Some(status) = self.process.try_wait()? {
                    bail!(
                        "{} ended at once ({status}):\n{}",
                        self.name,
                        tail(&self.log)
                    );
                }
                if ready().await {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match timeout(patience, waiting).await {
            Ok(result) => result,
            Err(_) => bail!(
                "{} did not get ready within {patience:?}:\n{}",
                self.name,
                tail(&self.log)
            ),
        }
    }

    /// Its process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    fn id(&self) -> Option<Pid> {
        let id = i32::try_from(self.process.id()?).ok()?;
        Pid::from_raw(id)
    }

    /// Waits until it ends by itself: something is wrong then.
    pub(crate) async fn ended(&mut self) -> String {
        let status = self.process.wait().await;
        let status = status.map_or_else(|e| e.to_string(), |status| status.to_string());
        format!("{} ended ({status}):\n{}", self.name, tail(&self.log))
    }

    /// Asks it to end, and makes it end if it does not.
    pub(crate) async fn stop(mut self) {
        self.end().await;
    }

    /// The same, for one that may be started again.
    pub(crate) async fn end(&mut self) {
        // If it is gone already, that is what was wanted.
        self.signal(Signal::TERM);
        if timeout(END_GRACE, self.process.wait()).await.is_err() {
            eprintln!("{} does not end when asked; killing it", self.name);
            drop(self.process.kill().await);
        }
    }
}

fn spawn(command: &mut Command, name: &str) -> anyhow::Result<tokio::process::Child> {
    command
        .spawn()
        .with_context(|| format!("cannot start {name}"))
}

fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(12);
    lines
        .get(from..)
        .unwrap_or_default()
        .iter()
        .map(|line| format!("  {line}\n"))
        .collect()
}

/// What the program may use; the executor says it.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct Limits {
    /// Bytes of address space
    #[arg(long)]
    memory: Option<u64>,
    /// Seconds on a processor
    #[arg(long)]
    cpu: Option<u64>,
    /// Bytes of the largest file
    #[arg(long)]
    file: Option<u64>,
    /// Files at once
    #[arg(long)]
    open_files: Option<u64>,
}

impl Limits {
    /// For this process, for ever: neither it nor what it becomes can raise them again.
    fn set(&self) -> anyhow::Result<()> {
        for (resource, limit) in [
            (Resource::As, self.memory),
            (Resource::Cpu, self.cpu),
            (Resource::Fsize, self.file),
            (Resource::Nofile, self.open_files),
        ] {
            let Some(limit) = limit else { continue };
            // A program that is over its time gets a signal that names the reason, and a second later one that it cannot ignore.
            let grace = u64::from(resource == Resource::Cpu);
            let rlimit = Rlimit {
                current: Some(limit),
                maximum: Some(limit.saturating_add(grace)),
            };
            setrlimit(resource, rlimit).with_context(|| format!("cannot limit {resource:?}"))?;
        }
        Ok(())
    }
}

/// The launcher: becomes `program`, which ends when the process `parent` ends.
pub(crate) fn launch(
    parent: u32,
    limits: &Limits,
    program: &Path,
    args: &[OsString],
) -> anyhow::Result<std::convert::Infallible> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .context("cannot bind this process to its parent")?;
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if now != i32::try_from(parent).ok() {
        bail!("the parent is gone already");
    }
    limits.set()?;
    Err(std::process::Command::new(program).args(args).exec())
        .with_context(|| format!("cannot run {}", program.display()))
}

/// Finds a program on PATH or in `.tools/bin`, where `make` puts what is missing.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from(".tools/bin")])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// The wanted port on loopback if it is free, else any free one.
pub(crate) fn free_port(wanted: u16) -> anyhow::Result<SocketAddr> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listener = bind(wanted)
        .or_else(|_| bind(0))
        .context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?)
}
