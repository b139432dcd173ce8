//! Following a run until it ends.

use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use anyhow::bail;
use flotilla_common::{ids::RunId, run::Status};
use tokio::time::{Instant, sleep};

use crate::{
    client::{Client, Shown},
    figures::millis,
    style::dim,
    timeline::Timeline,
    waiting,
};

/// Pause between two looks at a run that goes on.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// Pause between two looks at a run that waits, which may be until tomorrow.
const LOOK_WAITING_EVERY: Duration = Duration::from_secs(1);
/// How long a submitted run may take to appear.
const APPEAR_WITHIN: Duration = Duration::from_secs(60);

/// Whether more can happen to a run that stands so.
pub(crate) fn goes_on(status: Status) -> bool {
    match status {
        Status::Running | Status::Parked | Status::Waiting | Status::Paused => true,
        Status::Completed | Status::Escalated | Status::Failed | Status::Cancelled => false,
    }
}

/// Whether it goes on only when somebody says so, or much later.
fn waits(status: Status) -> bool {
    match status {
        Status::Parked | Status::Waiting | Status::Paused => true,
        Status::Running
        | Status::Completed
        | Status::Escalated
        | Status::Failed
        | Status::Cancelled => false,
    }
}

/// Prints a run as it goes on, until it ends. That it waits is told once, with what to do; then it is followed on.
pub(crate) async fn follow(client: &Client, run: &RunId) -> anyhow::Result<Shown> {
    let mut timeline = Timeline::default();
    let mut progress = Progress::new();
    let mut told = None;
    let appear_until = Instant::now() + APPEAR_WITHIN;
    loop {
        let mut pause = LOOK_EVERY;
        match client.run(run, timeline.last_seq()).await? {
            None if Instant::now() > appear_until => bail!(
                "the event is on disk, but its run {run} does not appear; is an intake (gateway) running?"
            ),
            None => {}
            Some(shown) => {
                for line in &shown.journal {
                    progress.clear();
                    timeline
                        .lines(line)
                        .iter()
                        .for_each(|line| println!("{line}"));
                }
                if shown.broken.is_some()
                    || shown.run.as_ref().is_some_and(|run| !goes_on(run.status))
                {
                    progress.clear();
                    return Ok(shown);
                }
                if let Some(run) = shown.run.as_ref().filter(|run| waits(run.status)) {
                    pause = LOOK_WAITING_EVERY;
                    // A pause and its end are no decisions.
                    let stands = (run.chain, run.status);
                    if told != Some(stands) {
                        told = Some(stands);
                        let lines = waiting::lines(&shown, timeline.park());
                        lines.iter().for_each(|line| println!("{line}"));
                    }
                }
                progress.show();
            }
        }
        sleep(pause).await;
    }
}

/// One line at the bottom of a terminal that says that something goes on, and for how long.
struct Progress {
    terminal: bool,
    shown: bool,
    since: Instant,
}

impl Progress {
    fn new() -> Self {
        Self {
            terminal: std::io::stdout().is_terminal(),
            shown: false,
            since: Instant::now(),
        }
    }

    fn show(&mut self) {
        if self.terminal {
            let waited = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(0);
            print!("\r\x1b[K{}", dim(format!("     … {}", millis(waited))));
            // A terminal that is gone is noticed by the next line.
            drop(std::io::stdout().flush());
            self.shown = true;
        }
    }

    fn clear(&mut self) {
        if self.shown {
            print!("\r\x1b[K");
            self.shown = false;
        }
        self.since = Instant::now();
    }
}
