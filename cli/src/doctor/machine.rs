//! What this machine gives: open files, room on the disk.

use std::path::{Path, PathBuf};

use rustix::{
    fs::statvfs,
    process::{Resource, getrlimit},
};

use super::finding::Finding;

/// Fewer open files than this bound what a gateway or a planner can have in flight.
const FILES_MIN: u64 = 4_096;
/// Less room than this is soon gone: RUNS keeps every run for ever.
const ROOM_MIN: u64 = 1 << 30;
const ROOM_SHARE_MIN: u64 = 10;

/// Of this process, which has taken all that the system allows it.
pub(super) fn open_files() -> Finding {
    let check = "open files";
    let limit = getrlimit(Resource::Nofile).current;
    match limit {
        Some(files) if files < FILES_MIN => Finding::warn(
            check,
            format!("{files} open files are allowed: connections and Claude calls in flight are bounded by that"),
        )
        .todo("raise the hard limit: ulimit -Hn, LimitNOFILE= in systemd, `ulimits` in compose"),
        Some(files) => Finding::ok(check, format!("{files} are allowed")),
        None => Finding::ok(check, "any number is allowed"),
    }
}

/// Of the disk that this folder is on, or will be.
pub(super) fn disk(data: &Path) -> Finding {
    let check = "disk";
    let there = existing(data);
    match statvfs(&there) {
        Ok(found) => room(
            &there.display().to_string(),
            found.f_bavail.saturating_mul(found.f_frsize),
            found.f_blocks.saturating_mul(found.f_frsize),
        ),
        Err(error) => Finding::warn(
            check,
            format!("cannot tell how full {} is: {error}", there.display()),
        ),
    }
}

/// The folder, or the nearest one above it that is there.
fn existing(folder: &Path) -> PathBuf {
    let here = Path::new(".");
    let mut above = folder.ancestors();
    let found = above.find(|one| one.exists());
    found
        .filter(|one| !one.as_os_str().is_empty())
        .unwrap_or(here)
        .to_owned()
}

fn room(folder: &str, free: u64, all: u64) -> Finding {
    let share = free.saturating_mul(100) / all.max(1);
    let says = format!("{} of {} free at {folder}", size(free), size(all));
    if free >= ROOM_MIN && share >= ROOM_SHARE_MIN {
        return Finding::ok("disk", says);
    }
    Finding::warn("disk", says).todo(
        "make room: NATS takes nothing in once its disk is full (what is in is safe), and Redis stops writing",
    )
}

/// Bytes, for people.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "a size for people")]
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Verdict, *};

    #[test]
    fn a_disk_that_is_nearly_full_is_told_before_it_is() {
        let gib = 1 << 30;
        assert_eq!(room("/", 50 * gib, 100 * gib).verdict, Verdict::Ok);
        assert_eq!(room("/", 5 * gib, 100 * gib).verdict, Verdict::Warn);
        assert_eq!(room("/", gib / 2, gib).verdict, Verdict::Warn);
        assert!(
            room("/x", 5 * gib, 100 * gib)
                .says
                .starts_with("5.0 GiB of 100.0 GiB")
        );
        assert_eq!(
            [size(0), size(1023), size(1536)],
            ["0 B", "1023 B", "1.5 KiB"]
        );
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_on_the_disk_of_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(existing(&folder.path().join("a/b")), folder.path());
        assert_eq!(
            existing(Path::new("surely-not-there/either")),
            Path::new(".")
        );
    }
}
