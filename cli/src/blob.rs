//! `blob`: what is too large for a run's journal, to a file or to the standard output.

use std::{fs, io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use flotilla_common::ids::{BlobId, RunId};

use crate::{client::Client, progress::Progress, stdout::Stdout};

/// Which blob, and where it goes.
#[derive(Debug, clap::Args)]
pub(crate) struct Fetch {
    /// The run that refers to it
    run: RunId,
    /// The blob: `flotilla show` names those of a run
    id: BlobId,
    /// The file that it becomes [default: the standard output]
    #[arg(short, long)]
    output: Option<PathBuf>,
}

pub(crate) async fn run(client: &Client, args: Fetch) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/runs/{}/blobs/{}", args.run, args.id);
    let response = client.download(&path).await?;
    let Some(file) = args.output else {
        copy(response, Stdout::lock()).await?;
        return Ok(ExitCode::SUCCESS);
    };
    // A file of that name is there only when all of it is.
    let mut part = file.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let named = || format!("write {}", part.display());
    let out = fs::File::create(&part).with_context(named)?;
    let copied = copy(response, out).await;
    let bytes = match copied {
        Ok(bytes) => bytes,
        Err(error) => {
            // What is left of it is of no use to anybody.
            let _ = fs::remove_file(&part);
            return Err(error);
        }
    };
    fs::rename(&part, &file).with_context(named)?;
    println!("{} ({bytes} bytes)", file.display());
    Ok(ExitCode::SUCCESS)
}

async fn copy(mut response: reqwest::Response, mut out: impl Write) -> anyhow::Result<u64> {
    let expected = response.content_length();
    let progress = Progress::bytes(expected);
    let mut bytes = 0;
    let broken = "the blob broke off: it is damaged, or the connection was lost";
    while let Some(chunk) = response.chunk().await.context(broken)? {
        out.write_all(&chunk).context("write the blob")?;
        bytes += chunk.len() as u64;
        progress.at(bytes);
    }
    out.flush().context("write the blob")?;
    if expected.is_some_and(|expected| expected != bytes) {
        bail!(broken);
    }
    Ok(bytes)
}
