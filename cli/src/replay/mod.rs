//! `replay` and `export`: a run folded again, here or elsewhere, and its questions asked again.

mod again;
mod arguments;
mod cases;
mod definitions;
mod export;
mod file;
mod journal;
mod report;
mod select;
mod states;
mod words;

use std::process::ExitCode;

pub(crate) use arguments::{Export, Replay};
pub(crate) use export::export;
pub(crate) use file::RawLine;

use crate::{exit::Exit, in_full, settings::Settings};

/// `flotilla replay`.
pub(crate) async fn run(settings: Settings, args: Replay) -> anyhow::Result<ExitCode> {
    if args.since.is_none() {
        return states::run(&settings, &args).await;
    }
    match again::run(&settings, &args).await {
        Ok(code) => Ok(code),
        Err(error) => {
            // A status of 1 would say that decisions differ.
            eprintln!("flotilla: {}", in_full(&error));
            let exit = Exit::of(&error);
            Ok(if exit == Exit::NotDone {
                Exit::Incomplete
            } else {
                exit
            }
            .into())
        }
    }
}
