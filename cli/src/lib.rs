//! `flotilla`: every role, and everything people do with a fleet.

mod bench;
mod blob;
mod ceilings;
mod chaos;
mod check;
mod child;
mod client;
mod command;
mod completion;
mod cost;
mod credentials;
mod dead;
mod decision;
mod definitions;
pub mod demo;
mod doctor;
mod effects;
mod events;
mod examples;
mod exit;
mod explain;
mod figures;
mod fleet;
mod folder;
mod follow;
mod fork;
mod healthcheck;
mod live;
mod output;
mod parked;
mod people;
mod programs;
mod progress;
#[cfg(test)]
mod reference;
mod replay;
mod roles;
mod settings;
mod signals;
mod stdout;
mod style;
mod timeline;
mod token;
mod tokens;
mod told;
mod tools;
mod trial;
mod up;
mod waiting;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use command::Cli;
use exit::Exit;

/// Runs the command line; what it ends with is one of `Exit`.
#[must_use]
pub fn main() -> ExitCode {
    stdout::end_with_the_reader();
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
            Exit::of(&error).into()
        }
    }
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
