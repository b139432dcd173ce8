//! What a program may use of the machine.

use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use super::super::problem::Report;
use crate::units::{ByteSize, Span};

/// What a program, and each that it starts, may use; what is not said has no limit of ours. A limit is the kernel's (`setrlimit`):
/// it holds for each process of the group, and counts none of them together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory that it may ask for, in bytes of address space: more is refused to it.
    pub memory: Option<u64>,
    /// Time on a processor, rounded up to seconds: then it is killed.
    pub cpu: Option<Duration>,
    /// The largest file that it may write, in bytes.
    pub file: Option<u64>,
    /// Open files at once.
    pub open_files: Option<u64>,
}

impl Limits {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsYaml {
    #[serde(default)]
    memory: Option<Spanned<ByteSize>>,
    #[serde(default)]
    cpu: Option<Spanned<Span>>,
    #[serde(default)]
    file: Option<Spanned<ByteSize>>,
    #[serde(default)]
    open_files: Option<Spanned<u32>>,
}

/// A program that may use less does not start.
const MEMORY_MIN: usize = 16 * 1024 * 1024;
/// The three that every program has, its libraries and some room.
const OPEN_FILES_MIN: u32 = 16;

impl LimitsYaml {
    pub(super) fn compile(&self, report: &mut Report<'_>, place: Location) -> Limits {
        if let Some(memory) = self.memory.as_ref().filter(|m| m.value.0 < MEMORY_MIN) {
            let message = "`memory` must be at least 16MiB: with less no program starts";
            report.at(memory.referenced, message, None);
        }
        if let Some(cpu) = self.cpu.as_ref().filter(|cpu| cpu.value.0.is_zero()) {
            report.at(cpu.referenced, "`cpu` must be more than 0", None);
        }
        if let Some(files) = self.open_files.as_ref()
            && files.value < OPEN_FILES_MIN
        {
            let message = format!("`open_files` must be at least {OPEN_FILES_MIN}");
            report.at(files.referenced, message, None);
        }
        let bytes = |size: &Spanned<ByteSize>| u64::try_from(size.value.0).unwrap_or(u64::MAX);
        let limits = Limits {
            memory: self.memory.as_ref().map(bytes),
            cpu: self.cpu.as_ref().map(|cpu| cpu.value.0),
            file: self.file.as_ref().map(bytes),
            open_files: self.open_files.as_ref().map(|n| u64::from(n.value)),
        };
        if limits.is_empty() {
            let help = "such as `limits: {memory: 512MiB, cpu: 20s}`";
            report.at(place, "`limits` says nothing", Some(help));
        }
        limits
    }
}
