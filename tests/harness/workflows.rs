//! A folder of definitions: workflows, tools, prompts, and the simulated Claude's policies.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Definitions of a test's own, or a folder of the repository.
#[derive(Debug)]
pub struct Workflows {
    folder: PathBuf,
    _own: Option<TempDir>,
}

impl Workflows {
    /// A folder that is there already; it is not touched.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            _own: None,
        }
    }

    /// Files of the test's own: (path below the folder, text).
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn files<N: AsRef<str>, T: AsRef<str>>(files: &[(N, T)]) -> Self {
        let own = tempfile::tempdir().expect("a scratch folder");
        for (name, text) in files {
            let file = own.path().join(name.as_ref());
            fs::create_dir_all(file.parent().expect("it is below the folder"))
                .expect("make its folder");
            fs::write(file, text.as_ref()).expect("write a definition");
        }
        Self {
            folder: own.path().to_owned(),
            _own: Some(own),
        }
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
