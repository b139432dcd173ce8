//! A program in a process group of its own, so that everything it started ends with it.
//!
//! A program that leaves the group on purpose (`setsid`) is not followed: it is not waited for either.

use std::{
    io,
    pin::{Pin, pin},
    process::ExitStatus,
    time::Duration,
};

use futures_util::future::{Fuse, FusedFuture as _, FutureExt as _};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::{
    process::Command,
    signal::unix::{self, SignalKind},
    time::timeout,
};

use super::{capture::Captured, keeping::Keeping};

/// From SIGTERM to SIGKILL; also the longest wait for the pipes after the group is dead.
const GRACE: Duration = Duration::from_millis(500);

/// Longest wait for the end of an output that goes to the object store, after the group is dead.
const KEEP_GRACE: Duration = Duration::from_secs(10);

/// Longest wait for a program that was killed.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

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

/// Why there is no end to tell of.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It was not started.
    Start(io::Error),
    /// It was started and could not be watched; `TimedOut`: it does not even end when it is killed.
    End(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::End(error)
    }
}

/// Runs a program to its end, at most `limit` long, and keeps `output_limit` bytes of each of its outputs. All of stdout
/// goes to `keeping`, where there is one.
///
/// At the limit its group gets SIGTERM, and SIGKILL after 500 ms. In every case, also when this future is dropped, the group is
/// killed: nothing that the program started in it stays behind.
///
/// # Errors
/// [`Trouble`].
pub(super) async fn run(
    command: &mut Command,
    limit: Duration,
    output_limit: usize,
    mut keeping: Option<&mut Keeping>,
) -> Result<Ended, Trouble> {
    // Listened to before the program starts, so that no end is missed.
    let mut ends = unix::signal(SignalKind::child()).map_err(Trouble::Start)?;
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(Trouble::Start)?;
    // Declared after the child, so dropped before it: the group is killed while its leader's id still stands for it.
    let mut group = Group::led_by(child.id())?;
    let (mut stdout, mut stderr) = (Captured::new(output_limit), Captured::new(output_limit));
    let (out, err) = (child.stdout.take(), child.stderr.take());
    // What is kept elsewhere is taken as fast as NATS takes it.
    let grace = match &keeping {
        Some(_) => KEEP_GRACE,
        None => GRACE,
    };
    let (status, timed_out) = {
        let reading = async {
            let keeping = keeping.as_deref_mut();
            tokio::join!(stdout.fill(out, keeping), stderr.fill(err, None));
        };
        let mut reading = pin!(reading.fuse());
        let watched = timeout(limit, group.leader_ended(&mut ends));
        let timed_out = match along(watched, reading.as_mut()).await {
            Ok(watched) => watched.map(|()| false)?,
            Err(_) => true,
        };
        if timed_out {
            group.signal(Signal::TERM);
            let ending = async {
                along(group.leader_ended(&mut ends), reading.as_mut()).await?;
                // Closed pipes say that the leader's children are done, too.
                finished(reading.as_mut()).await;
                io::Result::Ok(())
            };
            // What is not done by then is killed.
            let _ = timeout(GRACE, ending).await;
        }
        group.signal(Signal::KILL);
        // A program that hangs in the system itself outlives even that; then it is left to the system.
        let reaped = timeout(KILL_PATIENCE, along(child.wait(), reading.as_mut())).await;
        let status = reaped.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        group.reaped();
        // Whoever still holds a pipe has left the group.
        let _ = timeout(grace, finished(reading)).await;
        (status, timed_out)
    };
    Ok(Ended {
        status,
        timed_out,
        stdout,
        stderr,
    })
}

/// Does `work` while the pipes are read.
async fn along<T>(
    work: impl Future<Output = T>,
    mut reading: Pin<&mut Fuse<impl Future<Output = ()>>>,
) -> T {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            value = &mut work => return value,
            () = &mut reading, if !reading.is_terminated() => {}
        }
    }
}

/// Reads the pipes to their end.
async fn finished(reading: Pin<&mut Fuse<impl Future<Output = ()>>>) {
    if !reading.is_terminated() {
        reading.await;
    }
}

/// A process group whose leader was not waited for yet; until then the leader's id cannot become another's. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Group {
    leader: Pid,
    reaped: bool,
}

impl Group {
    /// The group of a program that was started as the leader of one.
    pub(super) fn led_by(id: Option<u32>) -> io::Result<Self> {
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
