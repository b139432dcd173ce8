//! Keeps a child process alive, as systemd or docker would: started again when it ends, given up when it cannot live.
//!
//! No orphan: the child's standard input is a pipe whose other end this process holds. When this process dies, in whatever way, the pipe
//! closes, and the child, which watches it, ends. On drop the child is killed.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Between the end of a child and the start of the next.
const DELAY: Duration = Duration::from_millis(100);

/// A child that lived shorter is a sign that the next one will not live either.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// How many short lives in a row are enough.
const SHORT_LIVES_MAX: u32 = 5;

/// How long a child may take to end after the polite signal.
const GRACE: Duration = Duration::from_secs(2);

/// What to start.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Added to this process' environment.
    pub env: Vec<(OsString, OsString)>,
}

impl Launch {
    /// The demo's service, out of the `flotilla` binary at `program`; `quota` as in `--quota`, such as `8MiB`.
    #[must_use]
    pub fn service(program: &Path, dir: &Path, http: SocketAddr, quota: &str) -> Self {
        let args: [OsString; 9] = [
            "demo-service".into(),
            "run".into(),
            "--dir".into(),
            dir.into(),
            "--http".into(),
            http.to_string().into(),
            "--quota".into(),
            quota.into(),
            "--end-with-stdin".into(),
        ];
        Self {
            program: program.to_owned(),
            args: args.into(),
            env: Vec::new(),
        }
    }

    fn spawn(&self) -> std::io::Result<Child> {
        Command::new(&self.program)
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // A group of its own: Ctrl-C in the terminal reaches this process, which then ends the child in good order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// How the child is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// None runs at the moment; the next one starts soon.
    Waiting,
    /// It runs.
    Running {
        /// Its process id.
        pid: u32,
        /// How many have been started, this one included.
        starts: u32,
    },
    /// It was stopped on request.
    Stopped,
    /// It ended too often too soon, or could not be started; nothing is tried any more.
    GaveUp {
        /// What the last one ended with.
        reason: String,
    },
}

/// A child that is looked after until [`Supervisor::stop`], the token, or drop.
#[derive(Debug)]
pub struct Supervisor {
    status: watch::Receiver<Status>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Supervisor {
    /// Starts the child, and again whenever it ends, until `stop`. Needs a tokio runtime.
    #[must_use]
    pub fn start(launch: Launch, stop: &CancellationToken) -> Self {
        let stop = stop.child_token();
        let (tell, status) = watch::channel(Status::Waiting);
        let task = tokio::spawn(keep_alive(launch, tell, stop.clone()));
        Self {
            status,
            stop,
            task: Some(task),
        }
    }

    /// How the child is, and a way to wait for a change.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Ends the child and waits for its end: at most the grace of two seconds, then it is killed.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // It ends by itself, see GRACE; a panic in it has dropped, so killed, the child already.
            let _ = task.await;
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn keep_alive(launch: Launch, tell: watch::Sender<Status>, stop: CancellationToken) {
    let (mut starts, mut short_lives) = (0, 0);
    while !stop.is_cancelled() {
        let born = Instant::now();
        let end = match launch.spawn() {
            Ok(child) => {
                starts += 1;
                tell.send_replace(Status::Running {
                    pid: child.id().unwrap_or(0),
                    starts,
                });
                live(child, &stop).await
            }
            Err(error) => format!("{}: {error}", launch.program.display()),
        };
        if stop.is_cancelled() {
            break;
        }
        short_lives = if born.elapsed() < SHORT_LIFE {
            short_lives + 1
        } else {
            0
        };
        if short_lives == SHORT_LIVES_MAX {
            tell.send_replace(Status::GaveUp { reason: end });
            return;
        }
        tell.send_replace(Status::Waiting);
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(DELAY) => {}
        }
    }
    tell.send_replace(Status::Stopped);
}

/// One life, to its end. Returns what it ended with.
async fn live(mut child: Child, stop: &CancellationToken) -> String {
    // Held as long as the child lives; see the module's second paragraph.
    let _lifeline = child.stdin.take();
    let ended = tokio::select! {
        ended = child.wait() => ended,
        () = stop.cancelled() => {
            if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
                // That it ended in between is as good.
                let _ = kill_process(pid, Signal::TERM);
            }
            match tokio::time::timeout(GRACE, child.wait()).await {
                Ok(ended) => ended,
                Err(_) => child.kill().await.and(child.wait().await),
            }
        }
    };
    ended.map_or_else(|error| error.to_string(), |status| status.to_string())
}
