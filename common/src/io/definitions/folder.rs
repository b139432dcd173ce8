//! Definitions from a folder.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    claude::{Models, ModelsError},
    definition::{Catalogue, Problems, Sources},
};

/// Files larger than this are none of ours.
const FILE_BYTES_MAX: u64 = 1 << 20;
const FILES_MAX: usize = 10_000;
const EXTENSIONS: [&str; 4] = ["yaml", "yml", "md", "json"];

/// Why definitions cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionsError {
    /// The folder or a file in it cannot be read.
    #[error(
        "cannot read definitions from {path}: {source}. Set FLOTILLA_WORKFLOWS to the folder that holds them"
    )]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// They are wrong.
    #[error("{0}")]
    Wrong(#[from] Problems),
    /// The table of models is wrong.
    #[error(transparent)]
    Models(#[from] ModelsError),
}

/// Reads and checks all definitions of a folder.
///
/// # Errors
/// [`DefinitionsError`]: all problems at once, each with file, line and column.
pub fn load(folder: &Path, models: &Models) -> Result<Catalogue, DefinitionsError> {
    Ok(Catalogue::parse(&read(folder)?, models)?)
}

/// Reads all definition files of a folder, as they are.
///
/// # Errors
/// [`DefinitionsError::Read`].
pub fn read(folder: &Path) -> Result<Sources, DefinitionsError> {
    let mut files = BTreeMap::new();
    collect(folder, folder, &mut files)?;
    Ok(Sources(files))
}

/// The table of models: from a file, or the one that is built in.
///
/// # Errors
/// [`DefinitionsError`].
pub fn load_models(file: Option<&Path>) -> Result<Models, DefinitionsError> {
    let Some(path) = file else {
        return Ok(Models::built_in()?);
    };
    let read = fs::read_to_string(path);
    let text = read.map_err(|source| DefinitionsError::Read {
        path: path.into(),
        source,
    })?;
    Ok(Models::parse(&path.display().to_string(), &text)?)
}

fn collect(
    root: &Path,
    folder: &Path,
    files: &mut BTreeMap<String, String>,
) -> Result<(), DefinitionsError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DefinitionsError::Read { path, source }
    };
    for item in fs::read_dir(folder).map_err(failed(folder))? {
        let path = item.map_err(failed(folder))?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if files.len() >= FILES_MAX {
            let problem = format!(
                "there are more than {FILES_MAX} files; this does not look like definitions"
            );
            return Err(failed(folder)(io::Error::other(problem)));
        }
        if path.is_dir() {
            collect(root, &path, files)?;
            continue;
        }
        let known = path
            .extension()
            .is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)));
        if !known || fs::metadata(&path).map_err(failed(&path))?.len() > FILE_BYTES_MAX {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(failed(&path))?;
        let relative = path.strip_prefix(root).unwrap_or(&path);
        let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
        files.insert(parts.join("/"), text);
    }
    Ok(())
}
