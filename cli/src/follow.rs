//! Following a run until it ends.

use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use flotilla_common::run::Status;
use tokio::time::Instant;

use crate::{
    client::Shown,
    figures::millis,
    live::{Following, Heard},
    style::dim,
    timeline::Timeline,
    waiting,
};

/// How long nothing is waited for at a time; then it is looked how the run stands.
const QUIET: Duration = Duration::from_millis(200);

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
pub(crate) async fn follow(mut following: Following<'_>) -> anyhow::Result<Shown> {
    let mut timeline = Timeline::default();
    let mut progress = Progress::new();
    let mut told = None;
    let mut is_fresh = false;
    loop {
        match following.next(QUIET).await? {
            Heard::Entry(line) => {
                progress.clear();
                timeline
                    .lines(&line)
                    .iter()
                    .for_each(|line| println!("{line}"));
                is_fresh = true;
                continue;
            }
            Heard::Ended => {
                progress.clear();
                return following.ended().await;
            }
            Heard::Quiet => progress.show(),
        }
        // Only where something has happened may it stand otherwise.
        if !std::mem::take(&mut is_fresh) {
            continue;
        }
        let Some(shown) = following.state().await? else {
            continue;
        };
        if shown.broken.is_some() {
            progress.clear();
            return Ok(shown);
        }
        if let Some(run) = shown.run.as_ref().filter(|run| waits(run.status)) {
            // A pause and its end are no decisions.
            let stands = (run.chain, run.status);
            if told != Some(stands) {
                told = Some(stands);
                progress.clear();
                let lines = waiting::lines(&shown, timeline.park());
                lines.iter().for_each(|line| println!("{line}"));
            }
        }
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
