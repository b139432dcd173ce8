//! Which process serves a data folder: its pid, when the kernel started it, and where it listens.
//!
//! The start time makes the pid safe to signal: a pid that was given to another process since has another one.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// One life of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its process id.
    pub pid: i32,
    /// When the kernel started it, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub started_ticks: u64,
    /// Where it answers HTTP.
    pub http: SocketAddr,
}

impl Process {
    /// This process, serving on `http`.
    ///
    /// # Errors
    /// Where there is no `/proc`.
    pub fn this(http: SocketAddr) -> anyhow::Result<Self> {
        let pid = i32::try_from(std::process::id()).context("a process id beyond 31 bits")?;
        let started_ticks = started_ticks(pid)?
            .context("/proc does not know this process (the demo's service needs Linux)")?;
        Ok(Self {
            pid,
            started_ticks,
            http,
        })
    }

    /// What the pid file in `dir` says; `None` when there is none, or an unreadable one.
    ///
    /// # Errors
    /// When it is there but cannot be read.
    pub fn read(dir: &Path) -> io::Result<Option<Self>> {
        match fs::read_to_string(path(dir)) {
            Ok(text) => Ok(parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the pid file: three lines, for the pid, the start time and the address.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let new = path(dir).with_extension("pid.new");
        fs::write(
            &new,
            format!("{}\n{}\n{}\n", self.pid, self.started_ticks, self.http),
        )?;
        fs::rename(new, path(dir))
    }

    /// Whether this very process still runs; one that ended but was not waited for does not.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn is_running(&self) -> io::Result<bool> {
        Ok(started_ticks(self.pid)? == Some(self.started_ticks))
    }

    /// Sends `signal`, if it still runs.
    ///
    /// # Errors
    /// When the process is somebody else's.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        // 0 and negative numbers would mean process groups, 1 is the system's first process.
        let Some(pid) = (self.pid > 1).then_some(self.pid).and_then(Pid::from_raw) else {
            return Err(io::Error::other(format!(
                "{} is no pid to signal",
                self.pid
            )));
        };
        if !self.is_running()? {
            return Ok(());
        }
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Removes the pid file of a service that ends; a missing one is fine.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_file(path(dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("orders.pid")
}

fn parse(text: &str) -> Option<Process> {
    let mut lines = text.lines();
    Some(Process {
        pid: lines.next()?.parse().ok()?,
        started_ticks: lines.next()?.parse().ok()?,
        http: lines.next()?.parse().ok()?,
    })
}

/// When the kernel started `pid`; `None` when no such process runs.
fn started_ticks(pid: i32) -> io::Result<Option<u64>> {
    let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // The process ended between open and read.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    // The second field is the name in parentheses, which may hold spaces and parentheses itself: count from the last one.
    let mut fields = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_ascii_whitespace();
    if matches!(fields.next(), Some("Z" | "X")) {
        return Ok(None);
    }
    fields
        .nth(18)
        .and_then(|ticks| ticks.parse().ok())
        .map(Some)
        .ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat: no start time")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Process::read(dir.path()).unwrap(), None);
        let this = Process::this("127.0.0.1:80".parse().unwrap()).unwrap();
        this.write(dir.path()).unwrap();
        assert_eq!(Process::read(dir.path()).unwrap(), Some(this.clone()));
        assert!(this.is_running().unwrap());
        remove(dir.path()).unwrap();
        assert_eq!(Process::read(dir.path()).unwrap(), None);
    }

    #[test]
    fn a_pid_that_belongs_to_another_process_now_is_not_signalled() {
        let mut this = Process::this("127.0.0.1:80".parse().unwrap()).unwrap();
        this.started_ticks += 1;
        assert!(!this.is_running().unwrap());
        // Would end this test if it were sent.
        this.signal(Signal::KILL).unwrap();
    }

    #[test]
    fn a_pid_file_with_a_process_group_in_it_is_refused() {
        for pid in [-1, 0, 1] {
            let process = Process {
                pid,
                started_ticks: 0,
                http: "127.0.0.1:80".parse().unwrap(),
            };
            assert!(process.signal(Signal::KILL).is_err(), "{pid}");
        }
    }
}
