//! How a program is started: directly, or by a launcher, so that it does not outlive a killed executor.

use std::{
    env, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use flotilla_common::definition::ProgramLimits;
use tokio::process::Command;

use super::Scene;

/// The program in its folder with its environment, not started yet.
///
/// With a launcher it must be spawned on a thread that lives as long as the executor, such as a worker of tokio's: the kernel
/// takes the end of that thread for the end of the parent.
///
/// # Errors
/// There are limits and no launcher. With a launcher: there is no such program, or it may not be run. The launcher could tell this in its own words only. Without one,
/// the spawn says so.
pub(super) fn command(
    program: &str,
    cwd: Option<&str>,
    limits: &ProgramLimits,
    scene: &Scene<'_>,
) -> io::Result<Command> {
    let mut environment: Vec<(&str, &str)> = scene.environment.always().collect();
    // The tool's own come later, and win.
    environment.extend(scene.env.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    let mut command = match scene.launcher {
        None if !limits.is_empty() => {
            let message = "its `limits` need a launcher, and this executor has none";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        None => Command::new(program),
        Some(launcher) => {
            let path = environment.iter().rfind(|(name, _)| *name == "PATH");
            check(program, cwd, path.map_or("", |(_, path)| path))?;
            let mut command = Command::new(launcher);
            // After the dashes, nothing is an option of the launcher's own.
            command
                .arg("launch")
                .arg(std::process::id().to_string())
                .args(options(limits))
                .args(["--", program]);
            command
        }
    };
    command.env_clear().envs(environment);
    if let Some(cwd) = cwd {
        command.current_dir(cwd);
    }
    Ok(command)
}

/// Limits as the launcher is told them.
fn options(limits: &ProgramLimits) -> impl Iterator<Item = String> {
    let seconds = |cpu: std::time::Duration| cpu.as_secs() + u64::from(cpu.subsec_nanos() > 0);
    let all = [
        ("memory", limits.memory),
        ("cpu", limits.cpu.map(seconds)),
        ("file", limits.file),
        ("open-files", limits.open_files),
    ];
    let given = all.into_iter();
    given.filter_map(|(name, limit)| Some(format!("--{name}={}", limit?)))
}

/// Whether the program can be run, by the rules of `execvp`.
fn check(program: &str, cwd: Option<&str>, path: &str) -> io::Result<()> {
    let cwd = Path::new(cwd.unwrap_or("."));
    if program.contains('/') {
        return runnable(&cwd.join(program));
    }
    let mut verdict = Err(io::ErrorKind::NotFound.into());
    for folder in env::split_paths(path) {
        let file: PathBuf = cwd.join(folder).join(program);
        match runnable(&file) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => verdict = Err(error),
            Err(_) => {}
        }
    }
    verdict
}

fn runnable(file: &Path) -> io::Result<()> {
    let metadata = file.metadata()?;
    if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
        Ok(())
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_for_where_the_system_would() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let kind = |program: &str, path: &str| {
            let cwd = folder.path().to_str();
            check(program, cwd, path).map_err(|error| error.kind())
        };
        std::fs::write(folder.path().join("notes"), "")?;
        assert_eq!(kind("sh", "/nowhere:/bin"), Ok(()));
        assert_eq!(kind("/bin/sh", ""), Ok(()));
        assert_eq!(kind("sh", "/nowhere"), Err(io::ErrorKind::NotFound));
        assert_eq!(kind("./sh", "/bin"), Err(io::ErrorKind::NotFound));
        assert_eq!(kind("./notes", ""), Err(io::ErrorKind::PermissionDenied));
        assert_eq!(kind("notes", "."), Err(io::ErrorKind::PermissionDenied));
        Ok(())
    }
}
