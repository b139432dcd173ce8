//! Programs that stand in for those that `command` tools run: they do nothing, say what a test wants them to say, and are counted.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder of such programs.
#[derive(Debug)]
pub struct Programs {
    folder: TempDir,
}

impl Programs {
    /// Makes one for each name. Each says what [`Programs::say`] was told last, and then every variable of its environment, as a
    /// careless program would.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn new<N: AsRef<str>>(names: &[N]) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        fs::create_dir(folder.path().join("bin")).expect("a folder of programs");
        let programs = Self { folder };
        let (said, started) = (programs.file("said"), programs.file("started"));
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"${{0##*/}}\" >>'{}'\n/bin/cat '{}'\n/usr/bin/env\n",
            started.display(),
            said.display()
        );
        for name in names {
            let file = programs.bin().join(name.as_ref());
            fs::write(&file, &script).expect("write a program");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it may be run");
        }
        programs.say("ok\n");
        programs
    }

    /// Where they are: to be the first of a PATH.
    pub fn bin(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    /// A folder that is there for as long as they are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What they print from now on.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn say(&self, text: &str) {
        fs::write(self.file("said"), text).expect("write what they say");
    }

    /// How often each was started.
    pub fn started(&self) -> BTreeMap<String, usize> {
        let lines = fs::read_to_string(self.file("started")).unwrap_or_default();
        let mut started = BTreeMap::new();
        for name in lines.lines() {
            *started.entry(name.to_owned()).or_default() += 1;
        }
        started
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
