//! The data folder of the demo's service: its log, its orders, and the quota over both.
//!
//! The quota is real: before every write the files are measured, and a write that does not fit is refused.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;

/// What no order may use, in bytes: room for the last error lines and for the small state files, so that a full folder can say that it is full.
pub const RESERVE: u64 = 16 << 10;

/// What must be free for the service to be well, in bytes: more than any one order and its log line need.
pub const ROOM: u64 = 4 << 10;

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The folder has used up its quota.
    #[error("disk quota exceeded: {} of {} used", size(*used), size(*quota))]
    Quota {
        /// What the files in the folder hold, in bytes.
        used: u64,
        /// What they may hold, in bytes.
        quota: u64,
    },
    /// The file system refused.
    #[error("cannot write: {0}")]
    Io(#[from] io::Error),
}

/// What a folder held when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Rotated log files that were removed.
    pub logs_removed: usize,
    /// What they held, in bytes.
    pub bytes_removed: u64,
    /// Orders found, from earlier lives of the service.
    pub orders: usize,
}

/// An open data folder. One process holds it at a time.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    quota: u64,
    rotate_at: u64,
    log: File,
    orders: File,
}

impl Folder {
    /// Opens `dir` (made if missing) and removes the rotated logs in it. `quota` and `rotate_at` are in bytes.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be made, read or removed.
    pub fn open(dir: &Path, quota: u64, rotate_at: u64) -> io::Result<(Self, Opened)> {
        fs::create_dir_all(dir.join("logs"))?;
        let mut opened = Opened {
            logs_removed: 0,
            bytes_removed: 0,
            orders: 0,
        };
        for Rotated { path, bytes, .. } in rotated(dir)? {
            fs::remove_file(path)?;
            opened.logs_removed += 1;
            opened.bytes_removed += bytes;
        }
        let orders = append(&dir.join("orders.jsonl"))?;
        opened.orders = fs::read(dir.join("orders.jsonl"))?
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        let log = append(&log_path(dir))?;
        Ok((
            Self {
                dir: dir.to_owned(),
                quota,
                rotate_at,
                log,
                orders,
            },
            opened,
        ))
    }

    /// What the files in the folder hold now, in bytes.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn used(&self) -> io::Result<u64> {
        measure(&self.dir)
    }

    /// The quota, in bytes.
    #[must_use]
    pub fn quota(&self) -> u64 {
        self.quota
    }

    /// Whether there is room to work: at least [`ROOM`] above the reserve. Returns what is used, in bytes.
    ///
    /// # Errors
    /// [`WriteError::Quota`] when there is none.
    pub fn check(&self) -> Result<u64, WriteError> {
        let used = self.used()?;
        if used + ROOM + RESERVE <= self.quota {
            Ok(used)
        } else {
            Err(WriteError::Quota {
                used,
                quota: self.quota,
            })
        }
    }

    /// Keeps an order (one line of JSON, without its newline) and says so in the log.
    ///
    /// # Errors
    /// [`WriteError::Quota`] when the folder is full: then nothing was kept, and the log says so while the reserve lasts.
    pub fn keep_order(&mut self, order: &str, log: &str) -> Result<(), WriteError> {
        self.work()?;
        self.orders.write_all(format!("{order}\n").as_bytes())?;
        self.write_log("INFO", log)
    }

    /// Writes a line about ordinary work to the log.
    ///
    /// # Errors
    /// [`WriteError::Quota`] as for [`Folder::keep_order`].
    pub fn log_work(&mut self, text: &str) -> Result<(), WriteError> {
        self.work()?;
        self.write_log("INFO", text)
    }

    /// Writes a line about the service itself. It may use the reserve; when that is used up too, the line is dropped.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn log_event(&mut self, level: &str, text: &str) -> Result<(), WriteError> {
        let line_max = text.len() as u64 + 64;
        if self.used()? + line_max > self.quota {
            Ok(())
        } else {
            self.write_log(level, text)
        }
    }

    fn work(&mut self) -> Result<(), WriteError> {
        let Err(error) = self.check() else {
            return Ok(());
        };
        if let WriteError::Quota { used, quota } = &error {
            let text = format!(
                "cannot write: disk quota exceeded ({} of {} used)",
                size(*used),
                size(*quota)
            );
            self.log_event("ERROR", &text)?;
        }
        Err(error)
    }

    fn write_log(&mut self, level: &str, text: &str) -> Result<(), WriteError> {
        let line = format!("{:.3} {level:<5} {text}\n", Timestamp::now());
        self.log.write_all(line.as_bytes())?;
        if self.log.metadata()?.len() >= self.rotate_at {
            self.rotate()?;
        }
        Ok(())
    }

    /// `orders.log` becomes `orders.log.1`, that one `orders.log.2`, and so on. The last one is never removed: this is the service's fault.
    fn rotate(&mut self) -> io::Result<()> {
        let log = log_path(&self.dir);
        let numbered = |n: u32| log.with_extension(format!("log.{n}"));
        for Rotated { number, path, .. } in rotated(&self.dir)? {
            fs::rename(path, numbered(number + 1))?;
        }
        fs::rename(&log, numbered(1))?;
        self.log = append(&log)?;
        Ok(())
    }
}

/// The log a service with this data folder writes now.
#[must_use]
pub fn log_path(dir: &Path) -> PathBuf {
    dir.join("logs").join("orders.log")
}

/// A size as people read it: `512 KiB`, `8.0 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    if bytes < 1 << 20 {
        format!("{} KiB", bytes >> 10)
    } else {
        format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

struct Rotated {
    number: u32,
    path: PathBuf,
    bytes: u64,
}

/// The rotated logs, the oldest (highest number) first, so that they can be renamed in this order.
fn rotated(dir: &Path) -> io::Result<Vec<Rotated>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir.join("logs"))? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix("orders.log."))
            .and_then(|number| number.parse().ok());
        if let Some(number) = number {
            found.push(Rotated {
                number,
                path: entry.path(),
                bytes: entry.metadata()?.len(),
            });
        }
    }
    found.sort_unstable_by_key(|log| std::cmp::Reverse(log.number));
    Ok(found)
}

/// The files under `dir` and its folders, in bytes. A file that vanishes meanwhile counts as nothing.
fn measure(dir: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        sum += match entry.metadata() {
            Ok(found) if found.is_dir() => measure(&entry.path())?,
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: u64 = 256 << 10;
    const ROTATE_AT: u64 = 32 << 10;

    fn fill(folder: &mut Folder) -> String {
        loop {
            if let Err(error) = folder.keep_order(r#"{"id":1}"#, &"x".repeat(1_000)) {
                return error.to_string();
            }
        }
    }

    #[test]
    fn a_full_folder_refuses_orders_and_its_log_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let (mut folder, _) = Folder::open(dir.path(), QUOTA, ROTATE_AT).unwrap();
        let refused = fill(&mut folder);
        assert!(refused.starts_with("disk quota exceeded: 2"), "{refused}");
        assert!(refused.ends_with("KiB of 256 KiB used"), "{refused}");
        let log = fs::read_to_string(log_path(dir.path())).unwrap();
        assert!(
            log.trim_end()
                .lines()
                .last()
                .unwrap()
                .contains("ERROR cannot write: disk quota exceeded ("),
            "{log}"
        );
    }

    #[test]
    fn rotated_logs_pile_up_while_the_folder_is_open_and_go_when_it_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let (mut folder, _) = Folder::open(dir.path(), QUOTA, ROTATE_AT).unwrap();
        fill(&mut folder);
        assert_eq!(rotated(dir.path()).unwrap().len(), 7);
        drop(folder);
        let (folder, opened) = Folder::open(dir.path(), QUOTA, ROTATE_AT).unwrap();
        assert_eq!(opened.logs_removed, 7);
        assert!(opened.bytes_removed >= 7 * ROTATE_AT, "{opened:?}");
        assert!(
            opened.orders > 100,
            "orders outlive the restart: {opened:?}"
        );
        assert!(folder.check().is_ok());
    }

    #[test]
    fn error_lines_end_where_the_quota_ends() {
        let dir = tempfile::tempdir().unwrap();
        let (mut folder, _) = Folder::open(dir.path(), QUOTA, ROTATE_AT).unwrap();
        for _ in 0..2_000 {
            let _ = folder.log_work(&"x".repeat(1_000));
        }
        let used = folder.used().unwrap();
        assert!(used <= QUOTA && used + 200 > QUOTA, "{used}");
    }

    #[test]
    fn room_made_by_hand_is_seen_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (mut folder, _) = Folder::open(dir.path(), QUOTA, ROTATE_AT).unwrap();
        fill(&mut folder);
        fs::remove_file(dir.path().join("logs/orders.log.3")).unwrap();
        assert!(folder.check().is_ok());
        // And the gap does not stop the next rotation.
        assert!(fill(&mut folder).starts_with("disk quota exceeded"));
    }
}
