//! `flotilla demo-service …`: the demo's service as a process, and the command that restarts it.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
};

use anyhow::Context as _;
use flotilla_common::units::{ByteSize, Span};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{restart, service};

/// The demo's order service, which gets sick when its data folder is full.
#[derive(Debug, clap::Subcommand)]
pub enum DemoService {
    /// Serve orders until SIGTERM
    Run(Run),
    /// Restart the running service, once per key, and wait until it is well
    Restart(Restart),
}

/// `flotilla demo-service run`
#[derive(Debug, clap::Args)]
pub struct Run {
    /// The data folder; made if missing
    #[arg(long)]
    dir: PathBuf,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:9800")]
    http: SocketAddr,
    /// What the data folder may hold
    #[arg(long, default_value = "8MiB")]
    quota: ByteSize,
    /// When the log is rotated
    #[arg(long, default_value = "1MiB")]
    rotate_at: ByteSize,
    /// End when standard input does: so the service ends with whoever holds the other end
    #[arg(long)]
    end_with_stdin: bool,
}

/// `flotilla demo-service restart`
#[derive(Debug, clap::Args)]
pub struct Restart {
    /// The service's data folder
    #[arg(long)]
    dir: PathBuf,
    /// The idempotency key: a key that was done before restarts nothing and gives the same answer
    #[arg(long)]
    key: String,
    /// How long the service may take to be well again
    #[arg(long, default_value = "10s")]
    wait: Span,
}

impl DemoService {
    /// Does it; `run` returns when the service has ended.
    ///
    /// # Errors
    /// What a person should read.
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Run(args) => args.run().await,
            Self::Restart(args) => args.run().await,
        }
    }
}

impl Run {
    async fn run(self) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        if self.end_with_stdin {
            watch_stdin(stop.clone())?;
        }
        // The name that `ps -C orders` finds; best effort, the service works under any name.
        let _ = std::fs::write("/proc/self/comm", "orders");
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // For who starts it by hand; that nobody reads it is no fault.
        let _ = writeln!(
            io::stdout(),
            "orders: http://{}/orders, data in {}",
            self.http,
            self.dir.display()
        );
        let bytes = |size: ByteSize| u64::try_from(size.0).unwrap_or(u64::MAX);
        let settings = service::Settings {
            dir: self.dir,
            http: self.http,
            quota: bytes(self.quota),
            rotate_at: bytes(self.rotate_at),
        };
        let serving = service::run(settings, stop.clone());
        tokio::pin!(serving);
        tokio::select! {
            done = &mut serving => return done,
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
        serving.await
    }
}

impl Restart {
    async fn run(self) -> anyhow::Result<()> {
        let report = restart::restart(&self.dir, &self.key, self.wait.0).await?;
        writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)
            .context("cannot write the report")
    }
}

/// Cancels `stop` when standard input ends.
///
/// A plain thread, because tokio's own would keep the runtime from ending while it waits for input; this one ends with the process.
fn watch_stdin(stop: CancellationToken) -> io::Result<()> {
    std::thread::Builder::new()
        .name("stdin".into())
        .spawn(move || {
            // Whether it ended or broke: nobody is there any more.
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            stop.cancel();
        })?;
    Ok(())
}
