//! What came out.

use std::time::Duration;

use serde::Serialize;

use super::super::usage::Usage;
use crate::figures::number;

/// All of it; times are seconds.
#[derive(Debug, Default, Serialize)]
pub(super) struct Figures {
    runs: usize,
    /// From the first event until every run waits.
    pub(super) wait_seconds: f64,
    pub(super) idle: Idle,
    /// How long fresh runs take while none waits, and while all others do.
    pub(super) alone_p95_seconds: f64,
    pub(super) beside_p95_seconds: f64,
    /// The second by the first.
    pub(super) ratio: f64,
    /// To page through all that waits.
    pub(super) listed_seconds: f64,
    pub(super) crash: Crash,
    pub(super) emptied: Emptied,
    /// Until every run was allowed, and until every one had ended.
    pub(super) allowed_seconds: f64,
    pub(super) ended_seconds: f64,
}

/// What waiting costs.
#[derive(Debug, Default, Serialize)]
pub(super) struct Idle {
    seconds: f64,
    processes: Vec<Process>,
    /// Message schedules that stand on the stream, and all its bytes.
    schedules: usize,
    stream_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Process {
    name: &'static str,
    /// Before any run waited, and while all do.
    resident_mib_before: f64,
    resident_mib: f64,
    /// Over the whole time.
    cpu_seconds: f64,
}

/// After every process was killed, from when they were started again.
#[derive(Debug, Default, Serialize)]
pub(super) struct Crash {
    pub(super) ready_seconds: f64,
    /// Until a run was allowed and had ended.
    pub(super) answered_seconds: f64,
    /// Until the list said that it is complete.
    pub(super) complete_seconds: f64,
    pub(super) listed_seconds: f64,
}

/// After Redis was emptied.
#[derive(Debug, Default, Serialize)]
pub(super) struct Emptied {
    pub(super) complete_seconds: f64,
    pub(super) listed_seconds: f64,
}

type Usages = [(&'static str, Usage)];

impl Idle {
    /// From three looks at the same processes.
    pub(super) fn of(
        span: Duration,
        looks: [&Usages; 3],
        stream_bytes: u64,
        schedules: usize,
    ) -> Self {
        let [before, begun, ended] = looks;
        let looks = before.iter().zip(begun).zip(ended);
        let processes = looks.map(|(((name, before), (_, begun)), (_, ended))| Process {
            name,
            resident_mib_before: before.resident_mib(),
            resident_mib: ended.resident_mib(),
            cpu_seconds: ended.cpu_seconds_since(*begun),
        });
        Self {
            seconds: span.as_secs_f64(),
            processes: processes.collect(),
            schedules,
            stream_bytes,
        }
    }
}

impl Figures {
    pub(super) fn of(runs: usize) -> Self {
        Self {
            runs,
            ..Self::default()
        }
    }

    /// For people.
    pub(super) fn print(&self) {
        let (idle, crash, emptied) = (&self.idle, &self.crash, &self.emptied);
        println!(
            "{} runs wait for a person, {:.1} s after the first event",
            number(self.runs as u64),
            self.wait_seconds
        );
        println!(
            "no message is in work; {} schedules stand; the stream has {} bytes",
            number(idle.schedules as u64),
            number(idle.stream_bytes)
        );
        let cpu = format!("CPU in {:.0} s", idle.seconds);
        println!(
            "{:<14} {:>12} {:>12} {cpu:>12}",
            "", "MiB before", "MiB now"
        );
        for process in &idle.processes {
            println!(
                "{:<14} {:>12.0} {:>12.0} {:>10.2} s",
                process.name,
                process.resident_mib_before,
                process.resident_mib,
                process.cpu_seconds
            );
        }
        println!(
            "95 of 100 fresh runs end within {:.0} ms, {:.0} ms while none waits: ratio {:.2}",
            self.beside_p95_seconds * 1e3,
            self.alone_p95_seconds * 1e3,
            self.ratio
        );
        println!(
            "listed, each once, page by page, in {:.1} s",
            self.listed_seconds
        );
        println!(
            "every process killed (-9) and started again: ready after {:.1} s, a run allowed and ended after {:.1} s, \
             the index complete after {:.1} s; listed, each once, in {:.1} s",
            crash.ready_seconds,
            crash.answered_seconds,
            crash.complete_seconds,
            crash.listed_seconds
        );
        println!(
            "Redis emptied: the index complete after {:.1} s; listed, each once, in {:.1} s",
            emptied.complete_seconds, emptied.listed_seconds
        );
        println!(
            "all allowed within {:.1} s, all ended, each once, within {:.1} s",
            self.allowed_seconds, self.ended_seconds
        );
    }
}
