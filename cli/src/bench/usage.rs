//! What processes use of the machine.

use std::fs;

use anyhow::Context as _;

/// What a process uses, from /proc.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// Bytes in memory.
    pub(super) resident: u64,
    /// Time on the CPU, in clock ticks.
    pub(super) cpu_ticks: u64,
}

impl Usage {
    /// Of a running process.
    pub(super) fn of(pid: u32) -> anyhow::Result<Self> {
        let statm = fs::read_to_string(format!("/proc/{pid}/statm"))
            .context("a process that is measured is gone")?;
        let pages: u64 = statm
            .split_whitespace()
            .nth(1)
            .and_then(|pages| pages.parse().ok())
            .context("statm")?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
            .context("a process that is measured is gone")?;
        // The name in parentheses may hold spaces; what follows it does not. utime and stime are fields 14 and 15.
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        let ticks = after
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        Ok(Self {
            resident: pages * rustix::param::page_size() as u64,
            cpu_ticks: ticks,
        })
    }

    /// What it has in memory.
    #[expect(clippy::cast_precision_loss, reason = "bytes, for people")]
    pub(super) fn resident_mib(self) -> f64 {
        self.resident as f64 / f64::from(1 << 20)
    }

    /// Its time on the CPU since an earlier look.
    #[expect(clippy::cast_precision_loss, reason = "clock ticks, for people")]
    pub(super) fn cpu_seconds_since(self, before: Self) -> f64 {
        self.cpu_ticks.saturating_sub(before.cpu_ticks) as f64
            / rustix::param::clock_ticks_per_second() as f64
    }
}
