//! Files that blobs are while a program reads them.

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use tokio::fs::{File, OpenOptions};

/// How the folders begin; the process that made them follows, so that those of one that is gone are known.
const PREFIX: &str = "flotilla-blobs-";
/// Nobody else may look.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Folders of executors that are gone, removed in one go.
const CLEANED_MAX: usize = 10_000;

/// A folder of one call's own. Dropped, it is gone.
#[derive(Debug)]
pub(in crate::adapter) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> io::Result<Self> {
        let name = format!("{PREFIX}{}-{:016x}", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(FOLDER_MODE).create(&path)?;
        Ok(Self(path))
    }

    /// The path of one file in it.
    pub(super) fn file(&self, at: usize) -> PathBuf {
        self.0.join(format!("blob-{at}"))
    }

    pub(super) async fn create(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(FILE_MODE);
        options.open(path).await
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now is when the next executor starts here.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Removes what executors left behind that were killed.
pub(in crate::adapter) fn clean_up() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten().take(CLEANED_MAX) {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let Some((process, _)) = owner.and_then(|rest| rest.split_once('-')) else {
            continue;
        };
        let is_number = process.bytes().all(|byte| byte.is_ascii_digit());
        if is_number && !Path::new("/proc").join(process).exists() {
            // Another executor may have been quicker.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_its_call_and_those_of_the_dead_at_the_next_start() -> io::Result<()> {
        let folder = Folder::new()?;
        std::fs::write(folder.file(0), "x")?;
        // Larger than any process id.
        let left = std::env::temp_dir().join(format!("{PREFIX}99999999-{:x}", fastrand::u64(..)));
        std::fs::create_dir(&left)?;
        clean_up();
        assert!(folder.file(0).exists() && !left.exists());
        let path = folder.0.clone();
        drop(folder);
        assert!(!path.exists());
        Ok(())
    }
}
