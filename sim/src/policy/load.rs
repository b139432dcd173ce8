//! Finding policy files.

use super::{Policies, Policy, file};
use crate::Problem;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Folders inside folders, at most.
const MAX_DEPTH: usize = 16;

/// Reads all policies under the given files and folders.
///
/// # Errors
/// Every mistake in every file, so that they can be mended in one go.
pub(crate) fn load(paths: &[PathBuf]) -> Result<Policies, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut policies: Vec<Policy> = Vec::new();
    let mut names: HashMap<Arc<str>, PathBuf> = HashMap::new();
    for file in find(paths, &mut problems) {
        match read(&file) {
            Ok(found) => {
                for policy in found {
                    if let Some(other) = names.insert(Arc::clone(&policy.name), file.path.clone()) {
                        let words =
                            format!("policy `{}` is also in {}", policy.name, other.display());
                        problems.push(Problem::of_file(&file.path, words));
                    }
                    policies.push(policy);
                }
            }
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        Ok(Policies(policies))
    } else {
        Err(problems)
    }
}

/// The policies of one file's text, which came over the network; none of an empty one.
///
/// # Errors
/// Every mistake in it, for people.
pub(crate) fn of_text(text: &str) -> Result<Policies, String> {
    if text.trim().is_empty() {
        return Ok(Policies::default());
    }
    let told = |problems: Vec<Problem>| {
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        told.join("; ")
    };
    file::read(Path::new("policies"), text)
        .map(Policies)
        .map_err(told)
}

struct Candidate {
    path: PathBuf,
    /// Named by the user, not found in a folder: then it must be a policy file.
    named: bool,
}

fn find(paths: &[PathBuf], problems: &mut Vec<Problem>) -> Vec<Candidate> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let mut files = Vec::new();
            walk(path, 0, &mut files, problems);
            files.sort();
            found.extend(
                files
                    .into_iter()
                    .map(|path| Candidate { path, named: false }),
            );
        } else {
            found.push(Candidate {
                path: path.clone(),
                named: true,
            });
        }
    }
    found
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>, problems: &mut Vec<Problem>) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return problems.push(Problem::of_file(folder, error.to_string())),
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && depth < MAX_DEPTH {
            walk(&path, depth + 1, files, problems);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            files.push(path);
        }
    }
}

fn read(candidate: &Candidate) -> Result<Vec<Policy>, Vec<Problem>> {
    let path = &candidate.path;
    let text = fs::read_to_string(path)
        .map_err(|error| vec![Problem::of_file(path, error.to_string())])?;
    // Workflows and tools lie in the same folders, and their mistakes are not ours to report: so the key is looked
    // for before the file is parsed.
    if text.lines().any(|line| line.starts_with("policies:")) {
        file::read(path, &text)
    } else if candidate.named {
        Err(vec![Problem::of_file(
            path,
            "a policy file has a list `policies:` at its top level".to_owned(),
        )])
    } else {
        Ok(Vec::new())
    }
}
