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

use crate::{in_full, settings::Settings};

/// Exit status when some decisions differ, or a journal is broken.
const DIFFERS: u8 = 1;
/// Exit status when it was asked wrongly.
const WRONG: u8 = 2;
/// Exit status when not all of it could be done.
const NOT_DONE: u8 = 3;

/// It was asked wrongly.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

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
            let wrong = error.downcast_ref::<Usage>().is_some();
            Ok(ExitCode::from(if wrong { WRONG } else { NOT_DONE }))
        }
    }
}
