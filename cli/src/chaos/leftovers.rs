//! What a kit that was killed (-9) leaves behind: its processes end with it, but networks, mounts and shared memory stay. All of them
//! carry the process id of the kit that made them, so the next one sees which have no owner any more. What may still be somebody's is
//! left alone.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::Command,
};

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};

use super::disk;
use crate::up::NATS;

/// Network namespaces: this, the owner, and a number.
pub(super) const SPACE: &str = "flotilla-chaos-";
/// The links from this machine into such a network: this and the owner. A name has 15 letters at most.
pub(super) const LINK: &str = "fch";
/// What is mounted: this and the owner.
pub(super) const MOUNT: &str = "flotilla-chaos-";
/// Where libfaketime has what it shares with a program's children: one of each for a process, and one that is killed removes none.
const SHARED: (&str, [&str; 2]) = ("/dev/shm", ["faketime_shm_", "sem.faketime_sem_"]);
/// The file that names who works in a folder, and that it holds a lock on: its process id, and when it began.
const OWNER: &str = "owner";
/// Where the ids of processes with a clock of their own are, in a kit's folder.
pub(super) const CLOCKED: &str = "clocks/processes";

/// A process: its id, which is used again, and when it began, in ticks since the machine did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    id: u32,
    began: u64,
}

/// Removes all of it; says what it was. The kit's folder says when the kit began that worked there last.
pub(super) fn clean(folder: &Path) -> Vec<String> {
    let last = recorded(folder);
    let is_orphan =
        |name: &str, prefix: &str| owner(name, prefix).is_some_and(|owner| is_gone(owner, last));
    let mut removed = BTreeSet::new();
    for mount in mounts(|device| is_orphan(device, MOUNT)) {
        if succeeds("umount", &["-l", &mount]) {
            removed.insert(format!("a disk at {mount}"));
        }
    }
    for space in lines("ip", &["netns", "list"]) {
        let name = space.split_whitespace().next().unwrap_or_default();
        if is_orphan(name, SPACE) && succeeds("ip", &["netns", "del", name]) {
            removed.insert(format!("network namespace {name}"));
        }
    }
    for link in lines("ip", &["-o", "link", "show"]) {
        let name = link.split(": ").nth(1).unwrap_or_default();
        let name = name.split('@').next().unwrap_or_default();
        // One end of a pair goes with the other one.
        if is_orphan(name, LINK) && succeeds("ip", &["link", "del", name]) {
            removed.insert(format!("network link {name}"));
        }
    }
    removed.into_iter().collect()
}

/// Takes a folder for this kit alone, for as long as what it gives is held, and empties it of what another kit has left there.
///
/// # Errors
/// Another kit is at work there; it has files that no kit has written.
pub(super) fn take(folder: &Path) -> anyhow::Result<File> {
    let shown = folder.display();
    fs::create_dir_all(folder).with_context(|| format!("cannot make {shown}"))?;
    let path = folder.join(OWNER);
    if recorded(folder).is_none() && !path.exists() && fs::read_dir(folder)?.next().is_some() {
        bail!("{shown} has files that are no kit's; name another folder with --data");
    }
    let mut options = File::options();
    let options = options.read(true).write(true).create(true).truncate(false);
    let opened = options.open(&path);
    let mut file = opened.with_context(|| format!("cannot write {}", path.display()))?;
    let is_locked = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
    // Whoever had it before may have removed it meanwhile.
    let is_it = fs::metadata(&path).is_ok_and(|there| is_same(&file, &there));
    if !is_locked || !is_it {
        bail!("another kit is at work in {shown}; name another folder with --data");
    }
    let clocked = fs::read_to_string(folder.join(CLOCKED)).unwrap_or_default();
    let clocked: Vec<u32> = clocked.lines().filter_map(|id| id.parse().ok()).collect();
    shared_memory(&clocked);
    disk::unmount(&folder.join(NATS));
    empty(folder).with_context(|| format!("cannot empty {shown}"))?;
    let began = began(std::process::id()).unwrap_or_default();
    file.set_len(0)?;
    write!(file, "{} {began}", std::process::id())?;
    Ok(file)
}

fn is_same(file: &File, there: &fs::Metadata) -> bool {
    let own = file.metadata();
    own.is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino()))
}

/// Removes everything there but its owner's name.
fn empty(folder: &Path) -> std::io::Result<()> {
    for item in fs::read_dir(folder)? {
        let item = item?;
        if item.file_name() == OWNER {
            continue;
        }
        if item.file_type()?.is_dir() {
            fs::remove_dir_all(item.path())?;
        } else {
            fs::remove_file(item.path())?;
        }
    }
    Ok(())
}

/// Removes what libfaketime shared in these processes, of those that are gone.
pub(super) fn shared_memory(processes: &[u32]) {
    let (folder, prefixes) = SHARED;
    for id in processes.iter().filter(|id| is_gone(**id, None)) {
        for prefix in prefixes {
            // Most have shared nothing.
            drop(fs::remove_file(
                Path::new(folder).join(format!("{prefix}{id}")),
            ));
        }
    }
}

/// Where such devices are mounted.
fn mounts(is_it: impl Fn(&str) -> bool) -> Vec<String> {
    let all = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mounts = all.lines().filter_map(|line| line.split_once(' '));
    mounts
        .filter(|(device, _)| is_it(device))
        .filter_map(|(_, rest)| rest.split(' ').next())
        .map(str::to_owned)
        .collect()
}

/// The kit that worked in this folder last.
fn recorded(folder: &Path) -> Option<Process> {
    let text = fs::read_to_string(folder.join(OWNER)).ok()?;
    let (id, began) = text.trim().split_once(' ')?;
    let (id, began) = (id.parse().ok()?, began.parse().ok()?);
    Some(Process { id, began })
}

/// Whether no process has this id, or another one than was recorded: ids are used again.
fn is_gone(id: u32, recorded: Option<Process>) -> bool {
    // Where processes cannot be seen at all, nobody is known to be gone.
    let Some(_) = began(std::process::id()) else {
        return false;
    };
    if !Path::new("/proc").join(id.to_string()).exists() {
        return true;
    }
    let recorded = recorded.filter(|process| process.id == id);
    recorded.is_some_and(|process| began(id).is_some_and(|began| began != process.began))
}

/// When a process began: the 22nd field of its line, of which the second one may have blanks and ends with the last parenthesis.
fn began(id: u32) -> Option<u64> {
    let line = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, rest) = line.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// The process id after a prefix.
fn owner(name: &str, prefix: &str) -> Option<u32> {
    let rest = name.strip_prefix(prefix)?;
    let digits = rest.find(|c: char| !c.is_ascii_digit());
    let (owner, rest) = rest.split_at(digits.unwrap_or(rest.len()));
    let ends = rest.is_empty() || rest.starts_with(['-', '_']);
    owner.parse().ok().filter(|_| ends)
}

fn lines(program: &str, args: &[&str]) -> Vec<String> {
    let ran = Command::new(program).args(args).output();
    let text = ran.map(|ran| String::from_utf8_lossy(&ran.stdout).into_owned());
    let text = text.unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn succeeds(program: &str, args: &[&str]) -> bool {
    let ran = Command::new(program).args(args).output();
    ran.is_ok_and(|ran| ran.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_with_an_owner_that_is_gone_are_left_over() {
        assert_eq!(owner("flotilla-chaos-4711-2", SPACE), Some(4711));

        assert_eq!(owner("fch4711", LINK), Some(4711));
        for foreign in ["fchaos1", "eth0", "fch", "fch12ab"] {
            assert_eq!(owner(foreign, LINK), None, "{foreign}");
        }
    }

    #[test]
    fn only_a_process_that_is_not_there_or_is_another_one_than_recorded_is_gone() {
        // No process has this id: it is more than any system gives.
        assert!(is_gone(u32::MAX, None));
        assert!(!is_gone(1, None), "it is there, whatever it is");
        let id = std::process::id();
        let own = Process {
            id,
            began: began(id).unwrap(),
        };
        assert!(!is_gone(id, Some(own)));
        let before = Process { began: 0, ..own };
        assert!(is_gone(id, Some(before)));
        assert!(!is_gone(1, Some(before)), "that one was not recorded");
    }

    #[test]
    fn a_folder_is_one_kits_at_a_time_and_the_next_one_finds_it_empty() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("chaos");
        let held = take(&folder).unwrap();
        let own = recorded(&folder).unwrap();
        assert_eq!(
            (own.id, began(own.id)),
            (std::process::id(), Some(own.began))
        );
        fs::create_dir_all(folder.join("redis")).unwrap();
        fs::write(folder.join("redis/log"), "text").unwrap();
        let refused = take(&folder).unwrap_err();
        assert!(refused.to_string().contains("another kit"), "{refused}");
        assert!(folder.join("redis/log").exists());
        drop(held);
        let _next = take(&folder).unwrap();
        let left: Vec<_> = fs::read_dir(&folder).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn a_folder_with_the_files_of_others_is_left_as_it_is() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join("letters"), "text").unwrap();
        let refused = take(data.path()).unwrap_err();
        assert!(refused.to_string().contains("no kit's"), "{refused}");
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1);
    }
}
