//! The domain is pure: no runtime, no network, no clock, no random numbers, no files, no environment. And no role goes by its own
//! machine's clock.

#![expect(clippy::expect_used, reason = "a test that cannot go on says why")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What the modules of the domain do not mention.
const FOREIGN: [&str; 16] = [
    "tokio",
    "async_nats",
    "redis::",
    "reqwest",
    "axum",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "Zoned::now",
    "fastrand",
    "crate::io",
];

/// The one module that may.
const ADAPTERS: &str = "io";

/// All sources below a folder; tests may do as they like.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let items = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for path in items.map(|item| item.expect("an item of the folder").path()) {
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_dir() && name != "tests" {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") && name != "tests" {
            found.push(path);
        }
    }
}

#[test]
fn the_domain_does_no_io_and_reads_no_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let pure = |path: &&PathBuf| {
        let inside = path.strip_prefix(&root).expect("below src");
        !inside.starts_with(ADAPTERS) && inside != Path::new("lib.rs")
    };
    let pure: Vec<_> = files.iter().filter(pure).collect();
    assert!(
        pure.len() > 20,
        "only {} files: is this the right folder?",
        pure.len()
    );
    let mut wrong = Vec::new();
    for path in pure {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for (number, line) in text.lines().enumerate() {
            for word in FOREIGN.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "the domain must stay pure:\n{}",
        wrong.join("\n")
    );
}

/// The crates whose time is the fleet's, and the files that may look at this machine's clock: a log line stands among others of its
/// machine.
const ROLES: [&str; 4] = ["common", "planner", "executor", "gateway"];
const CLOCKS: [&str; 2] = ["io/clock.rs", "io/telemetry/logs.rs"];

#[test]
fn no_role_reads_its_own_machines_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for role in ROLES {
        sources(&root.join(role).join("src"), &mut files);
    }
    files.retain(|path| !CLOCKS.iter().any(|own| path.ends_with(own)));
    assert!(files.len() > 100, "only {} files", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        // Tests of a file stand at its end.
        let code = text.split("#[cfg(test)]\nmod tests").next();
        let code = code.unwrap_or_default();
        if ["Timestamp::now", "Zoned::now", "SystemTime::now"]
            .iter()
            .any(|own| code.contains(own))
        {
            wrong.push(path.display().to_string());
        }
    }
    assert!(
        wrong.is_empty(),
        "these take their own clock's time, not `io::clock::now()`:\n{}",
        wrong.join("\n")
    );
}
