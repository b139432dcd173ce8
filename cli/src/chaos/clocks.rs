//! Wall clocks that can be set while a role runs: libfaketime stands before each role's C library, and reads from a file of the role's
//! own by how much its clock is off. Monotonic clocks go on as they are.

use std::{
    ffi::OsString,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use tokio::time::{Instant, sleep};

use super::{
    leftovers::{self, CLOCKED},
    schedule::ROLES,
};

/// Where Debian, Fedora and Alpine have it; the star is the machine's own folder of libraries.
const FOLDERS: [&str; 4] = [
    "/usr/lib/*/faketime",
    "/usr/lib64/faketime",
    "/usr/lib/faketime",
    "/usr/local/lib/faketime",
];
/// For programs of several threads.
const LIBRARY: &str = "libfaketimeMT.so.1";
/// libfaketime looks into the file once a second: each time that a program asks for the time would cost more than the program.
const SEEN_AFTER: Duration = Duration::from_secs(1);
/// A clock that drifts gains so many seconds at each of these moments.
const DRIFT: (i64, Duration) = (20, Duration::from_millis(250));

/// The files that say how wrong each role's clock is.
#[derive(Debug)]
pub(super) struct Clocks {
    library: PathBuf,
    folder: PathBuf,
    /// The file of processes that went by them, and their ids.
    processes: PathBuf,
    noted: Mutex<Vec<u32>>,
}

impl Clocks {
    /// Right ones, in this folder.
    ///
    /// # Errors
    /// There is no libfaketime here.
    pub(super) fn new(folder: &Path) -> anyhow::Result<Self> {
        let library = library().ok_or_else(|| {
            anyhow!("there is no {LIBRARY}; Debian's package libfaketime brings it")
        })?;
        let processes = folder.join(CLOCKED);
        let folder = folder.join("clocks");
        fs::create_dir_all(&folder)?;
        let clocks = Self {
            library,
            folder,
            processes,
            noted: Mutex::default(),
        };
        clocks.heal()?;
        Ok(clocks)
    }

    /// Notes a process that goes by one of them: libfaketime leaves shared memory behind for each.
    pub(super) fn note(&self, id: u32) {
        let noted = self.noted.lock();
        noted.unwrap_or_else(PoisonError::into_inner).push(id);
        let mut options = fs::File::options();
        let file = options.append(true).create(true).open(&self.processes);
        // Only the next kit reads it, where this one is killed; without it some bytes stay.
        drop(file.and_then(|mut file| writeln!(file, "{id}")));
    }

    /// What a role is started with so that its clock can be set.
    pub(super) fn environment(&self, role: &str) -> [(&'static str, OsString); 4] {
        [
            ("LD_PRELOAD", self.library.clone().into()),
            ("FAKETIME_TIMESTAMP_FILE", self.file(role).into()),
            (
                "FAKETIME_CACHE_DURATION",
                SEEN_AFTER.as_secs().to_string().into(),
            ),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }

    /// Sets a role's clock so many seconds ahead of the right time.
    pub(super) fn set(&self, role: &str, seconds: i64) -> anyhow::Result<()> {
        let file = self.file(role);
        let new = file.with_extension("new");
        // Whoever reads it must never see half of it.
        fs::write(&new, format!("{seconds:+}\n"))?;
        fs::rename(&new, &file).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Sets it, and waits until the role goes by that.
    pub(super) async fn set_and_see(&self, role: &str, seconds: i64) -> anyhow::Result<()> {
        self.set(role, seconds)?;
        sleep(SEEN_AFTER).await;
        Ok(())
    }

    /// Has it go far too fast for a while.
    pub(super) async fn drift(&self, role: &str, span: Duration) -> anyhow::Result<()> {
        let (step, every) = DRIFT;
        let end = Instant::now() + span;
        let mut ahead = 0;
        while Instant::now() < end {
            ahead += step;
            self.set(role, ahead)?;
            sleep(every).await;
        }
        Ok(())
    }

    /// All of them are right again.
    pub(super) fn heal(&self) -> anyhow::Result<()> {
        ROLES.into_iter().try_for_each(|role| self.set(role, 0))
    }

    fn file(&self, role: &str) -> PathBuf {
        self.folder.join(role)
    }
}

impl Drop for Clocks {
    fn drop(&mut self) {
        let noted = self.noted.lock();
        leftovers::shared_memory(&noted.unwrap_or_else(PoisonError::into_inner));
    }
}

fn library() -> Option<PathBuf> {
    let folders = FOLDERS.into_iter().flat_map(|folder| {
        let Some((before, after)) = folder.split_once("*/") else {
            return vec![PathBuf::from(folder)];
        };
        let below = fs::read_dir(before).into_iter().flatten().flatten();
        below.map(|item| item.path().join(after)).collect()
    });
    folders
        .map(|folder| folder.join(LIBRARY))
        .find(|file| file.is_file())
}
