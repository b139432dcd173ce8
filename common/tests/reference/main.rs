//! What is written about the language is so: every YAML block of the reference and of the README compiles, their tables have the
//! parser's keys and defaults, and the JSON Schemas for editors take what the parser takes.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on stops where it is"
)]

mod blocks;
mod keys;
mod schemas;

use std::{collections::BTreeMap, fs, path::PathBuf};

use flotilla_common::{
    claude::Models,
    definition::{Catalogue, Problems, Sources},
};

/// A file of the repository, as text.
fn read(path: &str) -> String {
    let file = root().join(path);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn parse(files: &BTreeMap<String, String>) -> Result<Catalogue, Problems> {
    Catalogue::parse(&Sources(files.clone()), &Models::built_in().unwrap())
}
