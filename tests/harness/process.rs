//! One child process: started so that it cannot be left behind, its output kept, killed in the ways that tests need.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::eventually;
use crate::watchdog;

/// The child waits, as a shell, for a line on its stdin before it becomes the program. The line is written after the
/// watchdog knows the child: a test process that dies between the two leaves a shell that reads the end of its stdin and
/// ends. So there is no moment in which a child can be orphaned, and its id is the program's.
const GATE: &str = r#"read -r go && exec "$@" </dev/null"#;

/// What a child sees of this process's environment. Nothing else: a developer's Claude key or proxy has no place in a test.
const INHERITED: [&str; 4] = ["PATH", "HOME", "TMPDIR", "LLVM_PROFILE_FILE"];

/// Lines of a log that are shown when a test fails.
const SHOWN_LINES: usize = 60;

/// A running child. Dropped, it is killed; dropped by a failing test, it shows the end of its log.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `program`, with its output appended to `log`.
    ///
    /// # Panics
    /// When there is no `sh`, or the log cannot be written.
    pub fn start<A: AsRef<OsStr>>(
        name: &str,
        program: &Path,
        args: &[A],
        env: &[(String, String)],
        log: &Path,
    ) -> Self {
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("open the log");
        let err = out.try_clone().expect("share the log");
        let mut child = Command::new("sh")
            .args(["-c", GATE, name])
            .arg(program)
            .args(args)
            .env_clear()
            .envs(
                INHERITED
                    .iter()
                    .filter_map(|&key| Some((key, std::env::var_os(key)?))),
            )
            .envs(env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(err)
            .spawn()
            .expect("start sh");
        watchdog::born(child.id());
        let mut gate = child.stdin.take().expect("its stdin is a pipe");
        gate.write_all(b"go\n").expect("open the gate");
        Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            status: None,
        }
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Its exit status, once it has one.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("ask after a child of ours");
            if self.status.is_some() {
                watchdog::gone(self.child.id());
            }
        }
        self.status
    }

    fn signal(&mut self, signal: Signal) {
        assert!(
            self.exited().is_none(),
            "{} is gone already; its log ends:\n{}",
            self.name,
            self.log_tail()
        );
        kill_process(Pid::from_child(&self.child), signal).expect("signal a child of ours");
    }

    /// SIGKILL, and waits until it is gone. Nothing happens to one that is gone already.
    pub fn kill9(&mut self) {
        if self.exited().is_some() {
            return;
        }
        self.child.kill().expect("kill a child of ours");
        watchdog::gone(self.child.id());
        self.status = Some(self.child.wait().expect("reap a child of ours"));
    }

    /// SIGSTOP: it does nothing more, but keeps what it holds.
    ///
    /// # Panics
    /// When it is gone already.
    pub fn stop(&mut self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT: it goes on, as if no time had passed.
    ///
    /// # Panics
    /// When it is gone already.
    pub fn cont(&mut self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM, and waits until it has ended by itself.
    ///
    /// # Panics
    /// When it is gone already, or has not ended within `limit`.
    pub async fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_exit(limit).await
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it has not ended within `limit`.
    pub async fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        eventually(&what, limit, || {
            let status = self.exited();
            let seen = || self.log_tail();
            std::future::ready(status.ok_or_else(seen))
        })
        .await
    }

    /// The end of what it has printed.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What it printed is why the test failed, more often than not.
        if std::thread::panicking() {
            let state = match self.exited() {
                Some(status) => status.to_string(),
                None => "running".to_owned(),
            };
            eprintln!("--- {} ({state}) ---\n{}", self.name, self.log_tail());
        }
        self.kill9();
    }
}
