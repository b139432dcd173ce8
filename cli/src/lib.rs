//! `flotilla`: every role, and everything people do with a fleet.

mod bench;
mod blob;
mod ceilings;
mod chaos;
mod check;
mod child;
mod client;
mod command;
mod dead;
mod decision;
mod definitions;
pub mod demo;
mod effects;
mod events;
mod examples;
mod explain;
mod figures;
mod folder;
mod follow;
mod fork;
mod parked;
mod people;
mod programs;
mod replay;
mod roles;
mod settings;
mod signals;
mod style;
mod timeline;
mod told;
mod tools;
mod trial;
mod up;
mod waiting;

use std::process::ExitCode;

use clap::Parser as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use command::Cli;

/// What a shell shows of a program that SIGPIPE has ended: 128 and the signal's number.
const ENDED_BY_SIGPIPE: i32 = 141;

/// Runs the command line; the status is 0 when it did what was asked, 1 when not, 2 when it was asked wrongly. `replay --since` has
/// one more: see its help.
#[must_use]
pub fn main() -> ExitCode {
    end_with_the_reader();
    let cli = Cli::parse();
    raise_open_files();
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("flotilla: TLS was set up twice");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("flotilla: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(command::run(cli));
    // Everything of ours was waited for; what is left is a blocking read of a terminal at most.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("flotilla: {}", in_full(&error));
            ExitCode::FAILURE
        }
    }
}

/// A reader that reads no more (`| head`) ends the program without a word, as it ends every other one on the command line. Rust
/// ignores SIGPIPE and panics when it prints.
fn end_with_the_reader() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        if text.starts_with("failed printing to stdout") && text.contains("Broken pipe") {
            std::process::exit(ENDED_BY_SIGPIPE);
        }
        told(panic);
    }));
}

/// Thousands of calls in flight need thousands of sockets: takes as many open files as the system allows this user.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // If it is refused, the first refused socket says so.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}

/// An error with its causes, each said once: most of ours name their cause themselves.
pub(crate) fn in_full(error: &anyhow::Error) -> String {
    error
        .chain()
        .skip(1)
        .fold(error.to_string(), |text, cause| {
            let cause = cause.to_string();
            if text.contains(&cause) {
                text
            } else {
                format!("{text}: {cause}")
            }
        })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow::anyhow!("root")
            .context("middle: root")
            .context("top");
        assert_eq!(super::in_full(&error), "top: middle: root");
    }
}
