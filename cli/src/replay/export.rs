//! `export`: a run with its definition as one file.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufWriter, Write as _},
    process::ExitCode,
};

use super::{
    arguments::Export,
    file::{self, Exported, RawLine},
    journal::Journal,
};
use crate::{
    client::Client, exit::NotFound, output::Output, progress::Progress, settings::Settings,
    stdout::Stdout,
};
use anyhow::{Context as _, bail};

/// Runs in one file.
const RUNS_MAX: usize = 10_000;

/// `flotilla export`.
pub(crate) async fn export(settings: &Settings, args: Export) -> anyhow::Result<ExitCode> {
    let client = Client::of(settings)?;
    let progress = Progress::counting("runs read:", Output::default());
    let mut runs = Vec::new();
    let mut todo = VecDeque::from([args.run.clone()]);
    while let Some(run) = todo.pop_front() {
        if runs.len() >= RUNS_MAX {
            bail!("it has more than {RUNS_MAX} runs within it");
        }
        let Some(raws) = client.journal(&run).await? else {
            // A run within a run is decided before it is begun.
            if run == args.run {
                bail!(NotFound(format!("there is no run {run}")));
            }
            continue;
        };
        let journal = Journal::of(&raws);
        if args.with_children {
            todo.extend(journal.children().cloned());
        }
        let pin = journal.pin().cloned();
        let pin = pin.with_context(|| format!("the journal of {run} has no `started`"))?;
        let files = if args.without_definition {
            None
        } else {
            let files = client.definition(&run).await;
            Some(files.context("`--without-definition` leaves the definition out")?)
        };
        runs.push(Exported {
            run,
            workflow: pin,
            files,
            entries: raws.iter().map(RawLine::of).collect(),
        });
        progress.more(1);
    }
    drop(progress);
    let count: usize = runs.iter().map(|run| run.entries.len()).sum();
    match &args.output {
        None => file::write(&mut BufWriter::new(Stdout::lock()), &runs)?,
        Some(path) => {
            let shown = path.display();
            let new = File::create_new(path).with_context(|| format!("cannot make {shown}"))?;
            let mut out = BufWriter::new(new);
            file::write(&mut out, &runs).with_context(|| format!("cannot write {shown}"))?;
            out.into_inner()
                .map_err(io::IntoInnerError::into_error)
                .and_then(|mut file| file.flush().and_then(|()| file.sync_all()))
                .with_context(|| format!("cannot write {shown}"))?;
            println!("{count} entries of {} run(s) are in {shown}", runs.len());
        }
    }
    Ok(ExitCode::SUCCESS)
}
