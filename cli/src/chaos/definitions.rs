//! What the fleet runs: workflows that come to a report whatever happens, and say on the way what was done.

use std::{fs, path::Path};

use anyhow::Context as _;

macro_rules! files {
    ($($file:literal),+ $(,)?) => { &[$( ($file, include_str!(concat!("definitions/", $file))) ),+] };
}

const FILES: &[(&str, &str)] = files!(
    "approval.yaml",
    "ceiling.yaml",
    "fan.yaml",
    "main.yaml",
    "part.yaml",
    "policies.yaml",
    "short.yaml",
    "sides.yaml",
    "slow.yaml",
    "tools.yaml",
    "undo.yaml",
);

/// Writes them into a folder of their own.
pub(super) fn write(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, text) in FILES {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
