//! Restarts the demo's service once per key, whatever happens in between.
//!
//! What is to be done is written down before it is done: the key, and the process that must go. Whoever comes again with the key,
//! after a crash too, finds the note: with a report in it, that is the answer; without one, the restart is finished, not repeated.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use jiff::Timestamp;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::{
    pidfile::Process,
    probe::{self, Health},
};

/// How many keys are remembered; beyond, the oldest is forgotten.
const KEYS_MAX: usize = 100;

/// How long between two looks at the service.
const PAUSE: Duration = Duration::from_millis(20);

/// What a restart did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Always `orders`.
    pub service: String,
    /// Always true: a restart that failed is an error.
    pub restarted: bool,
    /// The process that was ended; `None` when none ran.
    pub pid_before: Option<i32>,
    /// The process that serves now.
    pub pid: i32,
    /// From the signal until the new process was well, in milliseconds.
    pub took_ms: u64,
    /// What the new process says of its health.
    pub health: Health,
}

/// One key and what became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Note {
    begun: Timestamp,
    from: Option<Process>,
    report: Option<Report>,
}

/// Ends the process that serves `dir` and waits until another one, started by whoever looks after the service, is well.
///
/// `key` names this one restart: 1 to 200 characters of `A-Z a-z 0-9 . _ -`. With a key that was done before, nothing is restarted and the
/// report of that time is returned.
///
/// # Errors
/// When no new process is well within `patience`; the error says what was seen last. The same key may be tried again.
pub async fn restart(dir: &Path, key: &str, patience: Duration) -> anyhow::Result<Report> {
    let well_formed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    anyhow::ensure!(
        (1..=200).contains(&key.len()) && key.bytes().all(well_formed),
        "`{key}` is not a key: 1 to 200 of A-Z a-z 0-9 . _ -"
    );
    anyhow::ensure!(
        dir.is_dir(),
        "{} is not a service's data folder",
        dir.display()
    );
    let begun = Instant::now();
    let end = begun + patience;
    let _one_at_a_time = lock(dir, end).await?;
    let mut notes = Notes::read(dir)?;
    let from = match notes.0.get(key) {
        Some(Note {
            report: Some(report),
            ..
        }) => return Ok(report.clone()),
        Some(Note { from, .. }) => from.clone(),
        None => {
            let from = Process::read(dir)?.filter(|process| process.is_running().unwrap_or(false));
            notes.keep(
                dir,
                key,
                Note {
                    begun: Timestamp::now(),
                    from: from.clone(),
                    report: None,
                },
            )?;
            from
        }
    };
    let (now, health) = replaced(dir, from.as_ref(), begun, end).await?;
    let report = Report {
        service: "orders".into(),
        restarted: true,
        pid_before: from.as_ref().map(|process| process.pid),
        pid: now.pid,
        took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        health,
    };
    notes.keep(
        dir,
        key,
        Note {
            begun: Timestamp::now(),
            from,
            report: Some(report.clone()),
        },
    )?;
    Ok(report)
}

/// Ends `from` and waits for its successor to be well.
async fn replaced(
    dir: &Path,
    from: Option<&Process>,
    begun: Instant,
    end: Instant,
) -> anyhow::Result<(Process, Health)> {
    let client = probe::client()?;
    if let Some(old) = from {
        old.signal(Signal::TERM)
            .with_context(|| format!("cannot end process {}", old.pid))?;
    }
    // A process that does not heed the polite signal by half time gets the other one.
    let kill_at = begun + (end - begun) / 2;
    let mut seen = "no new process has started".to_owned();
    while Instant::now() < end {
        tokio::time::sleep(PAUSE).await;
        if let Some(old) = from
            && old.is_running()?
        {
            seen = format!("process {} has not ended", old.pid);
            if Instant::now() >= kill_at {
                old.signal(Signal::KILL)?;
            }
            continue;
        }
        let Some(now) = Process::read(dir)?
            .filter(|now| Some(now) != from && now.is_running().unwrap_or(false))
        else {
            continue;
        };
        match probe::health(&client, now.http).await {
            Ok(health) if health.status == 200 => return Ok((now, health)),
            Ok(health) => {
                seen = format!(
                    "the new process {} answers {}: {}",
                    now.pid, health.status, health.body
                )
            }
            Err(error) => seen = format!("the new process {} does not answer: {error}", now.pid),
        }
    }
    anyhow::bail!(
        "orders is not well {:?} after the restart: {seen}",
        end - begun
    )
}

/// Held until dropped, also across processes.
async fn lock(dir: &Path, end: Instant) -> anyhow::Result<File> {
    let file = File::create(dir.join("restarts.lock")).context("cannot make restarts.lock")?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < end => {
                tokio::time::sleep(PAUSE).await
            }
            Err(TryLockError::WouldBlock) => anyhow::bail!("another restart is still under way"),
            Err(TryLockError::Error(error)) => {
                return Err(error).context("cannot lock restarts.lock");
            }
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Notes(BTreeMap<String, Note>);

impl Notes {
    fn read(dir: &Path) -> anyhow::Result<Self> {
        match fs::read(file(dir)) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is damaged", file(dir).display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => {
                Err(error).with_context(|| format!("cannot read {}", file(dir).display()))
            }
        }
    }

    /// On disk when it returns: synced, then renamed into place.
    fn keep(&mut self, dir: &Path, key: &str, note: Note) -> anyhow::Result<()> {
        self.0.insert(key.to_owned(), note);
        while self.0.len() > KEYS_MAX
            && let Some(oldest) = self
                .0
                .iter()
                .min_by_key(|(_, note)| note.begun)
                .map(|(key, _)| key.clone())
        {
            self.0.remove(&oldest);
        }
        let new = file(dir).with_extension("json.new");
        let write = || -> io::Result<()> {
            fs::write(&new, serde_json::to_vec(&self)?)?;
            File::open(&new)?.sync_all()?;
            fs::rename(&new, file(dir))
        };
        write().with_context(|| format!("cannot write {}", file(dir).display()))
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("restarts.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_oldest_keys_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let mut notes = Notes::default();
        for n in 0..KEYS_MAX + 5 {
            let begun = Timestamp::from_second(n as i64).unwrap();
            notes
                .keep(
                    dir.path(),
                    &format!("key-{n}"),
                    Note {
                        begun,
                        from: None,
                        report: None,
                    },
                )
                .unwrap();
        }
        let notes = Notes::read(dir.path()).unwrap();
        assert_eq!(notes.0.len(), KEYS_MAX);
        assert!(!notes.0.contains_key("key-4") && notes.0.contains_key("key-5"));
    }

    #[tokio::test]
    async fn a_key_that_is_no_key_is_refused_before_anything_happens() {
        let dir = tempfile::tempdir().unwrap();
        for bad in ["", "a b", "../x", &"k".repeat(201)] {
            let error = restart(dir.path(), bad, Duration::from_secs(1))
                .await
                .unwrap_err();
            assert!(error.to_string().contains("is not a key"), "{error}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn without_anybody_to_start_it_again_the_restart_fails_in_time_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let error = restart(dir.path(), "run_1.triage.3.0", Duration::from_millis(100))
            .await
            .unwrap_err();
        assert!(
            error.to_string().ends_with("no new process has started"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn two_restarts_do_not_run_at_the_same_time() {
        let dir = tempfile::tempdir().unwrap();
        let _held = lock(dir.path(), Instant::now()).await.unwrap();
        let error = restart(dir.path(), "k", Duration::from_millis(50))
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "another restart is still under way");
    }
}
