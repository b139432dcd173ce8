//! A program in a process group of its own, so that everything it started ends with it.
//!
//! A program that leaves the group on purpose (`setsid`) is not followed: it is not waited for either.

use std::{io, pin::pin, process::ExitStatus, time::Duration};

use futures_util::future::{FusedFuture as _, FutureExt as _};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::{
    process::Command,
    signal::unix::{self, SignalKind},
    time::timeout,
};

use super::capture::Captured;

/// From SIGTERM to SIGKILL; also the longest wait for the pipes after the group is dead.
const GRACE: Duration = Duration::from_millis(500);

/// How a program ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// As the system says.
    pub(super) status: ExitStatus,
    /// Whether it was stopped for its time.
    pub(super) timed_out: bool,
    /// What it wrote.
    pub(super) stdout: Captured,
    /// What it wrote.
    pub(super) stderr: Captured,
}

/// Runs a program to its end, at most `limit` long, and keeps `output_limit` bytes of each of its outputs.
///
/// At the limit its group gets SIGTERM, and SIGKILL after 500 ms. In every case, also when this future is dropped, the group is
/// killed: nothing that the program started in it stays behind.
///
/// # Errors
/// It cannot be started or watched.
pub(super) async fn run(
    command: &mut Command,
    limit: Duration,
    output_limit: usize,
) -> io::Result<Ended> {
    // Listened to before the program starts, so that no end is missed.
    let mut ends = unix::signal(SignalKind::child())?;
    let mut child = command.process_group(0).kill_on_drop(true).spawn()?;
    // Declared after the child, so dropped before it: the group is killed while its leader's id still stands for it.
    let mut group = Group::led_by(child.id())?;
    let (mut stdout, mut stderr) = (Captured::new(output_limit), Captured::new(output_limit));
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (status, timed_out) = {
        let reading = async { tokio::join!(stdout.fill(out), stderr.fill(err)) };
        let mut reading = pin!(reading.fuse());
        // Runs a future while the pipes are read.
        macro_rules! reading_along {
            ($future:expr) => {{
                let mut future = pin!($future);
                loop {
                    tokio::select! {
                        value = &mut future => break value,
                        _ = &mut reading, if !reading.is_terminated() => {}
                    }
                }
            }};
        }
        let timed_out = reading_along!(timeout(limit, group.leader_ended(&mut ends)));
        let timed_out = match timed_out {
            Ok(watched) => watched.map(|()| false)?,
            Err(_) => true,
        };
        if timed_out {
            group.signal(Signal::TERM);
            // Closed pipes say that the leader's children are done, too.
            let _ = timeout(GRACE, async {
                reading_along!(group.leader_ended(&mut ends))?;
                if !reading.is_terminated() {
                    (&mut reading).await;
                }
                io::Result::Ok(())
            })
            .await;
        }
        group.signal(Signal::KILL);
        let status = reading_along!(child.wait())?;
        group.reaped();
        if !reading.is_terminated() {
            // Whoever still holds a pipe has left the group.
            let _ = timeout(GRACE, reading).await;
        }
        (status, timed_out)
    };
    Ok(Ended {
        status,
        timed_out,
        stdout,
        stderr,
    })
}

/// A process group whose leader was not waited for yet; until then the leader's id cannot become another's.
struct Group {
    leader: Pid,
    reaped: bool,
}

impl Group {
    fn led_by(id: Option<u32>) -> io::Result<Self> {
        let raw = id.and_then(|id| i32::try_from(id).ok());
        let leader = raw
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("the program has no process id"))?;
        Ok(Self {
            leader,
            reaped: false,
        })
    }

    /// Waits for the leader's end without taking its status.
    async fn leader_ended(&self, ends: &mut unix::Signal) -> io::Result<()> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        loop {
            match waitid(WaitId::Pid(self.leader), options) {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            if ends.recv().await.is_none() {
                return Err(io::Error::other(
                    "the ends of programs cannot be seen any more",
                ));
            }
        }
    }

    fn signal(&self, signal: Signal) {
        if !self.reaped {
            // There is nobody to tell: either the group is gone, or the next signal follows.
            let _ = kill_process_group(self.leader, signal);
        }
    }

    fn reaped(&mut self) {
        self.reaped = true;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
