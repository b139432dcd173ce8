//! A small disk for nats-server: a tmpfs of its own, where this user may mount one.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use rustix::fs::{FallocateFlags, fallocate};

use super::leftovers::MOUNT;

/// Its size: much more than an hour's runs need, and soon full.
const SIZE: &str = "size=1g";
/// What takes up the rest of it.
const BALLOON: &str = "balloon";
/// Pieces of the balloon, in bytes: the last ones fill what the first ones leave.
const PIECES: [u64; 3] = [64 << 20, 1 << 20, 4 << 10];

/// A mounted disk. Dropped, it is gone, with all that is on it.
#[derive(Debug)]
pub(super) struct Disk(PathBuf);

impl Disk {
    /// Mounts one on this folder, which is made.
    ///
    /// # Errors
    /// Mounting is not permitted here.
    pub(super) fn mount(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE])
            .arg(format!("{MOUNT}{}", std::process::id()))
            .arg(folder)
            .output()
            .context("there is no `mount`")?;
        if !mount.status.success() {
            bail!("{}", String::from_utf8_lossy(&mount.stderr).trim());
        }
        Ok(Self(folder.to_owned()))
    }

    /// Takes up all that is free.
    pub(super) fn fill(&self) -> anyhow::Result<()> {
        let balloon = File::create(self.0.join(BALLOON))?;
        let mut size = 0;
        for piece in PIECES {
            // It ends where the disk does.
            while fallocate(&balloon, FallocateFlags::empty(), size, piece).is_ok() {
                size += piece;
            }
        }
        Ok(())
    }

    /// Frees it again.
    pub(super) fn free(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.0.join(BALLOON))?)
    }
}

/// Unmounts what a kit that was killed has left on this folder.
pub(super) fn unmount(folder: &Path) {
    // Where there is none, it says so, and nobody needs to know. `-l`: whoever still has it open keeps it until then.
    drop(Command::new("umount").arg("-l").arg(folder).output());
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}
