//! `watch`: a run as it goes on, to its end.

use std::{process::ExitCode, time::Duration};

use flotilla_common::ids::RunId;
use serde_json::json;

use crate::{
    client::Client,
    events::{ending, exit_code, whole},
    follow::follow,
    live::{Following, Heard},
    output::Output,
};

/// How long nothing is waited for at a time.
const QUIET: Duration = Duration::from_secs(1);

/// Which run to watch.
#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    /// The run
    run: RunId,
    #[command(flatten)]
    output: Output,
}

/// Ends with the run: well if that did what it should, or escalated.
pub(crate) async fn run(client: &Client, args: Watch) -> anyhow::Result<ExitCode> {
    let mut following = Following::known(client, &args.run);
    if args.output.json() {
        let mut is_fresh = false;
        let shown = loop {
            match following.next(QUIET).await? {
                Heard::Entry(line) => {
                    let line =
                        json!({"seq": line.seq, "subject": line.subject, "entry": line.entry});
                    println!("{line}");
                    is_fresh = true;
                }
                // A broken journal never comes to its end; only where something has happened may it have become one.
                Heard::Quiet => {
                    if std::mem::take(&mut is_fresh)
                        && let Some(shown) = following.state().await?
                        && shown.broken.is_some()
                    {
                        break shown;
                    }
                }
                Heard::Ended => break following.ended().await?,
            }
        };
        whole(&shown)?;
        return Ok(exit_code(shown.run));
    }
    let shown = follow(following).await?;
    ending(&shown, None)?;
    Ok(exit_code(shown.run))
}
