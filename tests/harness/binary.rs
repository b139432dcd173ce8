//! The `flotilla` binary: never stale, never built twice.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::process::Process;
use crate::server::repository;

/// Where the binary is. The first call has cargo look whether it is up to date, in the profile and the target folder that
/// this test itself was built in.
///
/// # Panics
/// When it does not build, with what cargo said.
pub fn flotilla() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        // <target>/<profile>/deps/it-0123456789abcdef
        let test = std::env::current_exe().expect("this test is a file");
        let profile_folder = test.ancestors().nth(2).expect("cargo's layout");
        let target = profile_folder.parent().expect("cargo's layout");
        let profile = match profile_folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        // `--workspace` although one binary is wanted: features are then resolved as for the tests, so that nothing is
        // built a second time with others.
        let mut cargo =
            Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
        // What cargo tells a test about its package, build scripts (ring's) take for a change of theirs: two minutes each time.
        for (name, _) in std::env::vars_os() {
            let of_package = name.to_str().is_some_and(|name| {
                name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
            });
            if of_package || name == "OUT_DIR" {
                cargo.env_remove(name);
            }
        }
        let built = cargo
            .args(["build", "--workspace", "--bin", "flotilla"])
            .args(["--locked", "--quiet", "--profile", profile])
            .arg("--target-dir")
            .arg(target)
            .current_dir(repository())
            .stdin(Stdio::null())
            .output()
            .expect("start cargo");
        assert!(
            built.status.success(),
            "flotilla does not build:\n{}",
            String::from_utf8_lossy(&built.stderr)
        );
        profile_folder.join("flotilla")
    })
}

/// A `flotilla` that has ended by itself.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status
    pub status: ExitStatus,
    /// What it printed, stdout and stderr together
    pub output: String,
}

/// Runs `flotilla` to its end.
///
/// # Panics
/// When it has not ended within `limit`.
pub async fn run_flotilla(args: &[&str], env: &[(&str, &str)], limit: Duration) -> Finished {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let mut all = vec![
        ("NO_COLOR".to_owned(), "1".to_owned()),
        (
            "FLOTILLA_DATA".to_owned(),
            folder.path().join("data").display().to_string(),
        ),
    ];
    all.extend(
        env.iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned())),
    );
    let name = format!("flotilla {}", args.join(" "));
    let mut process = Process::start(&name, flotilla(), args, &all, &folder.path().join("output"));
    Finished {
        status: process.wait_exit(limit).await,
        output: process.log(),
    }
}
